"""Faults planted into changes of the ring: like planted.py, but in runs in which it changes.

`python -m tests.sim.plant` searches for seeds that catch `PLANTED`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toystore.core.antientropy.release import Release
from toystore.core.handoff.handoff import Handoff
from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import CompareRangesReply, SweepRange
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHintsReply
from toystore.core.protocol.messages.replica import ReadReplicaReply
from toystore.core.requests.votes import vote_for_write
from toystore.core.ring.ranges import Range
from toystore.core.ring.record import RingRecord
from toystore.core.storage.layout import RECORD
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.range_moves import RangeMoves
from toystore.core.storage.range_states import Ownership
from toystore.core.storage.replica import Replica
from toystore.core.storage.storage import Storage
from toystore.core.storage.stretch import scan_stretch

from .seams import Patch, Send, everywhere, hears, replace, says

BEHIND, WHOLE = RangeState.BEHIND, RangeState.WHOLE
GIVEN_AWAY = (RangeState.RETIRED, RangeState.RELEASED)


# --- states of ranges -------------------------------------------------------------------


def a_newcomer_is_whole_at_once(patch: Patch) -> None:
    def become_whole(self: OwnRanges) -> None:
        fresh = [
            of
            for of in self.owned
            if self.state(of) is BEHIND and self.ownership(of) is Ownership.NEW
        ]
        self.put(dict.fromkeys(fresh, WHOLE))

    def adopt(true: Any, self: OwnRanges, record: RingRecord) -> int:
        strays: int = true(self, record)
        become_whole(self)
        return strays

    def catch_up(true: Any, self: OwnRanges) -> None:
        true(self)
        become_whole(self)

    replace(patch, OwnRanges, "adopt", adopt)
    replace(patch, OwnRanges, "catch_up", catch_up)


def a_range_is_said_to_be_whole_before_it_is(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: CompareRangesReply) -> None:
        states = message.states.replace(bytes([BEHIND]), bytes([WHOLE]))
        send(to, message._replace(states=states))

    says(patch, Storage, CompareRangesReply, faulty)


def a_retired_owner_answers_not_found(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: ReadReplicaReply) -> None:
        moved = message.status == ReplicaStatus.MOVED
        send(to, message._replace(status=int(ReplicaStatus.NOT_FOUND)) if moved else message)

    says(patch, Storage, ReadReplicaReply, faulty)


def an_abort_trusts_what_was_whole_before(patch: Patch) -> None:
    def faulty(true: Any, self: OwnRanges, record: RingRecord) -> int:
        given_away = [of for of in self.known if self.state(of) in GIVEN_AWAY]
        strays: int = true(self, record)
        self.put({of: WHOLE for of in given_away if of in self.owned})
        return strays

    replace(patch, OwnRanges, "adopt", faulty)


def a_released_range_is_never_swept(patch: Patch) -> None:
    def faulty(sweep: Any, self: RangeMoves, message: SweepRange) -> Any:
        return sweep(self, message._replace(epoch=message.epoch - 1))

    replace(patch, RangeMoves, "sweep", faulty)


def a_released_range_is_deleted_before_the_ring_is_stable(patch: Patch) -> None:
    def faulty(true: Any, self: RangeMoves, of: Range, state: RangeState, floor: int) -> None:
        true(self, of, state, floor)
        if state is RangeState.RELEASED and self._own.state(of) is state:
            rows = list(scan_stretch(self._store, *self._own.stretch(of)))
            for digest, _ in rows:
                self._store.delete(RECORD + digest)
            self._sums.drop(digest for digest, _ in rows)

    replace(patch, RangeMoves, "_set", faulty)


def a_range_is_released_and_nothing_is_pushed(patch: Patch) -> None:
    def faulty(true: Any, self: Release, of: Range, state: RangeState, now: Now) -> None:
        true(self, of, state, now)
        if state is RangeState.RETIRED:
            self._states.set(of, RangeState.RELEASED)

    replace(patch, Release, "was_set", faulty)


# --- hints ------------------------------------------------------------------------------


def a_hint_is_dropped_where_the_range_has_moved_away(patch: Patch) -> None:
    def faulty(message: DeliverHintsReply) -> DeliverHintsReply:
        moved, ok = int(ReplicaStatus.MOVED), int(ReplicaStatus.OK)
        statuses = tuple(ok if status == moved else status for status in message.statuses)
        return message._replace(statuses=statuses)

    hears(patch, Handoff, DeliverHintsReply, faulty)


# --- requests ---------------------------------------------------------------------------
# Random seeds seldom lead to these; test_rings.py does.


def an_owners_write_of_an_old_ring_is_stored(patch: Patch) -> None:
    def faulty(true: Any, self: Replica, message: Any) -> Any:
        answer = true(self, message)
        return None if answer is not None and answer[0] == ReplicaStatus.STALE else answer

    replace(patch, Replica, "_refusal", faulty)


def an_owner_that_is_behind_votes(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: ReadReplicaReply) -> None:
        if message.status == ReplicaStatus.NO_VOTE:
            status = ReplicaStatus.OK if message.record else ReplicaStatus.NOT_FOUND
            message = message._replace(status=int(status))
        send(to, message)

    says(patch, Storage, ReadReplicaReply, faulty)


def a_slot_counts_by_its_old_node_alone(patch: Patch) -> None:
    def faulty(true: Any, states: Sequence[Any]) -> Any:
        return true(states[-1:])

    everywhere(patch, vote_for_write, faulty, within="toystore.core.requests")


DIRECTED = (
    an_owners_write_of_an_old_ring_is_stored,
    an_owner_that_is_behind_votes,
    a_slot_counts_by_its_old_node_alone,
)
PLANTED: dict[str, Callable[[Patch], None]] = {
    name: plant
    for name, plant in list(globals().items())
    if getattr(plant, "__module__", "") == __name__ and plant not in DIRECTED
}
"""The other faults, by name."""
