"""Which nodes are one cluster: a copy of a cluster's file, and addresses that change."""

from __future__ import annotations

import shutil

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED, change_config
from tests.harness.waiting import wait_until
from toystore.config.sections import PORTS
from toystore.localcluster.ports import reserve_ports

from .replicas import copies

pytestmark = pytest.mark.cluster

KEYS = [f"k{number}" for number in range(100)]
ONLY_HERE = [f"only in production {number}" for number in range(20)]
INNER_PORTS = PORTS[1:]
"""Those to which nodes connect."""


# --- a copy of the file, with an address left over --------------------------------------


@pytest.fixture
def production(tmp_path):
    """Three nodes that hold keys."""
    folder = tmp_path / "production"
    folder.mkdir()
    with Cluster(folder, 3, cluster="carts", swim=UNHURRIED) as cluster:
        with cluster.client() as store:
            store.put_many(dict.fromkeys([*KEYS, *ONLY_HERE], b"production"))
        cluster.until_drained()
        yield cluster


def staging_of(production: Cluster, folder, seeds):
    """A cluster whose file is production's with other addresses, but for that of n3."""
    folder.mkdir()
    n3 = production.config.member("n3").model_dump(include={"name", "host", *PORTS})
    staging = Cluster(
        folder, 3, cluster="carts", members=["n1", "n2", n3], seeds=seeds, swim=UNHURRIED
    )
    staging.nodes.pop("n3")  # it is production's
    staging.data.mkdir()
    return staging


def unharmed(production: Cluster) -> bool:
    """Whether everything in production is as it was, on each replica."""
    production.until_ready()
    production.until_drained()
    replicas = copies(production.config, [*KEYS, *ONLY_HERE])
    votes = [node.status["storage"]["votes"] for node in production.nodes.values()]
    return votes == [True] * 3 and all(
        record is not None and record.value == b"production"
        for held in replicas.values()
        for record in held.values()
    )


def refused(cluster: Cluster, name: str, member: str) -> list[str]:
    """Why a node has refused a member, or was refused by it."""
    entries = cluster.events(name, "member.refused")
    return [entry["reason"] for entry in entries if entry["member"] == member]


def test_a_copy_whose_seed_is_left_over_does_not_start(production, tmp_path):
    staging = staging_of(production, tmp_path / "staging", ["n3"])

    with production.client("n1") as store:
        why = {name: staging.start_in_vain(name) for name in staging.nodes}
        found = store.get_many(KEYS)

    for name in staging.nodes:
        assert why[name].startswith("exit 1: ")
        assert "another lineage of cluster 'carts'" in why[name]
        assert refused(staging, name, "n3")
        assert refused(production, "n3", name)
    assert {one.value for one in found.values()} == {b"production"}
    assert unharmed(production)
    assert not production.events("n3", "disk.replaced", "member.dead")


def test_a_copy_that_runs_reads_and_writes_nothing_at_the_address_left_over(production, tmp_path):
    production.stop("n3")
    with staging_of(production, tmp_path / "staging", ["n1", "n2"]) as staging:
        production.start("n3")
        wait_until(
            lambda: all(
                refused(staging, name, "n3") and refused(production, "n3", name)
                for name in staging.nodes
            ),
            "both sides have refused each other",
        )
        with staging.client(*staging.nodes) as store:
            store.put_many(dict.fromkeys(KEYS, b"staging"))
            own = store.get_many(KEYS)
            theirs = store.get_many(ONLY_HERE)
            staging.look()
            views = [staging.members(name)["n3"] for name in staging.nodes]
        assert unharmed(production)

    assert {one.value for one in own.values()} == {b"staging"}
    assert set(theirs.values()) == {None}
    assert "alive" not in views
    assert all("another lineage" in reason for reason in refused(production, "n3", "n1"))
    assert not [
        event
        for name in production.names
        for event in production.events(name, "disk.replaced", "disk.rebuilt")
    ]


# --- addresses that change --------------------------------------------------------------


def give_other_ports(cluster: Cluster, name: str, base_port: int) -> None:
    """Give a member other ports for nodes, in the one file that all nodes read."""
    ports = {port: base_port + at for at, port in enumerate(INNER_PORTS, 1)}
    members = [
        {"name": member.name, **member.ports, **(ports if member.name == name else {})}
        for member in cluster.config.members
    ]
    change_config(cluster.config_path, members=members)


def restart(cluster: Cluster, name: str) -> None:
    """Restart one node, and wait until it serves."""
    cluster.stop(name)
    cluster.launch(name)
    cluster.until(lambda: bool(cluster.nodes[name].status.get("serving")), f"{name} serves")


def roll(cluster: Cluster, first: str) -> None:
    """Restart the nodes one after the other."""
    for name in (first, *(other for other in cluster.names if other != first)):
        restart(cluster, name)
    cluster.until_ready()
    cluster.until_drained()


def test_the_ports_of_a_node_change_by_restarting_one_node_after_the_other(make_cluster):
    cluster = make_cluster(4)
    guard, base_port = reserve_ports(2)
    with guard, cluster.client() as store:
        store.put_many(dict.fromkeys(KEYS, b"1"))

        give_other_ports(cluster, "n2", base_port)
        roll(cluster, first="n2")
        store.put_many(dict.fromkeys(KEYS, b"2"))
        cluster.stop("n4")
        shutil.rmtree(cluster.nodes["n4"].folder / "data")
        cluster.start("n4")
        cluster.until(lambda: bool(cluster.events("n4", "lineage.adopted")), "n4 adopts it")
        give_other_ports(cluster, "n2", base_port + 10)
        roll(cluster, first="n2")
        found = store.get_many(KEYS)

    assert {one.value for one in found.values()} == {b"2"}
    assert not [e for name in cluster.names for e in cluster.events(name, "member.refused")]
    [adopted] = cluster.events("n4", "lineage.adopted")
    assert adopted["lineage"] == cluster.config.digest().hex()
