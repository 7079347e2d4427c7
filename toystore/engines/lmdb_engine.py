"""The LMDB engine: one unnamed database in a folder that belongs to one process.

    FOLDER/data.mdb   the database
    FOLDER/lock.mdb   LMDB's own, for its readers
    FOLDER/lock       held with flock for as long as the engine is open; holds our pid

No WRITEMAP: the process cannot scribble over the map, and a full disk is an error that
a write returns instead of a signal (docs/ARCHITECTURE.md).  A commit that wrote nothing
costs no fsync.

The data file is made as long as the map at once (it is sparse: this takes no room).
LMDB alone leaves it shorter than the pages it counts whenever the last of them were
freed before they were written, which looks just like a file that was cut off; with the
tail always there, a file shorter than its last page *was* cut off, and is refused at
the start, where LMDB would run into it later and die of a SIGBUS.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from toystore.core.store import StoreFullError
from toystore.engines.base import EngineError, MapFullError

_OURS = {"data.mdb", "lock.mdb", "lock", "lost+found"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEARLY_FULL_BYTES = 16 * 1024 * 1024
_READERS_MAX = 8
"""For lookers-on such as mdb_stat; the engine itself needs none."""


class LmdbEngine:
    """An `Engine` (see base.py) on LMDB."""

    def __init__(self, folder: Path, *, sync_interval_s: float | None, map_bytes: int) -> None:
        """Open ``folder``, or raise `EngineError`.

        With a ``sync_interval_s``, `commit` does not wait for the disk, and `sync` is due
        that long after it.
        """
        self._folder = folder
        self._data = folder / "data.mdb"
        self._sync_interval_s = sync_interval_s
        self._sync_due_s: float | None = None
        self._wrote = False
        self._txn: Any = None
        _make(folder)
        self._lock = _lock(folder)
        try:
            self._env = self._open(map_bytes)
        except BaseException:
            os.close(self._lock)
            raise

    def get(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None."""
        try:
            value: bytes | None = self._txn.get(key)
        except lmdb.Error as error:
            raise self._translated(error) from error
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        self._wrote = True
        try:
            self._txn.put(key, value)
        except lmdb.Error as error:
            raise self._translated(error) from error

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; True if it was there."""
        self._wrote = True
        try:
            return bool(self._txn.delete(key))
        except lmdb.Error as error:
            raise self._translated(error) from error

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys beginning with ``prefix``, in order, from ``prefix + start`` on."""
        at = prefix + start
        try:
            with self._txn.cursor() as cursor:
                if not (cursor.set_range(at) if at else cursor.first()):
                    return
                for key, value in cursor:
                    if not key.startswith(prefix):
                        return
                    yield key, value
        except lmdb.Error as error:
            raise self._translated(error) from error

    def begin(self) -> None:
        """Open a transaction."""
        self._wrote = False
        try:
            self._txn = self._env.begin(write=True)
        except lmdb.Error as error:
            raise self._translated(error) from error

    def commit(self) -> None:
        """Keep the batch; unless syncs are put off, it is on the disk when this returns."""
        try:
            self._txn.commit()
        except lmdb.Error as error:
            raise self._translated(error) from error
        self._txn = None
        if self._wrote and self._sync_interval_s is not None and self._sync_due_s is None:
            self._sync_due_s = time.monotonic() + self._sync_interval_s

    def abort(self) -> None:
        """Undo the batch, if there is one."""
        txn, self._txn = self._txn, None
        if txn is not None:
            txn.abort()

    def grow(self) -> int:
        """Double the map, between transactions; returns its new size in bytes."""
        size: int = 2 * self._env.info()["map_size"]
        try:
            os.truncate(self._data, size)
            self._env.set_mapsize(size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StoreFullError(f"no room to grow {self._data}: {error.strerror}") from error
            raise EngineError(f"{self._data} cannot grow: {error.strerror}") from error
        except lmdb.Error as error:
            raise EngineError(f"{self._data} cannot be mapped at {size} bytes: {error}") from error
        return size

    def sync_due_s(self) -> float | None:
        """The monotonic second at which `sync` is due; None while nothing waits for it."""
        return self._sync_due_s

    def sync(self) -> None:
        """Bring to the disk what was committed."""
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise EngineError(f"{self._folder} could not be synced: {error}") from error
        self._sync_due_s = None

    def close(self) -> None:
        """Abort, sync and let go of the folder."""
        if self._lock < 0:
            return
        self.abort()
        try:
            if self._sync_due_s is not None:
                self.sync()
        finally:
            self._env.close()
            os.close(self._lock)
            self._lock = -1

    def _open(self, map_bytes: int) -> lmdb.Environment:
        """The environment, its data file whole and as long as its map."""
        try:
            length = self._data.stat().st_size if self._data.exists() else 0
            env = lmdb.open(
                str(self._folder),
                map_size=max(map_bytes, length),
                max_readers=_READERS_MAX,
                sync=self._sync_interval_s is None,
                mode=0o644,
            )
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            raise EngineError(
                f"{self._data} is not a sound LMDB file ({error}); {_CURE}"
            ) from error
        except (lmdb.Error, OSError) as error:
            raise EngineError(
                f"{self._data} cannot be opened ({error}); see that this user may write there, "
                f"that the disk has room and the process memory. If that is so, {_CURE}"
            ) from error
        try:
            self._make_whole(env, length)
        except BaseException:
            env.close()
            raise
        return env

    def _make_whole(self, env: lmdb.Environment, length: int) -> None:
        """Refuse a data file that was cut off; lengthen a whole one to the size of the map."""
        info = env.info()
        used = (info["last_pgno"] + 1) * env.stat()["psize"]
        if 0 < length < used:
            raise EngineError(
                f"{self._data} was cut off: {length} bytes of at least {used} are left; {_CURE}"
            )
        try:
            if length < info["map_size"]:
                os.truncate(self._data, info["map_size"])
            _sync_folder(self._folder)
            _sync_folder(self._folder.parent)
        except OSError as error:
            raise EngineError(
                f"{self._data} cannot be made {info['map_size']} bytes long: {error.strerror}"
            ) from error

    def _translated(self, error: lmdb.Error) -> Exception:
        """What an error of LMDB's means to whoever uses an engine."""
        if isinstance(error, lmdb.MapFullError):
            return MapFullError(f"the map of {self._data} is full")
        if isinstance(error, lmdb.BadValsizeError):
            return ValueError(f"a key is 1 to {self._env.max_key_size()} bytes: {error}")
        if self._has_no_room(str(error)):
            return StoreFullError(f"no room to write to {self._data}: {error}")
        return EngineError(f"{self._data} failed ({error}); look after its disk, or {_CURE}")

    def _has_no_room(self, text: str) -> bool:
        """Whether a write failed for want of room.

        LMDB calls a write that went in only halfway an I/O error, and that is how most
        disks first turn out to be full; so the disk itself is asked.
        """
        if any(os.strerror(code) in text for code in _NO_ROOM):
            return True
        if os.strerror(errno.EIO) not in text:
            return False
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize < _NEARLY_FULL_BYTES


_CURE = "restore the folder, or move it away and let the node be rebuilt from its peers"


def _make(folder: Path) -> None:
    """Make the folder if it is not there; do not move in with files that are not ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in folder.iterdir()}
    except FileExistsError:
        raise EngineError(f"{folder} is a file; name a folder for the node's data") from None
    except OSError as error:
        raise EngineError(
            f"folder {folder} cannot be used: {error.strerror}; name one that can be written"
        ) from error
    if "data.mdb" not in names and (foreign := sorted(names - _OURS)):
        raise EngineError(
            f"folder {folder} holds other files ({', '.join(foreign[:5])}) and no data of a node; "
            "name an empty folder"
        )


def _lock(folder: Path) -> int:
    """Hold ``folder`` against other processes; returns the open file that holds it."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise EngineError(
            f"folder {folder} cannot be written: {error.strerror}; "
            "name one that this user may write to"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise EngineError(
            f"folder {folder} is in use by process {holder}; stop that, or name another folder"
        ) from None
    except OSError as error:
        os.close(lock)
        raise EngineError(f"folder {folder} cannot be locked: {error.strerror}") from error
    return lock


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable; its data is, once LMDB says so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
