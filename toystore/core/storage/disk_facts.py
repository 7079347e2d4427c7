"""Facts about this disk: its id, whether it votes "not found", and the disks of other members.

Gossip asks for them and decides them (`toystore/core/membership/disks.py`).
"""

from __future__ import annotations

from toystore.core.storage.layout import DISK, FACT, NO, PEER, SETTLED, VOTES, YES, fits_a_key
from toystore.core.storage.store import Store


class DiskFacts:
    """The facts in ``store``.  What rotted among them is read as far as that is possible."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def disk(self) -> str:
        """The id of this disk, or ""."""
        return (self._store.get(DISK) or b"").decode(errors="replace")

    def votes(self) -> bool:
        """Whether this disk votes "not found"."""
        return self._store.get(VOTES) == YES

    def settled(self) -> bool:
        """Whether it is decided if this disk votes."""
        return self._store.get(SETTLED) == YES

    def settle(self, votes: bool) -> None:
        """Store that this disk votes (True), or does not."""
        self._store.put(SETTLED, YES)
        self._store.put(VOTES, YES if votes else NO)

    def peers(self) -> tuple[tuple[str, str], ...]:
        """The disks of other members: (member, disk id) each."""
        return tuple(
            (key[len(PEER) :].decode(errors="replace"), disk.decode(errors="replace"))
            for key, disk in self._store.scan(PEER)
        )

    def save_peer(self, member: str, disk: str) -> None:
        """Store which disk a member runs on, if a key has room for its name."""
        if fits_a_key(member):
            self._store.put(PEER + member.encode(), disk.encode())

    def count(self) -> int:
        """The number of facts in the store."""
        return sum(1 for _ in self._store.scan(FACT))
