"""What another member has answered about the ranges that it was asked for, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from toystore.core.antientropy.aims import Aim
from toystore.core.antientropy.parts import Direction
from toystore.core.antientropy.replicas import COMPARED
from toystore.core.protocol.messages.antientropy import CompareRangesReply
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range

_KNOWN = frozenset(RangeState)


class Asked(NamedTuple):
    """A range as it was when another member was asked."""

    root: bytes
    floor: int


class Answer(NamedTuple):
    """One range there."""

    of: Range
    state: RangeState | None
    """None if the member did not say it: its ring is an older one; or if its floor is too late."""
    floor: int
    is_ready: bool
    """Whether it was compared."""
    is_rising: bool
    """Whether its floor is to rise to that of the asker: the member has raised others first."""
    is_late: bool
    """Whether its floor is later than the own clock allows: then nothing it says of it counts."""
    tree: bytes
    """Empty if it is equal, or not ready."""

    @property
    def teaches_floor(self) -> bool:
        """Whether its floor is that of an owner."""
        return self.state in COMPARED

    def direction(self, aim: Aim) -> Direction:
        """In which direction records cross."""
        if aim is Aim.PUSH:
            return Direction.PUSH
        owned = self.state is None or self.state in COMPARED
        return Direction.BOTH if owned else Direction.FETCH


def answers(
    asked: Mapping[Range, Asked], reply: CompareRangesReply, latest: int
) -> Iterator[Answer]:
    """The answers, in the order of asking; ``latest``: the latest floor that may be."""
    trees = {Range(n, partition): tree for n, partition, tree in reply.differing}
    unready = {Range(n, partition) for n, partition in reply.unready}
    states = dict(zip(asked, reply.states, strict=False))
    floors = dict(zip(asked, reply.floors, strict=False))
    for of, one in asked.items():
        floor = floors.get(of, 0)
        late = floor > latest
        state = RangeState(states[of]) if states.get(of) in _KNOWN and not late else None
        rising = state is RangeState.WHOLE and floor < one.floor
        ready = of not in unready and not rising and not late
        yield Answer(of, state, floor, ready, rising, late, trees.get(of, b"") if ready else b"")
