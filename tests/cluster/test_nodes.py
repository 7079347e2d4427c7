"""Single nodes: what keeps one from starting, what it says then, and a disk that was lost."""

import shutil

import pytest

from tests.harness.configs import change_config
from tests.harness.programs import last_words
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.cluster

SEEDS = ["n1", "n2"]
SOME_KEYS = [f"key{number}" for number in range(50)]


@pytest.fixture
def ends(tmp_path):
    """Runs one more node, beside a cluster or in it, that must end by itself: its last line."""

    def ends(beside, name, *, code=2, data=tmp_path / "of its own", **changes):
        path = change_config(beside.config_path, into=tmp_path / "changed.yaml", **changes)
        return last_words(path, name, data, code=code)

    return ends


def test_a_node_that_is_not_on_the_list_does_not_start(three, ends):
    line = ends(three, "n4")

    assert line.startswith("n4: the file of cluster ")
    assert line.endswith(" lists no member n4; it lists n1, n2, n3")


def test_a_second_process_on_one_data_folder_is_refused_and_the_first_goes_on(three, ends):
    three.client("n1").put("k", b"1")

    line = ends(three, "n1", data=three.data)

    assert f"{three.data / 'n1' / 'data'} is in use by process" in line
    assert three.client("n1").get("k").value == b"1"


def test_a_port_in_use_is_named(three, ends):
    line = ends(three, "n1")

    peer_port = three.config.member("n1").peer_port
    assert f"cannot bind tcp://127.0.0.1:{peer_port}: Address already in use" in line


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"members": ["n1", "n2", "n3", "n4"]}, "another lineage of cluster"),
        ({"members": ["n1", "n2", "n3", "n4"], "cluster": "other"}, "cluster 'other' is not"),
    ],
)
def test_a_node_that_only_its_own_yaml_knows_is_refused_by_the_others(three, ends, changes, reason):
    line = ends(three, "n4", code=1, seeds=SEEDS, **changes)

    assert reason in line
    three.look()
    assert set(three.members("n1")) == set(three.names)


def test_a_corrupt_data_folder_is_refused_by_name(share_cluster, ends):
    cluster = share_cluster(3)
    cluster.stop("n3")
    [file] = [f for f in (cluster.data / "n3" / "data").iterdir() if f.stat().st_size > 4096]
    sound = file.read_bytes()
    file.write_bytes(b"rubbish" * 4096)

    line = ends(cluster, "n3", data=cluster.data)
    file.write_bytes(sound)

    assert str(cluster.data / "n3" / "data") in line
    assert cluster.client("n1", "n2").get("k") is None


def test_a_node_that_lost_its_disk_does_not_say_that_nothing_was_there(share_cluster):
    cluster = share_cluster(3)
    cluster.client().put_many(dict.fromkeys(SOME_KEYS, b"1"))
    cluster.until_drained()

    cluster.stop("n3")
    shutil.rmtree(cluster.data / "n3" / "data")
    cluster.start("n3")

    def votes():
        storage = cluster.nodes["n3"].status.get("storage") or {}  # None while it is busy
        return storage.get("votes")

    cluster.until(lambda: votes() is False, "n3 does not vote")
    wait_until(lambda: cluster.events("n3", "disk.replaced"), "that is in the log")
    with cluster.client("n3") as store:
        found = store.get_many([*SOME_KEYS, "never written"], r=1)
    assert found.pop("never written") is None
    assert {answer.value for answer in found.values()} == {b"1"}
