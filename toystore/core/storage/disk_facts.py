"""Facts about this disk: its id, whether it votes "not found", and the disks of other members.

Membership fetches them and decides them (`toystore/core/membership/disks.py`).
"""

from __future__ import annotations

from toystore.core.storage.layout import DISK, FACT, NO, PEER, SETTLED, VOTES, YES, fits_a_key
from toystore.core.storage.store import Store


class DiskFacts:
    """The facts in ``store``.  A corrupt fact is read as far as it can be decoded."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def disk(self) -> str:
        """The id of this disk; "" if it has none."""
        return (self._store.get(DISK) or b"").decode(errors="replace")

    def votes(self) -> bool:
        """Whether this disk votes "not found"."""
        return self._store.get(VOTES) == YES

    def confirmed(self) -> bool:
        """Whether it is known if this disk may vote."""
        return self._store.get(SETTLED) == YES

    def confirm(self, votes: bool) -> None:
        """Store whether this disk votes."""
        self._store.put(SETTLED, YES)
        self._store.put(VOTES, YES if votes else NO)

    def peers(self) -> tuple[tuple[str, str], ...]:
        """The disks of other members: (member, disk id) each."""
        return tuple(
            (key[len(PEER) :].decode(errors="replace"), disk.decode(errors="replace"))
            for key, disk in self._store.scan(PEER)
        )

    def save_peer(self, member: str, disk: str) -> None:
        """Store the disk id of a member, if its name fits a key."""
        if fits_a_key(member):
            self._store.put(PEER + member.encode(), disk.encode())

    def count(self) -> int:
        """The number of facts in the store."""
        return sum(1 for _ in self._store.scan(FACT))
