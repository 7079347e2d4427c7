"""Faults of processes: they die, lose power or their disk, leave, pause, or fail."""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.core.protocol.roles import ACTORS
from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose, timed
from toystore.sim.scenario import Fault, Scenario


class Kill:
    """A process is killed (-9), or its host loses power, and started again.

    It dies at once, or at its next commit: before it, or after it and before any answer
    is sent.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """One node; or sometimes all nodes."""
        how = chance.choice(("at once", "before commit", "after commit"))
        everyone = chance.random() < 0.1
        on = scenario.names if everyone else (chance.choice(scenario.names),)
        return [timed("kill", scenario, chance, on, how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """End the processes."""
        for name in fault.on:
            cluster.node(name).kill(fault.how)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Start them again."""
        for name in fault.on:
            cluster.node(name).crash_at = ""
            cluster.node(name).start()


class Relapse(Kill):
    """A node dies, restarts, and dies again when the first hints are delivered to it."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        first = timed("kill", scenario, chance, (chance.choice(scenario.names),), how="at once")
        again_s = round(first.at_s + first.for_s + 0.001, 3)  # once it has been started
        return [first, Fault("relapse", again_s, 2.0, first.on, how="at delivery")]


class PowerCut(Kill):
    """A host loses its power and its unsynced data; a batch under way is stored or lost."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node if nodes wait for their disks; otherwise one that may lose data."""
        names = scenario.names if scenario.durability == "sync" else may_lose(scenario)
        if not names:
            return []
        how = chance.choice(("before commit", "after commit"))
        return [timed("power cut", scenario, chance, (chance.choice(names),), how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Cut the power."""
        for name in fault.on:
            cluster.node(name).power_cut(after_commit=fault.how == "after commit")


class LostDisk(Kill):
    """A node dies and comes back with an empty disk."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A node that may lose data."""
        names = may_lose(scenario)
        return [timed("lost disk", scenario, chance, (chance.choice(names),))] if names else []

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Kill it and replace its disk."""
        for name in fault.on:
            cluster.node(name).kill("at once")
            cluster.node(name).lose_disk()


class Leave(Kill):
    """A node is stopped cleanly, announces that it leaves, and returns."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        return [timed("leave", scenario, chance, (chance.choice(scenario.names),))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Stop it."""
        for name in fault.on:
            cluster.node(name).stop()


class Pause:
    """A process is paused, as by SIGSTOP, or one of its actors is, as in a slow call."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node; its process, or one actor."""
        role = chance.choice(("", "", *ACTORS))
        on = (chance.choice(scenario.names),)
        return [timed("pause", scenario, chance, on, how=role)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Pause it."""
        for name in fault.on:
            cluster.node(name).pause(fault.how)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Resume it, with all messages that have arrived in the meantime."""
        for name in fault.on:
            cluster.node(name).resume(fault.how)


class Failure:
    """A machine raises on one message, as a bug would make it.

    A new machine replaces it, and knows the members and the links.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any machine of any node."""
        on = (chance.choice(scenario.names),)
        return [timed("failure", scenario, chance, on, how=chance.choice(ACTORS))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Let the machine raise on its next message."""
        self._set(cluster, fault, True)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Let the machine process every message again."""
        self._set(cluster, fault, False)

    def _set(self, cluster: SimCluster, fault: Fault, fails: bool) -> None:
        for name in fault.on:
            if fault.how in cluster.node(name).actors:
                cluster.node(name).actors[fault.how].fails = fails
