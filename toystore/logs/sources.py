"""Finds and reads logs: folders, files and pipes, plain or compressed with gzip.

A folder is searched for files called ``*.jsonl``, also with a suffix from rotation
(``log.jsonl.2``, ``log.jsonl-20260101.gz``).  The first bytes of a file show whether it is
compressed.  Only the lines of one file come in order.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from math import inf

from toystore.logs.entry import Entry, NoLineError, parse, rest_of

STDIN = "-"
LINE_BYTES_MAX = 1024 * 1024
"""Longer lines are foreign."""
_CHUNK_BYTES = 256 * 1024
_NAME = re.compile(r".+\.jsonl([.-][\w.-]*)?")
_GZIP = b"\x1f\x8b"
_LIFE_S = 1.0
"""For each node, one `SIGN_OF_LIFE` is kept in this time."""


class SourceError(Exception):
    """There is nothing to read; the text names what was searched."""


class Tally:
    """Counts the lines that were read."""

    def __init__(self, begins_at: float = -inf) -> None:
        """``begins_at``: earlier lines are ignored; in seconds since 1970 UTC."""
        self._begins_at = begins_at
        self.lines = 0
        """Lines of toystore logs."""
        self.foreign = 0
        """Other lines."""
        self.torn = 0
        """Incomplete lines: the node was killed, or the disk was full."""
        self.unreadable: list[str] = []
        """Files that could not be read completely, with the reason."""
        self._alive_at: dict[str, float] = {}

    def take(self, line: bytes) -> Entry | None:
        """Count a line, and return its entry if it is needed."""
        try:
            entry = parse(line)
        except NoLineError:
            return self._take_rest(line)
        if entry.at < self._begins_at:
            return None
        self.lines += 1
        if not entry.event:
            if -_LIFE_S < entry.at - self._alive_at.get(entry.node, 0.0) < _LIFE_S:
                return None
            self._alive_at[entry.node] = entry.at
        return entry

    def take_last(self, line: bytes) -> Entry | None:
        """Count a last line without a newline; it may be complete."""
        foreign = self.foreign
        entry = self.take(line)
        if self.foreign > foreign and line.lstrip().startswith(b"{"):
            self.foreign -= 1
            self.torn += 1
        return entry

    def _take_rest(self, line: bytes) -> Entry | None:
        """Count a line that cannot be parsed; a complete one may follow an incomplete one."""
        if rest := rest_of(line):
            self.torn += 1
            return self.take(rest)
        if line.strip(b"\r\n\t \0"):
            self.foreign += 1
        return None


class Lines:
    """Splits a stream into lines; an overlong line is cut off."""

    def __init__(self) -> None:
        self.rest = b""
        """The beginning of the next line."""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if self._skipping and lines:
            self._skipping = False
            del lines[0]
        if self._skipping:
            self.rest = b""
        elif len(self.rest) > LINE_BYTES_MAX:
            lines.append(self.rest[:_CHUNK_BYTES])
            self.rest = b""
            self._skipping = True
        return lines


def find(paths: Iterable[str], *, patient: bool = False) -> list[str]:
    """All files in ``paths``, each once, the oldest of a node first.

    Raises `SourceError` if a path does not exist or no file was found, unless ``patient``.
    """
    found: dict[tuple[int, int] | str, str] = {}
    for path in paths:
        if path == STDIN:
            found[path] = path
            continue
        try:
            within = _search(path) if os.path.isdir(path) else [path]
            for file in within:
                status = os.stat(file)
                found.setdefault((status.st_dev, status.st_ino), file)
        except OSError as error:
            if not patient:
                raise SourceError(f"{path}: {error.strerror}") from None
    if not found and not patient:
        raise SourceError(f"no logs (*.jsonl) in {', '.join(paths)}")
    return list(found.values())


def read(path: str, tally: Tally) -> Iterator[Entry]:
    """The entries of a file; `STDIN` is standard input."""
    lines = Lines()
    for chunk in _chunks(path, tally):
        for line in lines.feed(chunk):
            if entry := tally.take(line):
                yield entry
    if entry := tally.take_last(lines.rest):
        yield entry


def _chunks(path: str, tally: Tally) -> Iterator[bytes]:
    """The content of a file, up to the first error."""
    try:
        with _open(path) as file:
            while chunk := file.read1(_CHUNK_BYTES):
                yield chunk
    except EOFError:
        tally.unreadable.append(f"{path}: cut short")
    except (OSError, zlib.error) as error:  # a damaged file is an OSError, too
        tally.unreadable.append(f"{path}: {getattr(error, 'strerror', None) or error}")


def _open(path: str) -> io.BufferedReader[io.FileIO] | gzip.GzipFile:
    """Open a file or a pipe for reading, decompressed.  Raises OSError."""
    name: str | int = os.dup(sys.__stdin__.fileno()) if path == STDIN and sys.__stdin__ else path
    raw = io.BufferedReader(io.FileIO(name), _CHUNK_BYTES)
    return gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw


def _search(folder: str) -> list[str]:
    """The logs in a folder and in the folders in it."""
    found = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if _NAME.fullmatch(name)
    ]
    return sorted(found, key=_age)


def _age(path: str) -> tuple[str, str, int, str]:
    """Sort key: by folder and name; log.jsonl.2 before log.jsonl.1 before log.jsonl."""
    place, name = os.path.split(path)
    stem, _, rest = name.partition(".jsonl")
    number = re.match(r"\.(\d+)", rest)
    return place, stem, -int(number[1]) if number else (0 if not rest else -1), rest
