"""The structured log: one JSON object a line, for `jq` and for people (docs/OPERATIONS.md).

    {"timestamp":"2024-05-01T12:00:00.000123Z","level":"warning","event":"member.suspect",
     "node":"n1","actor":"gossip","member":"n4","incarnation":2,"cause":"missed ping",...}

structlog filters by level before it builds a line.  A handler of the standard library writes
the line under its lock, so that every actor's thread may log.  Errors also go to stderr, as
one plain line each, for the process's parent.  A node does not stop if its log cannot be
written (the disk is full, logfile.py).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from actors.logfile import LogFile
from actors.structured import structlog
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Event, Now

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_LINES = logging.getLogger("toystore")
_NAMES = ("debug", "info", "warning", "error", "critical")
_LEVELS = {name: logging.getLevelNamesMapping()[name.upper()] for name in _NAMES}
_WALL_US = "_wall_us"
"""The field with the time of the event, if it is not the time of logging."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEVEL_OF = {name: _LEVELS[kind.level] for name, kind in EVENTS.items()}


def configure(
    path: Path | None,
    *,
    node: str,
    level: str,
    rotate_bytes: int,
    rotate_files: int,
    aloud: bool = True,
) -> None:
    """Log this process's events to ``path`` and, ``aloud``, its errors to stderr too.

    Without a path there is no file: only errors are written.  At ``rotate_bytes`` the file
    is renamed; ``rotate_files`` (at least 1) old files remain.

    Raises:
        ValueError: ``level`` is not debug, info, warning, error or critical.
        OSError: the file cannot be opened, for another reason than a full disk.
    """
    if level not in _LEVELS:
        raise ValueError(f"log level {level!r}; it is one of {', '.join(_NAMES)}")
    handlers: list[logging.Handler] = [_Stderr()] if aloud else []
    if path is not None:
        handlers.append(
            LogFile(
                path,
                rotate_bytes=rotate_bytes,
                rotate_files=rotate_files,
                tell_lost=lambda lines: event("node", "log.lost", lines=lines),
                tell_reopened=lambda cause: event("node", "log.reopened", cause=cause),
            )
        )
    close()
    for handler in handlers:
        _LINES.addHandler(handler)
    _LINES.setLevel(_LEVELS[level])
    _LINES.propagate = False
    structlog.configure(
        processors=[_Line(node)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _LINES,
    )


def logger(actor: str) -> FilteringBoundLogger:
    """The logger of one actor: ``logger("gossip").info("member.dead", member="n4")``."""
    return cast("FilteringBoundLogger", structlog.get_logger(actor=actor))


def event(actor: str, name: str, /, **fields: Any) -> None:
    """Log one event, at its level in the vocabulary."""
    logger(actor).log(_LEVEL_OF.get(name, logging.WARNING), name, **fields)


def write(events: Iterable[Event], actor: str, at: Now) -> None:
    """Log the events of a machine; the lines show the time ``at``."""
    for name, fields in events:
        event(actor, name, **{_WALL_US: at.wall_us}, **fields)


def reopen(cause: str) -> None:
    """Write to the file that is at the path now: the file before may have been moved."""
    for handler in _LINES.handlers:
        if isinstance(handler, LogFile):
            handler.reopen(cause)


def close() -> None:
    """Close the file; events logged before the next `configure` are discarded."""
    for handler in list(_LINES.handlers):
        _LINES.removeHandler(handler)
        handler.close()


class _Line:
    """The last processor of structlog's chain: it orders the fields and renders the line."""

    def __init__(self, node: str) -> None:
        self._node = node

    def __call__(
        self, _: Any, level: str, fields: MutableMapping[str, Any]
    ) -> tuple[tuple[str], dict[str, Any]]:
        line = {
            "timestamp": _timestamp(fields.pop(_WALL_US, None)),
            "level": level,
            "event": fields.pop("event"),
            "node": self._node,
            "actor": fields.pop("actor"),
            **fields,
        }
        return (_render(line),), {"extra": {"line": line}}


def _timestamp(wall_us: int | None) -> str:
    """A time, or now if None, in UTC and ISO 8601."""
    moment = datetime.now(UTC) if wall_us is None else _EPOCH + timedelta(microseconds=wall_us)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _render(line: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=_plain).decode()
    except TypeError:
        # orjson encodes neither integers over 64 bits nor lone surrogates; json does.
        return json.dumps(line, default=_plain)


def _plain(value: Any) -> str:
    """Bytes in hex, and other values that JSON does not have as their ``repr``."""
    return value.hex() if isinstance(value, bytes | bytearray | memoryview) else repr(value)


class _Stderr(logging.StreamHandler[Any]):
    """Errors as one plain line each; only the file has the traceback."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setLevel(logging.ERROR)

    def format(self, record: logging.LogRecord) -> str:
        line = dict(cast(Mapping[str, Any], record.__dict__["line"]))
        line.pop("traceback", None)
        head = " ".join(str(line.pop(name)) for name in ("timestamp", "level", "node", "actor"))
        event = line.pop("event")
        return " ".join([head, event, *(f"{name}={value!r}" for name, value in line.items())])

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignore the error: stderr is closed, and the file has the line."""
