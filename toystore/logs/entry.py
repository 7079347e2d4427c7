"""Parses one line of a log.

A line is a JSON object with ``timestamp`` (ISO 8601 with a time zone), ``event`` and ``node``.
The fields are kept of the events in `TOLD` only.  Any other event, also an unknown one, shows
only that its node was running at that time.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any, NamedTuple

import orjson

RUNNER = "run_cluster"
"""The node name in the log of run_cluster.py; it is not a member."""
SIGN_OF_LIFE = ""
"""The event of an entry that shows only that its node was running."""
TOLD = frozenset(
    (
        *("node.started", "node.stopping", "node.stopped", "node.failed", "actor.stalled"),
        *("member.joined", "member.alive", "member.suspect", "member.dead", "member.left"),
        *("member.flapping", "member.refuted", "health.changed", "log.lost", "disk.replaced"),
        *("link.lost", "link.silent", "link.fault", "link.restored"),
        *("hint.stored", "handoff.started", "handoff.finished", "handoff.paused"),
        *("run.started", "run.stopping", "scenario.step", "process.started"),
        *("process.signalled", "process.ended", "process.died"),
    )
)
"""The events from which failures are derived."""
TEXT_MAX = 300
"""Longer texts are cut off."""
_COMMON = ("timestamp", "level", "event", "node", "actor", "traceback")
_START = b'{"timestamp"'


class NoLineError(ValueError):
    """The line is not one of a toystore log."""


class Entry(NamedTuple):
    """The content of a line."""

    at: float
    """The time in the line, in seconds since 1970 UTC."""
    node: str
    event: str
    """One of `TOLD`, or `SIGN_OF_LIFE`."""
    about: str
    """The member that the event is about; the node itself if the line names none."""
    fields: dict[str, Any]
    """The event's own fields; their types are not checked."""

    def text(self, field: str) -> str:
        """A field as printable text; empty if it is not a text."""
        value = self.fields.get(field)
        return printable(value) if isinstance(value, str) else ""

    def number(self, field: str) -> float | None:
        """A field as a number; None if it is not a finite number."""
        value = self.fields.get(field)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return float(value) if math.isfinite(value) else None

    def count(self, field: str) -> int:
        """A field as a count; 0 if it is not a positive integer."""
        value = self.fields.get(field)
        return value if type(value) is int and value > 0 else 0


def parse(line: bytes) -> Entry:
    """Parse a line.  Raises `NoLineError`."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        told = _by_json(line)
    try:
        when = datetime.fromisoformat(told["timestamp"])
        node, event = told["node"], told["event"]
        if when.tzinfo is None or not (node and isinstance(node, str) and isinstance(event, str)):
            raise NoLineError
        at = when.timestamp()
    except (ValueError, TypeError, KeyError, OverflowError):
        raise NoLineError from None
    node = printable(node)
    if event not in TOLD:
        return Entry(at, node, SIGN_OF_LIFE, node, {})
    about = told.get("member") or told.get("owner")
    for name in _COMMON:
        told.pop(name, None)
    return Entry(at, node, event, printable(about) if isinstance(about, str) else node, told)


def rest_of(line: bytes) -> bytes:
    """The complete line after an incomplete one, on which the next process wrote on."""
    start = line.rfind(_START)
    return line[start:] if start > 0 else b""


def printable(text: str) -> str:
    """A text without control characters, and not longer than `TEXT_MAX`."""
    if len(text) <= TEXT_MAX and text.isprintable():
        return text
    return "".join(each if each.isprintable() else "?" for each in text[:TEXT_MAX])


def _by_json(line: bytes) -> Any:
    """Parse what orjson rejects: integers over 64 bits, lone surrogates."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise NoLineError from None
