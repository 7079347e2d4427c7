"""Faults of disks: slow, full, corrupt."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose, timed
from toystore.sim.scenario import Fault, Scenario


class SlowDisk:
    """Every commit of a node takes long."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        on = (chance.choice(scenario.names),)
        return [timed("slow disk", scenario, chance, on, amount=chance.uniform(0.05, 1.0))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Slow down the next commits."""
        for name in fault.on:
            cluster.node(name).commit_s = fault.amount

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Make commits as fast as before."""
        for name in fault.on:
            cluster.node(name).commit_s = 0.0


class FullDisk:
    """A disk has no room, and its commits may be slow."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        on, slow_s = (chance.choice(scenario.names),), chance.choice((0.0, 0.3))
        return [timed("full disk", scenario, chance, on, amount=slow_s)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Fill it."""
        for name in fault.on:
            cluster.node(name).disk.full = True
            cluster.node(name).commit_s = fault.amount

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Make room."""
        for name in fault.on:
            cluster.node(name).disk.full = False
            cluster.node(name).commit_s = 0.0


class Rot:
    """Bits of records flip on a disk."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Several records of a node that may lose data."""
        names = may_lose(scenario)
        if not names:
            return []
        on, records = (chance.choice(names),), chance.randint(1, 5)
        return [timed("rot", scenario, chance, on, amount=records, for_s=0.0)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Flip them."""
        for name in fault.on:
            cluster.node(name).rot(int(fault.amount))

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Do nothing: the bits stay flipped."""
