"""Faults planted into the removal of tombstones.

`python -m tests.sim.plant` searches for seeds that catch `PLANTED`, too, in runs in which the ring
changes and tombstones are removed.  test_reaping.py leads to the other faults: random seeds seldom
do, since anti-entropy repairs most differences long before tombstones are old.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any

from toystore.core.antientropy.reaping import Reaping
from toystore.core.antientropy.reaping_round import Agreed, Ask, Round, Step
from toystore.core.ring.ranges import Range
from toystore.core.ring.record import RingRecord
from toystore.core.storage.floors import NO_FLOOR, Floors, FloorsThere
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.sums import Work
from toystore.core.storage.tombstones import Tombstones

from .seams import Patch, replace

# --- the members do not agree -----------------------------------------------------------


def an_absent_member_is_not_asked(patch: Patch) -> None:
    def faulty(_: Any, self: Round, reachable: Collection[str]) -> list[str]:
        self._others = [name for name in self._others if name in reachable]
        return []

    replace(patch, Round, "missing", faulty)


def the_sums_of_the_owners_may_differ(patch: Patch) -> None:
    def faulty(
        compare: Any, self: Round, of: Range, step: Step, theirs: Agreed, **more: Any
    ) -> None:
        if step.ask is Ask.SUM and theirs.floor:
            theirs = self.agreed[of]
        compare(self, of, step, theirs, **more)

    replace(patch, Round, "_compare", faulty)


def a_hint_holds_no_floor_up(patch: Patch) -> None:
    replace(patch, Tombstones, "_holds_up", lambda _, self, of, floor, work: False)


class Still:
    """The ranges of a node, by a record that seems to be stable."""

    def __init__(self, own: OwnRanges) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    @property
    def record(self) -> RingRecord:
        return dataclasses.replace(self._own.record, old=())


# --- what is stored below a floor -------------------------------------------------------


def what_lies_below_a_higher_floor_is_kept(patch: Patch) -> None:
    def faulty(_: Any, self: Tombstones, of: Range, floor: int, work: Work) -> Iterator[bytes]:
        return (dead.digest for dead in self._dead(of, floor, work))

    replace(patch, Tombstones, "_all_below", faulty)


def a_record_from_a_lower_floor_is_stored(patch: Patch) -> None:
    replace(patch, FloorsThere, "at", lambda _, self, digest: NO_FLOOR)


def a_write_is_stored_below_the_floor(patch: Patch) -> None:
    replace(patch, Floors, "for_writes", lambda _, self, digest: NO_FLOOR)


def a_repair_or_hint_is_stored_below_the_floor(patch: Patch) -> None:
    replace(patch, Floors, "at", lambda _, self, digest: NO_FLOOR)


# --- in runs in which the ring changes, too ---------------------------------------------


def floors_rise_while_the_ring_moves(patch: Patch) -> None:
    def init(true: Any, self: Tombstones, store: Any, own: OwnRanges, *more: Any) -> None:
        true(self, store, Still(own), *more)

    def next_deadline(true: Any, self: Reaping) -> float:
        if self._asked_at is None and self._round is None and self._begin_at is not None:
            return max(self._begin_at, self._pace.ready_at)
        deadline: float = true(self)
        return deadline

    replace(patch, Tombstones, "__init__", init)
    replace(patch, Reaping, "next_deadline", next_deadline)


PLANTED: dict[str, Callable[[Patch], None]] = {
    floors_rise_while_the_ring_moves.__name__: floors_rise_while_the_ring_moves
}
"""The faults that random seeds lead to, by name."""
