"""A node's folder: made, held against every other process, and its owner's alone.

    DIR/NODE/data        what is stored (toystore/engines/folder.py)
    DIR/NODE/log.jsonl   the log (logfile.py)
    DIR/NODE/pid         this process, while it runs
    DIR/NODE/life        how the last life ended (life.py)

What is locked is the folder itself, so that a process that is kept out has not touched
anything in it.  Nor does one that got in, before it knows that the data are its own: then
it calls `Folder.claim`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from actors.life import Life
from toystore.engines import NO_ROOM

PID_BYTES_MAX = 32
_HERE = ("", "data", "data/data.mdb", "data/lock.mdb", "data/lock", "pid", "life")


class FolderError(Exception):
    """The folder cannot be had; the text says why and what to do."""


class Folder:
    """A folder that is held for as long as the block lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "log.jsonl"
        self.pid = path / "pid"
        self.life = Life(path / "life")
        self.new = False
        """Whether nothing was stored in it before."""
        self.marked = False
        """Whether our pid is in the folder: a full disk may have no room for it."""

    def __enter__(self) -> Self:
        """Make the folder if need be, and hold it.

        Raises `FolderError` if it cannot be written, or another process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                read_only = os.statvfs(self.path).f_flag & os.ST_RDONLY
                code = errno.EROFS if read_only else errno.EACCES
                raise OSError(code, os.strerror(code))
            self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FolderError(f"cannot write to {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._held)
            raise FolderError(self._why_not_held(error)) from None
        self.new = not self.data.exists()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the folder, and leave no pid of ours in it."""
        if self._holder() == os.getpid():
            with contextlib.suppress(OSError):
                self.pid.unlink()
        os.close(self._held)

    def claim(self) -> None:
        """The data are ours: take from everybody else what they may do here, leave our pid.

        Raises `FolderError` if the pid cannot be left, and not for want of room.
        """
        for path in self._ours():
            with contextlib.suppress(OSError):  # not there; or another user's, as volumes are
                mode = path.stat().st_mode
                if mode & 0o077 and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    path.chmod(stat.S_IMODE(mode) & ~0o077)
        self.mark()
        if self.new:
            self.life.prepare()

    def mark(self) -> None:
        """Write the pid over another that was left; where there is no room leave none.

        Raises `FolderError`.
        """
        pid = b"%d\n" % os.getpid()
        try:
            file = os.open(self.pid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(file, os.pwrite(file, pid, 0))
            finally:
                os.close(file)
            self.marked = True
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise FolderError(f"cannot write {self.pid}: {error.strerror}") from None
            with contextlib.suppress(OSError):
                self.pid.unlink()

    def _ours(self) -> Iterator[Path]:
        """What a node keeps here, as far as others may look at it."""
        yield from (self.path / name for name in _HERE)
        yield from self.path.glob(f"{self.log.name}*")

    def _why_not_held(self, error: OSError) -> str:
        if error.errno != errno.EWOULDBLOCK:
            return f"{self.path} cannot be locked: {error.strerror}"
        holder = self._holder()
        who = "another process" if holder is None else f"process {holder}"
        return f"{self.data} is in use by {who}; stop that, or give another --data-dir"

    def _holder(self) -> int | None:
        """The pid that is in the folder; None if none is."""
        try:
            with self.pid.open("rb") as file:
                return int(file.read(PID_BYTES_MAX))
        except (OSError, ValueError):
            return None
