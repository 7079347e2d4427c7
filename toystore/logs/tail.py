"""Reads files and pipes that grow.

A file that another one has replaced was rotated.  Its remaining lines are read first, then the
files between the two (``log.jsonl.1``, if there were two rotations), then the new file.  A file
that has become shorter was truncated, and is read from the beginning.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterable, Iterator

from toystore.logs import sources
from toystore.logs.entry import Entry
from toystore.logs.sources import STDIN, Lines, Tally

_CHUNK_BYTES = 256 * 1024
_ASIDE_MAX = 100
"""The number of rotated files that are examined."""


class FileTail:
    """One file, through rotation and truncation."""

    def __init__(self, path: str, tally: Tally) -> None:
        self._path = path
        self._tally = tally
        self._lines = Lines()
        self._file: int | None = None

    def read(self) -> Iterator[Entry]:
        """The new entries."""
        self._open(self._path)
        yield from self._rest()
        if self._was_replaced():
            yield from self._rest()  # lines before the rotation
            for path in [*self._set_aside_since(), self._path]:
                yield from self._end()
                self._open(path)
                yield from self._rest()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, path: str) -> None:
        """Open a file, unless one is open or it does not exist."""
        if self._file is None:
            try:
                self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            except OSError as error:
                self._tally.unreadable.append(f"{path}: {error.strerror}")

    def _rest(self) -> Iterator[Entry]:
        """Read to the end."""
        if self._file is None:
            return
        if os.fstat(self._file).st_size < os.lseek(self._file, 0, os.SEEK_CUR):
            os.lseek(self._file, 0, os.SEEK_SET)
            self._lines = Lines()
        while chunk := os.read(self._file, _CHUNK_BYTES):
            for line in self._lines.feed(chunk):
                if entry := self._tally.take(line):
                    yield entry

    def _end(self) -> Iterator[Entry]:
        """Finish the present file."""
        if entry := self._tally.take_last(self._lines.rest):
            yield entry
        self._lines = Lines()
        self.close()

    def _was_replaced(self) -> bool:
        """Whether the path is another file now."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return False  # the next one is not there yet

    def _set_aside_since(self) -> list[str]:
        """The rotated files that are newer than the open one, the oldest first."""
        assert self._file is not None
        opened = os.fstat(self._file)
        later: list[str] = []
        for number in range(1, _ASIDE_MAX):
            path = f"{self._path}.{number}"
            try:
                status = os.stat(path)
            except OSError:
                break
            if os.path.samestat(status, opened):
                return later[::-1]
            later.append(path)
        return []


class PipeTail:
    """Standard input or a pipe; `ended` when it was closed by its writers."""

    def __init__(self, path: str, tally: Tally) -> None:
        self._tally = tally
        self._lines = Lines()
        self._file = 0 if path == STDIN else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.ended = False

    def read(self) -> Iterator[Entry]:
        """The new entries."""
        while not self.ended and select.select([self._file], [], [], 0)[0]:
            chunk = os.read(self._file, _CHUNK_BYTES)
            lines = self._lines.feed(chunk)
            for line in lines:
                if entry := self._tally.take(line):
                    yield entry
            if not chunk:
                self.ended = True
                if entry := self._tally.take_last(self._lines.rest):
                    yield entry


class Tails:
    """All logs in some paths, also new ones."""

    def __init__(self, paths: Iterable[str], tally: Tally) -> None:
        """Raises `sources.SourceError`."""
        self._paths = list(paths)
        self._tally = tally
        self._files: dict[str, FileTail] = {}
        self._pipes: list[PipeTail] = []
        self._finished: list[str] = []
        """Rotated files, which are read once."""
        for path in sources.find(self._paths):
            if path == STDIN or stat.S_ISFIFO(os.stat(path).st_mode):
                self._pipes.append(PipeTail(path, tally))
            elif path.endswith(".jsonl") or path in self._paths:
                self._files[path] = FileTail(path, tally)
            else:
                self._finished.append(path)

    @property
    def ended(self) -> bool:
        """Whether no more entries can come."""
        return not self._files and all(pipe.ended for pipe in self._pipes)

    def read(self) -> Iterator[Entry]:
        """The new entries; the first time all entries."""
        for path in self._finished:
            yield from sources.read(path, self._tally)
        self._finished = []
        for file in self._files.values():
            yield from file.read()
        for pipe in self._pipes:
            yield from pipe.read()

    def look_for_more(self) -> None:
        """Add new files."""
        for path in sources.find(self._paths, patient=True):
            if path.endswith(".jsonl") and path not in self._files:
                self._files[path] = FileTail(path, self._tally)

    def close(self) -> None:
        """Close all files."""
        for tail in self._files.values():
            tail.close()
