"""How a node's lives end, kept in its folder for the next one to tell: ``DIR/NODE/life``.

One line of fixed width, written over in place, since a full disk has room for that, and
synced, since the power may be cut.  While the node runs, the file's time of modification
says when it was last there.

    new  ->  running  ->  clean stop | failed: why
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

BEAT_MS = 5000
"""How often a node that runs says that it does."""
BYTES = 512
_NEW = "new"
_RUNNING = "running"
CLEAN = "clean stop"
FAILED = "failed: "


_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
"""Whatever stands in the file's place, it is not waited for."""


class Life:
    """One life of a node; nothing that becomes of its file keeps the node from running."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        """Tell the first life of a new folder that there was none before it."""
        if not self._path.exists():
            self._write(_NEW)

    def begin(self) -> str:
        """The node runs from now on; returns how the life before ended, in plain words."""
        before = self._before()
        self._write(_RUNNING)
        return before

    def beat(self) -> None:
        """The node still runs."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def end(self, how: str) -> None:
        """The node has stopped, or failed: `CLEAN`, or `FAILED` and why."""
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
        """What the file says, and when it was last touched.  Raises OSError."""
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
            # What the file says is no longer so; a missing one says nothing.
            with contextlib.suppress(OSError):
                self._path.unlink()


def _told(seconds: float) -> str:
    """A time of modification, which may be anything."""
    try:
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return "no time that there is"
