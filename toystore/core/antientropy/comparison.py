"""One comparison: ranges are made equal on this node and on one other owner.

The stretches in which the two trees differ are compared in parts.  A part is as many stretches as
are listed and compared at once, or a piece of one:

    READY --at its pace--> LISTING --own rows--> COMPARING
    COMPARING --records--> STORING
    COMPARING --only wanted--> FETCHING
    COMPARING --equal--> READY
    COMPARING --a floor has risen--> READY
    STORING --stored--> READY
    STORING --stored, some wanted--> FETCHING
    FETCHING --records--> PUSHING
    FETCHING --nothing sound--> READY
    PUSHING --pushed--> READY
    PUSHING --pushed, some wanted--> FETCHING
    READY --no stretch is left--> FINISHED
    READY --failure--> FAILED
    LISTING --failure--> FAILED
    COMPARING --failure--> FAILED
    STORING --failure--> FAILED
    FETCHING --failure--> FAILED
    PUSHING --failure--> FAILED

This node lists its rows of a part, and the other owner compares them with its own: it answers with
the records that are newer there, and with the hashes of those that are newer here.  So each row
crosses once at most, and only records that differ cross.  They cross in both directions, unless one
of the two does not own the range, or will not: then only to the other one.

If the floor of a range has risen at the other owner since the comparison began, what that owner
lacks may be dead: the rest of the range is compared later, with equal floors.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, Protocol

from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.parts import Direction, Moved, Part
from toystore.core.data.stamp import TIME_US_MAX
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import (
    CompareStretches,
    CompareStretchesReply,
    FetchRecords,
    FetchRecordsReply,
    ListStretches,
    ListStretchesReply,
    StoreRecords,
    StoreRecordsReply,
)
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.questions import Questions
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range

ROWS_MAX = 1000
"""How many rows are listed in one part."""
STRETCHES_MAX = 128
"""How many stretches are in one part."""
HASH_BYTES = 16
_OK = int(ReplicaStatus.OK)
_REFUSED = int(ReplicaStatus.REFUSED)
_INTERNAL = int(ReplicaStatus.INTERNAL)
_MOVED = int(ReplicaStatus.MOVED)


class State(Enum):
    """How far a comparison is: whose answer it waits for."""

    READY = "it may begin the next part when the pace allows it"
    LISTING = "this node's storage lists its rows"
    COMPARING = "the other owner compares the rows with its own"
    STORING = "this node's storage stores the records that were newer there"
    FETCHING = "this node's storage reads the records that are newer here"
    PUSHING = "the other owner stores them"
    FINISHED = "every stretch was compared"
    FAILED = "something went wrong; the rest is compared again later"


class Input(Enum):
    """What moves a comparison to another state."""

    PACE = "at its pace"
    ROWS = "own rows"
    RECORDS = "records"
    WANTED = "only wanted"
    EQUAL = "equal"
    RISEN = "a floor has risen"
    STORED = "stored"
    STORED_AND_WANTED = "stored, some wanted"
    NOTHING = "nothing sound"
    PUSHED = "pushed"
    PUSHED_AND_WANTED = "pushed, some wanted"
    END = "no stretch is left"
    FAILURE = "failure"


TRANSITIONS: Final = {
    (State.READY, Input.PACE): State.LISTING,
    (State.READY, Input.END): State.FINISHED,
    (State.READY, Input.FAILURE): State.FAILED,
    (State.LISTING, Input.ROWS): State.COMPARING,
    (State.LISTING, Input.FAILURE): State.FAILED,
    (State.COMPARING, Input.RECORDS): State.STORING,
    (State.COMPARING, Input.WANTED): State.FETCHING,
    (State.COMPARING, Input.EQUAL): State.READY,
    (State.COMPARING, Input.RISEN): State.READY,
    (State.COMPARING, Input.FAILURE): State.FAILED,
    (State.STORING, Input.STORED): State.READY,
    (State.STORING, Input.STORED_AND_WANTED): State.FETCHING,
    (State.STORING, Input.FAILURE): State.FAILED,
    (State.FETCHING, Input.RECORDS): State.PUSHING,
    (State.FETCHING, Input.NOTHING): State.READY,
    (State.FETCHING, Input.FAILURE): State.FAILED,
    (State.PUSHING, Input.PUSHED): State.READY,
    (State.PUSHING, Input.PUSHED_AND_WANTED): State.FETCHING,
    (State.PUSHING, Input.FAILURE): State.FAILED,
}


class Observer(Protocol):
    """What a comparison reports to."""

    def on_stored(self, of: Range, now: Now) -> None:
        """Records of a range were stored here."""

    def on_compared(self, of: Range, now: Now) -> None:
        """Every stretch of a range was compared."""

    def on_left_out(self, cause: str) -> None:
        """Records were left out that a storage can never store."""

    def on_ended(self, cause: str, now: Now) -> None:
        """Every range was compared, or ``cause`` has ended the comparison."""


class Comparison:
    """Compares the differing stretches of some ranges with one other owner."""

    def __init__(
        self,
        parts: Iterable[Part],
        *,
        own: Peer,
        other: Peer,
        with_young: bool,
        questions: Questions,
        pace: Pace,
        settings: AntientropySettings,
        observer: Observer,
    ) -> None:
        """``own``, ``other``: the two storages.  ``with_young``: leave no record out."""
        self.moved = Moved()
        self.state = State.READY
        self._left = deque(parts)
        self._most = STRETCHES_MAX
        """How many stretches the next part may have: what is not answered is listed again."""
        self._listed: tuple[tuple[bytes, bytes, bytes], ...] = ()
        """Of the part that is under way: start, end and rows of its stretches."""
        self._compared: tuple[tuple[bytes, int], ...] = ()
        self._wanted = b""
        """The hashes of the records that the other owner still needs of this part."""
        self._own, self._other = own, other
        self._with_young = with_young
        self._questions = questions
        self._pace = pace
        self._settings = settings
        self._observer = observer
        self._until_us = 0
        self._began = 0.0
        self._part_bytes = 0

    @property
    def is_ready(self) -> bool:
        """Whether it may begin its next part."""
        return self.state is State.READY

    @property
    def _n(self) -> int:
        """The N of the part that is under way: its stretches all have the same."""
        return self._left[0].of.n

    @property
    def _direction(self) -> Direction:
        """The direction of the part that is under way: its stretches all have the same."""
        return self._left[0].direction

    def go_on(self, now: Now) -> None:
        """Begin the next part, if none is under way."""
        if not self.is_ready:
            return
        if not self._left:
            self._move(Input.END)
            self._observer.on_ended("", now)
            return
        self._move(Input.PACE)
        self._began, self._part_bytes = now.monotonic, 0
        young_us = int(self._settings.young_s * 1e6)
        self._until_us = TIME_US_MAX if self._with_young else now.wall_us - young_us
        next_parts = itertools.islice(self._left, self._most)
        like = self._n, self._direction
        stretches = tuple(
            (part.start, part.end) for part in next_parts if (part.of.n, part.direction) == like
        )
        self._questions.ask(
            self._own,
            lambda number: ListStretches(number, stretches, ROWS_MAX, self._until_us),
            self,
            now,
        )

    def on_reply(self, reply: Any, now: Now) -> None:
        """An answer of one of the two storages."""
        match self.state, reply:
            case State.LISTING, ListStretchesReply():
                self._on_listed(reply, now)
            case State.COMPARING, CompareStretchesReply():
                self._on_compared(reply, now)
            case State.STORING, StoreRecordsReply():
                self._on_stored(reply, now)
            case State.FETCHING, FetchRecordsReply():
                self._on_fetched(reply, now)
            case State.PUSHING, StoreRecordsReply():
                self._on_pushed(reply, now)

    def on_failed(self, cause: str, now: Now) -> None:
        """An answer will not come; or the other owner is lost while the own storage is asked."""
        if self.state is not State.FAILED:
            self._move(Input.FAILURE)
            self._observer.on_ended(cause, now)

    # --- one part -----------------------------------------------------------------------

    def _on_listed(self, reply: ListStretchesReply, now: Now) -> None:
        self._move(Input.ROWS)
        self._listed = reply.listed
        self._sent(sum(len(start) + len(end) + len(rows) for start, end, rows in self._listed))
        push, bytes_max = self._direction is Direction.PUSH, self._settings.batch_bytes
        self._questions.ask(
            self._other,
            lambda number: CompareStretches(number, self._listed, self._until_us, bytes_max, push),
            self,
            now,
        )

    def _on_compared(self, reply: CompareStretchesReply, now: Now) -> None:
        fetches = self._direction is Direction.FETCH
        self._compared, self._wanted = reply.compared, b"" if fetches else reply.wanted
        if not self._is_progress():
            self.on_failed(f"storage of {self._other.node} has compared nothing", now)
            return
        most = len(self._compared) if self._is_cut() else self._most
        self._most = min(STRETCHES_MAX, 2 * most)
        self._received(sum(map(len, reply.records)) + len(reply.wanted))
        if risen := self._risen(reply):
            self._move(Input.RISEN)
            self._leave_out(risen, now)
        elif reply.records:
            self._move(Input.RECORDS)
            self._store(self._own, reply.records, reply.floors, now)
        elif self._wanted:
            self._move(Input.WANTED)
            self._fetch(now)
        else:
            self._move(Input.EQUAL)
            self._end_part(now)

    def _is_progress(self) -> bool:
        """Whether something was compared, and nothing that was not asked."""
        stretches = zip(self._listed, self._compared, strict=False)
        return 0 < len(self._compared) <= len(self._listed) and all(
            start < to <= end for (start, end, _), (to, _) in stretches
        )

    def _is_cut(self) -> bool:
        """Whether the other owner has not compared all that was listed."""
        (to, _), (_, end, _) = self._compared[-1], self._listed[-1]
        return len(self._compared) < len(self._listed) or to < end

    def _risen(self, reply: CompareStretchesReply) -> set[Range]:
        """The ranges whose floor at the other owner is another one than when this began."""
        floors = dict(reply.floors)
        parts = itertools.islice(self._left, len(self._compared))
        return {part.of for part in parts if floors.get(part.of.partition, 0) != part.floor}

    def _leave_out(self, ranges: set[Range], now: Now) -> None:
        """Do not compare the rest of these ranges, and go on with the others."""
        self._left = deque(part for part in self._left if part.of not in ranges)
        self._pause(now)

    def _on_stored(self, reply: StoreRecordsReply, now: Now) -> None:
        self.moved.records_in += reply.statuses.count(_OK)
        if self._refused(reply, self._own, now):
            return
        if self._wanted:
            self._move(Input.STORED_AND_WANTED)
            self._fetch(now)
        else:
            self._move(Input.STORED)
            self._end_part(now)

    def _on_fetched(self, reply: FetchRecordsReply, now: Now) -> None:
        self._wanted = self._wanted[max(1, reply.served) * HASH_BYTES :]
        if reply.records:
            self._move(Input.RECORDS)
            self._sent(sum(map(len, reply.records)))
            self._store(self._other, reply.records, reply.floors, now)
        else:
            self._move(Input.NOTHING)
            self._end_part(now)

    def _on_pushed(self, reply: StoreRecordsReply, now: Now) -> None:
        self.moved.records_out += reply.statuses.count(_OK)
        if self._refused(reply, self._other, now):
            return
        if self._wanted:
            self._move(Input.PUSHED_AND_WANTED)
            self._fetch(now)
        else:
            self._move(Input.PUSHED)
            self._end_part(now)

    def _end_part(self, now: Now) -> None:
        """Go on behind this part, after a pause."""
        for to, records in self._compared:
            part = self._left.popleft()
            if records:
                self._observer.on_stored(part.of, now)
            if to < part.end:
                self._left.appendleft(part._replace(start=to))
            elif not self._left or self._left[0].of != part.of:
                self._observer.on_compared(part.of, now)
        self._pause(now)

    def _pause(self, now: Now) -> None:
        self._pace.spend(self._part_bytes, now.monotonic - self._began, now.monotonic)
        if not self._left:
            self.go_on(now)

    def _refused(self, reply: StoreRecordsReply, by: Peer, now: Now) -> bool:
        """Fail if a storage has no room for a record that it lacks, or does not own the range.

        A record that it can never store, because no reader could read it, must not keep the others
        from it.
        """
        refused, moved = reply.statuses.count(_REFUSED), reply.statuses.count(_MOVED)
        if refused:
            self.on_failed(f"storage of {by.node} has no room for {refused} records", now)
        elif moved:
            self.on_failed(f"storage of {by.node} takes no records of the range any more", now)
        elif unreadable := reply.statuses.count(_INTERNAL):
            self._observer.on_left_out(f"storage of {by.node} cannot store {unreadable} records")
        return bool(refused or moved)

    def _store(
        self, to: Peer, records: tuple[bytes, ...], floors: tuple[tuple[int, int], ...], now: Now
    ) -> None:
        """``floors``: of the ranges, as the records were read."""
        n = self._n
        self._questions.ask(to, lambda number: StoreRecords(number, n, records, floors), self, now)

    def _fetch(self, now: Now) -> None:
        n, wanted, bytes_max = self._n, self._wanted, self._settings.batch_bytes
        self._questions.ask(
            self._own, lambda number: FetchRecords(number, n, wanted, bytes_max), self, now
        )

    def _sent(self, size: int) -> None:
        self.moved.bytes_out += size
        self._part_bytes += size

    def _received(self, size: int) -> None:
        self.moved.bytes_in += size
        self._part_bytes += size

    def _move(self, given: Input) -> None:
        """Move as the table says; KeyError if there is no arrow from the present state."""
        self.state = TRANSITIONS[self.state, given]
