"""Nodes that run short: of disk, of a fast disk, of file descriptors, of memory."""

import contextlib
import re
import socket

import pytest

from tests.harness.configs import UNHURRIED
from tests.harness.small_disk import NotPermittedError, fill, small_disk
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore import ToystoreError

from .checks import behind, broken
from .replicas import copies
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

A_WHILE = 60
"""So many operations of the load."""
MIB = 1024 * 1024
FLOOD = 80
"""Connections that somebody opens, and never uses."""


def load_on(cluster, *names, **more):
    return Workload(cluster.endpoints(*names), clients=4, keys=60, **more)


def nothing_is_amiss(cluster, work):
    """Every request was served, every copy is there, every promise held."""
    cluster.until_drained()
    assert not work.failures()
    assert not behind(cluster.config, work.rows)[1]
    assert not broken(work)


def accused(cluster, name):
    """Whether anybody has called a node dead."""
    others = (other for other in cluster.names if other != name)
    dead = (entry["member"] for n in others for entry in cluster.events(n, "member.dead"))
    return name in dead


@pytest.fixture
def small_disks():
    """Where small disks are mounted, until the nodes have ended."""
    with contextlib.ExitStack() as mounted:
        yield mounted


def test_a_node_whose_disk_is_full_refuses_and_others_stand_in_until_there_is_room(
    small_disks, tmp_path, make_cluster
):
    disk = tmp_path / "data" / "n3" / "data"
    try:
        small_disks.enter_context(small_disk(disk, 8 * MIB))
    except NotPermittedError as why:
        pytest.skip(str(why))
    cluster = make_cluster(4, swim=UNHURRIED)
    work = load_on(cluster)
    ballast = disk / "ballast"
    others = ("n1", "n2", "n4")

    def is_refused(holder):
        paused = cluster.events(holder, "handoff.paused")
        return any("n3 refused" in entry["cause"] for entry in paused)

    with at_work(work) as load:
        load.go_on(A_WHILE)
        fill(ballast)
        with cluster.client("n1", "n2") as store:
            items = {f"large{number}": bytes(4096) for number in range(200)}
            large = store.put_many(items, errors="return")
        load.go_on(A_WHILE)
        assert cluster.events("n3", "disk.full")
        wait_until(lambda: any(map(is_refused, others)), "hints are offered, and refused")
        ballast.unlink()
        load.go_on(A_WHILE)
    wait_until(lambda: cluster.events("n3", "disk.writable"), "n3 writes again")

    assert not [answer for answer in large.values() if isinstance(answer, Exception)]
    assert not accused(cluster, "n3")
    nothing_is_amiss(cluster, work)
    missing = {
        key: held for key, held in copies(cluster.config, large).items() if None in held.values()
    }
    assert not missing


def test_a_node_started_on_a_full_disk_serves_reads_and_takes_writes_once_there_is_room(
    small_disks, tmp_path, make_cluster
):
    folder = tmp_path / "data" / "n1"
    try:
        small_disks.enter_context(small_disk(folder, 4 * MIB))
    except NotPermittedError as why:
        pytest.skip(str(why))
    cluster = make_cluster(1, n=1)
    keys = [f"k{number}" for number in range(100)]
    with cluster.client("n1") as store:
        store.put_many(dict.fromkeys(keys, bytes(2000)))
    ballast = folder / "ballast"

    for end in (cluster.kill, cluster.stop):
        end("n1")
        for name in ("log.jsonl", "pid"):  # which there is no room to make again
            (folder / name).unlink(missing_ok=True)
        fill(ballast)
        cluster.start("n1")
        with cluster.client("n1") as store:
            held = store.get_many(keys)
            with pytest.raises(ToystoreError):
                store.put("more", bytes(2000), timeout=1.0)
            ballast.unlink()
            store.put("more", bytes(2000))
        assert all(found and found.value == bytes(2000) for found in held.values())
        assert cluster.events("n1", "disk.writable")
        wait_until((folder / "pid").exists, "n1 has left its pid")


def test_a_node_with_a_slow_disk_is_waited_for_and_not_called_dead(make_cluster):
    cluster = make_cluster(4, swim=UNHURRIED)
    work = load_on(cluster)
    cluster.stop("n3")
    cluster.set_fault("n3", commit_s=0.2)

    with at_work(work) as load:
        cluster.start("n3")
        load.go_on(2 * A_WHILE)

    assert not accused(cluster, "n3")
    nothing_is_amiss(cluster, work)


def test_a_node_out_of_file_descriptors_serves_on_and_takes_new_clients_when_there_is_room(
    make_cluster,
):
    cluster = make_cluster(3, swim=UNHURRIED)
    usual = cluster.descriptors("n3")
    cluster.stop("n3")
    cluster.set_fault("n3", files=usual + 10)
    cluster.start("n3")
    work = load_on(cluster)

    with at_work(work) as load, cluster.client("n3") as known:
        known.put("k", b"1")
        with contextlib.ExitStack() as flood:
            for name in cluster.names:
                at = ("127.0.0.1", cluster.config.member(name).client_port)
                for _ in range(FLOOD):
                    flood.enter_context(socket.create_connection(at, PATIENCE_S))
            wait_until(lambda: cluster.descriptors("n3") == usual + 10, "n3 has none left")
            load.go_on(A_WHILE)
            assert known.put("k", b"2", w=3).owners == 3
        with cluster.client("n3") as new:
            assert new.get("k").value == b"2"

    assert not any(accused(cluster, name) for name in cluster.names)
    nothing_is_amiss(cluster, work)


def test_a_node_out_of_memory_says_so_and_costs_no_acknowledged_write(make_cluster):
    cluster = make_cluster(4)
    work = load_on(cluster, "n1", "n2", "n4")
    cluster.stop("n3")
    cluster.set_fault("n3", data_bytes=112 * MIB)
    cluster.start("n3")

    with at_work(work) as load:
        with cluster.client("n3", "n1", timeout=5.0) as store:
            items = {f"large{number}": bytes(MIB - 1) for number in range(20)}
            store.put_many(items, errors="return")
        why = what_it_lacked(cluster, "n3")
        cluster.kill("n3")
        load.go_on(A_WHILE)
        cluster.set_fault("n3", data_bytes=None)
        cluster.start("n3")
        load.go_on(A_WHILE)

    assert re.search("MemoryError|[Cc]annot allocate memory|SIGABRT", why)
    nothing_is_amiss(cluster, work)


def what_it_lacked(cluster, name):
    """Wait until a node, or one of its machines, has failed: why?"""
    node = cluster.nodes[name]
    wait_until(lambda: node.process.poll() is not None or cluster.events(name, "actor.failed"))
    failures = cluster.events(name, "actor.failed")
    return failures[0]["error"] if failures else node.why_it_ended()
