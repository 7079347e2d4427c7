"""Clocks that are wrong: a node's by an hour, a client's by a minute."""

import pytest

from toystore.client.clock import process_clock

from .checks import behind, broken
from .workload import LaggingClock, Workload, at_work

pytestmark = pytest.mark.cluster

AN_HOUR_S = 3600
A_MINUTE_S = 60


def test_a_client_a_minute_behind_loses_nothing_to_nobody(three):
    punctual, late = three.client(), three.client(clock=LaggingClock(A_MINUTE_S))

    for number in range(10):
        punctual.put("of a late client", f"punctual {number}")
        late.put("of a late client", f"late {number}")
        assert punctual.get("of a late client").value == f"late {number}".encode()
        late.delete("of a late client")
        assert punctual.get("of a late client") is None


def test_a_node_an_hour_back_takes_puts_that_stand_above_what_was_there(make_cluster):
    cluster = make_cluster(3)
    cluster.client().put("k", b"before")

    cluster.stop("n2")
    cluster.set_fault("n2", clock_s=-AN_HOUR_S)
    cluster.start("n2")
    wrong, right = cluster.client("n2"), cluster.client("n1")

    wrong.put("k", b"through n2")
    assert right.get("k").value == b"through n2"
    right.put("k", b"through n1")
    assert wrong.get("k").value == b"through n1"
    wrong.delete("k")
    assert right.get("k") is None
    assert cluster.events("n2", "clock.refused")


@pytest.mark.parametrize("ahead_s", [-AN_HOUR_S, AN_HOUR_S])
def test_with_a_node_an_hour_off_and_clients_a_minute_behind_nothing_is_lost(make_cluster, ahead_s):
    cluster = make_cluster(4)
    work = Workload(
        cluster.endpoints(),
        clients=6,
        clocks=(process_clock, LaggingClock(A_MINUTE_S), LaggingClock(5)),
    )

    with at_work(work) as load:
        load.go_on(150)
        cluster.stop("n3")
        cluster.set_fault("n3", clock_s=ahead_s)
        load.go_on(150)
        cluster.start("n3")
        load.go_on(500)
    cluster.until_drained()

    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)
