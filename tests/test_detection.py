"""What benchmarks/detection.py reads out of the logs of nodes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def detection(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("detection", BENCHMARKS / "detection.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "detection", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cluster(tmp_path):
    """Two nodes that have logged; `log` writes a line."""
    names = ("n1", "n2")
    nodes = {name: SimpleNamespace(folder=tmp_path / name) for name in names}
    for node in nodes.values():
        node.folder.mkdir()
        (node.folder / "log.jsonl").touch()
    return SimpleNamespace(nodes=nodes)


def log(cluster, node, second, event, **fields):
    line = {"timestamp": f"2026-01-01T00:00:{second:02}.000000Z", "event": event} | fields
    with (cluster.nodes[node].folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def about(member, cause, **more):
    return {"member": member, "incarnation": 1, "cause": cause} | more


def test_a_suspicion_that_several_nodes_log_is_counted_once_and_its_longest_time_is_shown(
    detection, cluster
):
    log(cluster, "n1", 1, "member.suspect", **about("n3", "missed ping"))
    log(cluster, "n2", 2, "member.suspect", **about("n3", "told by n1"))
    log(cluster, "n1", 3, "member.alive", **about("n3", "refuted", took_s=2.0))
    log(cluster, "n2", 3, "member.alive", **about("n3", "told by n1", took_s=1.0))

    found = detection.accusations(cluster, since=0.0)

    assert found["suspected"] == 1
    assert found["suspicions"] == ["n3 by n1: missed ping"]
    assert found["longest_s"] == 2.0
    assert found["declared_dead"] == 0


def test_what_was_logged_before_the_measurement_and_lines_that_are_torn_do_not_count(
    detection, cluster
):
    log(cluster, "n1", 1, "member.dead", **about("n3", "suspicion timed out"))
    began = next(detection.entries(cluster, ["n1"], since=0.0)).at + 1.0
    log(cluster, "n1", 2, "member.dead", **about("n4", "suspicion timed out"))
    with (cluster.nodes["n1"].folder / "log.jsonl").open("a") as file:
        file.write('{"timestamp": "2026-01-01T0')

    assert detection.accusations(cluster, began)["declared_dead"] == 1


def test_a_configuration_is_read_without_its_ports(detection, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("{cluster: c, base_port: 7400, members: [n1]}")

    assert detection.read(path) == {"cluster": "c", "members": ["n1"]}
