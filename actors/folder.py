"""A node's folder: it is made, locked against other processes, and private to its user.

    DIR/NODE/data        what is stored (toystore/engines/folder.py)
    DIR/NODE/log.jsonl   the log (logfile.py)
    DIR/NODE/pid         this process, while it runs
    DIR/NODE/life        how the last run ended (life.py)

The lock is on the folder itself, so that a process which does not get it changes nothing in
the folder.  A process that gets it calls `Folder.claim` once it knows that the data are its
own, and changes nothing before that.
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
    """The folder cannot be used; the text says why and what to do."""


class Folder:
    """A folder that is locked until its ``with`` block ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "log.jsonl"
        self.pid = path / "pid"
        self.life = Life(path / "life")
        self.new = False
        """Whether the folder had no data before."""
        self.marked = False
        """Whether this process's pid is in the folder: a full disk may have no room for it."""

    def __enter__(self) -> Self:
        """Make the folder if it does not exist, and lock it.

        Raises `FolderError` if it cannot be written, or another process holds the lock.
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
        """Release the lock, and delete this process's pid."""
        if self._holder() == os.getpid():
            with contextlib.suppress(OSError):
                self.pid.unlink()
        os.close(self._held)

    def claim(self) -> None:
        """Make the data private to this user, and write the pid: the data are this node's.

        Raises `FolderError` if the pid cannot be written, unless the disk is full.
        """
        for path in self._ours():
            with contextlib.suppress(OSError):  # missing, or another user's, as volumes are
                mode = path.stat().st_mode
                if mode & 0o077 and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    path.chmod(stat.S_IMODE(mode) & ~0o077)
        self.mark()
        if self.new:
            self.life.prepare()

    def mark(self) -> None:
        """Write the pid in the place of an old one; write none if the disk is full.

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
        """The paths that other users must not read or write."""
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
