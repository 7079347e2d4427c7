"""How tombstones are deleted: the floor of their range is raised above them (floors.py).

    SumDead        the tombstones below a floor, summed; members agree on a floor by these sums
    RaiseFloors    the floor rises, and what is dead below it is deleted, in one transaction

A WHOLE range has every tombstone that the members have agreed on, so only tombstones are dead
there.  A range that is BEHIND may have slept while they agreed: all that it has below the floor is
deleted, and anti-entropy fetches from the other owners what lives.

A tombstone may become corrupt after its node has answered `SumDead`, and before it follows the
floor of another owner: by then no owner has a sound copy.  It is deleted, too, if the answer proves
that it was summed.  Any other corrupt record stays until it is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from toystore.core.data.floor import latest_floor
from toystore.core.data.record import HEADER_BYTES, TIME, is_tombstone
from toystore.core.protocol.messages.antientropy import (
    RaiseFloors,
    RaiseFloorsReply,
    SumDead,
    SumDeadReply,
)
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range
from toystore.core.ring.tree import hash_of
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.floors import Floors, pack_floor
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import RECORD
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.records import Records
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch
from toystore.core.storage.sums import SEEK, Sums, Work

REAPED_MAX = 2000
"""The most tombstones of a range that are deleted at once: one transaction is no longer."""

_REFUSED = 0, 0, 0, False


class _Dead(NamedTuple):
    """A tombstone."""

    time: bytes
    digest: bytes
    hash: int


class Tombstones:
    """The tombstones in ``store``."""

    def __init__(
        self,
        store: Store,
        own: OwnRanges,
        facts: DiskFacts,
        sums: Sums,
        records: Records,
        hints: Hints,
        floors: Floors,
        reap_after_s: float,
    ) -> None:
        """``reap_after_s``: how old tombstones have to be."""
        self._store = store
        self._own = own
        self._facts = facts
        self._sums = sums
        self._records = records
        self._hints = hints
        self._floors = floors
        self._reap_after_s = reap_after_s
        self._summed: dict[Range, tuple[int, int]] = {}
        """The floor and the XOR of the last answer about each range, in this run."""

    # --- what is dead -------------------------------------------------------------------

    def sum(self, message: SumDead, wall_us: int) -> SumDeadReply:
        """What is dead below the floors; the last ranges are left out if that is too much work.

        ``wall_us``: the time by the own clock.
        """
        work = Work()
        record = self._own.record
        agrees = record.epoch == message.epoch and not record.moving
        sums: list[tuple[int, int, int, bool]] = []
        for n, partition, floor in message.ranges:
            if sums and work.left <= 0:
                break
            of = Range(n, partition)
            fits = agrees and 0 < floor <= self.latest(wall_us) and self._can_agree(of)
            sums.append(self._sum(of, floor, work) if fits else _REFUSED)
        if message.close:
            self._floors.close(max((floor for floor, *_ in sums), default=0))
        return SumDeadReply(message.request, tuple(sums))

    def latest(self, wall_us: int) -> int:
        """The latest floor that this node takes."""
        return latest_floor(wall_us, self._reap_after_s)

    def _can_agree(self, of: Range) -> bool:
        """Whether this node owns nothing of a range, or has all of it."""
        ranges = self._own.ranges
        if of.n not in ranges.copies or not 0 <= of.partition < ranges.ring.partitions:
            return False
        if of not in self._own.owned:
            return True
        return self._own.state(of) is RangeState.WHOLE and self._facts.votes_in(of)

    def _sum(self, of: Range, floor: int, work: Work) -> tuple[int, int, int, bool]:
        dead: list[_Dead] = []
        if of in self._own.owned:
            floor, dead = _lowered(floor, list(self._dead(of, floor, work)))
            self._summed[of] = floor, _xor(dead)
        return floor, len(dead), _xor(dead), self._holds_up(of, floor, work)

    def _dead(self, of: Range, floor: int, work: Work) -> Iterator[_Dead]:
        """The sound tombstones below a floor.  Leaves without tombstones are not read."""
        limit = pack_floor(floor)
        for leaf in self._sums.leaves_with_tombstones(of, work):
            for digest, record in scan_stretch(self._store, *self._own.ranges.stretch_at(leaf)):
                work.left -= 1
                below = record[TIME] < limit and self._records.is_sound_record(digest, record)
                if below and is_tombstone(record):
                    yield _Dead(record[TIME], digest, hash_of(digest, record))

    def _holds_up(self, of: Range, floor: int, work: Work) -> bool:
        """Whether a record below the floor is here that its owners may not have."""
        stretch = self._own.stretch(of)
        owners = self._hints.totals()
        work.left -= SEEK * (1 + len(owners))
        if of not in self._own.owned and self._own.has_records(of):
            return True
        limit = pack_floor(floor)
        for owner in owners:
            for record in self._hints.within(owner, *stretch):
                work.left -= 1
                if record[TIME] < limit:
                    return True
        return False

    # --- how floors rise ----------------------------------------------------------------

    def raise_floors(self, message: RaiseFloors, wall_us: int) -> RaiseFloorsReply:
        """Raise the floors; those for which there is too much work stay as they are."""
        work = Work()
        record = self._own.record
        agrees = record.epoch == message.epoch and not record.moving
        deleted = 0
        floors: list[int] = []
        for n, partition, floor, xor in message.floors:
            of = Range(n, partition)
            fits = floor <= self.latest(wall_us)
            if fits and (not floors or work.left > 0):
                if xor is None:
                    deleted += self.follow(of, floor, work)
                elif agrees:
                    deleted += self._raise_agreed(of, floor, xor, work)
            floors.append(self._floors.of(of))
        return RaiseFloorsReply(message.request, tuple(floors), deleted)

    def follow(self, of: Range, floor: int, work: Work) -> int:
        """Raise a floor that another node has already; returns how many records were deleted.

        It is not later than `latest`.  A disk that is not confirmed waits: perhaps its ranges are
        to be BEHIND.
        """
        if not self._may_rise(of, floor) or not self._facts.confirmed():
            return 0
        match self._own.state(of):
            case RangeState.WHOLE:
                doomed = list(self._doomed(of, floor, work))
            case RangeState.BEHIND:
                doomed = list(self._all_below(of, floor, work))
            case _:
                return 0
        return self._raise(of, floor, doomed)

    def _raise_agreed(self, of: Range, floor: int, xor: int, work: Work) -> int:
        """Raise a floor on which all members have agreed, if all is as it was then."""
        if not self._may_rise(of, floor) or not self._can_agree(of):
            return 0
        dead = list(self._dead(of, floor, work))
        if _xor(dead) != xor or self._holds_up(of, floor, work):
            return 0
        self._floors.close(floor)
        return self._raise(of, floor, [one.digest for one in dead])

    def _may_rise(self, of: Range, floor: int) -> bool:
        return of in self._own.owned and self._floors.of(of) < floor

    def _doomed(self, of: Range, floor: int, work: Work) -> Iterator[bytes]:
        """The digests of what is dead below the floor of another owner, corrupt tombstones, too.

        The hash of a record is that of its head, with flags, checksum and stamp.  If the hashes of
        corrupt records are just those that are missing in the sum, their heads are as they were.
        """
        dead = list(self._dead(of, floor, work))
        corrupt = list(self._corrupt(of, floor))
        summed_floor, xor = self._summed.get(of, (0, 0))
        yield from (one.digest for one in dead)
        if summed_floor == floor and xor ^ _xor(dead) == _xor(corrupt):
            yield from (one.digest for one in corrupt)

    def _corrupt(self, of: Range, floor: int) -> Iterator[_Dead]:
        """The records that are known to be corrupt and look like tombstones below a floor."""
        limit = pack_floor(floor)
        for digest in self._sums.rotten_in(of):
            record = self._store.get(RECORD + digest) or b""
            if len(record) >= HEADER_BYTES and record[TIME] < limit and is_tombstone(record):
                yield _Dead(record[TIME], digest, hash_of(digest, record))

    def _raise(self, of: Range, floor: int, doomed: list[bytes]) -> int:
        for digest in doomed:
            self._store.delete(RECORD + digest)
        self._sums.drop(doomed)
        self._sums.change(of)
        self._floors.rise(of, floor)
        return len(doomed)

    def _all_below(self, of: Range, floor: int, work: Work) -> Iterator[bytes]:
        """The digests of all records below a floor, corrupt ones, too."""
        limit = pack_floor(floor)
        for digest, record in scan_stretch(self._store, *self._own.stretch(of)):
            work.left -= 1
            if record[TIME] < limit:
                yield digest


def _lowered(floor: int, dead: list[_Dead]) -> tuple[int, list[_Dead]]:
    """The floor, lowered so that about `REAPED_MAX` are dead at most; and those.

    If so many have the same lowest time, it is just above that time.
    """
    if len(dead) > REAPED_MAX:
        dead = sorted(dead)
        last = dead[REAPED_MAX].time
        if last == dead[0].time:
            last = pack_floor(int.from_bytes(last, "big") + 1)
        floor = int.from_bytes(last, "big")
        dead = [one for one in dead if one.time < last]
    return floor, dead


def _xor(dead: list[_Dead]) -> int:
    total = 0
    for one in dead:
        total ^= one.hash
    return total
