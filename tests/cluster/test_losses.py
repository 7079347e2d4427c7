"""Members that are lost: without a majority, with their disk only, or for long."""

from __future__ import annotations

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED, change_config
from toystore.client import ToystoreError
from toystore.localcluster.node import State

from .test_antientropy import CALM, QUICKLY

pytestmark = pytest.mark.cluster

KEYS = [f"k{number}" for number in range(50)]
REMOVED_AFTER_S = 1.0


def write_all(cluster: Cluster, *names: str) -> None:
    with cluster.client(*names) as store:
        store.put_many(dict.fromkeys(KEYS, b"v"))
        assert None not in store.get_many(KEYS).values()


def members(cluster: Cluster) -> list[str]:
    return [row["name"] for row in cluster.command("status")["members"]]


def test_without_a_majority_the_rest_begins_a_new_lineage_and_the_lost_are_refused(
    make_cluster,
):
    cluster = make_cluster(3, n=1, swim=UNHURRIED)
    before = cluster.command("status")["lineage"]
    cluster.kill("n2", "n3")
    cluster.until_seen("dead", "n2", "n3")
    cluster.command("plan", changes=[["remove", "n2"], ["remove", "n3"]])
    with pytest.raises(ToystoreError, match="2 of 3 voters are needed"):
        cluster.command("commit")

    cluster.command("commit", without=["n2", "n3"])

    status = cluster.until_stable()
    assert ([row["name"] for row in status["members"]], status["epoch"]) == (["n1"], 2)
    assert status["lineage"] != before
    write_all(cluster, "n1")
    for name in ("n2", "n3"):
        why = cluster.start_in_vain(name)
        assert why.startswith("exit 3: ")
        assert f"{name} is no member of cluster" in why
    write_all(cluster, "n1")
    cluster.assert_all_run()


def test_those_that_were_away_follow_the_new_lineage_and_no_other_is_let_in(make_cluster):
    """n4 and n5 are lost, n3 is away: two of the remaining three decide."""
    cluster = make_cluster(5, n=2, swim=UNHURRIED)
    cluster.kill("n3", "n4", "n5")
    cluster.until_seen("dead", "n3", "n4", "n5")
    cluster.command("plan", changes=[["remove", "n4"], ["remove", "n5"]])
    cluster.command("commit", without=["n4", "n5"])

    cluster.launch("n3")
    assert cluster.until_stable()["epoch"] == 2

    assert members(cluster) == ["n1", "n2", "n3"]
    cluster.until_ready()
    write_all(cluster, "n1", "n3")
    assert "n5 is no member of cluster" in cluster.start_in_vain("n5")


def test_a_member_whose_folder_was_deleted_is_rebuilt_and_its_new_disk_is_listed(make_cluster):
    cluster = make_cluster(3, antientropy=QUICKLY, swim=CALM)
    cluster.change("rezone n1 a")
    write_all(cluster, "n1")
    old = {row["name"]: row["disk"] for row in cluster.command("status")["members"]}

    cluster.wipe("n3")

    def listed() -> bool:
        status = cluster.command("status")
        disks = {row["name"]: row["disk"] for row in status["members"]}
        new = cluster.nodes["n3"].status["storage"]["disk"]
        return new != old["n3"] and disks == old | {"n3": new} and status["state"] == "stable"

    cluster.until(listed, "the new disk of n3 is listed")
    status = cluster.command("status")
    assert (status["epoch"], status["why"]) == (3, "reseat n3: its disk was replaced")
    assert [(row["name"], row["disk"]) for row in status["gone"]] == [("n3", old["n3"])]
    write_all(cluster, "n3")


def test_a_member_that_is_dead_for_long_is_removed_by_itself(make_cluster):
    """The least `remove_after_s` is lowered in the nodes of this test."""
    cluster = make_cluster(4, antientropy=QUICKLY, swim=CALM)
    ring = {"remove_after_s": REMOVED_AFTER_S}
    path = change_config(cluster.config_path, into=cluster.data / "other.yaml", ring=ring)
    cluster.stop(*cluster.names)
    for name in cluster.names:
        cluster.set_fault(name, config=str(path), remove_after_least_s=REMOVED_AFTER_S)
    cluster.start(*cluster.names)

    cluster.kill("n4")

    cluster.until(lambda: members(cluster) == ["n1", "n2", "n3"], "n4 is removed")
    assert cluster.until_stable()["epoch"] == 2
    proposals = [line["why"] for name in ("n1", "n2", "n3") for line in proposed(cluster, name)]
    assert "remove n4: dead for 1 s" in proposals
    assert all(cluster.nodes[name].state is State.RUNNING for name in ("n1", "n2", "n3"))
    write_all(cluster, "n1", "n2", "n3")
    assert "n4 is no member of cluster" in cluster.start_in_vain("n4")


def proposed(cluster: Cluster, name: str) -> list[dict[str, str]]:
    return cluster.events(name, "ring.proposed")
