"""Deletes the records of ranges that were given away, once the ring is stable.

Only what is RELEASED is deleted, by the own storage, in small batches at the pace of anti-entropy.
After a restart the sweep goes on with what is left.
"""

from __future__ import annotations

from collections.abc import Collection

from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.replicas import Replicas
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import SweepRange, SweepRangeReply
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.questions import Questions
from toystore.core.ring.ranges import Range

RECORDS_MAX = 500
"""How many records are deleted in one batch."""
AGAIN_S = 1.0
"""How soon storage is asked again, if it has deleted nothing."""


class Sweep:
    """The ranges to be swept."""

    def __init__(
        self, own: Peer, replicas: Replicas, pace: Pace, questions: Questions, outbox: Outbox
    ) -> None:
        self._own = own
        self._replicas = replicas
        self._pace = pace
        self._questions = questions
        self._out = outbox
        self._left: dict[Range, None] = {}
        self._asked: Range | None = None
        self._asked_at = 0.0
        self._ask_at = 0.0
        self._began: float | None = None
        self._ranges = self._records = self._bytes = 0

    def __len__(self) -> int:
        """How many ranges have records to delete, or will have once the ring is stable."""
        return len(self._left)

    def learn(self, told: Collection[Range]) -> None:
        """Storage has told of ranges, or the ring has changed."""
        for of in told:
            released = self._replicas.states.get(of) is RangeState.RELEASED
            if released and self._replicas.ranges.loses(of):
                self._left[of] = None
            else:
                self._left.pop(of, None)

    def go_on(self, now: Now) -> None:
        """Have the next batch deleted, if that is due."""
        if self.next_deadline() > now.monotonic:
            return
        if self._began is None:
            self._began = now.monotonic
            self._ranges = self._records = self._bytes = 0
        self._asked, self._asked_at = next(iter(self._left)), now.monotonic
        of, epoch = self._asked, self._replicas.epoch
        self._questions.ask(
            self._own, lambda number: SweepRange(number, *of, epoch, RECORDS_MAX), self, now
        )

    def next_deadline(self) -> float:
        """When the next batch is due, in monotonic seconds; infinity if none is."""
        if self._asked is not None or not self._left or self._replicas.ranges.ring.record.moving:
            return float("inf")
        return max(self._ask_at, self._pace.ready_at)

    def on_reply(self, reply: SweepRangeReply, now: Now) -> None:
        """A batch was deleted, or nothing: then storage has a newer ring record."""
        of, self._asked = self._asked, None
        assert of is not None
        self._pace.spend(reply.bytes, now.monotonic - self._asked_at, now.monotonic)
        self._records += reply.records
        self._bytes += reply.bytes
        if not reply.more:
            self._left.pop(of, None)
            self._ranges += 1
            self._finish(now)
        elif not reply.records:
            self._ask_at = now.monotonic + AGAIN_S

    def on_failed(self, _cause: str, now: Now) -> None:
        """Storage has failed over it."""
        self._asked = None
        self._ask_at = now.monotonic + AGAIN_S

    def _finish(self, now: Now) -> None:
        """Log it if nothing is left."""
        if not self._left and self._began is not None:
            self._out.log(
                "ranges.swept",
                ranges=self._ranges,
                records=self._records,
                bytes=self._bytes,
                took_s=round(now.monotonic - self._began, 3),
            )
            self._began = None
