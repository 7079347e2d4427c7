"""The log's file: whole lines, each in one write, even if the file is moved or deleted.

    moved or deleted   a new file is opened at the path
    too long           it is renamed to PATH.1, PATH.1 to PATH.2, ...; the oldest is deleted
    no room            the line is lost and counted; after the next line that is written, a
                       line reports how many were lost
    cannot be opened   lines are written to the file before, if there was one

These checks cost one ``stat`` for each line.  Only the file's owner may read it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from toystore.engines import NO_ROOM

MODE = 0o600
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""Not blocking: a pipe or terminal without a reader must not delay the node."""


class LogFile(logging.Handler):
    """Writes lines to ``path``; see the module's docstring."""

    def __init__(
        self,
        path: Path,
        *,
        rotate_bytes: int,
        rotate_files: int,
        tell_lost: Callable[[int], None],
        tell_reopened: Callable[[str], None],
    ) -> None:
        """``tell_lost``: log how many lines were lost; ``tell_reopened``: log the cause.

        Raises OSError if the file cannot be opened, unless the disk is full.
        """
        super().__init__()
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._rotate_files = rotate_files
        self._tell_lost = tell_lost
        self._tell_reopened = tell_reopened
        self._file: int | None = None
        self._lost = 0
        try:
            self._open()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; if lines before it were lost, write a line about them, too."""
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        if self._was_moved():
            self.reopen("moved away")
        try:
            self._write(line)
        except OSError:
            self._lost += 1
        else:
            if lost := self._lost:
                self._lost = 0
                self._tell_lost(lost)

    def reopen(self, cause: str) -> None:
        """Write to the file that is at the path now, and log why, if it can be opened."""
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError):
            self._open()
            self._tell_reopened(cause)

    def close(self) -> None:
        """Close the file."""
        with self.lock or contextlib.nullcontext():
            if self._file is not None:
                os.close(self._file)
                self._file = None
            super().close()

    def _open(self) -> None:
        """Open the file at the path, or make it; it replaces the file before.

        Raises OSError; then the file before remains open.
        """
        file = os.open(self._path, _FLAGS, MODE)
        before, self._file = self._file, file
        if before is not None:
            os.close(before)
        now = os.fstat(file)
        if stat.S_ISREG(now.st_mode) and stat.S_IMODE(now.st_mode) != MODE:
            with contextlib.suppress(OSError):  # another user's file, which this user may write
                os.fchmod(file, MODE)

    def _was_moved(self) -> bool:
        """Whether the path has no file, or another one than the open file."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return True

    def _write(self, line: bytes) -> None:
        """Write a whole line or nothing.  Raises OSError."""
        if self._file is None:
            self._open()
        if self._length() and self._length() + len(line) > self._rotate_bytes:
            self._rotate()
        assert self._file is not None
        before = self._length()
        written = os.write(self._file, line)
        if written < len(line):
            os.ftruncate(self._file, before)
            raise OSError("no room for a whole line")

    def _length(self) -> int:
        """The length of a file in bytes; 0 for a terminal or a pipe, which is never renamed."""
        assert self._file is not None
        now = os.fstat(self._file)
        return now.st_size if stat.S_ISREG(now.st_mode) else 0

    def _rotate(self) -> None:
        """Rename the file and open a new one; if that fails, write to this one."""
        with contextlib.suppress(OSError):
            for number in range(self._rotate_files - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._aside(number), self._aside(number + 1))
            os.replace(self._path, self._aside(1))
            self._open()

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
