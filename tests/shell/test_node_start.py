"""What keeps a node from starting: one clear line, exit code 2, and nothing left behind."""

from __future__ import annotations

import fcntl
import json
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from shell_scene import wait_until

from toystore import __version__
from toystore.config import PORTS
from toystore.localcluster.ports import reserve_ports

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 30.0


@pytest.fixture
def config_path(tmp_path):
    """One node, on ports of its own."""
    guard, base_port = reserve_ports(1)
    path = tmp_path / "one.yaml"
    member = {"name": "n1"} | dict(zip(PORTS, range(base_port, base_port + 4), strict=True))
    bucket = {"default": {"n": 1, "r": 1, "w": 1}}
    path.write_text(yaml.safe_dump({"cluster": "one", "members": [member], "buckets": bucket}))
    with guard:
        yield path


def start(config_path, data, name="n1"):
    """Start a node that is to fail; what it said."""
    ran = subprocess.run(
        [sys.executable, "-m", "actors", str(config_path), name, "--data-dir", str(data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("port_name", PORTS)
def test_a_port_in_use_is_named(config_path, tmp_path, port_name):
    [member] = yaml.safe_load(config_path.read_text())["members"]
    with socket.create_server(("127.0.0.1", member[port_name])):
        told = start(config_path, tmp_path / "data")

    assert told.startswith("n1: ")
    assert f"cannot bind tcp://127.0.0.1:{member[port_name]}: Address already in use" in told
    assert not (tmp_path / "data" / "n1" / "pid").exists()


def test_a_node_that_is_no_member_is_told_who_is(config_path, tmp_path):
    told = start(config_path, tmp_path / "data", "n9")

    assert told == "n9: n9 is not a member of cluster 'one'; its members are n1"
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
        taken = server.getsockname()[1]
        raw = yaml.safe_load(config_path.read_text())
        ours = raw["members"][0]["exchange_port"]
        raw["members"][0]["exchange_port"] = taken
        config_path.write_text(yaml.safe_dump(raw))
        start(config_path, tmp_path / "data")  # founds the folder, and gets no further
    raw["members"][0]["exchange_port"] = ours
    config_path.write_text(yaml.safe_dump(raw | {"cluster": "two"}))

    told = start(config_path, tmp_path / "data")

    assert "belongs to node n1 of cluster 'one'" in told
    log = (tmp_path / "data" / "n1" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in log] == ["node.failed"]  # of the first start


# --- a node that runs -------------------------------------------------------------------


@contextmanager
def running(config_path, data, redirect=""):
    """A node that runs, and what it said on standard output; it must stop cleanly."""
    words = (sys.executable, "-m", "actors", str(config_path), "n1", "--data-dir", str(data))
    process = subprocess.Popen(
        ["bash", "-c", f"exec {shlex.join(words)} {redirect}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        umask=0,
    )
    try:
        told = process.stdout.readline()
        wait_until(lambda: "node.started" in events(data) or process.poll() is not None)
        yield process, told
        if process.poll() is None:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()


def logged(data):
    log = data / "n1" / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def events(data):
    return [line["event"] for line in logged(data)]


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
    [member] = yaml.safe_load(config_path.read_text())["members"]
    data, folder = tmp_path / "data", tmp_path / "data" / "n1"
    folder.mkdir(parents=True)
    for left in ("log.jsonl", "log.jsonl.1", "pid"):  # as an earlier version left them
        (folder / left).touch(0o644)
    other = tmp_path / "other.yaml"
    other.write_text(config_path.read_text().replace("cluster: one", "cluster: two"))
    parent_mode = data.stat().st_mode

    with running(config_path, data) as (process, told):
        for word in (str(folder / "data"), str(folder / "log.jsonl"), f"pid {process.pid}"):
            assert word in told
        assert all(str(member[port]) in told for port in PORTS)
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

    started = [line for line in logged(tmp_path / "data") if line["event"] == "node.started"]
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
