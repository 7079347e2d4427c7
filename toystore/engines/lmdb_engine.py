"""The LMDB engine: one unnamed database in a folder that belongs to one process (folder.py).

WRITEMAP is not used: the process cannot overwrite the map by mistake, and on a full disk a
write returns an error instead of a signal (docs/ARCHITECTURE.md).  A commit without writes
costs no fsync.

The data file is made as long as the map at once (the file is sparse: this takes no room).
LMDB alone leaves the file shorter than its pages if the last pages were freed before they
were written.  Such a file looks like a truncated one.  With the full length, a file shorter
than its last page *is* truncated.  The engine refuses it at the start; LMDB would find it
later, by a SIGBUS.

Other processes may read the database: mdb_copy uses a slot in lock.mdb, and the pages that
it reads are not used again before it ends.  A reader that is killed leaves both in use, and
then the file grows with each write.  So the engine frees what dead readers used, before the
file grows much and every second; it logs a reader that lives and does not end.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from toystore.core.protocol.machine import Event, Outbox
from toystore.core.storage.store import StoreFullError, StoreSize
from toystore.engines import folder as files
from toystore.engines.base import EngineError, MapFullError
from toystore.engines.folder import NO_ROOM

_NEARLY_FULL_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 512  # the unit of st_blocks, on every file system
_READERS_MAX = 60
"""Slots for readers such as mdb_stat: as many as fit a page.  The engine needs one, while it
opens."""
_DEAD_S = 1.0
"""The time between two searches for dead readers."""
_GROWTH_PAGES = 256
"""The growth of the database, in pages, between two searches for dead readers."""
_LINGERS_S = 60.0
"""A reader of the same state for this long is logged."""


class LmdbEngine:
    """An `Engine` (see base.py) on LMDB."""

    def __init__(self, folder: Path, *, sync_interval_s: float | None, map_bytes: int) -> None:
        """Open ``folder``, or raise `EngineError`.

        With a ``sync_interval_s``, `commit` does not wait for the disk, and a sync is due
        that long after it.
        """
        self._folder = folder
        self._data = folder / files.DATA
        self._sync_interval_s = sync_interval_s
        self._sync_due_s: float | None = None
        self._wrote = False
        self._txn: Any = None
        self._readers: dict[tuple[int, int], float] = {}
        """By pid and the transaction it reads: since when; infinite once it was logged."""
        files.make(folder)
        self._lock = files.lock(folder)
        try:
            self._env = self._open(map_bytes)
            self._database = self._env.open_db()
        except BaseException:
            os.close(self._lock)
            raise
        self._free_dead_readers()

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
        """Delete ``key``; True if it existed."""
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

    def size(self) -> StoreSize:
        """The number of keys, and the bytes of the sparse file that are allocated."""
        try:
            keys: int = self._txn.stat(self._database)["entries"]
        except lmdb.Error as error:
            raise self._translated(error) from error
        return StoreSize(keys, self._data.stat().st_blocks * _BLOCK_BYTES)

    def begin(self) -> None:
        """Open a transaction."""
        self._wrote = False
        try:
            self._txn = self._env.begin(write=True)
        except lmdb.Error as error:
            raise self._translated(error) from error

    def commit(self) -> None:
        """Store the batch.  Without a ``sync_interval_s`` it is on the disk after this call."""
        try:
            self._txn.commit()
        except lmdb.Error as error:
            raise self._translated(error) from error
        self._txn = None
        if not self._wrote:
            return
        if self._sync_interval_s is not None and self._sync_due_s is None:
            self._sync_due_s = time.monotonic() + self._sync_interval_s
        if self._env.info()["last_pgno"] >= self._pages + _GROWTH_PAGES:
            self._free_dead_readers()

    def abort(self) -> None:
        """Undo the batch, if there is one."""
        txn, self._txn = self._txn, None
        if txn is not None:
            txn.abort()

    def grow(self) -> int:
        """Double the map, between transactions; returns its new size in bytes."""
        self._free_dead_readers()
        size: int = 2 * self._env.info()["map_size"]
        try:
            os.truncate(self._data, size)
            self._env.set_mapsize(size)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StoreFullError(f"no room to grow {self._data}: {error.strerror}") from error
            raise EngineError(f"{self._data} cannot grow: {error.strerror}") from error
        except lmdb.Error as error:
            raise EngineError(f"{self._data} cannot be mapped at {size} bytes: {error}") from error
        return size

    def due_s(self) -> float | None:
        """The monotonic second at which `tend` is due."""
        return (
            self._dead_due_s
            if self._sync_due_s is None
            else min(self._dead_due_s, self._sync_due_s)
        )

    def tend(self) -> list[Event]:
        """Sync earlier commits, and free what dead readers used, if that is due."""
        now = time.monotonic()
        if self._sync_due_s is not None and self._sync_due_s <= now:
            self.sync()
        if self._dead_due_s > now:
            return []
        self._free_dead_readers()
        return self._lingering(now)

    def sync(self) -> None:
        """Make sure that earlier commits are on the disk."""
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise EngineError(f"{self._folder} could not be synced: {error}") from error
        self._sync_due_s = None

    def _free_dead_readers(self) -> None:
        """Free the slots and the pages of readers whose process has ended."""
        with contextlib.suppress(lmdb.Error):  # the next call tries again
            self._env.reader_check()
        self._pages: int = self._env.info()["last_pgno"]
        self._dead_due_s = time.monotonic() + _DEAD_S

    def _lingering(self, now: float) -> list[Event]:
        """Events for readers that read for `_LINGERS_S` and were not logged yet."""
        # A heading, then lines of a pid, a thread and a transaction.
        lines = [line.split() for line in self._env.readers().splitlines()[1:]]
        there = {(int(pid), int(txn)) for pid, _, txn in lines if txn != "-"}
        self._readers = {reader: self._readers.get(reader, now) for reader in there}
        long = {r: now - since for r, since in self._readers.items() if now - since >= _LINGERS_S}
        self._readers |= dict.fromkeys(long, math.inf)
        outbox = Outbox()
        for (pid, _), age_s in long.items():
            outbox.log("reader.lingers", pid=pid, age_s=round(age_s, 1))
        return outbox.events

    def close(self) -> None:
        """Abort, sync and release the folder."""
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
        """The environment; its data file is checked, and as long as its map."""
        length = self._data.stat().st_size if self._data.exists() else 0
        try:
            files.reserve_readers(self._folder)
            env = self._environment(max(map_bytes, length))
        except BaseException:
            if not length:  # the next start would refuse an incomplete file
                self._data.unlink(missing_ok=True)
            raise
        try:
            self._make_whole(env, length)
        except BaseException:
            env.close()
            raise
        return env

    def _environment(self, map_bytes: int) -> lmdb.Environment:
        """LMDB's environment, even if dead readers use all slots."""
        try:
            try:
                return self._lmdb_open(map_bytes)
            except lmdb.ReadersFullError:
                files.lengthen_readers(self._folder)
                return self._lmdb_open(map_bytes)
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
            raise EngineError(
                f"{self._data} is not a sound LMDB file ({error}); {_CURE}"
            ) from error
        except (lmdb.Error, OSError) as error:
            if self._has_no_room(str(error)):
                raise EngineError(f"no room to begin {self._data}; make some ({error})") from error
            raise EngineError(
                f"{self._data} cannot be opened ({error}); see that this user may write there, "
                f"that the disk has room and the process memory. If that is so, {_CURE}"
            ) from error

    def _lmdb_open(self, map_bytes: int) -> lmdb.Environment:
        return lmdb.open(
            str(self._folder),
            map_size=map_bytes,
            max_readers=_READERS_MAX,
            sync=self._sync_interval_s is None,
            mode=files.FILE_MODE,
        )

    def _make_whole(self, env: lmdb.Environment, length: int) -> None:
        """Refuse a truncated data file; lengthen any other to the size of the map."""
        info = env.info()
        used = (info["last_pgno"] + 1) * env.stat()["psize"]
        if 0 < length < used:
            raise EngineError(
                f"{self._data} was cut off: {length} bytes of at least {used} are left; {_CURE}"
            )
        try:
            if length < info["map_size"]:
                self._lengthen(env, length, info["map_size"])
            files.sync(self._folder)
            files.sync(self._folder.parent)
        except OSError as error:
            raise EngineError(
                f"{self._data} cannot be made {info['map_size']} bytes long: {error.strerror}"
            ) from error

    def _lengthen(self, env: lmdb.Environment, length: int, size: int) -> None:
        """Make the file as long as the map or, if the disk has no room, the map as short."""
        try:
            os.truncate(self._data, size)
        except OSError as error:
            if not length or error.errno not in NO_ROOM:
                raise
            env.set_mapsize(length)

    def _translated(self, error: lmdb.Error) -> Exception:
        """The engine's error for an error of LMDB."""
        if isinstance(error, lmdb.MapFullError):
            return MapFullError(f"the map of {self._data} is full")
        if isinstance(error, lmdb.BadValsizeError):
            return ValueError(f"a key is 1 to {self._env.max_key_size()} bytes: {error}")
        if self._has_no_room(str(error)):
            return StoreFullError(f"no room to write to {self._data}: {error}")
        return EngineError(f"{self._data} failed ({error}); look after its disk, or {_CURE}")

    def _has_no_room(self, text: str) -> bool:
        """Whether a write failed for want of room.

        On a full disk most writes first succeed in part, and LMDB reports that as an I/O
        error.  So the free space of the disk is checked.
        """
        if any(os.strerror(code) in text for code in NO_ROOM):
            return True
        if os.strerror(errno.EIO) not in text:
            return False
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize < _NEARLY_FULL_BYTES


_CURE = "restore the folder, or move it away and let the node be rebuilt from its peers"
