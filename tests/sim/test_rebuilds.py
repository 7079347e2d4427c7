"""A simulated node that lost its disk becomes whole, whatever strikes while it is rebuilt."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from toystore.check import promises
from toystore.check.history import GET, OK, PUT, Row
from toystore.core.data.record import digest_of
from toystore.core.storage.layout import RECORD, STATE, VOTES, YES, state_key
from toystore.sim import audit
from toystore.sim.client import Ask, SimClient
from toystore.sim.cluster import AUDITOR, SimCluster
from toystore.sim.faults import KINDS, may_lose
from toystore.sim.scenario import CALM, Comparing
from toystore.sim.swarm import draw

from . import planted_rebuilds
from .seams import Patch

KEYS = [f"k{number}" for number in range(20)]


def a_cluster_with_data(nodes: int = 3, durability: str = "sync") -> SimCluster:
    """Nodes that have all keys each."""
    scenario = replace(
        draw(1),
        nodes=nodes,
        n=nodes,
        r=2,
        w=2,
        seeds=nodes,
        partitions=8,
        durability=durability,
        rates=CALM,
        faults=(),
        comparing=Comparing(scrub_s=5.0),
    )
    cluster = SimCluster(scenario)
    cluster.start()
    cluster.world.run(5.0)
    ask_all(cluster, [Ask(PUT, "default", key, "v") for key in KEYS])
    return cluster


def ask_all(cluster: SimCluster, asks: list[Ask]) -> list[Row]:
    """What became of these requests."""
    rows: list[Row] = []
    client, left = SimClient(cluster, AUDITOR, rows), asks[::-1]

    def go_on(_: object = None) -> None:
        if left:
            client.ask(left.pop(), go_on)

    go_on()
    assert cluster.world.run_until(lambda: not left and not client.busy, 60.0)
    return rows


def missing(cluster: SimCluster, name: str) -> list[str]:
    """The keys that a node does not store."""
    disk, n = cluster.nodes[name].disk, cluster.scenario.n
    return [key for key in KEYS if disk.get(RECORD + digest_of("default", key.encode(), n)) is None]


def missing_though_whole(cluster: SimCluster, name: str) -> list[str]:
    """Those of them whose range is whole."""
    node, n = cluster.nodes[name], cluster.scenario.n
    ranges = node.plan.ranges
    digests = {key: digest_of("default", key.encode(), n) for key in missing(cluster, name)}
    return [
        key
        for key, digest in digests.items()
        if node.disk.get(state_key(ranges.range_of(digest))) is None
    ]


def lose_disk(cluster: SimCluster, name: str) -> None:
    """Kill a node, replace its disk, start it."""
    node = cluster.nodes[name]
    node.kill("at once")
    node.lose_disk()
    node.start()


@pytest.mark.parametrize(
    "how", ["", "before whole", "after whole", "after whole, power", "before commit"]
)
def test_a_node_with_an_empty_disk_is_rebuilt_though_it_dies_on_the_way(how):
    cluster = a_cluster_with_data(durability="async" if "power" in how else "sync")
    node = cluster.nodes[may_lose(cluster.scenario)[0]]
    lose_disk(cluster, node.name)
    assert missing(cluster, node.name) == KEYS
    if how:
        node.kill(how)
        assert cluster.world.run_until(lambda: not node.running, 30.0)
        node.start()

    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)

    assert not missing(cluster, node.name)
    assert node.disk.get(VOTES) == YES
    assert not list(node.disk.scan(STATE))
    assert not audit.trees_are_true(cluster)


def test_a_node_waits_for_every_source_before_it_votes():
    cluster = a_cluster_with_data()
    wiped, source = cluster.nodes["n1"], cluster.nodes["n2"]
    source.kill("at once")
    lose_disk(cluster, "n1")

    cluster.world.run(20.0)
    assert wiped.disk.get(VOTES) != YES
    source.start()

    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)
    assert not missing(cluster, "n1")


def test_a_node_with_a_full_disk_is_rebuilt_once_there_is_room():
    cluster = a_cluster_with_data()
    wiped = cluster.nodes["n1"]
    lose_disk(cluster, "n1")
    assert cluster.world.run_until(lambda: bool(list(wiped.disk.scan(STATE))), 10.0)
    wiped.disk.full = True
    cluster.world.run(10.0)
    assert wiped.disk.get(VOTES) != YES

    wiped.disk.full = False

    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)
    assert not missing(cluster, "n1")


def test_records_that_become_corrupt_in_a_comparison_are_replaced():
    cluster = a_cluster_with_data()
    seeds = (
        KINDS["rot in comparison"].draw(cluster.scenario, random.Random(seed)) for seed in "ab"
    )
    [fault] = next(seeds)
    node = cluster.nodes[fault.on[0]]
    KINDS[fault.kind].begin(cluster, fault._replace(amount=3))
    lose_disk(cluster, next(name for name in cluster.nodes if name != node.name))
    assert cluster.world.run_until(lambda: node.rot_in_comparison == 0, 30.0)
    assert cluster.losses[-1].node == node.name

    assert cluster.world.run_until(partial(audit.is_well, cluster), 60.0)
    assert not audit.rot_replaced(cluster)
    assert not audit.replicas_equal(cluster)


def test_the_checks_see_what_is_wrong():
    cluster = a_cluster_with_data()
    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)
    disk = cluster.nodes["n1"].disk
    key, _ = next(iter(disk.scan(RECORD)))

    disk.begin()
    disk.put(STATE + b"\x03\0\0\0\0", b"")
    disk.put(key, b"rubbish")
    disk.commit()
    assert audit.nodes_whole(cluster)
    assert audit.rot_replaced(cluster)
    assert audit.replicas_equal(cluster)
    assert not audit.trees_are_true(cluster), "the rot was not found yet"
    disk.begin()
    disk.delete(key)
    disk.commit()
    assert audit.trees_are_true(cluster)


# --- votes ------------------------------------------------------------------------------


def reads_beside_a_wiped_node() -> list[promises.Violation]:
    """Of n1 and n2, which alone have the newest writes, one has a new disk and one is down."""
    cluster = a_cluster_with_data()
    cluster.nodes["n3"].kill("at once")
    rows = ask_all(cluster, [Ask(PUT, "default", f"new {key}", "v") for key in KEYS])
    assert {(row.outcome, row.owners) for row in rows} == {(OK, 2)}
    cluster.nodes["n2"].kill("at once")
    cluster.nodes["n1"].kill("at once")
    cluster.nodes["n3"].start()
    cluster.world.run(5.0)
    lose_disk(cluster, "n1")
    cluster.world.run(10.0)
    rows += ask_all(cluster, [Ask(GET, "default", f"new {key}", quorum=2) for key in KEYS])
    return promises.quorums_overlap(rows, cluster.losses)


def ranges_whole_too_early() -> bool:
    """Whether, while a node is rebuilt from one other, a range is ever whole without a record."""
    cluster = a_cluster_with_data(nodes=2)
    lose_disk(cluster, "n1")
    disk = cluster.nodes["n1"].disk
    assert cluster.world.run_until(lambda: bool(list(disk.scan(STATE))), 10.0)
    return cluster.world.run_until(lambda: bool(missing_though_whole(cluster, "n1")), 10.0)


def test_a_node_votes_only_in_ranges_that_were_compared_with_each_other_owner():
    assert not reads_beside_a_wiped_node()


def test_a_range_is_whole_once_its_records_are_stored():
    assert not ranges_whole_too_early()


@pytest.mark.parametrize(
    ("fault", "scene"),
    [
        (planted_rebuilds.a_range_that_is_behind_votes, reads_beside_a_wiped_node),
        (planted_rebuilds.a_new_disk_is_rebuilt_from_one_source, reads_beside_a_wiped_node),
        (planted_rebuilds.an_empty_new_disk_votes_not_found, reads_beside_a_wiped_node),
        (planted_rebuilds.a_range_is_whole_before_its_records_are_stored, ranges_whole_too_early),
    ],
    ids=lambda function: function.__name__,
)
def test_a_planted_fault_is_caught(
    fault: Callable[[Patch], None], scene: Callable[[], object], monkeypatch
):
    fault(monkeypatch)

    assert scene()
