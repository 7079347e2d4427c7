"""`toystore repair` and `toystore status --watch` on clusters whose disks have lost something."""

from __future__ import annotations

import json
import random
import shutil
import subprocess

import pytest

from tests.cluster.replicas import owners_of
from tests.harness.disks import corrupt, newest_ring, records_of, unequal
from tests.harness.programs import TOYSTORE
from tests.harness.waiting import PATIENCE_S

pytestmark = pytest.mark.cluster

KEYS = [f"key:{number}" for number in range(300)]


@pytest.fixture
def cluster(share_cluster):
    """Five nodes with some keys."""
    cluster = share_cluster(5, antientropy={"compare_s": 1.0, "rest_s": 0.5, "young_s": 0.1})
    with cluster.client() as store:
        store.put_many(dict.fromkeys(KEYS, b"value"))
    cluster.until_drained()
    return cluster


def toystore(cluster, *arguments):
    """Run a command against all nodes: its exit code and its output."""
    endpoints = ",".join(cluster.endpoints())
    command = [*TOYSTORE, *arguments, "-e", endpoints, "--timeout", "10"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert "Traceback" not in ran.stderr
    return ran


def assert_replicas_equal(cluster):
    """Every owner of every key has it, and the same bytes."""
    held = {name: records_of(cluster.data / name) for name in cluster.names}
    assert len(set().union(*held.values())) == len(KEYS)
    assert unequal(newest_ring(cluster.config, ()), held) == []


def test_a_node_with_an_empty_folder_is_watched_until_it_has_everything(cluster):
    cluster.stop("n4")
    shutil.rmtree(cluster.data / "n4" / "data")
    cluster.launch("n4")

    watched = toystore(cluster, "status", "--watch", "--json", "--wait", "60")

    assert watched.returncode == 0, watched.stderr
    steps = [json.loads(line) for line in watched.stdout.splitlines()]
    last = {step["node"]: step for step in steps}
    assert last.keys() == set(cluster.names)
    assert all(step["whole"] and not step["ranges_behind"] for step in last.values())
    cluster.until_ready()
    assert_replicas_equal(cluster)


def test_a_repair_replaces_corrupt_records_and_reports_of_every_node(cluster):
    cluster.stop("n4")
    corrupt(cluster.data / "n4", 20, random.Random(1))
    cluster.start("n4")

    repaired = toystore(cluster, "repair", "--json")

    assert repaired.returncode == 0, repaired.stdout
    told = json.loads(repaired.stdout)
    assert told["all_repaired"]
    assert told["nodes"].keys() == set(cluster.names)
    assert told["total"]["done"] == told["total"]["ranges"] == 3 * cluster.config.partitions
    assert told["total"]["compared"] == 2 * told["total"]["ranges"]
    assert len(cluster.events("n4", "record.replaced")) == 20
    assert_replicas_equal(cluster)


def test_a_repair_names_the_owner_that_it_waits_for_and_the_nodes_go_on_later(cluster):
    key = KEYS[0]
    first, _, third = owners_of(cluster.config, [key])[key]
    placed = json.loads(toystore(cluster, "ring", key, "--json").stdout)
    cluster.kill(third)
    only = ("--partition", str(placed["partition"]), "--node", first)

    waiting = toystore(cluster, "repair", *only, "--stop-after", "8")

    assert waiting.returncode == 3
    assert f"{first} waits for {third} (0 of 1 ranges)" in waiting.stdout.splitlines()
    cluster.start(third)
    cluster.until(
        lambda: bool(cluster.events(first, "repair.finished")), f"{first} has finished the repair"
    )
