"""Faults that strike while anti-entropy rebuilds or compares."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose, timed
from toystore.sim.faults.processes import Kill
from toystore.sim.scenario import Fault, Scenario

WHOLE = ("before whole", "after whole", "after whole, power")
"""When a node dies that is about to mark a range as whole."""
SOON_S = (0.1, 0.5, 2.0)
"""How long after the return of a node with an empty disk the second fault begins."""


class Rebuild(Kill):
    """A node returns with an empty disk, and a second fault strikes while it is rebuilt.

    It dies at the commit that marks a range as whole, before or after it, or loses its power then;
    its disk becomes full; it loses its disk again.  Or another owner, which it is rebuilt from, is
    killed, cut off or loses its disk, too.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A node that may lose data, and any other node."""
        names = may_lose(scenario)
        if not names:
            return []
        name = chance.choice(names)
        lost = timed("lost disk", scenario, chance, (name,))
        if chance.random() < 0.4:
            how = chance.choice(WHOLE if scenario.durability == "async" else WHOLE[:2])
            at_s = round(lost.at_s + lost.for_s + 0.001, 3)  # once it has been started
            return [lost, Fault("rebuild", at_s, 2.0, (name,), how=how)]
        at_s = round(lost.at_s + lost.for_s + chance.choice(SOON_S) * chance.random(), 3)
        for_s = round(chance.choice((0.3, 2.0)) * chance.random(), 3)
        return [lost, self._second(scenario, chance, name)._replace(at_s=at_s, for_s=for_s)]

    def _second(self, scenario: Scenario, chance: random.Random, name: str) -> Fault:
        """The second fault; its times are still to be set."""
        losers = [one for one in may_lose(scenario) if one != name]
        others = [one for one in scenario.names if one != name]
        own, other = (name,), (chance.choice(others),)
        seconds = [
            Fault("full disk", 0.0, 0.0, own),
            Fault("lost disk", 0.0, 0.0, own),
            Fault("kill", 0.0, 0.0, other, how="at once"),
            Fault("cut", 0.0, 0.0, own + other),
        ]
        if losers:
            seconds += [Fault("lost disk", 0.0, 0.0, (chance.choice(losers),))] * 2
        return chance.choice(seconds)


class RotInComparison:
    """Bits of records flip on a disk just when they are compared with those of another owner."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A node that may lose data."""
        names = may_lose(scenario)
        if not names:
            return []
        on, records = (chance.choice(names),), chance.randint(1, 3)
        return [timed("rot in comparison", scenario, chance, on, amount=records)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Flip them at the next comparison."""
        for name in fault.on:
            cluster.nodes[name].rot_in_comparison = int(fault.amount)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """If there was no comparison, flip none."""
        for name in fault.on:
            cluster.nodes[name].rot_in_comparison = 0
