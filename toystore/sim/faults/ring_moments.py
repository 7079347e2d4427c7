"""Faults that strike just when the ring changes, each drawn with a change of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.check.promises import Loss
from toystore.core.protocol.address import COORDINATOR
from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose
from toystore.sim.faults.processes import Kill
from toystore.sim.faults.rings import RingChange
from toystore.sim.moments import MOVES
from toystore.sim.scenario import Fault, Scenario

SOON_S = (0.2, 1.0, 4.0)
"""How long after the beginning of a change something strikes."""
AWAY_S = (1.0, 4.0, 10.0)
"""How long a node is away."""


class RingKill(Kill):
    """A node dies at a certain step of a change, and returns later.

    It dies at the commit of a vote, of a record, of a state or of a deletion, or as the proposer
    between acceptance and learning.  The power cut that follows may lose what was not synced.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node, and one that joins as often."""
        change = a_change(scenario, chance)
        names = (*scenario.names, *scenario.spares[:2], *change.on)
        name, how = chance.choice(names), chance.choice((*MOVES, "at decision"))
        if how == "at decision":
            name = change.on[0]
        safe = scenario.durability == "sync" or name in may_lose(scenario)
        if how.startswith("after") and safe and chance.random() < 0.3:
            how += ", power"
        for_s = round(1.0 + chance.choice(AWAY_S) * chance.random(), 3)
        return [change, Fault("ring kill", change.at_s, for_s, (name,), how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Let it die at that step, also if it does not run yet."""
        for name in fault.on:
            cluster.node(name).crash_at = fault.how


class RingDuel:
    """Two operators change the ring at the same time, often on two sides of a split."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Two changes; the halves of the nodes, each with some clients."""
        names = list(scenario.names)
        chance.shuffle(names)
        half = len(names) // 2
        if not half:
            return []
        first, second = a_change(scenario, chance), a_change(scenario, chance)
        first = first._replace(on=tuple(names[:half][:2]))
        second = second._replace(at_s=first.at_s, on=tuple(names[half:][:2]))
        faults = [first, second]
        if chance.random() < 0.6:
            clients = [name for name in scenario.client_names if chance.random() < 0.5]
            at_s = max(0.0, round(first.at_s - chance.choice((0.0, 0.5)), 3))
            for_s = round(chance.choice(AWAY_S) * chance.random(), 3)
            on = (*names[:half], *clients)
            faults.append(Fault("split", at_s, for_s, on, how="both ways"))
        if chance.random() < 0.6:
            how = chance.choice(("after promise", "before acceptance", "after acceptance"))
            for_s = round(0.2 + chance.random(), 3)
            on = (chance.choice(names),)
            faults.append(Fault("ring kill", first.at_s, for_s, on, how=how))
        return faults

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """It consists of other kinds."""

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """It consists of other kinds."""


class RingBeside(RingDuel):
    """While the ring changes, a coordinator is paused for long, or what takes part is hurt.

    A node that joins has a full disk or loses it; a source loses its disk.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A change, and what happens beside it."""
        change = a_change(scenario, chance)
        newcomer, any_node = scenario.spares[:1], (chance.choice(scenario.names),)
        for_s = round(1.0 + chance.choice(AWAY_S) * chance.random(), 3)
        at_s = round(change.at_s + chance.choice(SOON_S) * chance.random(), 3)
        beside = [
            Fault("pause", max(0.0, change.at_s - 0.1), for_s, any_node, how=COORDINATOR),
            Fault("full disk", at_s, for_s, newcomer),
            Fault("lost disk", at_s, for_s / 4, newcomer),
        ]
        if losers := may_lose(scenario):
            beside.append(Fault("lost disk", at_s, for_s / 4, (chance.choice(losers),)))
        return [change, chance.choice(beside)]


class Outcast:
    """A node is away, an operator removes it for that, and it returns with its disk.

    No client can reach it then: it would answer until it hears that it was removed.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A node that may lose data."""
        names = may_lose(scenario) if scenario.nodes > max(2, scenario.n) else ()
        if not names:
            return []
        at_s = round(chance.uniform(0.5, scenario.duration_s * 0.5), 3)
        for_s = round(2.0 + chance.choice(AWAY_S) * chance.random(), 3)
        return [Fault("outcast", at_s, for_s, (chance.choice(names),))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Kill it, and let an operator remove it; unless a host is lost already."""
        for name in fault.on:
            node, another = cluster.node(name), any(one.gone for one in cluster.nodes.values())
            if not node.running or another or not cluster.can_decide_without(name):
                continue
            node.kill("at once")
            cluster.losses.append(Loss(name, cluster.world.now, knowing=False))
            for client in cluster.scenario.client_names:
                cluster.network.split(client, name)
            via = [one.name for one in cluster.members if one.running]
            cluster.operate([["remove", name]], via)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Start it."""
        for name in fault.on:
            cluster.node(name).start()


def a_change(scenario: Scenario, chance: random.Random) -> Fault:
    """One change of the ring."""
    return RingChange().draw(scenario, chance)[0]
