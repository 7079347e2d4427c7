"""One round of reaping: are all members ready to forget the tombstones of some ranges?

One storage is asked after another, in this order:

    FIND    the own storage: how many tombstones are older than the floor
    CLOSE   each other member, then the own storage: store no new write below the floor from now on;
            is a hint kept, or a record where it does not belong, below the floor?
    SUM     each other owner: the sum of its tombstones below the floor

The owners are summed only after every member has closed, and keeps nothing.  So each record below
the floor that a client got an acknowledgement for is stored at its owners by then: a tombstone that
was only in a hint before is in the sums.  If the owners were asked first, one could get such a
tombstone after its answer, delete it, and get the deleted value again from another.

The own storage closes last: if its clock is fast, the others refuse the floor before it closes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from toystore.core.protocol.messages.antientropy import SumDead
from toystore.core.ring.ranges import Range, Ranges


class Ask(Enum):
    """What a storage is asked."""

    FIND = "which tombstones are old?"
    CLOSE = "store no new write below the floor; is anything kept below it?"
    SUM = "which tombstones are below the floor?"


class Step(NamedTuple):
    """One storage that is asked."""

    ask: Ask
    member: str


class Cause(Enum):
    """Why a range is left as it is in this round."""

    UNREACHABLE = "cannot be reached"
    SILENT = "does not answer"
    REFUSES = "is not ready"
    KEEPS = "keeps hints or records of other owners"
    DIFFERS = "has other tombstones"


class Agreed(NamedTuple):
    """What the own storage has of a range: the others have to have the same."""

    floor: int
    tombstones: int
    hashes: int


class Round:
    """The ranges of one round on which all that were asked have agreed so far."""

    def __init__(self, ranges: Ranges, chosen: Iterable[Range], floor: int) -> None:
        """``chosen``: this node is their first owner.  ``floor``: the latest possible."""
        self.epoch = ranges.ring.epoch
        self.agreed = {of: Agreed(floor, 0, 0) for of in chosen}
        self.waits: dict[str, Cause] = {}
        """Who has not agreed, and why."""
        self.is_cut = False
        """Whether a range has more tombstones below the floor than are deleted in one round."""
        self._floor = floor
        self._ranges = ranges
        self._others = [name for name in sorted(ranges.ring.members) if name != ranges.node]
        self._steps = deque((Step(Ask.FIND, ranges.node),))
        self._left: list[Range] = list(self.agreed)
        """The ranges that the next storage is still to be asked for."""

    @property
    def step(self) -> Step | None:
        """Who is asked next; None if all have agreed on what is left."""
        return self._steps[0] if self._steps else None

    def question(self, number: int) -> SumDead:
        """What is asked."""
        close = self._steps[0].ask is Ask.CLOSE
        rows = tuple((*of, self.agreed[of].floor) for of in self._left)
        return SumDead(number, self.epoch, close, rows)

    def answer(self, sums: Sequence[tuple[int, int, int, bool]]) -> None:
        """A storage has answered for the first of the ranges."""
        step = self._steps[0]
        if not sums:
            self.give_up(step.member, Cause.SILENT)
            return
        answered, self._left = self._left[: len(sums)], self._left[len(sums) :]
        for of, (floor, tombstones, hashes, keeps) in zip(answered, sums, strict=False):
            if step.ask is Ask.FIND:
                self._found(of, floor, tombstones)
            else:
                self._compare(of, step, Agreed(floor, tombstones, hashes), keeps=keeps)
        if not self._left:
            self._next_step()

    def give_up(self, member: str, cause: Cause) -> None:
        """Nothing is agreed on, because of one member."""
        self.waits[member] = cause
        self.agreed.clear()
        self._steps.clear()

    def missing(self, reachable: frozenset[str]) -> list[str]:
        """The members that are to be asked and cannot be reached, if there is anything to reap."""
        if not self._steps or self._steps[0].ask is Ask.FIND:
            return []
        return [name for name in self._others if name not in reachable]

    def _found(self, of: Range, floor: int, tombstones: int) -> None:
        if floor and tombstones:
            self.agreed[of] = Agreed(floor, tombstones, 0)
            self.is_cut |= floor < self._floor
        else:
            del self.agreed[of]

    def _compare(self, of: Range, step: Step, theirs: Agreed, *, keeps: bool) -> None:
        """A member has answered for a range: it is left out unless the member agrees."""
        own = self.agreed[of]
        if not theirs.floor:
            self._leave_out(of, step.member, Cause.REFUSES)
        elif keeps:
            self._leave_out(of, step.member, Cause.KEEPS)
        elif theirs.floor != own.floor or (step.ask is Ask.SUM and theirs != own):
            self._leave_out(of, step.member, Cause.DIFFERS)
        elif step.member == self._ranges.node:
            self.agreed[of] = theirs

    def _leave_out(self, of: Range, member: str, cause: Cause) -> None:
        del self.agreed[of]
        self.waits[member] = cause

    def _next_step(self) -> None:
        """Go on to the next storage that is to be asked for any range."""
        done = self._steps.popleft()
        if done.ask is Ask.FIND:
            self._steps += [Step(Ask.CLOSE, name) for name in (*self._others, done.member)]
            self._steps += [Step(Ask.SUM, name) for name in self._others]
        while self._steps:
            ask, member = self._steps[0]
            self._left = [
                of for of in self.agreed if ask is not Ask.SUM or member in self._ranges.owners(of)
            ]
            if self._left:
                return
            self._steps.popleft()
