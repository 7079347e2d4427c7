"""Floors that are higher at another owner: the own storage raises its own to them.

Below the floor of a range, what is not stored is dead (reaping.py).  An owner with a higher floor
has deleted tombstones that this node has still, perhaps.  So two owners compare no record before
both have the higher floor:

    WHOLE     storage deletes the tombstones below the floor
    BEHIND    storage deletes all that is below it: the copy has slept while values were deleted.
              What lives of that is fetched again, so the range visits all its owners again

From the question on until storage has answered no comparison of the range counts.
"""

from __future__ import annotations

from collections.abc import Callable

from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.replicas import COMPARED, Replicas
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import RaiseFloors, RaiseFloorsReply
from toystore.core.protocol.questions import Questions
from toystore.core.ring.ranges import Range

RAISED_MAX = 1024
"""How many floors are sent in one message."""
AGAIN_S = 1.0
"""How soon storage is asked again, if it has raised none."""


class Floors:
    """Has the own storage raise floors."""

    def __init__(
        self,
        own: Peer,
        replicas: Replicas,
        pace: Pace,
        questions: Questions,
        rises: Callable[[Range], None],
    ) -> None:
        """``rises``: called with each range whose floor is to rise, before storage is asked."""
        self._own = own
        self._replicas = replicas
        self._pace = pace
        self._questions = questions
        self._rises = rises
        self._wanted: dict[Range, int] = {}
        self._asked: list[Range] | None = None
        self._asked_at = 0.0
        self._ask_at = 0.0

    def __contains__(self, of: Range) -> bool:
        """Whether the floor of a range is to rise."""
        return of in self._wanted

    def learn(self, of: Range, floor: int) -> bool:
        """Another owner has this floor; True if it is higher and this node takes records of it."""
        higher = floor > max(self._replicas.floors.get(of, 0), self._wanted.get(of, 0))
        if higher and self._replicas.states.get(of) in COMPARED:
            self._wanted[of] = floor
            self._rises(of)
        return of in self._wanted

    def counts(self, of: Range, floor: int) -> bool:
        """Whether a comparison counts that has begun when the range had this floor."""
        return of not in self._wanted and self._replicas.floors.get(of, 0) == floor

    def go_on(self, now: Now) -> None:
        """Ask storage to raise floors, if any are to rise."""
        if self.next_deadline() > now.monotonic:
            return
        self._asked, self._asked_at = list(self._wanted)[:RAISED_MAX], now.monotonic
        floors = tuple((*of, self._wanted[of], None) for of in self._asked)
        epoch = self._replicas.epoch
        self._questions.ask(self._own, lambda number: RaiseFloors(number, floors, epoch), self, now)

    def next_deadline(self) -> float:
        """When storage can be asked, in monotonic seconds; infinity if it is not to be."""
        if self._asked is not None or not self._wanted:
            return float("inf")
        return max(self._ask_at, self._pace.ready_at)

    def on_reply(self, reply: RaiseFloorsReply, now: Now) -> None:
        """The floors as they are, on the disk."""
        asked, self._asked = self._asked or [], None
        self._pace.spend(0, now.monotonic - self._asked_at, now.monotonic)
        before = len(self._wanted)
        for of, floor in zip(asked, reply.floors, strict=False):
            self._replicas.has_floor(of, floor)
            if floor >= self._wanted[of] or self._replicas.states.get(of) not in COMPARED:
                del self._wanted[of]
        if len(self._wanted) == before:
            self._ask_at = now.monotonic + AGAIN_S

    def on_failed(self, _cause: str, now: Now) -> None:
        """Storage may have raised them, or not."""
        self._asked = None
        self._ask_at = now.monotonic + AGAIN_S
