"""Floors that are higher at another owner: the own storage raises its own to them.

Below the floor of a range, what is not stored is dead (reaping.py).  An owner with a higher floor
has deleted tombstones that this node has still, perhaps.  So two owners compare no record before
both have the higher floor:

    WHOLE     storage deletes the tombstones below the floor
    BEHIND    storage deletes all that is below it: the copy has slept while values were deleted.
              What lives of that is fetched again, so the range visits all its owners again

From the question on until storage has answered no comparison of the range counts.

A floor that is later than the own clock allows is not followed: all that is written until then
would be dead.  The range is not compared with its owner, and not given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from toystore.core.antientropy.answers import Answer
from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.replicas import COMPARED, Replicas
from toystore.core.data.floor import latest_floor
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
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
        reap_after_s: float,
        outbox: Outbox,
    ) -> None:
        """``rises``: called with each range whose floor is to rise, before storage is asked."""
        self._own = own
        self._replicas = replicas
        self._pace = pace
        self._questions = questions
        self._rises = rises
        self._reap_after_s = reap_after_s
        self._out = outbox
        self._late: dict[str, set[Range]] = {}
        """The ranges whose floors at a member are too late."""
        self._wanted: dict[Range, int] = {}
        self._asked: list[Range] | None = None
        self._asked_at = 0.0
        self._ask_at = 0.0

    def __contains__(self, of: Range) -> bool:
        """Whether the floor of a range is to rise."""
        return of in self._wanted

    def latest(self, now: Now) -> int:
        """The latest floor that may be, by the own clock."""
        return latest_floor(now.wall_us, self._reap_after_s)

    def judge(self, member: str, answered: Collection[Answer], now: Now) -> None:
        """Note which floors of a member are too late, and log it if none was before."""
        before = self._late.get(member, set())
        late = {one.of: one.floor for one in answered if one.is_late}
        self._late[member] = (before - {one.of for one in answered}) | late.keys()
        if late and not before:
            late_s = round((max(late.values()) - self.latest(now)) / 1e6, 3)
            self._out.log("floor.refused", member=member, late_s=late_s)

    @property
    def waits(self) -> list[str]:
        """Whose floors are too late."""
        members = self._replicas.ranges.ring.members
        late = sorted(name for name, ranges in self._late.items() if ranges and name in members)
        return [f"{name} has floors that are too late by this clock" for name in late]

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
