"""Faults planted into rebuilding.  test_rebuilds.py leads to each: random seeds seldom do."""

from __future__ import annotations

from typing import Any

from toystore.core.antientropy.aims import Aim
from toystore.core.antientropy.partner import Partner
from toystore.core.antientropy.visits import Visits
from toystore.core.membership.disks import Disks
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.storage.own_ranges import OwnRanges

from .seams import Patch, replace


def a_range_is_whole_before_its_records_are_stored(patch: Patch) -> None:
    def faulty(begin: Any, self: Partner, now: Any) -> None:
        for of in {part.of for part in self._parts}:
            self._events.visited(of, self.name, Aim.FETCH, self._epoch, now)
        begin(self, now)

    replace(patch, Partner, "_begin", faulty)


def a_range_that_is_behind_votes(patch: Patch) -> None:
    def faulty(state: Any, self: OwnRanges, of: Any) -> RangeState:
        found: RangeState = state(self, of)
        return RangeState.WHOLE if found is RangeState.BEHIND else found

    replace(patch, OwnRanges, "state", faulty)


def a_new_disk_is_rebuilt_from_one_source(patch: Patch) -> None:
    replace(patch, Visits, "plan", lambda plan, self, of, owners: plan(self, of, owners[:1]))


def an_empty_new_disk_votes_not_found(patch: Patch) -> None:
    replace(patch, Disks, "replace", lambda _, self, own, before: None)
