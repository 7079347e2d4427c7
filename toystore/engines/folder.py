"""The folder of an LMDB engine: made, held against other processes, private to its owner.

    FOLDER/data.mdb   the database
    FOLDER/lock.mdb   LMDB's own, for its readers
    FOLDER/lock       held with flock for as long as the engine is open; holds our pid

Everything here works on a full disk too, if the files are there already: blocks that a
file has are written over and never given back in between.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from toystore.engines.base import EngineError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's errors that say that a disk, a quota or a limit has been used up."""
DATA, READERS, LOCK = "data.mdb", "lock.mdb", "lock"
FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OURS = {DATA, READERS, LOCK, "lost+found"}
_PAGE = 4096


def make(folder: Path) -> None:
    """Make the folder if it is not there; do not move in with files that are not ours."""
    try:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        names = {entry.name for entry in folder.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise EngineError(f"{folder} is a file, or in one; name a folder for the data") from None
    except OSError as error:
        raise EngineError(
            f"folder {folder} cannot be used: {error.strerror}; name one that can be written"
        ) from error
    if DATA not in names and (foreign := sorted(names - _OURS)):
        raise EngineError(
            f"folder {folder} holds other files ({', '.join(foreign[:5])}) and no data of a node; "
            "name an empty folder"
        )


def lock(folder: Path) -> int:
    """Hold ``folder`` against other processes; returns the open file that holds it."""
    try:
        held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise EngineError(
            f"folder {folder} cannot be written: {error.strerror}; "
            "name one that this user may write to"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(held, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(held)
        raise EngineError(
            f"folder {folder} is in use by process {holder}; stop that, or name another folder"
        ) from None
    except OSError as error:
        os.close(held)
        raise EngineError(f"folder {folder} cannot be locked: {error.strerror}") from error
    with contextlib.suppress(OSError):  # the lock holds all the same; the pid is for people
        pid = b"%d\n" % os.getpid()
        os.ftruncate(held, os.pwrite(held, pid, 0))
    return held


def reserve_readers(folder: Path) -> None:
    """Give LMDB's table of readers its blocks, before LMDB maps it into memory and writes.

    A page that the disk then had no room for would be a SIGBUS.  The first is all that the
    engine needs; others, if there are any, are for lookers-on.  Raises `EngineError`.
    """
    with _readers(folder) as table:
        _allocate(table, 0, _PAGE)
        with contextlib.suppress(OSError):
            _allocate(table, 0, os.fstat(table).st_size)


def lengthen_readers(folder: Path) -> None:
    """Make room for another page of readers: LMDB counts their slots by the file's length.

    Raises `EngineError`.
    """
    with _readers(folder) as table:
        _allocate(table, os.fstat(table).st_size, _PAGE)


@contextlib.contextmanager
def _readers(folder: Path) -> Iterator[int]:
    """The open table of readers.

    Not while an environment is open: closing the file gives up this process's locks on it.
    """
    path = folder / READERS
    try:
        table = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            yield table
        finally:
            os.close(table)
    except OSError as error:
        raise EngineError(
            f"{path} cannot be written ({error.strerror}); make room, or see that this user may "
            "write there"
        ) from error


def _allocate(file: int, start: int, length: int) -> None:
    """Have the disk set blocks aside, if it is of a kind that can."""
    try:
        os.posix_fallocate(file, start, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def sync(folder: Path) -> None:
    """Make a new file's name durable; its data is, once LMDB says so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
