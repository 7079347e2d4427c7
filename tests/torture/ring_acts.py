"""The acts in which the members of the ring change."""

from __future__ import annotations

import time

from tests.harness.cluster import Cluster
from toystore import ToystoreError
from toystore.localcluster.ring_changes import ChangeFailedError

from .stage import Stage
from .ten_nodes import TEN_NODES

AWAY_MAX = 2
"""So many nodes are down at once, at most."""
NODES_MAX = 18
"""There are no ports for more."""


def ring_changes(stage: Stage) -> None:
    """Ten nodes: one joins, one leaves, one is replaced, one is lost for good and removed"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        cluster.add("n11", "n12")
        leaves, replaced, lost = stage.chance.sample(cluster.names[1:], 3)
        with stage.load(cluster) as work:
            time.sleep(3)
            stage.change("join n11")
            stage.change(f"leave {leaves}")
            stage.change(f"replace {replaced} n12")
            stage.lose(lost)
            time.sleep(2)
            stage.change(f"remove {lost}")
            time.sleep(3)
        stage.must_serve(work)
        stage.must_hold_everything(work)
        stage.must_be_in_place()


def ring_under_fire(stage: Stage) -> None:
    """Ten nodes, 60 s: changes of the ring, aborts, kills and pauses, one upon the other"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        with stage.load(cluster) as work:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    _disturb(stage, cluster)
                except (ChangeFailedError, ToystoreError) as error:
                    stage.say(f"refused: {error}")
                time.sleep(stage.chance.uniform(0.5, 2))
            stage.launch(*list(stage.away))
            cluster.look()
            state = cluster.until_stable()
            time.sleep(3)
        names = ", ".join(row["name"] for row in state["members"])
        stage.say(f"epoch {state['epoch']}; the members are {names}")
        stage.tell_load(work)
        stage.must_hold_everything(work)
        stage.must_be_in_place()


def _disturb(stage: Stage, cluster: Cluster) -> None:
    """One thing that may happen."""
    cluster.look()
    chance, status = stage.chance, cluster.command("status")
    members = [row["name"] for row in status["members"]]
    up = [node.name for node in cluster.running() if node.name in members]
    victim = chance.choice(up)
    match chance.randrange(8):
        case 0 | 1 | 2 if status["state"] == "stable":
            stage.change(_change(stage, cluster, members), wait=False)
        case 3 if status["state"] == "moving" and not chance.randrange(3):
            stage.note("abort", "")
            cluster.command("abort")
        case 4 if len(stage.away) < AWAY_MAX:
            stage.kill(victim)
        case 5 if not stage.away and len(members) > 8:
            stage.lose(victim)
            cluster.until_seen("dead", victim)
            stage.change(f"remove {victim}", wait=False)
        case 6:
            stage.pause(victim)
            time.sleep(chance.uniform(0.2, 3))
            stage.resume(victim)
        case _:
            stage.launch(*list(stage.away))


def _change(stage: Stage, cluster: Cluster, members: list[str]) -> str:
    """A change of a ring with these members."""
    member = stage.chance.choice(members)
    if len(cluster.nodes) >= NODES_MAX or (len(members) > 10 and stage.chance.random() < 0.7):
        return f"leave {member}"
    newcomer = f"n{len(cluster.nodes) + 1}"
    cluster.add(newcomer)
    return stage.chance.choice((f"join {newcomer}", f"replace {member} {newcomer}"))
