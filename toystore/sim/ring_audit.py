"""Checks of the ring of a simulated cluster, and of what it moves.

`ring_agreed`        nothing moves or is to be decided, and every member has the newest record
`removed_stay_out`   no member knows, or is linked to, a node that is no member
`served_throughout`  a change of the ring alone fails no request
"""

from __future__ import annotations

from collections.abc import Iterable

from toystore.check.history import OK, Row
from toystore.check.promises import Violation
from toystore.core.storage.ring_at_start import newest_on_disk
from toystore.core.storage.ring_vote import read_vote
from toystore.sim.cluster import SimCluster
from toystore.sim.scenario import Scenario
from toystore.sim.world import BEGIN_S

STARTS_S = 1.5
"""How long the nodes may take to start and to join each other."""


def ring_agreed(cluster: SimCluster) -> list[Violation]:
    """The newest record is stable, every actor of every member has it, and no vote is open."""
    newest, found = cluster.rings.newest, []
    if newest.moving:
        found.append(f"epoch {newest.epoch} still moves ({newest.why})")
    found += [f"{one.name} is not done" for one in cluster.operators if not one.ended]
    for node in cluster.members:
        epochs = {actor.plan.record.epoch for actor in node.actors.values()}
        stored, vote = newest_on_disk(node.disk), read_vote(node.disk)
        if epochs != {newest.epoch} or (stored and stored.digest != newest.digest):
            found.append(f"{node.name} has epochs {sorted(epochs)}, not {newest.epoch}")
        listed = newest.all[node.name].disk
        if node.running and listed not in ("", node.plan.disk):
            found.append(f"{node.name} has another disk than epoch {newest.epoch} lists")
        if vote.record and vote.epoch > newest.epoch:
            found.append(f"{node.name} has accepted epoch {vote.epoch}, which is not decided")
    return [Violation("ring_agreed", text) for text in found]


def removed_stay_out(cluster: SimCluster) -> list[Violation]:
    """No member has a link to a node that is no member, or a row of it."""
    listed, found = cluster.ring.members, []
    for node in cluster.members:
        rows = node.members.members if node.members else ()
        links = (to.node for actor in node.actors.values() for to in actor.links)
        others = {*links, *(row.name for row in rows)} - listed.keys()
        if others:
            found.append(Violation("removed_stay_out", f"{node.name} knows {sorted(others)}"))
    return found


def served_throughout(scenario: Scenario, rows: Iterable[Row]) -> list[Violation]:
    """Of a run without faults and mishaps, in which the ring may change, no request fails."""
    if not scenario.only_ring_changes:
        return []
    return [
        Violation("served_throughout", row.error, (row,))
        for row in rows
        if row.outcome != OK and row.invoke_s > BEGIN_S + STARTS_S
    ]
