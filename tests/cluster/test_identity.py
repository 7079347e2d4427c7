"""One identity: a second process with a member's name is refused and named, the first goes on."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

from tests.harness.configs import UNHURRIED, change_config
from tests.harness.programs import NODE, Program, last_words
from tests.harness.waiting import wait_until
from toystore.localcluster.ports import reserve_ports

pytestmark = pytest.mark.cluster

KEYS = [f"key{number}" for number in range(50)]
ELSEWHERE = "127.0.0.2"
"""An address of this host at which no member of the cluster listens."""


@pytest.fixture
def cluster(share_cluster):
    """Three nodes; n1 and n2 are the seeds."""
    return share_cluster(3, seeds=["n1", "n2"], swim=UNHURRIED | {"exchange_period_s": 1.0})


def members(cluster, name, **changes):
    """The member list with another address for one member."""
    return [{"name": other} | (changes if other == name else {}) for other in sorted(cluster.names)]


def elsewhere(cluster, name, tmp_path):
    """A configuration by which the member listens at its own ports, but at another address."""
    listed = members(cluster, name, bind=ELSEWHERE)
    return change_config(cluster.config_path, into=tmp_path / "elsewhere.yaml", members=listed)


def at_other_ports(cluster, name, tmp_path):
    """What reserves four free ports, and a configuration by which the member listens there."""
    guard, base = reserve_ports(1)
    ports = ("client_port", "peer_port", "gossip_port", "exchange_port")
    listed = members(cluster, name, **{port: base + at for at, port in enumerate(ports)})
    return guard, change_config(cluster.config_path, into=tmp_path / "ports.yaml", members=listed)


@contextmanager
def change(mapping, key, value):
    """Another value for a key within the block."""
    before = mapping[key]
    mapping[key] = value
    try:
        yield
    finally:
        mapping[key] = before


def copy_of_its_folder(cluster, name, tmp_path):
    """A folder for the node, with a copy of its data."""
    cluster.until_drained()
    folder = tmp_path / "copied"
    shutil.copytree(cluster.data / name / "data", folder / name / "data")
    return folder


def votes(cluster, name):
    """Whether the node's disk votes "not found"."""
    return (cluster.nodes[name].status.get("storage") or {}).get("votes")


def taken(cluster, name):
    """The processes of which a node has logged that they are not ``name``."""
    return {event["process"] for event in cluster.events(name, "name.taken")}


@pytest.mark.parametrize("name", ["n3", "n1"], ids=["", "seed"])
@pytest.mark.parametrize("copied", [False, True], ids=["empty", "copied"])
def test_a_second_process_with_the_name_of_a_member_stops_and_all_log_it(
    cluster, tmp_path, name, copied
):
    cluster.client().put_many(dict.fromkeys(KEYS, b"1"))
    folder = copy_of_its_folder(cluster, name, tmp_path) if copied else tmp_path / "empty"
    before = {other: taken(cluster, other) for other in cluster.names}

    line = last_words(elsewhere(cluster, name, tmp_path), name, folder, code=1)

    assert f"{name} is process " in line
    wait_until(
        lambda: all(taken(cluster, other) - before[other] for other in cluster.names),
        "all nodes have logged it",
    )
    new = {process for other in cluster.names for process in taken(cluster, other) - before[other]}
    assert len(new) == 1
    cluster.until(lambda: votes(cluster, name) is True, f"{name} votes")
    assert not any(cluster.events(other, "disk.replaced") for other in cluster.names)
    cluster.assert_all_run()
    with cluster.client(name) as store:
        assert {answer.value for answer in store.get_many(KEYS).values()} == {b"1"}


def test_a_second_process_with_a_copied_folder_stops_at_any_ports(cluster, tmp_path):
    folder = copy_of_its_folder(cluster, "n3", tmp_path)
    guard, path = at_other_ports(cluster, "n3", tmp_path)

    with guard:
        line = last_words(path, "n3", folder, code=1)

    assert "n3 is process " in line
    cluster.assert_all_run()


def test_a_second_process_with_an_empty_folder_is_of_another_lineage_at_other_ports(
    cluster, tmp_path
):
    guard, path = at_other_ports(cluster, "n3", tmp_path)

    with guard:
        line = last_words(path, "n3", tmp_path / "empty", code=1)

    assert "another lineage of cluster" in line
    for other in ("n1", "n2"):
        wait_until(lambda o=other: cluster.events(o, "member.refused", "name.taken"), "it logs it")
    cluster.until(lambda: votes(cluster, "n3") is True, "n3 votes")
    cluster.assert_all_run()


def test_a_member_that_moves_to_other_ports_joins_before_the_others_know_of_them(cluster, tmp_path):
    guard, path = at_other_ports(cluster, "n3", tmp_path)
    paths = cluster.local.config_paths
    before = cluster.events("n3", "member.joined"), taken(cluster, "n3")
    cluster.stop("n3")

    with guard, change(paths, "n3", path):
        cluster.launch("n3")
        wait_until(lambda: len(cluster.events("n3", "member.joined")) > len(before[0]), "it joins")
        cluster.stop("n3")
    cluster.start("n3")

    assert taken(cluster, "n3") == before[1]
    assert not cluster.events("n3", "disk.replaced")


def test_a_process_that_takes_the_name_of_a_dead_member_does_not_take_its_vote(cluster, tmp_path):
    cluster.client().put_many(dict.fromkeys(KEYS, b"1"))
    cluster.until_drained()
    cluster.kill("n3")
    cluster.until_seen("dead", "n3")

    command = (*NODE, elsewhere(cluster, "n3", tmp_path), "n3", "--data-dir", tmp_path / "empty")
    with Program([str(part) for part in command]) as second:
        wait_until(
            lambda: any(cluster.events(other, "name.unconfirmed") for other in ("n1", "n2")),
            "n1 or n2 say that it waits",
        )
        cluster.start("n3")
        assert second.end() == 1

    assert any("n3 is process " in line for line in second.lines)
    cluster.until(lambda: votes(cluster, "n3") is True, "n3 votes")
    assert not cluster.events("n3", "disk.replaced")


def test_a_member_that_is_killed_and_started_again_is_never_called_a_second_process(cluster):
    before = {other: taken(cluster, other) for other in cluster.names}
    for name in ("n3", "n1"):
        cluster.kill(name)
        cluster.start(name)  # within milliseconds
    cluster.kill("n3")
    shutil.rmtree(cluster.data / "n3" / "data")
    cluster.start("n3")

    assert {other: taken(cluster, other) for other in cluster.names} == before
    wait_until(lambda: cluster.events("n3", "disk.replaced"), "n3 knows that it lost its disk")
