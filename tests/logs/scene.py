"""Logs for tests: written line by line, or recorded and changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

from toystore.logs.report import EVERYTHING, Report, Wanted, investigate

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
GOLDEN = HERE / "golden"
BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def line(seconds: float, node: str, event: str, **fields: object) -> str:
    """A line that a node logs so long after `BEGAN`."""
    return json.dumps({"timestamp": stamp(seconds), "event": event, "node": node, **fields}) + "\n"


def stamp(seconds: float) -> str:
    """The time so long after `BEGAN`, as a log has it."""
    return (BEGAN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write(folder: Path, lines: Iterable[str]) -> Path:
    """Write lines to their nodes' logs, as nodes and the runner do; returns the folder."""
    for each in lines:
        node = json.loads(each)["node"]
        path = folder / ("run.jsonl" if node == "run_cluster" else f"{node}/log.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as log:
            log.write(each)
    return folder


def told(folder: Path, *lines: str, wanted: Wanted = EVERYTHING, begins_at: float = -inf) -> Report:
    """What some lines come to."""
    return investigate([str(write(folder, lines))], wanted, begins_at)


def signal(seconds: float, node: str, name: str) -> str:
    """The runner sends a signal."""
    return line(seconds, "run_cluster", "process.signalled", member=node, pid=7, signal=name)


def started(seconds: float, node: str, before: str = "first start") -> str:
    """A node's process has started."""
    return line(seconds, node, "node.started", before=before, pid=7)


def joined(seconds: float, node: str, through: str = "n1") -> str:
    """A node has joined."""
    return line(seconds, node, "member.joined", members=3, took_s=0.1, cause=through)


def sees(seconds: float, by: str, member: str, status: str, cause: str = "", was: int = 0) -> str:
    """A node holds a member for alive, suspect, dead or left."""
    event = f"member.{status}"
    return line(seconds, by, event, member=member, incarnation=was, cause=cause, took_s=None)


def loses_link(seconds: float, by: str, member: str) -> str:
    """A node loses its link to a member."""
    return line(seconds, by, "link.lost", member=member)


def all_lines(folder: Path) -> list[str]:
    """Every line of every log in a folder."""
    return [
        each
        for path in sorted(folder.rglob("*.jsonl*"))
        for each in _text(path).splitlines(keepends=True)
    ]


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def shifted(lines: Iterable[str], ahead_s: Mapping[str, float]) -> list[str]:
    """Lines as they were if some nodes' clocks had been ahead."""
    found = []
    for each in lines:
        entry = json.loads(each)
        moment = datetime.fromisoformat(entry["timestamp"])
        moment += timedelta(seconds=ahead_s.get(entry["node"], 0.0))
        entry["timestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        found.append(json.dumps(entry) + "\n")
    return found


def disturbs(seconds: float, kind: str, *blocks: str, **figures: object) -> str:
    """The runner impairs links: blocks such as ``n1 n2 > n3``."""
    usual = {"share": None, "delay_s": None, "jitter_s": None, "reset": False, "for_s": 5.0}
    fields = usual | figures | {"kind": kind, "links": list(map(_block, blocks))}
    return line(seconds, "run_cluster", "link.fault", **fields)


def restores(seconds: float, kind: str, *blocks: str) -> str:
    """The runner restores links."""
    links = list(map(_block, blocks))
    return line(seconds, "run_cluster", "link.restored", kind=kind, links=links)


def _block(text: str) -> dict[str, list[str]]:
    senders, _, receivers = text.partition(" > ")
    return {"from": senders.split(), "to": receivers.split()}
