"""Faults of wall clocks."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import timed
from toystore.sim.scenario import Fault, Scenario


class ClockJump:
    """The wall clock of a node or a client is set to a wrong time."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any host; a second to an hour, ahead or back."""
        on = (chance.choice(scenario.names + scenario.client_names),)
        by_s = chance.choice((0.5, 5.0, 15.0, 3600.0)) * chance.choice((1, -1))
        return [timed("clock jump", scenario, chance, on, amount=by_s)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Set it wrong."""
        for name in fault.on:
            cluster.clocks[name].jump(fault.amount)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Set it right again."""
        for name in fault.on:
            cluster.clocks[name].jump(-fault.amount)


class ClockDrift:
    """The wall clock of a node or a client runs fast or slow."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any host, up to a tenth."""
        on = (chance.choice(scenario.names + scenario.client_names),)
        return [timed("clock drift", scenario, chance, on, amount=chance.uniform(-0.1, 0.1))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Change its rate."""
        for name in fault.on:
            cluster.clocks[name].drift(fault.amount)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Let it run at the correct rate again, from its present time."""
        for name in fault.on:
            cluster.clocks[name].drift(-fault.amount)
