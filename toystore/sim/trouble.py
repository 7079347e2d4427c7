"""The faults that a simulated cluster can meet, each with how it is drawn, begun and ended.

To add one, write a class with those three methods and put it into `KINDS`.  Faults of
several kinds may strike a node at once; of two that do the same to it, the first to end
ends both.  In the end of a run everything is mended, whatever was under way.

Some faults lose what a node had acknowledged: another disk, a rotten record, a power cut
without waiting for the disk.  W nodes have an acknowledged write, so fewer than W may lose
something; all such faults of a scenario strike the same W-1 nodes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from toystore.core.protocol.roles import ACTORS

if TYPE_CHECKING:
    from toystore.sim.cluster import SimCluster
    from toystore.sim.scenario import Scenario


class Fault(NamedTuple):
    """Something that happens to some nodes or clients, and for how long."""

    kind: str
    at_s: float
    """After the run's beginning."""
    for_s: float
    on: tuple[str, ...]
    """Whom it strikes."""
    amount: float = 0.0
    how: str = ""

    def __str__(self) -> str:
        more = f" {self.how}" * bool(self.how) + f" {self.amount:.3g}" * bool(self.amount)
        return f"{self.at_s:6.2f} s  {self.kind} {' '.join(self.on)}{more} for {self.for_s:.2f} s"


class Kind(Protocol):
    """One kind of fault."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """One such fault; none if the scenario has no use for it."""

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Let it happen."""

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Let it be over."""


class Kill:
    """A process is killed (-9), or its host loses power, and started again.

    It dies at once, or at its next commit: before it, or after it and before any answer
    has left.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """One node; or now and then all of them."""
        how = chance.choice(("at once", "before commit", "after commit"))
        everyone = chance.random() < 0.1
        on = scenario.names if everyone else (chance.choice(scenario.names),)
        return [_fault("kill", scenario, chance, on, how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """End the processes."""
        for name in fault.on:
            cluster.nodes[name].kill(fault.how)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Start them again."""
        for name in fault.on:
            cluster.nodes[name].crash_at = ""
            cluster.nodes[name].start()


class Relapse(Kill):
    """A node dies, and dies again over the first hints that it is brought when it is back."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        first = _fault("kill", scenario, chance, (chance.choice(scenario.names),), how="at once")
        again_s = round(first.at_s + first.for_s + 0.001, 3)  # once it has been started
        return [first, Fault("relapse", again_s, 2.0, first.on, how="at delivery")]


class PowerCut(Kill):
    """A host loses its power, and what was not synced; a batch under way is kept or lost."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node that waits for its disk; otherwise one that may lose something."""
        names = scenario.names if scenario.durability == "sync" else may_lose(scenario)
        if not names:
            return []
        how = chance.choice(("before commit", "after commit"))
        return [_fault("power cut", scenario, chance, (chance.choice(names),), how=how)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Cut it."""
        for name in fault.on:
            cluster.nodes[name].power_cut(after_commit=fault.how == "after commit")


class LostDisk(Kill):
    """A node dies and comes back with an empty disk."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """One of those that may lose something."""
        names = may_lose(scenario)
        return [_fault("lost disk", scenario, chance, (chance.choice(names),))] if names else []

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Kill it and replace its disk."""
        for name in fault.on:
            cluster.nodes[name].kill("at once")
            cluster.nodes[name].lose_disk()


class Leave(Kill):
    """A node is stopped cleanly, says goodbye, and returns."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        return [_fault("leave", scenario, chance, (chance.choice(scenario.names),))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Stop it."""
        for name in fault.on:
            cluster.nodes[name].stop()


class Pause:
    """A process stands still, as by SIGSTOP, or one of its actors does, as in a slow call."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node; the whole of it, or one actor."""
        role = chance.choice(("", "", *ACTORS))
        on = (chance.choice(scenario.names),)
        return [_fault("pause", scenario, chance, on, how=role)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Stop the clockwork."""
        for name in fault.on:
            cluster.nodes[name].pause(fault.how)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Let it go on, with everything that has come meanwhile."""
        for name in fault.on:
            cluster.nodes[name].resume(fault.how)


class Failure:
    """A machine raises over a message, as a bug would make it; once.

    A fresh machine takes its place, which knows the members and the links.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any machine of any node."""
        on = (chance.choice(scenario.names),)
        return [_fault("failure", scenario, chance, on, how=chance.choice(ACTORS))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """The next message will be one too many."""
        self._set(cluster, fault, True)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """It can take any again."""
        self._set(cluster, fault, False)

    def _set(self, cluster: SimCluster, fault: Fault, fails: bool) -> None:
        for name in fault.on:
            if cluster.nodes[name].running:
                cluster.nodes[name].actors[fault.how].fails = fails


class Split:
    """Some hosts, clients among them, are cut off from the others, both ways or one way."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any part of all hosts."""
        hosts = scenario.names + scenario.client_names
        on = tuple(host for host in hosts if chance.random() < 0.4)
        how = chance.choice(("both ways", "both ways", "nothing in", "nothing out"))
        return [_fault("split", scenario, chance, on, how=how)]

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
        cut = _fault("cut", scenario, chance, tuple(chance.sample(scenario.names, 2)))
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
        return [_fault("clog", scenario, chance, tuple(chance.sample(scenario.names, 2)))]

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
        return [_fault("reset", scenario, chance, (source, to), for_s=0.0)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Break them."""
        source, to = fault.on
        cluster.network.reset(source, to)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """They have begun to connect again by themselves."""


class SlowDisk:
    """Every commit of a node takes long."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        on = (chance.choice(scenario.names),)
        return [_fault("slow disk", scenario, chance, on, amount=chance.uniform(0.05, 1.0))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """From the next commit on."""
        for name in fault.on:
            cluster.nodes[name].commit_s = fault.amount

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """As fast as before."""
        for name in fault.on:
            cluster.nodes[name].commit_s = 0.0


class FullDisk:
    """A disk has no room for anything more, and perhaps looks for some slowly."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any node."""
        on, slow_s = (chance.choice(scenario.names),), chance.choice((0.0, 0.3))
        return [_fault("full disk", scenario, chance, on, amount=slow_s)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Fill it."""
        for name in fault.on:
            cluster.nodes[name].disk.full = True
            cluster.nodes[name].commit_s = fault.amount

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Make room."""
        for name in fault.on:
            cluster.nodes[name].disk.full = False
            cluster.nodes[name].commit_s = 0.0


class Rot:
    """Bits of records flip on a disk."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """One of those that may lose something, several records."""
        names = may_lose(scenario)
        if not names:
            return []
        on, records = (chance.choice(names),), chance.randint(1, 5)
        return [_fault("rot", scenario, chance, on, amount=records, for_s=0.0)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Flip them."""
        for name in fault.on:
            for _ in range(int(fault.amount)):
                cluster.nodes[name].rot()

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Nobody flips them back."""


class ClockJump:
    """Somebody sets the wall clock of a node or a client."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Any host; seconds to an hour, ahead or back."""
        on = (chance.choice(scenario.names + scenario.client_names),)
        by_s = chance.choice((0.5, 5.0, 15.0, 3600.0)) * chance.choice((1, -1))
        return [_fault("clock jump", scenario, chance, on, amount=by_s)]

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
        return [_fault("clock drift", scenario, chance, on, amount=chance.uniform(-0.1, 0.1))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Bend it."""
        for name in fault.on:
            cluster.clocks[name].drift(fault.amount)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """It runs true again, from where it is."""
        for name in fault.on:
            cluster.clocks[name].drift(-fault.amount)


KINDS: dict[str, Kind] = {
    "kill": Kill(),
    "relapse": Relapse(),
    "power cut": PowerCut(),
    "lost disk": LostDisk(),
    "leave": Leave(),
    "pause": Pause(),
    "failure": Failure(),
    "split": Split(),
    "cut": Cut(),
    "flap": Flap(),
    "clog": Clog(),
    "reset": Reset(),
    "slow disk": SlowDisk(),
    "full disk": FullDisk(),
    "rot": Rot(),
    "clock jump": ClockJump(),
    "clock drift": ClockDrift(),
}


def may_lose(scenario: Scenario) -> tuple[str, ...]:
    """The nodes of a scenario that may lose what they had acknowledged: fewer than W."""
    names = list(scenario.names)
    random.Random(f"may lose/{scenario.seed}").shuffle(names)
    return tuple(names[: scenario.w - 1])


def _fault(
    kind: str,
    scenario: Scenario,
    chance: random.Random,
    on: tuple[str, ...],
    *,
    amount: float = 0.0,
    how: str = "",
    for_s: float | None = None,
) -> Fault:
    """A fault at some time of the run, of some length that fits into it."""
    at_s = chance.uniform(0.0, scenario.duration_s * 0.9)
    if for_s is None:
        for_s = min(chance.choice((0.3, 2.0, 8.0)) * chance.random(), scenario.duration_s - at_s)
    return Fault(kind, round(at_s, 3), round(for_s, 3), on, amount, how)
