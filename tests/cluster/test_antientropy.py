"""Real nodes whose replicas differ become equal without a read, and no client notices."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from typing import Any

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED
from tests.harness.disks import corrupt, is_sound, records_of
from tests.harness.waiting import wait_until

from .checks import broken
from .replicas import copies
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

QUICKLY = {"rest_s": 0.2, "rest_max_s": 1.0, "compare_s": 0.3, "visit_s": 0.1, "young_s": 0.5}
"""Settings of anti-entropy where a test waits for it."""
SLOWLY = QUICKLY | {"move_bytes_per_s": 50_000, "batch_bytes": 4096}
"""A rebuild takes some seconds, so that a node can be killed in the middle of it."""
CALM = UNHURRIED | {"exchange_period_s": 1.0}
KEYS = [f"k{number}" for number in range(2000)]


def fill(cluster: Cluster, *, prefix: str = "v") -> None:
    """Write every key."""
    with cluster.client() as store:
        store.put_many({key: f"{prefix}:{key}".ljust(100, ".") for key in KEYS})
    cluster.until_drained()


def wipe(cluster: Cluster, name: str) -> None:
    """Kill a node and delete its folder."""
    cluster.kill(name)
    wait_until(lambda: (cluster.local.reap(), cluster.nodes[name].process is None)[1])
    shutil.rmtree(cluster.nodes[name].folder)


def storage(cluster: Cluster, name: str) -> dict[str, Any]:
    """What the storage of a node has reported; nothing if it did not answer."""
    return cluster.nodes[name].status.get("storage") or {}


def behind(cluster: Cluster, name: str) -> int | None:
    """In how many ranges a node is behind; None if it did not answer."""
    return storage(cluster, name).get("ranges_behind")


def is_partly_whole(cluster: Cluster, name: str) -> bool:
    """Whether a node has some of its ranges."""
    return 0 < (behind(cluster, name) or 0) < storage(cluster, name)["ranges"]


def waits_for(cluster: Cluster, name: str) -> list[str]:
    """The owners that a node needs for its rebuild, and cannot reach."""
    status = cluster.nodes[name].status.get("antientropy") or {}
    return list(status.get("waits_for", ()))


def is_whole(cluster: Cluster, name: str) -> bool:
    """Whether a node has all its ranges, and votes."""
    return behind(cluster, name) == 0 and storage(cluster, name)["votes"]


def until_whole(cluster: Cluster, *names: str) -> None:
    """Wait until nodes have all their ranges."""
    cluster.until(
        lambda: all(is_whole(cluster, name) for name in names), f"{', '.join(names)} whole"
    )


def until_equal(cluster: Cluster, keys: Iterable[str]) -> None:
    """Wait until every owner of every key has the same record; no key is read by a client."""
    wait_until(lambda: not unequal(cluster, keys), "all replicas are equal")


def unequal(cluster: Cluster, keys: Iterable[str]) -> list[str]:
    """The keys that not every owner has, with the same record."""
    held = copies(cluster.config, keys)
    return [
        key for key, each in held.items() if None in each.values() or len(set(each.values())) > 1
    ]


def lacking(cluster: Cluster, name: str, keys: Iterable[str]) -> int:
    """How many of these keys a node lacks that it owns."""
    held = copies(cluster.config, keys)
    return sum(name in each and each[name] is None for each in held.values())


def test_a_node_whose_folder_was_deleted_becomes_whole_and_votes_while_clients_work(make_cluster):
    cluster = make_cluster(5, antientropy=QUICKLY, swim=CALM)
    fill(cluster)
    work = Workload(cluster.endpoints(), clients=4)
    with at_work(work) as load:
        load.go_on(200)
        wipe(cluster, "n2")
        load.go_on(200)
        cluster.start("n2")
        until_whole(cluster, "n2")
        load.go_on(200)
    cluster.until_drained()

    assert not work.failures()
    assert not broken(work)
    assert not unequal(cluster, KEYS)
    (finished,) = cluster.events("n2", "rebuild.finished")
    assert finished["ranges"] == storage(cluster, "n2")["ranges"]


def test_a_rebuild_goes_on_where_it_was_after_a_source_and_the_node_were_killed(make_cluster):
    cluster = make_cluster(4, antientropy=SLOWLY, swim=CALM)
    fill(cluster)
    wipe(cluster, "n2")
    cluster.launch("n2")
    cluster.until(lambda: is_partly_whole(cluster, "n2"), "n2 has some of its ranges")

    cluster.kill("n3")
    cluster.until(lambda: waits_for(cluster, "n2") == ["n3"], "n2 waits for n3")
    left = behind(cluster, "n2")
    cluster.kill("n2")
    cluster.start("n2")
    assert 0 < behind(cluster, "n2") <= left
    assert not storage(cluster, "n2")["votes"]
    cluster.start("n3")
    until_whole(cluster, "n2", "n3")

    assert not unequal(cluster, KEYS)


def test_a_node_that_keeps_everything_in_memory_becomes_whole_after_each_restart(make_cluster):
    cluster = make_cluster(3, durability="memory", antientropy=QUICKLY)
    fill(cluster)

    for name in ("n1", "n2"):
        cluster.stop(name)
        cluster.start(name)
        until_whole(cluster, name)

    assert not unequal(cluster, KEYS)


def test_corrupt_records_are_found_and_replaced_and_none_is_served(make_cluster):
    cluster = make_cluster(3, antientropy=QUICKLY, swim=CALM)
    fill(cluster)
    cluster.stop("n3")
    digests = corrupt(cluster.nodes["n3"].folder, 100, random.Random(1))
    cluster.start("n3")
    reads = []

    def replaced() -> bool:
        with cluster.client("n3") as store:
            reads.append(store.get_many(KEYS))
        found = records_of(cluster.nodes["n3"].folder, digests)
        return len(found) == len(digests) and all(map(is_sound, found.values()))

    wait_until(replaced, "all are replaced")

    expected = {key: f"v:{key}".ljust(100, ".").encode() for key in KEYS}
    for read in reads:
        assert {key: one and one.value for key, one in read.items()} == expected
    found = {event["digest"] for event in cluster.events("n3", "record.corrupt")}
    assert found == {digest.hex() for digest in digests}
    assert not unequal(cluster, KEYS)


def test_writes_of_a_coordinator_that_was_killed_reach_the_owner_that_missed_them(make_cluster):
    cluster = make_cluster(3, antientropy=QUICKLY, swim=CALM)
    fill(cluster, prefix="old")
    keys = KEYS[:50]
    cluster.pause("n3")
    with cluster.client("n1") as store:
        store.put_many(dict.fromkeys(keys, "new"))
        cluster.kill("n1", "n3")  # n3 has not read what n1 has sent

    cluster.start("n1", "n3")
    until_equal(cluster, keys)
    assert any(cluster.events(name, "replicas.synchronised") for name in cluster.names)

    held = copies(cluster.config, keys)
    assert {copy.value for each in held.values() for copy in each.values()} == {b"new"}


def test_writes_whose_hints_were_lost_with_their_holder_reach_their_owner(make_cluster):
    cluster = make_cluster(4, antientropy=QUICKLY)
    fill(cluster, prefix="old")
    cluster.kill("n3")
    cluster.until_seen("dead", "n3")
    with cluster.client("n1") as store:
        store.put_many(dict.fromkeys(KEYS[:50], "new"))
    cluster.until(lambda: cluster.nodes["n4"].hints > 0, "n4 has hints for n3")
    wipe(cluster, "n4")

    cluster.start("n3", "n4")
    until_whole(cluster, "n4")
    until_equal(cluster, KEYS)

    held = copies(cluster.config, KEYS[:50])
    assert {copy.value for each in held.values() for copy in each.values()} == {b"new"}


def test_nodes_that_have_nothing_to_do_ask_each_other_nothing(make_cluster):
    cluster = make_cluster(3, antientropy=QUICKLY)
    fill(cluster)
    asked: list[list[int]] = []

    def is_quiet() -> bool:
        """Whether the last looks have found the same, for longer than between two comparisons."""
        statuses = [cluster.nodes[name].status.get("antientropy") or {} for name in cluster.names]
        asked.append([status.get("asked", -1) for status in statuses])
        return len(asked) > LOOKS and all(one == asked[-1] for one in asked[-LOOKS:])

    cluster.until(is_quiet, "no node asks any more")

    assert min(asked[-1]) > 0


LOOKS = 30
