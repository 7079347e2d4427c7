"""Reaping: tombstones are removed once no node can bring back what they have deleted.

A range has a *floor*, a time: below it, what is not stored is dead.  When the first owner of a
range raises its floor, its storage deletes the tombstones below it.  Before that all members have
to agree (reaping_round.py).  The other owners learn of the floor by the next comparison
(floors.py): the root of the range has changed.

A round begins every ``reap_after_s / 16`` while this node is the first owner of a range that is
whole and has tombstones, and the ring is stable.  What is not agreed on is tried again in the next
round, and nothing has to be undone.
"""

from __future__ import annotations

from collections.abc import Collection

from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.reaping_round import Cause, Round
from toystore.core.antientropy.replicas import Replicas
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import (
    RaiseFloors,
    RaiseFloorsReply,
    SumDeadReply,
)
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.questions import Questions
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range

RANGES_MAX = 4096
"""The most ranges of one round."""
ROUNDS = 16
"""How many rounds begin in ``reap_after_s``."""
EVERY_S_MIN, EVERY_S_MAX = 1.0, 300.0
"""The least and the most time between two rounds."""


class Reaping:
    """Removes the tombstones of the ranges whose first owner is this node."""

    def __init__(
        self,
        own: Peer,
        replicas: Replicas,
        settings: AntientropySettings,
        pace: Pace,
        questions: Questions,
        outbox: Outbox,
    ) -> None:
        self._own = own
        self._replicas = replicas
        self._after_us = int(settings.reap_after_s * 1e6)
        self._every_s = min(EVERY_S_MAX, max(EVERY_S_MIN, settings.reap_after_s / ROUNDS))
        self._pace = pace
        self._questions = questions
        self._out = outbox
        self._with_tombstones: set[Range] = set()
        """The ranges to reap: this node is their first owner."""
        self._round: Round | None = None
        self._raising: list[Range] = []
        """The ranges whose floors storage was asked to raise."""
        self._asked_at: float | None = None
        """When the open question was asked."""
        self._begin_at: float | None = None
        """When the next round begins, in monotonic seconds; None if nothing is to be reaped."""
        self._last: Range | None = None
        """The last range of the round before."""
        self._ranges = self._records = self._floor = 0
        """What was reaped in this round: how many ranges and records, and the lowest floor."""
        self._waits: dict[str, Cause] = {}
        """Who has not agreed in the round before, and why."""
        self._logged: dict[str, Cause] = {}

    @property
    def waits(self) -> list[str]:
        """Which members tombstones wait for, and why."""
        return _texts(self._waits)

    # --- what is learned ----------------------------------------------------------------

    def learn(self, told: Collection[Range], now: Now) -> None:
        """Storage has told of ranges, or the ring has changed."""
        for of in told:
            reaps = self._replicas.tombstones.get(of, 0) and self._is_first_owner(of)
            (self._with_tombstones.add if reaps else self._with_tombstones.discard)(of)
        if not self._with_tombstones:
            self._begin_at, self._waits = None, {}
        elif self._begin_at is None:
            self._begin_at = now.monotonic + self._every_s

    def _is_first_owner(self, of: Range) -> bool:
        ranges = self._replicas.ranges
        owners = ranges.ring.owners(of.partition, of.n)
        whole = self._replicas.states.get(of) is RangeState.WHOLE
        return whole and owners[:1] == (ranges.node,)

    # --- what is done -------------------------------------------------------------------

    def go_on(self, reachable: frozenset[str], now: Now) -> None:
        """Ask the next storage, or begin a round, if that is due."""
        if self.next_deadline() > now.monotonic:
            return
        if self._round is None:
            self._round = self._begin(now)
        for name in self._round.missing(reachable):
            self._round.give_up(name, Cause.UNREACHABLE)
        if self._round.epoch != self._replicas.epoch or not self._round.agreed:
            self._end(self._round, now)
        else:
            self._ask(self._round, now)

    def next_deadline(self) -> float:
        """When something is due, in monotonic seconds; infinity if an answer is awaited."""
        if self._asked_at is not None:
            return float("inf")
        if self._round is not None:
            return self._pace.ready_at
        if self._begin_at is None or self._replicas.ranges.ring.record.moving:
            return float("inf")
        return max(self._begin_at, self._pace.ready_at)

    def _begin(self, now: Now) -> Round:
        """A round with the next ranges, in the order of their numbers."""
        ordered = sorted(self._with_tombstones)
        last = self._last
        after = [of for of in ordered if last is None or of > last]
        chosen = [*after, *ordered[: len(ordered) - len(after)]][:RANGES_MAX]
        self._last, self._ranges, self._records = chosen[-1], 0, 0
        self._floor = now.wall_us - self._after_us
        return Round(self._replicas.ranges, chosen, self._floor)

    def _ask(self, reaped: Round, now: Now) -> None:
        """Ask the next storage; if all have agreed, have the own one raise the floors."""
        self._asked_at = now.monotonic
        if reaped.step is not None:
            to = Peer(reaped.step.member, STORAGE)
            self._questions.ask(to, reaped.question, self, now)
            return
        self._raising = list(reaped.agreed)
        floors = tuple((*of, one.floor, one.hashes) for of, one in reaped.agreed.items())
        self._questions.ask(
            self._own, lambda number: RaiseFloors(number, floors, reaped.epoch), self, now
        )

    def _end(self, reaped: Round, now: Now) -> None:
        """Log what was reaped, and what the rest has waited for in two rounds."""
        self._round = None
        if self._ranges:
            age_s = round((now.wall_us - self._floor) / 1e6, 3)
            self._out.log(
                "tombstones.reaped", ranges=self._ranges, records=self._records, age_s=age_s
            )
        again = {one: why for one, why in reaped.waits.items() if self._waits.get(one) is why}
        if again.items() - self._logged.items():
            self._out.log("reaping.waits", members=sorted(again), cause="; ".join(_texts(again)))
        self._waits, self._logged = reaped.waits, again
        if self._with_tombstones:
            at_once = reaped.is_cut and self._ranges
            self._begin_at = now.monotonic + (0.0 if at_once else self._every_s)

    # --- answers ------------------------------------------------------------------------

    def on_reply(self, reply: SumDeadReply | RaiseFloorsReply, now: Now) -> None:
        """A storage has summed its tombstones, or the own one has raised floors."""
        reaped, asked_at = self._round, self._asked_at
        assert reaped is not None
        assert asked_at is not None
        self._asked_at = None
        self._pace.spend(0, now.monotonic - asked_at, now.monotonic)
        if isinstance(reply, SumDeadReply):
            reaped.answer(reply.sums)
        else:
            self._raised(reaped, reply, now)

    def on_failed(self, _cause: str, now: Now) -> None:
        """A storage does not answer: try again in the next round."""
        reaped, self._asked_at = self._round, None
        assert reaped is not None
        reaped.give_up(reaped.step.member if reaped.step else self._own.node, Cause.SILENT)
        self._end(reaped, now)

    def _raised(self, reaped: Round, reply: RaiseFloorsReply, now: Now) -> None:
        """Storage has raised floors; if it has raised none, it has other tombstones by now."""
        self._records += reply.deleted
        before = self._ranges
        for of, floor in zip(self._raising, reply.floors, strict=False):
            self._replicas.has_floor(of, floor)
            if floor >= reaped.agreed[of].floor:
                self._floor = min(self._floor, reaped.agreed.pop(of).floor)
                self._ranges += 1
        if self._ranges == before or not reaped.agreed:
            self._end(reaped, now)


def _texts(waits: dict[str, Cause]) -> list[str]:
    return [f"{member} {why.value}" for member, why in sorted(waits.items())]
