"""Real nodes follow the ring records that their storages adopt, and start with the newest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED, change_config
from tests.harness.rings import ask_storage, offer, without
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore.core.protocol.messages.ring import FetchRings
from toystore.localcluster.node import State
from toystore.localcluster.ports import reserve_ports

pytestmark = pytest.mark.cluster


def removing(cluster: Cluster, name: str):
    """The record of epoch 1, without one of the members."""
    config, disk = cluster.config, cluster.nodes[name].status["storage"]["disk"]
    return without(config.founding(), config.cluster_id().lineage, name, disk)


def until_removed(cluster: Cluster, name: str) -> str:
    """Wait until a node has ended because it was removed; what it said last."""
    node = cluster.nodes[name]
    assert node.process is not None
    assert node.process.wait(PATIENCE_S) == 3, node.why_it_ended()
    node.state = State.KILLED
    return node.last_words()


def epoch_of(cluster: Cluster, name: str) -> int:
    """The epoch in the header of a node's frames."""
    member = cluster.config.member(name)
    header = ask_storage(cluster.config, member, FetchRings(1, 0)).header
    assert header is not None
    return header.cluster.epoch


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(3, n=1, swim=UNHURRIED)


def test_a_node_that_is_no_longer_listed_says_so_and_exits_with_3_at_every_start(cluster):
    record = removing(cluster, "n3")
    offer(cluster.config, cluster.config.member("n1"), [record])  # the others hear of it

    told = until_removed(cluster, "n3")
    again = cluster.start_in_vain("n3")

    reason = "n3 is no member of cluster"
    for text in (told, again):
        assert reason in text
        assert "since epoch 1 (remove n3)" in text
        assert "--join" in text
    assert again.startswith("exit 3: ")
    assert len(cluster.events("n3", "ring.removed")) == 2
    assert not cluster.events("n3", "ring.forked")
    for name in ("n1", "n2"):
        wait_until(lambda n=name: epoch_of(cluster, n) == 1, f"{name} has the record")
    cluster.assert_all_run()


def test_a_node_starts_with_the_record_on_its_disk_and_logs_that_the_file_differs(cluster):
    record = removing(cluster, "n3")
    offer(cluster.config, cluster.config.member("n1"), [record])
    cluster.stop("n1")
    cluster.launch("n1")

    def differs():
        return cluster.events("n1", "ring.file_differs")

    wait_until(lambda: differs() and len(cluster.events("n1", "node.started")) == 2)

    [line] = differs()
    assert (line["epoch"], line["differences"]) == (1, "n3 is not a member")
    assert cluster.events("n1", "node.started")[-1]["members"] == 2


def test_another_member_list_in_the_file_of_a_node_with_data_is_logged_and_changes_nothing(cluster):
    members = [
        member.model_dump(exclude_none=True) | ({"weight": 5} if member.name == "n3" else {})
        for member in cluster.config.members
    ]
    path = change_config(cluster.config_path, into=cluster.data / "other.yaml", members=members[1:])
    cluster.stop("n2")
    cluster.local.config_paths["n2"] = path
    cluster.start("n2")

    [line] = cluster.events("n2", "ring.file_differs")
    assert line["differences"] == "n1 is missing; n3 has weight 5, not 1"
    with cluster.client("n2") as store:
        store.put_many({f"k{number}": b"v" for number in range(20)})
        assert len(store.get_many([f"k{number}" for number in range(20)])) == 20


def test_a_node_that_was_down_while_it_was_removed_is_told_so_by_the_others(cluster):
    record = removing(cluster, "n3")
    cluster.kill("n3")
    offer(cluster.config, cluster.config.member("n1"), [record])
    wait_until(lambda: epoch_of(cluster, "n2") == 1, "n2 has the record")

    told = cluster.start_in_vain("n3")

    assert told.startswith("exit 3: ")
    assert "since epoch 1 (remove n3)" in told
    assert len(cluster.events("n3", "node.started")) == 1  # the members were asked before


def test_a_node_that_was_down_during_changes_starts_with_the_newest_record(cluster):
    first = replace(removing(cluster, "n3"), gone=(), members=cluster.config.founding().members)
    lineage = cluster.config.cluster_id().lineage
    second = first.next(lineage, why="again")
    changes = [first, second, second.next(lineage, why="and again")]
    cluster.kill("n3")
    offer(cluster.config, cluster.config.member("n1"), changes)

    cluster.start("n3")

    assert epoch_of(cluster, "n3") == 3
    assert not cluster.events("n3", "ring.removed", "member.refused", "ring.forked")


def test_a_node_that_runs_alone_at_first_learns_from_the_others_that_it_was_removed(cluster):
    record = removing(cluster, "n3")
    cluster.kill("n1", "n2", "n3")
    cluster.launch("n3")
    wait_until(lambda: len(cluster.events("n3", "node.started")) == 2)
    cluster.launch("n1", "n2")
    cluster.until(lambda: bool(cluster.nodes["n1"].status.get("storage")), "n1 answers")
    offer(cluster.config, cluster.config.member("n1"), [record])

    assert "since epoch 1 (remove n3)" in until_removed(cluster, "n3")


def test_a_removed_node_stays_also_after_kill_9_until_a_majority_of_the_members_knows_that(cluster):
    record = removing(cluster, "n3")
    cluster.kill("n1", "n2")
    offer(cluster.config, cluster.config.member("n3"), [record])
    wait_until(lambda: cluster.events("n3", "ring.stays"), "n3 stays")
    cluster.kill("n3")
    cluster.launch("n3")
    wait_until(lambda: len(cluster.events("n3", "ring.stays")) == 2, "n3 stays again")

    cluster.launch("n1", "n2")

    assert "since epoch 1 (remove n3)" in until_removed(cluster, "n3")
    for name in ("n1", "n2"):
        assert epoch_of(cluster, name) == 1
    assert cluster.events("n3", "ring.stays")[0]["members"] == ["n1", "n2"]
    assert len(cluster.events("n3", "node.started")) == 1


@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
def test_a_member_is_reached_at_its_new_ports_once_a_record_has_them(cluster, runs):
    guard, base = reserve_ports(1)
    config, before = cluster.config, cluster.config.founding()
    moved = [
        one._replace(ports=tuple(range(base, base + 4))) if one.name == "n3" else one
        for one in before.members
    ]
    record = before.next(config.cluster_id().lineage, members=tuple(moved), why="readdress n3")
    if not runs:
        cluster.stop("n3")
    with guard:
        offer(config, config.member("n1"), [record])
        if not runs:
            cluster.launch("n3")
        n3 = cluster.nodes["n3"]
        n3.member = config.listing(record).member("n3")

        wait_until(lambda: epoch_of(cluster, "n2") == 1, "n2 has the record")
        cluster.until(
            lambda: all("n3" in cluster.reachable(name) for name in ("n1", "n2")), "n3 is linked"
        )
        with cluster.client("n3", "n2") as store:
            keys = [f"k{number}" for number in range(20)]
            store.put_many(dict.fromkeys(keys, b"v"))
            found = store.get_many(keys)
        assert all(one is not None and one.owners == 1 for one in found.values())
    assert not cluster.events("n3", "port.unbound")
