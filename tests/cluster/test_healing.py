"""Nodes that were away, or moved, or whose clock jumped: all agree again without help."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import change_config
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore import Client, Unavailable
from toystore.config import load

pytestmark = pytest.mark.cluster

AN_HOUR_S = 3600
KEYS = [f"k{number}" for number in range(40)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Three nodes; the clock of n2 can jump."""
    made = Cluster(tmp_path_factory.mktemp("healing"), 3)
    made.data.mkdir()
    os.mkfifo(made.data / "clock")
    made.set_fault("n2", clock_pipe=str(made.data / "clock"))
    with made:
        yield made


def until_agreed(cluster: Cluster) -> None:
    """Wait until all nodes have the same view: every node is alive, and reachable."""
    view = dict.fromkeys(cluster.names, ("alive", True))
    with cluster.client(attempt_timeout=PATIENCE_S) as client:
        wait_until(
            lambda: all(view_of(client, node.endpoint) == view for node in cluster.nodes.values()),
            "every node sees every node alive",
        )


def view_of(client: Client, endpoint: str) -> dict[str, tuple[str, bool]]:
    """How a node sees each member: its status, and whether it is reachable."""
    members = client.status(endpoint)["members"]
    return {member["name"]: (member["status"], member["reachable"]) for member in members}


def takes_a_put(store: Client, key: str) -> bool:
    """Whether a node that was started serves already."""
    try:
        store.put(key, "v")
    except Unavailable:
        return False
    return True


def test_a_clock_that_jumps_back_costs_no_member_and_no_request(cluster):
    with cluster.client() as store:
        store.put_many(dict.fromkeys(KEYS, "before"))
        jumped_at = time.time()

        (cluster.data / "clock").write_text(str(-AN_HOUR_S))
        with cluster.client("n2") as through_n2:
            cluster.until(
                lambda: (through_n2.put("k0", "now"), cluster.events("n2", "clock.refused"))[1],
                "the clock of n2 has jumped",
            )
            through_n2.put_many(dict.fromkeys(KEYS, "after"))
        until_agreed(cluster)

        assert {one.value for one in store.get_many(KEYS).values()} == {b"after"}
    dead = [cluster.events(name, "member.dead", since_s=jumped_at) for name in cluster.names]
    assert not any(dead)


def test_a_node_paused_until_it_is_dead_to_all_is_taken_back_and_calls_no_node_dead(cluster):
    cluster.pause("n3")
    cluster.until_seen("dead", "n3")
    resumed_at = time.time()

    cluster.resume("n3")
    until_agreed(cluster)

    assert not cluster.events("n3", "member.dead", since_s=resumed_at)


def test_a_node_moves_to_another_address_by_a_rolling_restart(cluster):
    with cluster.client() as store:
        store.put_many(dict.fromkeys(KEYS, "before"))
    members = [member.model_dump(exclude_none=True) for member in cluster.config.members]
    members[2] |= {"host": "127.0.0.2", "bind": "127.0.0.2"}
    change_config(cluster.config_path, members=members)
    moved = load(cluster.config_path).member("n3")

    for name in ("n3", "n1", "n2"):
        cluster.stop(name)
        cluster.nodes["n3"].member = moved
        cluster.launch(name)
        with cluster.client(name) as store:
            wait_until(lambda store=store, name=name: takes_a_put(store, f"through {name}"))
    until_agreed(cluster)

    assert "127.0.0.2" in cluster.nodes["n3"].endpoint
    with cluster.client("n3") as store:
        assert {one.value for one in store.get_many(KEYS).values()} == {b"before"}
        assert all(store.get(f"through {name}") for name in cluster.names)
