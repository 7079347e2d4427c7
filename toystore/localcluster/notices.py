"""Reads from the nodes' logs the lines about members, which show a failure.

{"timestamp":"...","event":"member.dead","node":"n2","member":"n4",...}
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from toystore.localcluster.node import NO_LOG_LINE

KINDS = (
    "link.lost",
    "member.suspect",
    "member.dead",
    "member.left",
    "hint.stored",
    "member.joined",
    "member.refuted",
    "member.alive",
    "handoff.finished",
)
"""The events, in the order of a failure."""
OF_ITSELF = ("member.joined", "member.refuted")
"""The events that a node logs about itself."""
ACCUSATIONS = ("member.suspect", "member.dead")


class Notice(NamedTuple):
    """A line of a log about a node."""

    when: datetime
    kind: str
    by: str
    about: str
    cause: str
    hints: int


def read_logs(folder: Path, names: Iterable[str], since: datetime) -> list[Notice]:
    """The notices since ``since``, in order; incomplete lines are skipped."""
    found = [
        notice
        for name in names
        for path in (folder / name).glob("log.jsonl*")
        for notice in _read(path)
        if notice.when >= since
    ]
    return sorted(found)


def _read(path: Path) -> Iterator[Notice]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(*NO_LOG_LINE):
                entry = json.loads(line)
                if entry["event"] in KINDS:
                    yield _notice(entry)


def _notice(entry: dict[str, Any]) -> Notice:
    """The notice in a line.  Raises one of `NO_LOG_LINE` if it has none."""
    when = datetime.fromisoformat(entry["timestamp"])
    if when.tzinfo is None:
        raise ValueError(f"{when} is nowhere's time")
    kind, by = entry["event"], str(entry["node"])
    about = by if kind in OF_ITSELF else str(entry.get("member") or entry.get("owner"))
    hints = entry.get("hints", 0)
    cause = str(entry.get("cause") or "")
    return Notice(when, kind, by, about, cause, hints if type(hints) is int else 0)
