"""Restarts one after the other under load, and a node that speaks another version."""

import pytest

from toystore.wire import VERSION

from .checks import behind, broken
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

A_WHILE = 60
"""So many operations of the load."""
OLDER = VERSION - 1


def test_nodes_restarted_one_by_one_under_load_cost_no_request(make_cluster):
    cluster = make_cluster(4)
    work = Workload(cluster.endpoints(), clients=6, keys=100)

    with at_work(work) as load:
        for name in cluster.names:
            load.go_on(A_WHILE)
            cluster.stop(name)
            load.go_on(A_WHILE)
            cluster.start(name)
    cluster.until_drained()

    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)


def test_a_node_of_another_version_is_refused_by_name_and_joins_once_it_is_upgraded(make_cluster):
    cluster = make_cluster(3, seeds=["n1", "n2"])
    work = Workload(cluster.endpoints("n1", "n2"), clients=4, keys=50)

    with at_work(work) as load:
        cluster.stop("n3")
        cluster.set_fault("n3", wire_version=OLDER)
        why = cluster.start_in_vain("n3")
        load.go_on(A_WHILE)
        cluster.set_fault("n3", wire_version=None)
        cluster.start("n3")
        load.go_on(A_WHILE)
    cluster.until_drained()

    assert why.startswith("exit 1: ")
    assert f"speaks protocol version {VERSION}; this node speaks {OLDER}" in why
    refused = [e for name in ("n1", "n2") for e in cluster.events(name, "member.refused")]
    assert {entry["member"] for entry in refused} == {"n3"}
    assert all(
        f"protocol version {OLDER}; this node speaks {VERSION}" in entry["reason"]
        for entry in refused
    )
    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)
