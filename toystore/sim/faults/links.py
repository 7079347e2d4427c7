"""Faults of the network: splits, and links that creep or break."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import timed
from toystore.sim.scenario import Fault, Scenario


class Split:
    """Some hosts, clients among them, are cut off from the others, both ways or one way."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any part of all hosts."""
        hosts = scenario.names + scenario.client_names
        on = tuple(host for host in hosts if chance.random() < 0.4)
        how = chance.choice(("both ways", "both ways", "nothing in", "nothing out"))
        return [timed("split", scenario, chance, on, how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Cut."""
        for source, to in self._pairs(fault, cluster.hosts):
            cluster.network.split(source, to)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Mend."""
        for source, to in self._pairs(fault, cluster.hosts):
            cluster.network.heal(source, to)

    def _pairs(self, fault: Fault, hosts: Sequence[str]) -> list[tuple[str, str]]:
        """Every way that is cut."""
        others = [host for host in hosts if host not in fault.on]
        out = [(one, other) for one in fault.on for other in others]
        into = [(other, one) for one, other in out]
        return (out if fault.how != "nothing in" else []) + (
            into if fault.how != "nothing out" else []
        )


class Cut(Split):
    """Two nodes cannot reach each other, and all others can: a partial split.

    One then has hints left for the other, which their holder can deliver at once; if that
    one's disk is slow, others come while they are delivered.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any pair of nodes, and now and then the disk of one."""
        if scenario.nodes == 1:
            return []
        cut = timed("cut", scenario, chance, tuple(chance.sample(scenario.names, 2)))
        slow = cut._replace(kind="slow disk", on=cut.on[:1], amount=chance.uniform(0.05, 1.0))
        return [cut, slow] if chance.random() < 0.5 else [cut]

    def _pairs(self, fault: Fault, hosts: Sequence[str]) -> list[tuple[str, str]]:  # noqa: ARG002
        """Both ways between the two."""
        one, other = fault.on
        return [(one, other), (other, one)]


class Flap(Split):
    """A node is cut off from all others again and again, each time shortly."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node, some times in a row."""
        name = chance.choice(scenario.names)
        at_s = chance.uniform(0.0, scenario.duration_s * 0.7)
        faults = []
        for _ in range(chance.randint(2, 8)):
            for_s = chance.uniform(0.05, 0.8)
            faults.append(Fault("flap", round(at_s, 3), round(for_s, 3), (name,)))
            at_s += for_s + chance.uniform(0.05, 0.8)
        return faults


class Clog:
    """Frames from one node to another creep, and queues fill."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any pair of nodes."""
        if scenario.nodes == 1:
            return []
        return [timed("clog", scenario, chance, tuple(chance.sample(scenario.names, 2)))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Slow down."""
        source, to = fault.on
        cluster.network.clog(source, to)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Speed up."""
        source, to = fault.on
        cluster.network.unclog(source, to)


class Reset:
    """All connections between two hosts break, and are made again."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any host and any other node."""
        source = chance.choice(scenario.names + scenario.client_names)
        others = [name for name in scenario.names if name != source]
        if not others:
            return []
        to = chance.choice(others)
        return [timed("reset", scenario, chance, (source, to), for_s=0.0)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Break them."""
        source, to = fault.on
        cluster.network.reset(source, to)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """They have begun to connect again by themselves."""
