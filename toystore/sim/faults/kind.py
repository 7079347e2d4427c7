"""The interface of a kind of fault, and functions that the kinds share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from toystore.sim.cluster import SimCluster
from toystore.sim.scenario import Fault, Scenario


class Kind(Protocol):
    """One kind of fault."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """One or more faults of this kind; none if it does not fit the scenario."""

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Begin the fault."""

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """End the fault."""


def may_lose(scenario: Scenario) -> tuple[str, ...]:
    """The nodes of a scenario that may lose what they had acknowledged: fewer than W."""
    names = list(scenario.names)
    random.Random(f"may lose/{scenario.seed}").shuffle(names)
    return tuple(names[: scenario.w - 1])


def timed(
    kind: str,
    scenario: Scenario,
    chance: random.Random,
    on: tuple[str, ...],
    *,
    amount: float = 0.0,
    how: str = "",
    for_s: float | None = None,
) -> Fault:
    """A fault at a random time of the run, with a random duration that fits into it."""
    at_s = chance.uniform(0.0, scenario.duration_s * 0.9)
    if for_s is None:
        for_s = min(chance.choice((0.3, 2.0, 8.0)) * chance.random(), scenario.duration_s - at_s)
    return Fault(kind, round(at_s, 3), round(for_s, 3), on, amount, how)
