"""What keeps a node from starting: one clear line, exit code 2, and nothing left behind."""

from __future__ import annotations

import fcntl
import shlex
import signal
import socket
from contextlib import contextmanager

import pytest

from actors.disk import disk_of
from tests.harness.configs import change_config, write_config
from tests.harness.logs import logged
from tests.harness.programs import NODE, Program, last_words
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore import __version__
from toystore.config import PORTS, load
from toystore.core.data.record import digest_of, pack_record
from toystore.core.storage.layout import RECORD

pytestmark = pytest.mark.cluster


@pytest.fixture
def config_path(tmp_path):
    """One node, on ports of its own."""
    bucket = {"default": {"n": 1, "r": 1, "w": 1}}
    guard, path = write_config(tmp_path, 1, cluster="one", buckets=bucket)
    with guard:
        yield path


def start(config_path, data, name="n1"):
    """Start a node that is to fail; what it said."""
    return last_words(config_path, name, data, code=2)


@pytest.mark.parametrize("port_name", PORTS)
def test_a_port_in_use_is_named(config_path, tmp_path, port_name):
    port = getattr(load(config_path).member("n1"), port_name)
    with socket.create_server(("127.0.0.1", port)):
        told = start(config_path, tmp_path / "data")

    assert told.startswith("n1: ")
    assert f"cannot bind tcp://127.0.0.1:{port}: Address already in use" in told
    assert not (tmp_path / "data" / "n1" / "pid").exists()


def test_a_node_that_is_no_member_is_told_who_is(config_path, tmp_path):
    told = start(config_path, tmp_path / "data", "n9")

    assert told == "n9: the file of cluster 'one' lists no member n9; it lists n1"
    assert not (tmp_path / "data").exists()


def test_data_in_use_are_told_with_who_uses_them(config_path, tmp_path):
    folder = tmp_path / "data" / "n1" / "data"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = start(config_path, tmp_path / "data")

    assert "is in use by process 4711" in told


def test_a_folder_that_cannot_be_made_is_told(config_path, tmp_path):
    (tmp_path / "data").write_text("a file")

    assert "cannot write to" in start(config_path, tmp_path / "data")


def test_data_of_another_cluster_is_refused(config_path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = {"name": "n1", "exchange_port": server.getsockname()[1]}
        change_config(config_path, members=[taken])
        start(config_path, tmp_path / "data")  # founds the folder, and gets no further
    change_config(config_path, members=["n1"], cluster="two")

    told = start(config_path, tmp_path / "data")

    assert "belongs to node n1 of cluster 'one'" in told
    assert events(tmp_path / "data") == ["node.failed"]  # of the first start


def test_a_bucket_with_data_under_another_n_is_refused(config_path, tmp_path):
    members = ["n1", "n2"]
    one, two = {"n": 1, "r": 1, "w": 1}, {"n": 2, "r": 1, "w": 1}
    change_config(config_path, members=members, buckets={"default": one, "carts": two})
    data = tmp_path / "data" / "n1" / "data"
    with disk_of(load(config_path), "n1", data, lambda: None) as (engine, _):
        record = pack_record(bytes(20), "carts", b"7", b"milk")
        engine.begin()
        engine.put(RECORD + digest_of("carts", b"7", 2), record)
        engine.commit()
    change_config(config_path, members=members, buckets={"default": one, "carts": one})

    told = start(config_path, tmp_path / "data")

    assert "'carts' has n=1 in the configuration" in told
    assert "stored with n=2: give it n=2 again" in told


# --- a node that runs -------------------------------------------------------------------


@contextmanager
def running(config_path, data, redirect=""):
    """A node that runs, and what it said on standard output; it must stop cleanly."""
    words = (*NODE, str(config_path), "n1", "--data-dir", str(data))
    command = ("bash", "-c", f"exec {shlex.join(words)} {redirect}")
    with Program(command, stderr=None, umask=0) as node:
        told = node.process.stdout.readline()
        wait_until(lambda: "node.started" in events(data) or node.process.poll() is not None)
        yield node.process, told
        if node.process.poll() is None:
            assert node.stop() == 0


def events(data):
    return [entry["event"] for entry in logged(data / "n1" / "log.jsonl")]


def everything_in(folder):
    """Each file's mode and bytes, but for LMDB's: a node at rest still writes facts."""
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
        if path.suffix != ".mdb"
    }


def test_a_node_tells_where_it_is_keeps_its_folder_to_itself_and_reopens_its_log(
    config_path, tmp_path
):
    member = load(config_path).member("n1")
    data, folder = tmp_path / "data", tmp_path / "data" / "n1"
    folder.mkdir(parents=True)
    for left in ("log.jsonl", "log.jsonl.1", "pid"):  # as an earlier version left them
        (folder / left).touch(0o644)
    other = change_config(config_path, into=tmp_path / "other.yaml", cluster="two")
    parent_mode = data.stat().st_mode

    with running(config_path, data) as (process, told):
        for word in (str(folder / "data"), str(folder / "log.jsonl"), f"pid {process.pid}"):
            assert word in told
        assert all(str(getattr(member, port)) in told for port in PORTS)
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
        files = ("log.jsonl", "log.jsonl.1", "pid", "life", "data.mdb", "lock.mdb", "lock")
        assert modes == {"data": 0o700} | dict.fromkeys(files, 0o600)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert data.stat().st_mode == parent_mode

        wait_until(lambda: "member.joined" in events(data))
        before = everything_in(folder)
        for path in (config_path, other):
            assert f"is in use by process {process.pid};" in start(path, data)
        assert everything_in(folder) == before

        log = (folder / "log.jsonl").rename(folder / "log.moved")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: events(data) == ["log.reopened"])
        assert "node.started" in log.read_text()
    assert events(data) == ["log.reopened", "node.stopping", "member.left", "node.stopped"]
    assert not (folder / "pid").exists()


def test_a_node_tells_its_version_and_how_its_last_life_ended(config_path, tmp_path):
    for kills in (True, False, False):
        with running(config_path, tmp_path / "data") as (process, _):
            if kills:
                process.kill()
                process.wait(PATIENCE_S)

    started = logged(tmp_path / "data" / "n1" / "log.jsonl", "node.started")
    assert {line["version"] for line in started} == {__version__}
    assert [line["before"].split(", ")[0] for line in started] == [
        "first start",
        "killed or crashed",
        "clean stop",
    ]


BROKEN_STREAMS = (
    ">&- 2>&- <&-",
    ">/dev/full 2>/dev/full",
    "> >(:) 2> >(:)",  # which nobody reads
)


@pytest.mark.parametrize("redirect", BROKEN_STREAMS)
def test_a_node_runs_whatever_its_standard_streams_are(config_path, tmp_path, redirect):
    with running(config_path, tmp_path / "data", redirect) as (_, told):
        assert told == ""


def test_a_folder_that_cannot_be_written_is_told(config_path, tmp_path):
    folder = tmp_path / "data" / "n1"
    (folder / "pid").mkdir(parents=True)

    assert f"cannot write {folder / 'pid'}: Is a directory" in start(config_path, tmp_path / "data")
