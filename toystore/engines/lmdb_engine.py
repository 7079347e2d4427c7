"""The LMDB engine: one unnamed database in a folder that belongs to one process (folder.py).

No WRITEMAP: the process cannot scribble over the map, and a full disk is an error that
a write returns instead of a signal (docs/ARCHITECTURE.md).  A commit that wrote nothing
costs no fsync.

The data file is made as long as the map at once (it is sparse: this takes no room).
LMDB alone leaves it shorter than the pages it counts whenever the last of them were
freed before they were written, which looks just like a file that was cut off; with the
tail always there, a file shorter than its last page *was* cut off, and is refused at
the start, where LMDB would run into it later and die of a SIGBUS.

Others may look on: an mdb_copy holds a slot in lock.mdb, and the pages that it reads are not
used again before it is done.  One that is killed leaves both behind, and the file would grow
with each write from then on.  So the dead are looked for before the file grows by much, and
each second; one that lives and does not come to an end is told of.
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
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are
_READERS_MAX = 60
"""For lookers-on such as mdb_stat: as many as a page has room for.  The engine itself needs
one, while it opens."""
_DEAD_S = 1.0
"""How often readers that have died are looked for."""
_GROWTH_PAGES = 256
"""And so many pages that the database has grown by."""
_LINGERS_S = 60.0
"""A reader that has not moved on for so long is told of."""


class LmdbEngine:
    """An `Engine` (see base.py) on LMDB."""

    def __init__(self, folder: Path, *, sync_interval_s: float | None, map_bytes: int) -> None:
        """Open ``folder``, or raise `EngineError`.

        With a ``sync_interval_s``, `commit` does not wait for the disk, and `sync` is due
        that long after it.
        """
        self._folder = folder
        self._data = folder / files.DATA
        self._sync_interval_s = sync_interval_s
        self._sync_due_s: float | None = None
        self._wrote = False
        self._txn: Any = None
        self._readers: dict[tuple[int, int], float] = {}
        """Who reads the state after which transaction, and since when; told of if infinite."""
        files.make(folder)
        self._lock = files.lock(folder)
        try:
            self._env = self._open(map_bytes)
            self._database = self._env.open_db()
        except BaseException:
            os.close(self._lock)
            raise
        self._forget_the_dead()

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

    def size(self) -> StoreSize:
        """How many keys there are, and how much of the sparse file has room on the disk."""
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
        """Keep the batch; unless syncs are put off, it is on the disk when this returns."""
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
            self._forget_the_dead()

    def abort(self) -> None:
        """Undo the batch, if there is one."""
        txn, self._txn = self._txn, None
        if txn is not None:
            txn.abort()

    def grow(self) -> int:
        """Double the map, between transactions; returns its new size in bytes."""
        self._forget_the_dead()
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
        """The monotonic second at which `tend` is wanted."""
        return (
            self._dead_due_s
            if self._sync_due_s is None
            else min(self._dead_due_s, self._sync_due_s)
        )

    def tend(self) -> list[Event]:
        """Bring to the disk what was committed, let go of what dead readers held; if due."""
        now = time.monotonic()
        if self._sync_due_s is not None and self._sync_due_s <= now:
            self._sync()
        if self._dead_due_s > now:
            return []
        self._forget_the_dead()
        return self._lingering(now)

    def _sync(self) -> None:
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise EngineError(f"{self._folder} could not be synced: {error}") from error
        self._sync_due_s = None

    def _forget_the_dead(self) -> None:
        """Give back the slots and the pages of readers whose process has ended."""
        with contextlib.suppress(lmdb.Error):  # which it then tries again
            self._env.reader_check()
        self._pages: int = self._env.info()["last_pgno"]
        self._dead_due_s = time.monotonic() + _DEAD_S

    def _lingering(self, now: float) -> list[Event]:
        """Readers that have been there for long and were not told of yet."""
        # A heading, then a process, a thread and a transaction to each line.
        lines = [line.split() for line in self._env.readers().splitlines()[1:]]
        there = {(int(pid), int(txn)) for pid, _, txn in lines if txn != "-"}
        self._readers = {reader: self._readers.get(reader, now) for reader in there}
        long = {r: now - since for r, since in self._readers.items() if now - since >= _LINGERS_S}
        self._readers |= dict.fromkeys(long, math.inf)
        told = Outbox()
        for (pid, _), age_s in long.items():
            told.log("reader.lingers", pid=pid, age_s=round(age_s, 1))
        return told.events

    def close(self) -> None:
        """Abort, sync and let go of the folder."""
        if self._lock < 0:
            return
        self.abort()
        try:
            if self._sync_due_s is not None:
                self._sync()
        finally:
            self._env.close()
            os.close(self._lock)
            self._lock = -1

    def _open(self, map_bytes: int) -> lmdb.Environment:
        """The environment, its data file whole and as long as its map."""
        length = self._data.stat().st_size if self._data.exists() else 0
        try:
            files.reserve_readers(self._folder)
            env = self._environment(max(map_bytes, length))
        except BaseException:
            if not length:  # half a file would be taken for a damaged one at the next start
                self._data.unlink(missing_ok=True)
            raise
        try:
            self._make_whole(env, length)
        except BaseException:
            env.close()
            raise
        return env

    def _environment(self, map_bytes: int) -> lmdb.Environment:
        """LMDB's environment, even if killed readers have left no slot for us."""
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
        """Refuse a data file that was cut off; lengthen a whole one to the size of the map."""
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
        """Make the file as long as the map or, where there is no room, the map as short."""
        try:
            os.truncate(self._data, size)
        except OSError as error:
            if not length or error.errno not in NO_ROOM:
                raise
            env.set_mapsize(length)

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
        if any(os.strerror(code) in text for code in NO_ROOM):
            return True
        if os.strerror(errno.EIO) not in text:
            return False
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize < _NEARLY_FULL_BYTES


_CURE = "restore the folder, or move it away and let the node be rebuilt from its peers"
