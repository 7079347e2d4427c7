"""Real nodes whose ring changes: members come and go, and no client notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED
from tests.harness.disks import Records, newest_ring, records_of, strays, unequal
from tests.harness.waiting import wait_until
from toystore.localcluster.node import State

from .checks import broken
from .test_antientropy import CALM, QUICKLY, SLOWLY
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

KEYS = [f"k{number}" for number in range(1000)]
QUIET = {"antientropy": QUICKLY, "swim": CALM}
SLOW = {"antientropy": SLOWLY, "swim": CALM}


def fill(cluster: Cluster) -> None:
    """Write every key."""
    with cluster.client() as store:
        store.put_many({key: f"v:{key}".ljust(100, ".") for key in KEYS})
    cluster.until_drained()


def folders(cluster: Cluster) -> dict[str, Path]:
    """The folders of the nodes that run."""
    cluster.local.reap()
    return {node.name: node.folder for node in cluster.running()}


def held(cluster: Cluster) -> dict[str, Records]:
    """What each node that runs has on its disk."""
    return {name: records_of(folder) for name, folder in folders(cluster).items()}


def until_in_place(cluster: Cluster) -> None:
    """Wait until each owner has each record, and no other node has it."""

    def in_place() -> bool:
        ring, records = newest_ring(cluster.config, folders(cluster).values()), held(cluster)
        return not unequal(ring, records) and not strays(ring, records)

    wait_until(in_place, "each record is where it belongs, and nowhere else")


def members(cluster: Cluster) -> list[str]:
    """The names of the members, as a node that runs has them."""
    return [row["name"] for row in cluster.command("status")["members"]]


def has_all_keys(cluster: Cluster, *names: str) -> bool:
    """Whether clients of these nodes read every key."""
    with cluster.client(*names) as store:
        found = store.get_many(KEYS)
    return all(found[key] is not None and found[key].value.startswith(b"v:") for key in KEYS)


def test_a_node_joins_another_leaves_a_third_is_replaced_and_no_request_fails(make_cluster):
    cluster = make_cluster(4, **QUIET)
    fill(cluster)
    cluster.add("n5", "n6")

    work = Workload(cluster.endpoints("n1", "n4"), clients=4)
    with at_work(work) as load:
        load.go_on(100)
        cluster.change("join n5")
        assert members(cluster) == ["n1", "n2", "n3", "n4", "n5"]
        cluster.change("leave n2")
        assert members(cluster) == ["n1", "n3", "n4", "n5"]
        cluster.change("replace n3 n6")
        assert members(cluster) == ["n1", "n4", "n5", "n6"]
        load.go_on(100)

    assert not work.failures()
    assert not broken(work)
    wait_until(lambda: _ended(cluster, "n2", "n3"), "those that left have ended")
    until_in_place(cluster)
    assert has_all_keys(cluster, "n1", "n4", "n5", "n6")


def _ended(cluster: Cluster, *names: str) -> bool:
    cluster.local.reap()
    return all(cluster.nodes[name].state is State.LEFT for name in names)


def test_a_node_that_was_lost_for_good_is_removed_and_refused_when_it_comes_back(make_cluster):
    cluster = make_cluster(4, **QUIET)
    fill(cluster)
    cluster.kill("n2")
    cluster.until_seen("dead", "n2")

    cluster.change("remove n2")

    assert members(cluster) == ["n1", "n3", "n4"]
    until_in_place(cluster)
    assert has_all_keys(cluster, "n1", "n3", "n4")
    why = cluster.start_in_vain("n2")
    assert why.startswith("exit 3")
    assert "n2 is no member" in why


def test_a_node_that_was_down_during_changes_comes_back_and_serves_rightly(make_cluster):
    cluster = make_cluster(5, **QUIET)
    fill(cluster)
    cluster.kill("n5")
    cluster.until_seen("dead", "n5")
    with cluster.client("n1", "n2", "n3", "n4") as store:  # one alone may be overloaded
        store.put_many({key: f"v:{key} again" for key in KEYS})

    for name in ("n3", "n4"):
        cluster.change(f"readdress {name} localhost:{cluster.nodes[name].member.client_port}")
    cluster.add("n6")
    cluster.change("join n6", wait=False)
    cluster.start("n5")

    assert cluster.until_stable()["epoch"] == 4
    until_in_place(cluster)
    assert has_all_keys(cluster, "n5")


@pytest.mark.parametrize("victim", ["n4", "n2", "n1"], ids=["newcomer", "source", "proposer"])
def test_a_join_ends_rightly_although_a_node_is_killed_in_the_middle(make_cluster, victim):
    cluster = make_cluster(3, **SLOW)
    fill(cluster)
    cluster.add("n4")
    cluster.change("join n4", wait=False)
    cluster.until(lambda: _is_moving(cluster, "n4"), "n4 has some of its ranges")

    cluster.kill(victim)
    cluster.start(victim)

    assert cluster.until_stable()["epoch"] == 2
    until_in_place(cluster)
    assert has_all_keys(cluster, "n4")


def _is_moving(cluster: Cluster, name: str) -> bool:
    storage: dict[str, Any] = cluster.nodes[name].status.get("storage") or {}
    return 0 < storage.get("ranges_behind", 0) < storage["ranges"]


def test_a_join_that_is_aborted_in_the_middle_leaves_everything_as_it_was(make_cluster):
    cluster = make_cluster(3, **SLOW)
    fill(cluster)
    cluster.add("n4")
    cluster.change("join n4", wait=False)
    cluster.until(lambda: _is_moving(cluster, "n4"), "n4 has some of its ranges")

    cluster.command("abort")

    cluster.until_stable()
    assert members(cluster) == ["n1", "n2", "n3"]
    until_in_place(cluster)
    assert has_all_keys(cluster, "n1")


def test_a_wiped_newcomer_is_filled_again(make_cluster):
    cluster = make_cluster(3, antientropy=QUICKLY, swim=UNHURRIED | {"exchange_period_s": 1.0})
    fill(cluster)
    cluster.add("n4")
    cluster.change("join n4")
    until_in_place(cluster)

    cluster.wipe("n4")

    until_in_place(cluster)
    assert has_all_keys(cluster, "n4")
