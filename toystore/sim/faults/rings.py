"""Changes of the ring, which are no faults, and faults that belong to them.

Whatever a change needs is started with it: the nodes that join, and the operator that commits it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from toystore.sim.cluster import SimCluster
from toystore.sim.faults.kind import may_lose
from toystore.sim.operators import read_changes
from toystore.sim.scenario import Fault, Scenario

LATE_S = 3.0
"""How long after a change an abort or a second operator may come."""
JOINING = {"join": 1, "replace": 2}
"""Which word of a change names the node that joins."""


class RingChange:
    """An operator changes the ring: nodes join, leave, are replaced or get another weight or zone.

    Nodes that are to join are started by it, a node that was a member before with another disk.
    """

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """Some changes, one after another, as if each succeeded."""
        faults: list[Fault] = []
        members, spares = list(scenario.names), list(scenario.spares)
        last_s = scenario.duration_s * 0.8
        for at_s in sorted(chance.uniform(0.5, last_s) for _ in range(chance.randint(1, 3))):
            changes = [_change(scenario, members, spares, chance)]
            if chance.random() < 0.3:
                changes.append(_change(scenario, members, spares, chance))
            via = tuple(chance.sample(scenario.names, min(2, scenario.nodes)))
            how = ", ".join(changes)
            faults.append(Fault("ring change", round(at_s, 3), 0.0, via, how=how))
        return faults

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Start the nodes that join, and the operator."""
        changes = read_changes(fault.how)
        for change in changes:
            if change[0] in JOINING:
                cluster.node(change[JOINING[change[0]]]).join()
        cluster.operate(changes, fault.on)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Do nothing: the change goes on."""


class RingAbort:
    """An operator changes the ring, and another aborts the change that is under way."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A change, and soon after it the abort."""
        change = RingChange().draw(scenario, chance)[0]
        abort_s = round(change.at_s + chance.uniform(0.0, LATE_S), 3)
        return [change, Fault("ring abort", abort_s, 0.0, change.on)]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Start the operator."""
        cluster.operate(None, fault.on)

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Do nothing: the abort goes on."""


class HostLost:
    """A host is lost for ever, with its disk, and an operator removes its node soon afterwards."""

    def draw(self, scenario: Scenario, chance: random.Random) -> Sequence[Fault]:
        """A node that may lose data, or one that joins."""
        may = scenario.nodes > max(2, scenario.n)  # and the others decide, and are enough
        names = list(may_lose(scenario)) if may else []
        names += scenario.spares[:1]
        at_s = chance.uniform(0.5, scenario.duration_s * 0.8)
        for_s = chance.choice((0.5, 5.0)) * chance.random()
        return [Fault("host lost", round(at_s, 3), round(for_s, 3), (chance.choice(names),))]

    def begin(self, cluster: SimCluster, fault: Fault) -> None:
        """Lose the host, unless another was lost before: only one is."""
        for name in fault.on:
            node = cluster.nodes.get(name)
            another = any(one.gone for one in cluster.nodes.values())
            if node is not None and not another and cluster.can_decide_without(name):
                node.vanish()

    def end(self, cluster: SimCluster, fault: Fault) -> None:
        """Let an operator remove it."""
        for name in fault.on:
            if name in cluster.ring.members and cluster.nodes[name].gone:
                via = [one.name for one in cluster.members if one.running]
                cluster.operate([["remove", name]], via)


def _change(
    scenario: Scenario, members: list[str], spares: list[str], chance: random.Random
) -> str:
    """One change of the members, who are as they will be afterwards."""
    kinds = ["reweigh", "rezone"]
    if spares:
        kinds += ["join", "join", "replace"]
    if len(members) > scenario.n:
        kinds += ["leave", "leave"]
    kind, member = chance.choice(kinds), chance.choice(members)
    match kind:
        case "reweigh":
            return f"reweigh {member} {chance.randint(1, 3)}"
        case "rezone":
            return f"rezone {member} {chance.choice('ab')}"
    newcomer = spares.pop(0) if kind in JOINING else ""
    if kind != "join":
        members.remove(member)
    members += [newcomer] if newcomer else []
    spares += [member] if kind == "leave" else []
    words = {"join": [newcomer], "leave": [member], "replace": [member, newcomer]}
    return " ".join([kind, *words[kind]])
