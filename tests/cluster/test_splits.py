"""Nodes on a bad network: splits, two-sided and one-way, and slow, lossy ways."""

import pytest

from tests.harness.network import CLEAR, CUT, HOLE, Impairment

from .checks import behind, broken
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

A_WHILE = 60
"""So many operations of the load."""


def load_on(cluster, *names, **more):
    return Workload(cluster.endpoints(*names), clients=6, keys=100, **more)


def test_after_a_split_both_sides_writes_are_everywhere(share_cluster):
    cluster = share_cluster(5, proxied=True)
    few = load_on(cluster, "n1", "n2", name="few", timeout_s=15.0)
    many = load_on(cluster, "n3", "n4", "n5", name="many", timeout_s=15.0)

    with at_work(few) as on_few, at_work(many) as on_many:
        on_many.go_on(A_WHILE)
        cluster.network.split(HOLE, ["n1", "n2"])
        cluster.until(lambda: split_is_seen(cluster), "each side believes the other dead")
        on_few.go_on(A_WHILE)
        on_many.go_on(A_WHILE)
        cluster.network.everywhere(CLEAR)
        on_many.go_on(A_WHILE)
    cluster.until_ready()
    cluster.until_drained()

    for work in (few, many):
        assert not behind(cluster.config, work.rows)[1]
        assert not broken(work)
        assert any(row.fallbacks for row in work.rows if row.writes)


def test_two_halves_whose_connections_are_reset_find_each_other_by_themselves(share_cluster):
    cluster = share_cluster(5, proxied=True)

    cluster.network.split(CUT, ["n1", "n2"])
    cluster.until(lambda: split_is_seen(cluster), "each side believes the other dead")
    cluster.network.everywhere(CLEAR)

    alive = dict.fromkeys(cluster.names, "alive")
    cluster.until(
        lambda: all(cluster.members(name) == alive for name in cluster.names), "one agreed view"
    )


def split_is_seen(cluster):
    """Whether n1 and n3 call each other dead."""
    return cluster.members("n1").get("n3") == cluster.members("n3").get("n1") == "dead"


def test_a_node_that_is_heard_and_hears_nothing_costs_no_request(share_cluster):
    cluster = share_cluster(5, proxied=True)
    work = load_on(cluster, "n1", "n2", "n3", "n5", name="deaf", timeout_s=15.0)

    with at_work(work) as load:
        load.go_on(A_WHILE)
        cluster.network.impair(HOLE, [(name, "n4") for name in ("n1", "n2", "n3", "n5")])
        load.go_on(2 * A_WHILE)
        cluster.network.everywhere(CLEAR)
        load.go_on(A_WHILE)
    cluster.until_ready()
    cluster.until_drained()

    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)


def test_on_slow_and_lossy_ways_requests_are_slow_and_nothing_is_lost(share_cluster):
    cluster = share_cluster(5, proxied=True)
    work = load_on(cluster, name="slow", timeout_s=15.0)

    cluster.network.everywhere(Impairment(delay_s=0.01, jitter_s=0.02, loss=0.002))
    with at_work(work) as load:
        load.go_on(3 * A_WHILE)
    cluster.network.everywhere(CLEAR)
    cluster.until_ready()
    cluster.until_drained()

    assert work.latencies_ms()[len(work.rows) // 2] > 10
    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)
