"""A data folder of an earlier founding of the same file: its node does not take part."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED
from tests.harness.waiting import wait_until
from toystore.localcluster.node import State

pytestmark = pytest.mark.cluster

KEYS = [f"k{number}" for number in range(50)]


def disk_of(cluster: Cluster, name: str) -> Path:
    return cluster.nodes[name].folder / "data"


def founded_again(cluster: Cluster, saved: Path) -> None:
    """Change the ring, save the data of n3, and begin with empty folders."""
    for zone in "ab":
        cluster.change(f"rezone n1 {zone}")
    cluster.stop(*cluster.names)
    shutil.copytree(disk_of(cluster, "n3"), saved)
    for name in cluster.names:
        shutil.rmtree(disk_of(cluster, name))
    cluster.start(*cluster.names)


def give_old_folder(cluster: Cluster, name: str, saved: Path) -> None:
    shutil.rmtree(disk_of(cluster, name))
    shutil.copytree(saved, disk_of(cluster, name))


def write_all(cluster: Cluster, *names: str) -> None:
    with cluster.client(*names) as store:
        store.put_many(dict.fromkeys(KEYS, b"v"))
        assert None not in store.get_many(KEYS).values()


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(3, swim=UNHURRIED)


@pytest.mark.parametrize("changes", [0, 1], ids=["epoch 0", "epoch 1"])
def test_a_node_with_a_folder_of_an_earlier_founding_does_not_start(cluster, tmp_path, changes):
    founded_again(cluster, tmp_path / "saved")
    for _ in range(changes):
        cluster.change("readdress n2 localhost:" + str(cluster.nodes["n2"].member.client_port))
    cluster.stop("n3")
    give_old_folder(cluster, "n3", tmp_path / "saved")

    why = cluster.start_in_vain("n3")

    assert why.startswith("exit 2: ")
    assert "is of another founding of cluster" in why
    assert "its ring records are not those of n1, n2. Give n3 an empty folder" in why
    write_all(cluster, "n1", "n2")


@pytest.mark.parametrize("changes", [0, 1], ids=["epoch 0", "epoch 1"])
def test_a_node_with_such_a_folder_that_runs_first_breaks_no_request(cluster, tmp_path, changes):
    founded_again(cluster, tmp_path / "saved")
    for _ in range(changes):
        cluster.change("readdress n2 localhost:" + str(cluster.nodes["n2"].member.client_port))
    cluster.stop(*cluster.names)
    give_old_folder(cluster, "n3", tmp_path / "saved")
    cluster.launch("n3")
    wait_until(lambda: cluster.events("n3", "member.joined")[2:], "n3 runs alone")

    cluster.launch("n1", "n2")
    for name in ("n1", "n2"):
        wait_until(lambda n=name: cluster.events(n, "ring.forked"), f"{name} refuses n3")

    write_all(cluster, "n1", "n2")
    assert cluster.command("status")["epoch"] == changes
    assert {line["member"] for line in cluster.events("n1", "ring.forked")} == {"n3"}
    cluster.kill("n3")
    assert "of another founding" in cluster.start_in_vain("n3")


def test_all_members_restart_at_once_after_changes(cluster):
    cluster.change("rezone n1 a")
    cluster.kill(*cluster.names)

    cluster.start(*cluster.names)

    write_all(cluster, *cluster.names)
    assert all(node.state is State.RUNNING for node in cluster.nodes.values())
