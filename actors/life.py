"""How each run of a node ends, stored in its folder for the next run: ``DIR/NODE/life``.

The file has one line of fixed width.  It is overwritten in place, because a full disk has
room for that, and synced, because the power may be cut.  While the node runs, the file's
time of modification says when it last ran.

    new  ->  running  ->  clean stop | failed: why
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

BEAT_MS = 5000
"""How often a running node updates the file's time of modification."""
BYTES = 512
_NEW = "new"
_RUNNING = "running"
CLEAN = "clean stop"
FAILED = "failed: "


_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
"""Opening does not block, even if a pipe is in the file's place."""


class Life:
    """One run of a node; an error of the file does not stop the node."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        """Write in a new folder that no run was before the first one."""
        if not self._path.exists():
            self._write(_NEW)

    def begin(self) -> str:
        """Record that the node runs; return how the run before ended, as text."""
        before = self._before()
        self._write(_RUNNING)
        return before

    def beat(self) -> None:
        """Record that the node still runs."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def end(self, how: str) -> None:
        """Record how the run ended: `CLEAN`, or `FAILED` and why."""
        self._write(how)

    def _before(self) -> str:
        try:
            text, seen_s = self._read()
        except OSError as error:
            return f"not known: {self._path.name}: {error.strerror}"
        if text == _NEW:
            return "first start"
        if text == _RUNNING:
            return f"killed or crashed, last seen at {_told(seen_s)}"
        known = text == CLEAN or text.startswith(FAILED)
        return text if known else f"not known: {self._path.name} is damaged"

    def _read(self) -> tuple[str, float]:
        """The file's text, and its time of modification.  Raises OSError."""
        file = os.open(self._path, os.O_RDONLY | _FLAGS)
        try:
            return os.read(file, BYTES).decode(errors="replace").strip(), os.fstat(file).st_mtime
        finally:
            os.close(file)

    def _write(self, text: str) -> None:
        line = text.encode(errors="replace").replace(b"\n", b" ")[: BYTES - 1].ljust(BYTES - 1)
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o600)
            try:
                os.pwrite(file, line + b"\n", 0)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError:
            # The file's text is no longer true; without a file there is no text.
            with contextlib.suppress(OSError):
                self._path.unlink()


def _told(seconds: float) -> str:
    """A time of modification as text; its value may be out of range."""
    try:
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return "no time that there is"
