"""What the steps of a scenario do to links, and how faults at the same time add up.

A fault covers *blocks* of ways: all ways from some senders to some receivers.

    from: n1, to: [n2, n3]     {n1} to {n2, n3}
    node: n4                   {n4} to all others, and all others to {n4}
    between: [n1, n4]          {n1} to {n4}, and {n4} to {n1}
    groups: [[n1, n2]]         {n1, n2} to all others, and all others to {n1, n2}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from toystore.config import Step
from toystore.localcluster.links import Links, Pair
from toystore.localcluster.ways import Impairment


class Block(NamedTuple):
    """All ways from some nodes to some nodes."""

    senders: tuple[str, ...]
    receivers: tuple[str, ...]

    @property
    def ways(self) -> Iterator[Pair]:
        """The ways, each as sender and receiver."""
        return ((a, b) for a in self.senders for b in self.receivers if a != b)


def blocks(step: Step, names: Sequence[str]) -> list[Block]:
    """The ways that a step concerns; ``names``: of all nodes."""

    def others(*some: str) -> tuple[str, ...]:
        return tuple(name for name in names if name not in some)

    def both_ways(sides: Iterable[tuple[str, ...]]) -> list[Block]:
        named = [name for side in sides for name in side]
        return [Block(side, tuple(n for n in named if n not in side)) for side in sides]

    if step.do == "heal":
        return []
    if step.groups:
        rest = others(*(name for group in step.groups for name in group))
        return both_ways([*step.groups, rest] if rest else step.groups)
    if step.between:
        return both_ways([(name,) for name in dict.fromkeys(step.between)])
    if step.node:
        return both_ways([(step.node,), others(step.node)])
    senders, receivers = step.from_ or (), step.to or ()
    return [Block(senders or others(*receivers), receivers or others(*senders))]


def impairment(step: Step) -> Impairment:
    """What a step does to each of its ways."""
    silences = step.do in ("cut", "split")
    return Impairment(
        delay_s=step.delay_s or 0.0,
        jitter_s=step.jitter_s or 0.0,
        loss=step.share or 0.0,
        hole=silences and not step.reset,
        cut=silences and step.reset,
    )


class Faults:
    """The faults that links have now."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._active: dict[Pair, list[Impairment]] = {}
        self._splits: list[Step] = []
        """The splits that last until they are healed."""

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes."""
        return self._links.names

    def begin(self, step: Step) -> None:
        """Begin the fault of a step.  Raises `LinksError`."""
        if step.do == "heal":
            self._heal()
            return
        ways = self._ways(step)
        if step.do == "reset":
            self._links.reset(ways)
            return
        if step.for_s is None:
            self._splits.append(step)
        for way in ways:
            self._active.setdefault(way, []).append(impairment(step))
        self._apply(ways)

    def end(self, step: Step) -> None:
        """End the fault of a step that has begun.  Raises `LinksError`."""
        ways = self._ways(step)
        for way in ways:
            self._active[way].remove(impairment(step))
        self._apply(ways)

    def _heal(self) -> None:
        """End the splits that last until they are healed."""
        while self._splits:
            self.end(self._splits.pop())

    def _ways(self, step: Step) -> list[Pair]:
        return list(dict.fromkeys(way for each in blocks(step, self.names) for way in each.ways))

    def _apply(self, ways: Iterable[Pair]) -> None:
        """Have the proxy impair these ways as they should be now."""
        wanted: dict[Impairment, list[Pair]] = {}
        for way in ways:
            wanted.setdefault(together(self._active[way]), []).append(way)
        for each, these in wanted.items():
            self._links.impair(each, these)


def together(faults: Iterable[Impairment]) -> Impairment:
    """Several faults of one way at the same time."""
    faults = list(faults)
    return Impairment(
        delay_s=sum(each.delay_s for each in faults),
        jitter_s=sum(each.jitter_s for each in faults),
        loss=1 - math.prod(1 - each.loss for each in faults),
        hole=any(each.hole for each in faults),
        cut=any(each.cut for each in faults),
    )
