"""The history of a run: the requests of all clients, and their answers.

A row is one operation, or one fault.  The simulator writes rows in virtual seconds, tests
of real processes in seconds since 1970, and the checkers (promises.py) read both.  As a
file a history is JSON lines, one row each, for any other checker to read; docs/TESTING.md
describes the fields.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"
"""Outcomes.  `FAIL`: it certainly did not happen.  `UNKNOWN`: it may have happened, or may yet."""
PUT, GET, DELETE = "put", "get", "delete"
OUTCOMES = (OK, FAIL, UNKNOWN)


class HistoryError(ValueError):
    """The file is not a history; the text names the line and the error."""


class Row(NamedTuple):
    """One operation of one client, or one fault."""

    process: str
    """The client; it has one operation at a time.  For a fault: "nemesis"."""
    operation: str
    """`PUT`, `GET` or `DELETE`; any other word is a fault."""
    key: str
    """Bucket and key, as ``bucket/key``; for a fault: its target."""
    value: str | None
    """The value, unique for each put to a key; None: nothing was found."""
    invoke_s: float
    return_s: float
    outcome: str
    error: str = ""
    stamp: str = ""
    """The stamp of the write, or of the record that was read, as hex; "" if it is not known."""
    owners: int = 0
    """How many owners are in the quorum of the answer; the answer contains it."""
    fallbacks: int = 0
    """How many fallbacks are in it."""
    n: int = 0
    """N of the key's bucket."""
    quorum: int = 0
    """The R or W that was asked for; 0 if it is not known."""
    timeout_s: float = 0.0
    """The timeout of the operation; 0 if it is not known."""

    @property
    def writes(self) -> bool:
        """Whether it is a put or a delete."""
        return self.operation in (PUT, DELETE)

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and key."""
        bucket, _, key = self.key.partition("/")
        return bucket, key

    @property
    def copies(self) -> int:
        """How many nodes had an acknowledged write when it was acknowledged."""
        return self.owners + self.fallbacks


def by_key(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The operations on each key, in the order in which they were invoked."""
    keys: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.invoke_s):
        if row.operation in (PUT, GET, DELETE):
            keys[row.key].append(row)
    return dict(keys)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a history to a file, in the order in which its operations were invoked."""
    with path.open("w") as file:
        for row in sorted(rows, key=lambda row: row.invoke_s):
            file.write(json.dumps(row._asdict()) + "\n")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a history in a file.

    Raises:
        HistoryError: a line is not a row.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield _row(json.loads(line))
            except (ValueError, RecursionError, TypeError) as error:
                raise HistoryError(f"{path}, line {number}: {error}") from None


_TEXT, _TIME = (str,), (int, float)
_TYPES: tuple[tuple[type, ...], ...] = (
    *(_TEXT, _TEXT, _TEXT, (str, type(None)), _TIME, _TIME, _TEXT, _TEXT, _TEXT),
    *((int,), (int,), (int,), (int,), _TIME),
)


def _row(given: object) -> Row:
    """A row from the value of a line.  Raises ValueError or TypeError."""
    if not isinstance(given, dict):
        raise ValueError(f"a row is an object, not {type(given).__name__}")
    row = Row(**given)
    for field, value, wanted in zip(Row._fields, row, _TYPES, strict=True):
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{field} cannot be {value!r:.80}")
    if row.outcome not in OUTCOMES:
        raise ValueError(f"an outcome is one of {', '.join(OUTCOMES)}, not {row.outcome!r:.80}")
    return row
