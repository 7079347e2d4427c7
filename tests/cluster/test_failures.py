"""Five nodes under load that are killed, stopped and paused, and what is left of the writes."""

import asyncio
import time

import pytest

from tests.harness.cluster import Cluster
from tests.harness.waiting import PATIENCE_S
from toystore import AsyncClient

from .checks import Death, behind, broken, unexplained
from .replicas import copies, owners_of
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

A_WHILE = 150
"""So many operations of the load."""


def load_on(cluster: Cluster, **more) -> Workload:
    """Few enough writes of few enough clients that a busy machine keeps up with them."""
    return Workload(cluster.endpoints(), clients=6, keys=120, **more)


def test_a_node_killed_under_load_costs_no_request_and_gets_what_it_missed(share_cluster):
    cluster = share_cluster(5)
    work = load_on(cluster, name="killed")
    while_away = {f"away{number}": str(number) for number in range(60)}

    with at_work(work) as load:
        load.go_on(A_WHILE)
        cluster.kill("n2")
        killed_s = time.time()
        load.go_on(A_WHILE)
        cluster.until_seen("dead", "n2")
        with cluster.client("n1", "n3") as store:
            store.put_many(while_away)
        load.go_on(A_WHILE)
        cluster.start("n2")
        back_s = time.time()
        load.go_on(A_WHILE)
    cluster.until_drained()

    assert not work.failures()
    _, stale = behind(cluster.config, work.rows)
    assert not unexplained(stale, [Death("n2", killed_s, back_s)])
    assert not broken(work)
    held = copies(cluster.config, while_away)
    missed = {key: copy["n2"] for key, copy in held.items() if "n2" in copy}
    assert missed
    assert {key: copy.value.decode() for key, copy in missed.items()} == {
        key: while_away[key] for key in missed
    }
    delivered = [
        entry["hints"]
        for name in cluster.names
        # A busy node is slow to take them.
        for entry in cluster.events(name, "handoff.finished", "handoff.paused", since_s=killed_s)
        if entry["owner"] == "n2"
    ]
    assert sum(delivered) >= len(missed)


def test_all_nodes_killed_at_once_under_load_have_every_acknowledged_write_again(share_cluster):
    cluster = share_cluster(5)
    work = load_on(cluster, name="all_killed", timeout_s=3.0)

    with at_work(work) as load:
        load.go_on(2 * A_WHILE)
        cluster.kill("n5")  # so that there are hints as well
        load.go_on(A_WHILE)
        cluster.kill(*cluster.names[:4])
        killed_s = time.time()
    cluster.start(*cluster.names)
    back_s = time.time()
    cluster.until_drained()

    _, stale = behind(cluster.config, work.rows)
    assert not unexplained(stale, [Death(name, killed_s, back_s) for name in cluster.names])
    assert not broken(work)


def test_a_node_stopped_cleanly_under_load_costs_no_request_and_lacks_nothing_later(share_cluster):
    cluster = share_cluster(5)
    work = load_on(cluster, name="stopped")

    with at_work(work) as load:
        load.go_on(A_WHILE)
        cluster.stop("n1")
        cluster.until_seen("left", "n1")
        load.go_on(A_WHILE)
        cluster.start("n1")
        load.go_on(A_WHILE)
    cluster.until_drained()

    assert not work.failures()
    looked_at, stale = behind(cluster.config, work.rows)
    assert looked_at
    assert not stale
    assert not broken(work)


def test_a_node_paused_under_load_costs_no_request_and_brings_nothing_older_back(share_cluster):
    cluster = share_cluster(5)
    work = load_on(cluster, name="paused")

    with at_work(work) as load:
        load.go_on(A_WHILE)
        cluster.pause("n3")
        load.go_on(2 * A_WHILE)
        cluster.resume("n3")
        load.go_on(A_WHILE)
    cluster.until_ready()
    cluster.until_drained()

    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)


def test_puts_in_the_queue_of_a_paused_coordinator_do_not_overtake_what_came_after(share_cluster):
    cluster = share_cluster(5)
    keys = [f"queued{number}" for number in range(40)]
    n1, n2 = cluster.endpoints("n1", "n2")
    with asyncio.Runner() as runner:
        slow = AsyncClient([n1, n2], timeout=PATIENCE_S, attempt_timeout=0.3)
        runner.run(slow.put_many(dict.fromkeys(keys, "0")))
        before = runner.run(slow.status(n1))["requests"]["puts"]

        cluster.pause("n1")
        answers = runner.run(slow.put_many(dict.fromkeys(keys, "1"), errors="return"))
        with cluster.client("n2", "n3") as others:
            others.put_many(dict.fromkeys(keys, "2"))
        cluster.resume("n1")
        # This waits behind the puts, on the same connection.
        after = runner.run(slow.status(n1))["requests"]["puts"]
        runner.run(slow.close())
    cluster.until_ready()
    cluster.until_drained()

    assert not [answer for answer in answers.values() if isinstance(answer, Exception)]
    assert after >= before + len(keys)
    for name in cluster.names:
        found = cluster.client(name).get_many(keys)
        assert {answer.value for answer in found.values()} == {b"2"}, name
    for key, held in copies(cluster.config, keys).items():
        assert {copy.value for copy in held.values()} == {b"2"}, key


def test_two_hung_owners_of_a_key_cost_one_silence_long_before_anybody_calls_them_dead(
    make_cluster,
):
    silence_s = 1.5
    cluster = make_cluster(
        5,
        requests={"replica_timeout_s": silence_s},
        swim={"probe_period_s": 0.3, "probe_timeout_s": 0.1, "suspicion_mult": 1000.0},
    )
    keys = keys_owned_by(cluster, "n1", "n2")
    well = ("n3", "n4", "n5")
    stores = {name: cluster.client(name, attempt_timeout=PATIENCE_S) for name in well}
    stores["n3"].put_many(dict.fromkeys(keys, "0"))

    cluster.pause("n1", "n2")
    took_s = []
    for turn, key in enumerate(keys):
        for name in well:
            began = time.monotonic()
            stores[name].put(key, f"{turn} by {name}")
            assert stores[name].get(key).value == f"{turn} by {name}".encode()
            took_s.append(time.monotonic() - began)
    cluster.look()
    assert "dead" not in {cluster.members(name)[hung] for name in well for hung in ("n1", "n2")}
    cluster.resume("n1", "n2")
    cluster.until_ready()
    cluster.until_drained()

    assert sum(took >= silence_s for took in took_s) <= len(well) * 4, "each node found out anew"
    assert all(cluster.events(name, "link.silent") for name in well)
    for key, held in copies(cluster.config, keys).items():
        last = f"{keys.index(key)} by n5".encode()
        assert {copy.value for copy in held.values()} == {last}, key


def keys_owned_by(cluster, *names):
    """Some keys that have all of these nodes among their owners."""
    owners = owners_of(cluster.config, [f"key{number}" for number in range(400)])
    keys = [key for key, of_key in owners.items() if set(names) <= set(of_key)]
    return keys[:20]
