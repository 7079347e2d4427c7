"""A node that no file lists: it waits, is taken in, and is told if it cannot be a member."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED
from tests.harness.logs import logged
from tests.harness.programs import NODE, Program
from tests.harness.rings import offer, without
from tests.harness.waiting import wait_until
from toystore.config import load
from toystore.core.ring.record import Gone, Listed, RingRecord

pytestmark = pytest.mark.cluster

WAITS = "n4 waits to be taken in: toystore cluster plan join n4"
NOWHERE = "tcp://127.0.0.1:1"


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(3, n=1, swim=UNHURRIED)


@contextmanager
def newcomer(
    cluster: Cluster, name: str = "n4", contact: str = "", folder: Path | None = None
) -> Iterator[Program]:
    """A node that joins, at the ports after those of the last member."""
    base = cluster.config.member("n3").client_port + 10
    described = ("--name", name, "--base-port", str(base), "--zone", "attic")
    data = str(folder or cluster.data)
    contact = contact or cluster.nodes["n1"].endpoint
    with Program([*NODE, "--join", contact, *described, "--data-dir", data]) as program:
        yield program


def taking_in(cluster: Cluster, disk: str) -> RingRecord:
    """The record of epoch 1, with n4."""
    before = cluster.config.founding()
    base = cluster.config.member("n3").client_port + 10
    ports = tuple(range(base, base + 4))
    n4 = Listed("n4", "n4", disk, 1, "attic", "127.0.0.1", ports)
    made = before.next(cluster.config.cluster_id().lineage, made_by="n1", why="join n4")
    return replace(made, members=(*before.members, n4))


def disk_of_n4(cluster: Cluster) -> str:
    """The id of the disk of n4, as n1 has logged it."""
    lines: list[dict[str, str]] = []

    def announced() -> bool:
        lines[:] = cluster.events("n1", "ring.newcomer")
        return bool(lines)

    wait_until(announced, "n1 knows that n4 waits")
    return lines[-1]["disk"]


def started(cluster: Cluster) -> list[dict[str, str]]:
    return logged(cluster.data / "n4" / "log.jsonl", "node.started")


def test_a_newcomer_waits_is_taken_in_and_starts_again_from_its_folder(cluster):
    with newcomer(cluster) as n4:
        n4.until(WAITS)
        disk = disk_of_n4(cluster)
        offer(cluster.config, cluster.config.member("n2"), [taking_in(cluster, disk)])
        n4.until(r"n4 of .*: clients at ")
        wait_until(lambda: started(cluster))
        assert n4.stop() == 0
    with newcomer(cluster, contact=NOWHERE) as again:
        again.until(r"n4 of .*: clients at ")
        assert again.stop() == 0

    assert [line["disk"] for line in started(cluster)] == [disk] * 2
    assert {line["members"] for line in started(cluster)} == {4}
    kept = load(cluster.data / "n4" / "cluster.yaml")
    assert kept.founding() == cluster.config.founding()
    assert kept.swim_settings() == cluster.config.swim_settings()
    cluster.assert_all_run()


def test_a_newcomer_that_waits_stops_cleanly_and_waits_again_with_its_disk(cluster):
    with newcomer(cluster) as n4:
        n4.until(WAITS)
        disk = disk_of_n4(cluster)
        assert n4.stop() == 0
    with newcomer(cluster, contact=NOWHERE) as again:
        again.until(WAITS)
        offer(cluster.config, cluster.config.member("n2"), [taking_in(cluster, disk)])
        again.until(r"n4 of .*: clients at ")
        assert again.stop() == 0

    assert [line["text"] for line in logged(cluster.data / "n4" / "log.jsonl", "node.waiting")]


@pytest.mark.parametrize("at", range(4))
def test_a_newcomer_whose_port_is_taken_does_not_wait(cluster, at):
    port = cluster.config.member("n3").client_port + 10 + at
    with socket.create_server(("127.0.0.1", port)), newcomer(cluster) as n4:
        assert n4.end() == 2

    said = f"n4: cannot bind tcp://127.0.0.1:{port}: Address already in use"
    assert n4.lines == [said]


def test_a_newcomer_whose_contact_does_not_answer_says_so_and_stops_cleanly(cluster):
    with newcomer(cluster, contact=NOWHERE) as n4:
        n4.until(f"n4 waits for an answer of {NOWHERE}")
        assert n4.stop() == 0


def test_an_empty_folder_takes_the_place_of_a_lost_one(cluster, tmp_path):
    disk = "0" * 32
    offer(cluster.config, cluster.config.member("n2"), [taking_in(cluster, disk)])

    with newcomer(cluster, folder=tmp_path / "another") as n4:
        n4.until(r"n4 of .*: clients at ")
        assert n4.stop() == 0


def test_the_folder_of_a_node_that_was_removed_is_not_taken_in(cluster):
    disk = cluster.nodes["n3"].status["storage"]["disk"]
    cluster.kill("n3")
    record = without(cluster.config.founding(), cluster.config.cluster_id().lineage, "n3", disk)
    offer(cluster.config, cluster.config.member("n1"), [record])

    with newcomer(cluster, name="n3") as n3:
        assert n3.end() == 3

    assert "this data folder was that of n3" in n3.lines[-1]
    assert record.gone == (Gone("n3", disk, 1),)


def test_a_command_line_that_makes_no_sense_is_refused(cluster):
    with Program([*NODE, "--join", NOWHERE, "--name", "n4"]) as node:
        assert node.end() == 2
    assert "--join needs --name, --base-port and --data-dir" in node.lines[-1]
