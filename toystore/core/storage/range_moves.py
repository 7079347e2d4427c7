"""How ranges move: anti-entropy sets their states, and deletes those that this node has released.

SetRange         the state of a range, if `TRANSITIONS` allows it (range_states.py)
SweepRange       deletes some records of a RELEASED range; with the last its state is deleted
DescribeMoves    how much is left to do
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from toystore.core.protocol.messages.antientropy import (
    SetRange,
    SetRangeReply,
    SweepRange,
    SweepRangeReply,
)
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.messages.ring import DescribeMoves, DescribeMovesReply
from toystore.core.ring.ranges import Range
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.floors import Floors
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import RECORD
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch
from toystore.core.storage.sums import Sums

_STATES = frozenset(map(int, RangeState))
SWEPT_MAX = 500
"""The most records that are deleted for one message."""
RECORDS_SAMPLED = 100
RANGES_SAMPLED = 20
"""From how many a mean is estimated: each member asks each other while ranges move."""


class RangeMoves:
    """Answers what anti-entropy and the actor `ring` ask of moving ranges."""

    def __init__(
        self,
        store: Store,
        own: OwnRanges,
        facts: DiskFacts,
        sums: Sums,
        hints: Hints,
        floors: Floors,
    ) -> None:
        self._store = store
        self._own = own
        self._facts = facts
        self._sums = sums
        self._hints = hints
        self._floors = floors

    # --- states -------------------------------------------------------------------------

    def set_state(self, message: SetRange) -> SetRangeReply:
        """Set the state of a range, unless another record was adopted since it was decided on."""
        of = Range(message.n, message.partition)
        if message.epoch == self._own.record.epoch and message.state in _STATES:
            self._set(of, RangeState(message.state), message.floor)
        state = self._own.state(of) if of in self._own.known else RangeState.NONE
        return SetRangeReply(message.request, state, self._own.behind())

    def _set(self, of: Range, state: RangeState, floor: int) -> None:
        if of not in self._own.known:
            return
        if state is RangeState.WHOLE and floor != self._floors.of(of):
            return  # what was fetched below the floor was deleted when it was raised
        if state is RangeState.RETIRED and not self._facts.confirmed():
            return  # perhaps this disk has lost its records
        if self._own.set(of, state):
            self._facts.count_votes()
            self._sums.change(of)

    # --- deletion -----------------------------------------------------------------------

    def sweep(self, message: SweepRange) -> SweepRangeReply:
        """Delete some records of a range that was released and is not owned any more.

        If it was written to by a newer ring record, this node may be an owner again by that one.
        """
        of, record = Range(message.n, message.partition), self._own.record
        if of not in self._own.known:
            return SweepRangeReply(message.request, 0, 0, more=False)
        if (
            record.moving
            or record.epoch != message.epoch
            or of in self._own.owned
            or self._own.state(of) is not RangeState.RELEASED
            or self._own.is_early(of)
        ):
            return SweepRangeReply(message.request, 0, 0, more=True)
        limit = max(1, min(message.records_max, SWEPT_MAX))
        rows = scan_stretch(self._store, *self._own.stretch(of))
        swept = [(digest, len(data)) for digest, data in itertools.islice(rows, limit)]
        for digest, _ in swept:
            self._store.delete(RECORD + digest)
        self._sums.drop(digest for digest, _ in swept)
        more = len(swept) == limit
        if not more:
            self._own.put({of: RangeState.NONE})
            self._floors.delete(of)
            self._sums.follow(self._own.known)
            self._sums.change(of)
        return SweepRangeReply(message.request, len(swept), sum(size for _, size in swept), more)

    # --- figures ------------------------------------------------------------------------

    def describe(self, message: DescribeMoves) -> DescribeMovesReply:
        """How far this node is; figures of records that are still to come are estimates.

        A disk that is not confirmed may lack everything.  Nothing may be finished before it is
        known: the only other copy may be one that is deleted then.
        """
        own, record = self._own, self._own.record
        lacking = own.lacking() if self._facts.confirmed() else own.staying()
        keys, mean_bytes = self.count_records(), self._mean_bytes()
        keys_left = round(self._keys_left(lacking))
        leaves = own.ranges.node not in {one.name for one in record.members}
        return DescribeMovesReply(
            message.request,
            record.epoch,
            self._facts.disk(),
            behind=len(lacking),
            unreleased=len(own.leaving()),
            keys_left=keys_left,
            bytes_left=round(keys_left * mean_bytes),
            hints=self._hints.total_of_all().hints if leaves else 0,
            keys=keys,
            bytes=round(keys * mean_bytes),
            votes=self._facts.votes(),
        )

    def count_records(self) -> int:
        """How many records are stored."""
        hints = sum(2 * total.hints + 1 for total in self._hints.totals().values())
        return max(0, self._store.size().keys - self._facts.count() - hints)

    def _keys_left(self, lacking: list[Range]) -> float:
        """What the ranges that are behind lack until they are as large as those that are whole."""
        left = 0.0
        for n in {of.n for of in lacking}:
            whole = _some(of for of in self._own.owned if of.n == n and self._is_whole(of))
            behind = [of for of in lacking if of.n == n]
            some = _some(behind)
            mean = sum(map(self._sums.records, whole)) / max(1, len(whole))
            lacks = sum(max(0.0, mean - self._sums.records(of)) for of in some) / len(some)
            left += lacks * len(behind)
        return left

    def _is_whole(self, of: Range) -> bool:
        return self._own.state(of) is RangeState.WHOLE

    def _mean_bytes(self) -> float:
        """The mean size of a record, from some of them."""
        some = [
            len(data) for _, data in itertools.islice(self._store.scan(RECORD), RECORDS_SAMPLED)
        ]
        return sum(some) / max(1, len(some))


def _some(ranges: Iterable[Range]) -> list[Range]:
    """The first few ranges: their sizes are as those of the others."""
    return list(itertools.islice(ranges, RANGES_SAMPLED))
