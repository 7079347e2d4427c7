"""Single nodes: what keeps one from starting, what it says then, and a disk that was lost."""

import shutil
import subprocess
import sys

import pytest
import yaml

from toystore.localcluster.cluster import ROOT

from .harness import PATIENCE_S

pytestmark = pytest.mark.cluster

SEEDS = ["n1", "n2"]
SOME_KEYS = [f"key{number}" for number in range(50)]


@pytest.fixture
def run_node(tmp_path):
    """Runs one more node process, beside a cluster or in it, until it ends by itself."""

    def run(beside, name, *, data=tmp_path / "of its own", **changes):
        raw = yaml.safe_load(beside.config_path.read_text()) | changes
        path = tmp_path / "changed.yaml"
        path.write_text(yaml.safe_dump(raw))
        return subprocess.run(
            [sys.executable, "-m", "actors", path, name, "--data-dir", data],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


def last_line(ended, code):
    """What a node had to say in the end."""
    assert ended.returncode == code, ended
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]


def test_a_node_that_is_not_on_the_list_does_not_start(three, run_node):
    line = last_line(run_node(three, "n4"), 2)

    assert line.startswith("n4: n4 is not a member of cluster ")
    assert line.endswith("; its members are n1, n2, n3")


def test_a_second_process_on_one_data_folder_is_refused_and_the_first_goes_on(three, run_node):
    three.client("n1").put("k", b"1")

    line = last_line(run_node(three, "n1", data=three.data), 2)

    assert f"{three.data / 'n1' / 'data'} is in use by process" in line
    assert three.client("n1").get("k").value == b"1"


def test_a_port_in_use_is_named(three, run_node):
    line = last_line(run_node(three, "n1"), 2)

    peer_port = three.config.member("n1").peer_port
    assert f"cannot bind tcp://127.0.0.1:{peer_port}: Address already in use" in line


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"members": ["n1", "n2", "n3", "n4"]}, "the member list of"),
        ({"members": ["n1", "n2", "n3", "n4"], "cluster": "other"}, "cluster 'other' is not"),
    ],
)
def test_a_node_that_only_its_own_yaml_knows_is_refused_by_the_others(
    three, run_node, changes, reason
):
    ended = run_node(three, "n4", seeds=SEEDS, **changes)

    assert reason in last_line(ended, 1)
    three.look()
    assert set(three.members("n1")) == set(three.names)


def test_a_node_whose_yaml_disagrees_with_its_own_disk_does_not_start(make_cluster, run_node):
    cluster = make_cluster(3)
    cluster.stop("n3")

    line = last_line(run_node(cluster, "n3", data=cluster.data, partitions=128), 2)

    assert "is not the one on disk" in line


def test_a_corrupt_data_folder_is_refused_by_name(make_cluster, run_node):
    cluster = make_cluster(3)
    cluster.stop("n3")
    [file] = [f for f in (cluster.data / "n3" / "data").iterdir() if f.stat().st_size > 4096]
    file.write_bytes(b"rubbish" * 4096)

    line = last_line(run_node(cluster, "n3", data=cluster.data), 2)

    assert str(cluster.data / "n3" / "data") in line
    assert cluster.client("n1", "n2").get("k") is None


def test_a_node_that_lost_its_disk_does_not_say_that_nothing_was_there(make_cluster):
    cluster = make_cluster(3)
    cluster.client().put_many(dict.fromkeys(SOME_KEYS, b"1"))
    cluster.until_drained()

    cluster.stop("n3")
    shutil.rmtree(cluster.data / "n3" / "data")
    cluster.start("n3")

    def votes():
        storage = cluster.nodes["n3"].status.get("storage") or {}  # None while it is busy
        return storage.get("votes")

    cluster.until(lambda: votes() is False, "n3 does not vote")
    cluster.until(lambda: any(cluster.events("n3", "disk.replaced")), "that is in the log")
    with cluster.client("n3") as store:
        found = store.get_many([*SOME_KEYS, "never written"], r=1)
    assert found.pop("never written") is None
    assert {answer.value for answer in found.values()} == {b"1"}
