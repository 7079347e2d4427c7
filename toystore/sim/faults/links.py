"""Faults of the network: splits, and links that are slow or break."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import timed
from toystore.sim.scenario import Fault, Scenario


class Split:
    """Some hosts, nodes or clients, cannot reach the others, both ways or one way."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any part of all hosts."""
        hosts = scenario.names + scenario.client_names
        on = tuple(host for host in hosts if chance.random() < 0.4)
        how = chance.choice(("both ways", "both ways", "nothing in", "nothing out"))
        return [timed("split", scenario, chance, on, how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Begin the split."""
        for source, to in self._pairs(fault, cluster.hosts):
            cluster.network.split(source, to)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """End the split."""
        for source, to in self._pairs(fault, cluster.hosts):
            cluster.network.heal(source, to)

    def _pairs(self, fault: Fault, hosts: Sequence[str]) -> list[tuple[str, str]]:
        """Every pair of hosts (from, to) that is split."""
        others = [host for host in hosts if host not in fault.on]
        out = [(one, other) for one in fault.on for other in others]
        into = [(other, one) for one, other in out]
        return (out if fault.how != "nothing in" else []) + (
            into if fault.how != "nothing out" else []
        )


class Cut(Split):
    """Two nodes cannot reach each other, but reach all others: a partial split.

    A node then leaves hints for the other, and their holder can deliver them at once.  If the
    owner's disk is slow, new hints arrive during the delivery.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any pair of nodes, and sometimes the disk of one."""
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
    """A node is split off from all others repeatedly, each time for a short time."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node, several times in a row."""
        name = chance.choice(scenario.names)
        at_s = chance.uniform(0.0, scenario.duration_s * 0.7)
        faults = []
        for _ in range(chance.randint(2, 8)):
            for_s = chance.uniform(0.05, 0.8)
            faults.append(Fault("flap", round(at_s, 3), round(for_s, 3), (name,)))
            at_s += for_s + chance.uniform(0.05, 0.8)
        return faults


class Clog:
    """Frames from one node to another are slow, and queues fill."""

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
    """All connections between two hosts break, and reconnect."""

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
        """Do nothing: the links reconnect by themselves."""
