"""Real nodes forget deleted keys: their tombstones are removed, and no value comes back."""

from __future__ import annotations

import pytest

from tests.harness.cluster import Cluster
from tests.harness.disks import newest_ring, records_of, strays
from tests.harness.waiting import wait_until
from toystore.core.data.record import unpack_record

from .test_antientropy import CALM, QUICKLY

pytestmark = pytest.mark.cluster

SOON = {"antientropy": QUICKLY | {"reap_after_s": 10}, "swim": CALM}
"""Ten seconds is the least age at which tombstones are removed."""
DELETED = [f"deleted{number}" for number in range(500)]
KEPT = [f"kept{number}" for number in range(50)]


def fill(cluster: Cluster) -> None:
    with cluster.client() as store:
        store.put_many({key: f"v:{key}" for key in (*DELETED, *KEPT)})
    cluster.until_drained()


def delete(cluster: Cluster, *names: str) -> None:
    with cluster.client(*names) as store:
        for key in DELETED:
            store.delete(key)


def keys(cluster: Cluster) -> dict[str, set[str]]:
    """The keys of which each node that runs has a record."""
    cluster.local.reap()
    return {
        node.name: {unpack_record(one).key.decode() for one in records_of(node.folder).values()}
        for node in cluster.running()
    }


def until_forgotten(cluster: Cluster) -> None:
    """Wait until no node has a record of a deleted key."""
    gone = set(DELETED)
    wait_until(
        lambda: not any(gone & held for held in keys(cluster).values()),
        "the tombstones are removed everywhere",
    )


def assert_only_kept(cluster: Cluster) -> None:
    """Clients and disks have what was not deleted, and nothing else."""
    with cluster.client() as store:
        found = store.get_many((*DELETED, *KEPT))
    assert {key for key, one in found.items() if one is not None} == set(KEPT)
    assert set.union(*keys(cluster).values()) == set(KEPT)


def waits(cluster: Cluster, name: str) -> bool:
    """Whether any node says that it waits for ``name`` before it removes tombstones."""
    told = [
        text
        for node in cluster.running()
        for text in (node.status.get("antientropy") or {}).get("reaping_waits", ())
    ]
    return f"{name} cannot be reached" in told


def is_told(cluster: Cluster, name: str, held: set[str]) -> bool:
    """Whether a node's status counts the keys on its disk, and no tombstone."""
    status = cluster.nodes[name].status
    tombstones = (status.get("antientropy") or {}).get("tombstones")
    return tombstones == 0 and (status.get("storage") or {}).get("keys") == len(held)


def test_deleted_keys_are_forgotten_by_every_node(make_cluster):
    cluster = make_cluster(4, **SOON)
    fill(cluster)
    delete(cluster)
    until_forgotten(cluster)
    assert_only_kept(cluster)
    cluster.until(lambda: all(is_told(cluster, *row) for row in keys(cluster).items()), "told")


def test_a_node_that_is_away_is_waited_for_and_brings_nothing_back(make_cluster):
    cluster = make_cluster(4, **SOON)
    fill(cluster)
    cluster.kill("n2")
    cluster.until_seen("dead", "n2")
    delete(cluster, "n1", "n3", "n4")
    cluster.until(lambda: waits(cluster, "n2"), "n2 is waited for")
    cluster.until(
        lambda: any(cluster.events(node.name, "reaping.waits") for node in cluster.running()),
        "this is logged, once it has lasted for two rounds",
    )
    assert all(set(DELETED) & held for held in keys(cluster).values())

    cluster.start("n2")
    until_forgotten(cluster)
    assert_only_kept(cluster)


def test_a_node_that_is_removed_is_waited_for_no_longer(make_cluster):
    cluster = make_cluster(5, **SOON)
    fill(cluster)
    cluster.kill("n2")
    cluster.until_seen("dead", "n2")
    delete(cluster, "n1", "n3", "n4", "n5")
    cluster.until(lambda: waits(cluster, "n2"), "n2 is waited for")

    cluster.change("remove n2")
    until_forgotten(cluster)
    assert_only_kept(cluster)


def test_what_was_deleted_before_the_ring_changes_is_forgotten_by_old_and_new_owners(make_cluster):
    cluster = make_cluster(4, **SOON)
    fill(cluster)
    cluster.add("n5")
    delete(cluster)
    cluster.change("join n5")
    until_forgotten(cluster)
    assert_only_kept(cluster)
    cluster.change("leave n2")
    assert_only_kept(cluster)
    ring = newest_ring(cluster.config, [node.folder for node in cluster.running()])
    wait_until(
        lambda: not strays(ring, {n.name: records_of(n.folder) for n in cluster.running()}),
        "nothing is left where it is not owned",
    )


def test_a_node_that_loses_its_disk_gets_back_what_lives_and_nothing_else(make_cluster):
    cluster = make_cluster(4, **SOON)
    fill(cluster)
    delete(cluster)
    until_forgotten(cluster)
    before = keys(cluster)
    cluster.wipe("n3")
    wait_until(lambda: keys(cluster) == before, "n3 has its records again")
    assert_only_kept(cluster)
