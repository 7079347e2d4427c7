"""Facts about this disk: its id, where it votes "not found", and the disks of other members.

Membership fetches them and confirms the disk (`toystore/core/membership/disks.py`):

    the cluster knows this disk,   ┐
    or never knew another          ┴▶ it votes in each range that is WHOLE
    it was replaced                 ─▶ each owned range is BEHIND ─ rebuilt ─▶ WHOLE: it votes there

A replaced disk that has no range left to rebuild votes everywhere.  Ranges that move to a disk are
BEHIND, too (own_ranges.py); they take no vote from it in other ranges.

If a run has buckets of an N of which the last run had none, a replaced disk has no records of
their ranges, and after a change of the ring any disk may have too few: they are BEHIND.
"""

from __future__ import annotations

from collections.abc import Iterable

from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.storage.layout import (
    COPIES,
    DISK,
    FACT,
    FLOOR,
    NO,
    PEER,
    REPLACED,
    RING_RECORD,
    SETTLED,
    VOTES,
    YES,
    fits_a_key,
)
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.store import Store


def begin_run(store: Store, ranges: Ranges) -> None:
    """A run of a node begins, in a transaction: bring the states of its ranges up to date.

    ``ranges``: by the ring record with which the node starts.
    """
    own = OwnRanges(store, ranges)
    own.catch_up()
    facts = DiskFacts(store, own)
    facts.follow_copies()
    facts.count_votes()
    own.find_strays()


class DiskFacts:
    """The facts in ``store``.  A corrupt fact is read as far as it can be decoded."""

    def __init__(self, store: Store, own: OwnRanges) -> None:
        """``own``: the ranges of this node, in the same store."""
        self._store = store
        self._own = own

    def disk(self) -> str:
        """The id of this disk; "" if it has none."""
        return (self._store.get(DISK) or b"").decode(errors="replace")

    def votes(self) -> bool:
        """Whether this disk votes "not found" in each range, even in those that it does not own."""
        return self._store.get(VOTES) == YES

    def votes_in(self, of: Range) -> bool:
        """Whether this disk votes "not found" in one range."""
        if self._own.state(of) is RangeState.BEHIND:
            return False
        return self.votes() or (of in self._own.owned and self.replaced())

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
        self._fall_behind(self._own.owned)
        return True

    def fall_behind(self, ranges: Iterable[Range]) -> None:
        """These ranges lack records.  If it is not known that the disk was kept, all may."""
        if not self.confirmed():
            self.replace()
        if lacking := set(ranges):
            self._store.put(SETTLED, REPLACED)
            self._fall_behind(lacking)

    def follow_copies(self) -> None:
        """A run begins: its buckets may be of other N than those of the last run."""
        owned, copies = self._own.owned, self._own.ranges.copies
        packed = ",".join(map(str, sorted(copies))).encode()
        before = self._store.get(COPIES)
        if before == packed:
            return
        self._store.put(COPIES, packed)
        self._own.put({of: RangeState.NONE for of in self._own.known if of.n not in copies})
        if before is None:
            return
        known = set(before.split(b","))
        new = {of for of in owned if b"%d" % of.n not in known}
        if self.replaced():
            self._fall_behind(new)
        elif self._own.record.epoch:
            self._own.fall_behind(new)

    def count_votes(self) -> None:
        """A replaced disk votes everywhere once no range of it is behind."""
        if self.replaced() and not self._own.behind() and not self.votes():
            self._store.put(VOTES, YES)

    def _fall_behind(self, ranges: Iterable[Range]) -> None:
        """Mark ranges; the disk votes everywhere if none is marked."""
        self._own.fall_behind(ranges)
        self._store.put(VOTES, NO if self._own.behind() else YES)

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
        """The number of keys in the store that are no records, and belong to no hints."""
        others = sum(1 for kind in (FACT, FLOOR, RING_RECORD) for _ in self._store.scan(kind))
        return self._own.stated + others
