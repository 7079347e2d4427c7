"""The folder of an LMDB engine: one process locks it, and only its user may read it.

    FOLDER/data.mdb   the database
    FOLDER/lock.mdb   LMDB's table of readers
    FOLDER/lock       locked with flock while the engine is open; contains the pid

If the files exist, all of this works on a full disk too: it overwrites the blocks that a
file has, and never frees them.
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
"""The system's errors for a full disk, an exhausted quota or a reached file size limit."""
DATA, READERS, LOCK = "data.mdb", "lock.mdb", "lock"
FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OURS = {DATA, READERS, LOCK, "lost+found"}
_PAGE = 4096


def make(folder: Path) -> None:
    """Create the folder if it does not exist.  Raises `EngineError` if it has foreign files."""
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
    """Lock ``folder`` against other processes; returns the file descriptor with the lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise EngineError(
            f"folder {folder} cannot be written: {error.strerror}; "
            "name one that this user may write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise EngineError(
            f"folder {folder} is in use by process {holder}; stop that, or name another folder"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise EngineError(f"folder {folder} cannot be locked: {error.strerror}") from error
    with contextlib.suppress(OSError):  # the lock works without the pid, which is for people
        pid = b"%d\n" % os.getpid()
        os.ftruncate(descriptor, os.pwrite(descriptor, pid, 0))
    return descriptor


def reserve_readers(folder: Path) -> None:
    """Allocate the blocks of LMDB's table of readers, before LMDB maps and writes it.

    A write to a mapped page without a block on a full disk is a SIGBUS.  The engine needs the
    first page only; more pages are for other readers.  Raises `EngineError`.
    """
    with _readers(folder) as table:
        _allocate(table, 0, _PAGE)
        with contextlib.suppress(OSError):
            _allocate(table, 0, os.fstat(table).st_size)


def lengthen_readers(folder: Path) -> None:
    """Add a page to the table of readers: LMDB derives the number of slots from its length.

    Raises `EngineError`.
    """
    with _readers(folder) as table:
        _allocate(table, os.fstat(table).st_size, _PAGE)


@contextlib.contextmanager
def _readers(folder: Path) -> Iterator[int]:
    """The open table of readers.

    No environment may be open: closing the file releases this process's locks on it.
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
    """Allocate blocks on the disk, if its file system supports that."""
    try:
        os.posix_fallocate(file, start, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def sync(folder: Path) -> None:
    """Make the names of new files durable.  LMDB makes their data durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
