"""Faults that strike while tombstones are removed: nodes, frames and clocks that are late.

Each lasts about as long as tombstones are kept (`Comparing.reap_after_s`), or longer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from toystore.core.protocol.address import STORAGE
from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose, timed
from toystore.sim.faults.processes import Kill
from toystore.sim.moments import REAPING
from toystore.sim.scenario import Fault, Scenario

AWAY = (
    ("kill", "at once"),
    ("split", "both ways"),
    ("pause", ""),
    ("pause", STORAGE),
    ("cut", ""),
)
"""The ways in which a node can be away; in the last, for one other node only."""
HOUR_S = 3600.0
SKEW = 1 / 16
"""How wrong the clocks of all nodes may be, in shares of `Comparing.reap_after_s`.  With four such
faults the clocks of two nodes differ by half of it at most: more is not promised."""


class Away:
    """A node is away for longer than tombstones are kept: it keeps old values, or hints of them.

    Often another node could not be reached just before, so that the first one keeps hints for it.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node, and any other before it."""
        if scenario.nodes == 1:
            return []
        name, other = chance.sample(scenario.names, 2)
        kind, how = chance.choice(AWAY)
        at_s = chance.uniform(1.0, scenario.duration_s * 0.4)
        for_s = scenario.comparing.reap_after_s * chance.uniform(0.9, 1.6) + 3.0
        on = (name, other) if kind == "cut" else (name,)
        faults = [Fault(kind, round(at_s, 3), round(for_s, 3), on, how=how)]
        if chance.random() < 0.5:
            early_s = chance.uniform(0.3, 1.0)
            until_s = round(early_s + chance.uniform(0.0, 1.0), 3)
            faults.append(
                Fault("split", round(at_s - early_s, 3), until_s, (other,), how="both ways")
            )
        return faults

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """It consists of other kinds."""

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """It consists of other kinds."""


class LateFrames:
    """Some frames between nodes arrive when tombstones may have been removed."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Frames between some nodes."""
        if scenario.nodes == 1:
            return []
        late_s = scenario.comparing.reap_after_s * chance.uniform(1.1, 1.5) + 2.0
        at_s = chance.uniform(0.0, max(1.0, scenario.duration_s - late_s - 3.0))
        on = tuple(chance.sample(scenario.names, chance.randint(2, scenario.nodes)))
        return [Fault("late frames", round(at_s, 3), 4.0, on, amount=round(late_s, 3))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Delay them."""
        self._delay(cluster, fault, fault.amount)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Delay no more; what was delayed is still to arrive."""
        self._delay(cluster, fault, 0.0)

    def _delay(self, cluster: SimCluster, fault: Fault, by_s: float) -> None:
        for source, to in itertools.permutations(fault.on, 2):
            cluster.network.delay(source, to, by_s)


class ReapKill(Kill):
    """A node dies at the commit by which it agrees to a floor, or raises one, and returns."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        name = chance.choice(scenario.names)
        how = f"{chance.choice(('before', 'after'))} {chance.choice(tuple(REAPING))}"
        safe = scenario.durability == "sync" or name in may_lose(scenario)
        if how.startswith("after") and safe and chance.random() < 0.3:
            how += ", power"
        begin_s = min(scenario.comparing.reap_after_s, scenario.duration_s * 0.7)
        at_s = begin_s + chance.random() * (scenario.duration_s - begin_s) * 0.7
        for_s = 1.0 + chance.choice((1.0, 5.0)) * chance.random()
        return [Fault("reap kill", round(at_s, 3), round(for_s, 3), (name,), how=how)]


class WrongClock:
    """Clocks are wrong: those of clients and of one node by an hour, those of all nodes a bit."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any client or node."""
        reap_s = scenario.comparing.reap_after_s
        lonely = random.Random(f"wrong clock/{scenario.seed}").choice(scenario.names)
        name, by_s = chance.choice(
            (
                (lonely, HOUR_S),
                (chance.choice(scenario.client_names), chance.choice((HOUR_S, reap_s))),
                (chance.choice(scenario.names), reap_s * SKEW),
                (chance.choice(scenario.names), reap_s * SKEW),
            )
        )
        fault = timed("clock jump", scenario, chance, (name,), amount=by_s * chance.choice((1, -1)))
        return [fault._replace(for_s=round(chance.random() * scenario.duration_s, 3))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """It consists of another kind."""

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """It consists of another kind."""
