"""Faults by which a node acts late, beside a change of the ring that is complete without it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from toystore.core.protocol.address import ANTIENTROPY, HANDOFF
from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose
from toystore.sim.faults.ring_moments import AWAY_S, RingDuel, a_change
from toystore.sim.scenario import Fault, Scenario

EARLY_S = 1.0, 4.0
"""When something begins: early, so that the change is complete before the load ends."""
LASTS_S = 7.0
"""How long a change takes, with the start of the node that joins."""
EMPTY_S = 0.5
"""How soon a node returns that has lost its disk."""


class RingCut(RingDuel):
    """A node that joins and a member cannot reach each other over a whole change."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """The first that joins, and any member."""
        at_s, change = _early(scenario, chance)
        for_s = round(change.at_s - at_s + LASTS_S, 3)
        on = (chance.choice(scenario.names), scenario.spares[0])
        return [change, Fault("cut", at_s, for_s, on)]


class LateHints(RingDuel):
    """Hints are not delivered before a change is complete: some for ranges that have moved away.

    A node is away for a short time before it, and the hand-off of the others is paused.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node, and all others."""
        at_s, change = _early(scenario, chance)
        away = chance.choice(scenario.names)
        others = tuple(name for name in scenario.names if name != away)
        away_s = round(change.at_s - at_s, 3)
        return [
            Fault("kill", at_s, away_s, (away,), how="at once"),
            Fault("pause", at_s, round(away_s + LASTS_S, 3), others, how=HANDOFF),
            change,
        ]


class StaleKeeper:
    """A node does not delete what it has given away, and another one is rebuilt beside it.

    Its anti-entropy is paused when it is about to delete; the other node loses its disk just then.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A change, any node, and one that may lose data."""
        losers = may_lose(scenario)
        if not losers:
            return []
        change, loser = a_change(scenario, chance), chance.choice(losers)
        keeper = chance.choice([name for name in scenario.names if name != loser])
        for_s = round(4.0 + chance.choice(AWAY_S), 3)
        return [change, Fault("stale keeper", change.at_s, for_s, (keeper, loser))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Wait until it is about to delete."""
        keeper, loser = fault.on
        cluster.node(keeper).at_sweep = partial(self._strike, cluster, keeper, loser)

    def _strike(self, cluster: SimCluster, keeper: str, loser: str) -> None:
        cluster.node(keeper).pause(ANTIENTROPY)
        empty = cluster.node(loser)
        empty.kill("at once")
        empty.lose_disk()
        cluster.world.after(EMPTY_S, empty.start)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Let it delete."""
        node = cluster.node(fault.on[0])
        node.at_sweep = None
        node.resume(ANTIENTROPY)


def _early(scenario: Scenario, chance: random.Random) -> tuple[float, Fault]:
    """When something begins, and soon afterwards a node joins."""
    at_s = round(chance.uniform(*EARLY_S), 3)
    join_s, how = round(at_s + chance.uniform(*EARLY_S), 3), f"join {scenario.spares[0]}"
    return at_s, a_change(scenario, chance)._replace(at_s=join_s, how=how)
