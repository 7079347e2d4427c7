"""Sorts millions of entries by time, in bounded memory (an external merge sort).

Entries are sorted in chunks.  Each chunk is divided by node, and each part is appended to a *run*
of its node that ends before it, or begins another run.  The log of a node is nearly in order, so
there are few runs.  `merged` reads all runs at the same time.  Small logs stay in memory.  The
chunks of large logs are written to a temporary file in blocks; only the positions of the blocks
are kept in memory.
"""

from __future__ import annotations

import heapq
import marshal
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import IO

from toystore.logs.entry import Entry

CHUNK = 20_000
"""The number of entries that are sorted in memory."""
BLOCK = 128
"""The number of entries of a run that are read at a time."""
_AT = itemgetter(0)
_BY_NODE_AND_TIME = itemgetter(1, 0)
_NODE = itemgetter(1)


class Spool:
    """Takes entries in any order, and returns them by time."""

    def __init__(self, chunk: int = CHUNK) -> None:
        self._chunk = chunk
        self._fresh: list[Entry] = []
        self._runs: dict[str, list[_Run]] = {}
        self._file: IO[bytes] | None = None

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        self._fresh.append(entry)
        if len(self._fresh) >= self._chunk:
            self._put_away()

    @property
    def nodes(self) -> list[str]:
        """The nodes that the entries are from."""
        return sorted({*self._runs, *(entry.node for entry in self._fresh)})

    def merged(self, ahead_s: Callable[[str, float], float] = lambda *_: 0.0) -> Iterator[Entry]:
        """All entries by time, without duplicates.

        ``ahead_s``: how far the clock of a node is ahead when it shows a time; the entries' times
        are corrected by this.
        """
        self._fresh.sort(key=_BY_NODE_AND_TIME)
        fresh = [list(entries) for _, entries in groupby(self._fresh, _NODE)]
        stored = [self._read(run) for node in sorted(self._runs) for run in self._runs[node]]
        corrected = (_corrected(entries, ahead_s) for entries in (*stored, *fresh))
        return _each_once(heapq.merge(*corrected, key=_AT))

    def _put_away(self) -> None:
        """Write the entries in memory to the file."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="toystore-")  # noqa: SIM115 - kept open
        self._fresh.sort(key=_BY_NODE_AND_TIME)
        for node, entries in groupby(self._fresh, _NODE):
            self._write(node, list(entries))
        self._file.flush()
        self._fresh = []

    def _write(self, node: str, entries: list[Entry]) -> None:
        """Append sorted entries to a run of the node that ends before them, or to a new one."""
        assert self._file is not None
        runs = self._runs.setdefault(node, [])
        run = next((run for run in runs if run.ends <= entries[0].at), None)
        if run is None:
            run = _Run()
            runs.append(run)
        run.ends = entries[-1].at
        for start in range(0, len(entries), BLOCK):
            block = marshal.dumps([tuple(entry) for entry in entries[start : start + BLOCK]])
            run.places.append(self._file.tell())
            run.sizes.append(len(block))
            self._file.write(block)

    def _read(self, run: _Run) -> Iterator[Entry]:
        assert self._file is not None
        file = self._file.fileno()
        for place, size in zip(run.places, run.sizes, strict=True):
            for entry in marshal.loads(os.pread(file, size, place)):
                yield Entry._make(entry)


class _Run:
    """Entries of one node by time, as blocks in the file."""

    __slots__ = ("ends", "places", "sizes")

    def __init__(self) -> None:
        self.places = array("q")
        self.sizes = array("q")
        self.ends = float("-inf")


def _corrected(entries: Iterable[Entry], ahead_s: Callable[[str, float], float]) -> Iterator[Entry]:
    for entry in entries:
        ahead = ahead_s(entry.node, entry.at)
        yield entry._replace(at=entry.at - ahead) if ahead else entry


def _each_once(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Leave out duplicates: a log may have been collected twice."""
    at: float | None = None
    seen: list[Entry] = []
    for entry in entries:
        if entry.at != at:
            at, seen = entry.at, []
        if entry not in seen:
            seen.append(entry)
            yield entry
