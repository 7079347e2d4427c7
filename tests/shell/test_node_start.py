"""What keeps a node from starting: one clear line, exit code 2, and nothing left behind."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ports import reserve_ports

from toystore.config import PORTS

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


def test_a_folder_in_use_is_told_with_who_uses_it(config_path, tmp_path):
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
    assert [json.loads(line)["event"] for line in log] == ["node.failed"] * 2
