"""Facts about this disk: its id, where it votes "not found", and the disks of other members.

Membership fetches them and confirms the disk (`toystore/core/membership/disks.py`):

    the cluster knows this disk,   ┐
    or never knew another          ┴▶ it votes in each range
    it was replaced                 ─▶ each owned range is BEHIND ─ rebuilt ─▶ WHOLE: it votes there

A disk that has no range left to rebuild votes everywhere.  If a run owns ranges of an N of which
the last run owned none, as after a bucket was added, a replaced disk has no records of them either:
they are behind, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from toystore.core.ring.ranges import Range
from toystore.core.storage.layout import (
    BEHIND,
    COPIES,
    DISK,
    FACT,
    NO,
    PEER,
    REPLACED,
    RING_RECORD,
    SETTLED,
    VOTES,
    YES,
    behind_key,
    fits_a_key,
)
from toystore.core.storage.store import Store


class DiskFacts:
    """The facts in ``store``.  A corrupt fact is read as far as it can be decoded."""

    def __init__(self, store: Store, owned: Collection[Range]) -> None:
        """``owned``: the ranges that this node owns."""
        self._store = store
        self._owned = owned

    def disk(self) -> str:
        """The id of this disk; "" if it has none."""
        return (self._store.get(DISK) or b"").decode(errors="replace")

    def votes(self) -> bool:
        """Whether this disk votes "not found" in each range, even in those that it does not own."""
        return self._store.get(VOTES) == YES

    def votes_in(self, of: Range) -> bool:
        """Whether this disk votes "not found" in one range."""
        return self.votes() or (of in self._owned and self.replaced() and not self.is_behind(of))

    def confirmed(self) -> bool:
        """Whether it is known if this disk was replaced."""
        return self._store.get(SETTLED) in (YES, REPLACED)

    def replaced(self) -> bool:
        """Whether it was."""
        return self._store.get(SETTLED) == REPLACED

    def keep(self) -> None:
        """This disk was not replaced.  Nothing changes if it was: it is rebuilt range by range."""
        if not self.replaced():
            self._store.put(SETTLED, YES)
            self._store.put(VOTES, YES)

    def replace(self) -> bool:
        """This disk was replaced: each owned range is behind.  False if that was known before."""
        if self.replaced():
            return False
        self._store.put(SETTLED, REPLACED)
        self._mark_behind(self._owned)
        return True

    def fall_behind(self, ranges: Iterable[Range]) -> None:
        """These ranges lack records.  If it is not known that the disk was kept, all may."""
        if not self.confirmed():
            self.replace()
        if lacking := set(ranges):
            self._store.put(SETTLED, REPLACED)
            self._mark_behind(lacking)

    def follow_ranges(self) -> None:
        """A run begins: its ranges may be of other N than those of the last run."""
        owned_n = sorted({of.n for of in self._owned})
        before = self._store.get(COPIES)
        copies = ",".join(map(str, owned_n)).encode()
        if before == copies:
            return
        self._store.put(COPIES, copies)
        if before is None or not self.replaced():
            return
        known = set(before.split(b","))
        for key, _ in list(self._store.scan(BEHIND)):
            if b"%d" % key[1] not in copies.split(b","):
                self._store.delete(key)
        self._mark_behind(of for of in self._owned if b"%d" % of.n not in known)

    def is_behind(self, of: Range) -> bool:
        """Whether a range lacks records that the disk before this one had."""
        return self._store.get(behind_key(of)) is not None

    def behind(self) -> int:
        """How many ranges are behind."""
        return sum(1 for _ in self._store.scan(BEHIND))

    def mark_whole(self, of: Range) -> bool:
        """A range was rebuilt; with the last one, the disk votes.  Returns whether any is left."""
        was_behind = self._store.delete(behind_key(of))
        more = self._any_behind()
        if was_behind and not more:
            self._store.put(VOTES, YES)
        return more

    def _mark_behind(self, ranges: Iterable[Range]) -> None:
        """Mark ranges; the disk votes everywhere if none is marked."""
        for of in sorted(ranges):
            self._store.put(behind_key(of), b"")
        self._store.put(VOTES, NO if self._any_behind() else YES)

    def _any_behind(self) -> bool:
        return next(self._store.scan(BEHIND), None) is not None

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
        """The number of facts in the store, of ranges that are behind, and of ring records."""
        return sum(1 for kind in (FACT, BEHIND, RING_RECORD) for _ in self._store.scan(kind))
