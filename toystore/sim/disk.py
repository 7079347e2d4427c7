"""A simulated disk: it loses what a real disk may lose.

It is the memory engine, and it records which batches are not safe yet.  A committed batch is
*under way* until `end_commit`.  After that it is safe or, with durability "async", *unsynced*
until the next `sync`:

                    begin ─ commit ── end_commit ── sync
    kill -9 keeps              either   yes          yes
    a power cut keeps          either   sync: yes    yes
                                        async: a prefix

It can also be full, lack map space, and corrupt its records.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

from toystore.core.storage.layout import HINT, HINT_TIME_BYTES, RECORD
from toystore.core.storage.store import StoreFullError
from toystore.engines.base import MapFullError
from toystore.engines.memory import MemoryEngine

_Undo = list[tuple[bytes, bytes | None]]
_RECORDS = (RECORD, HINT)
"""The kinds of keys of records: a node's own records, and hints."""
GROWS_NOT = 0.2
"""The probability that there is no room for a larger map."""


class SimDisk(MemoryEngine):
    """An `Engine` of one simulated node; it outlives the node's processes."""

    def __init__(self, chance: random.Random, *, syncs: bool, map_full_rate: float) -> None:
        """``syncs``: durability "sync".  ``map_full_rate``: how likely a batch has no map space."""
        super().__init__()
        self.full = False
        self._chance = chance
        self._syncs = syncs
        self.map_full_rate = map_full_rate
        self._writes_left: int | None = None
        self._under_way: _Undo = []
        self._unsynced: list[_Undo] = []
        self.changed = False
        """Whether the last batch has changed a record."""

    # --- the engine ---------------------------------------------------------------------

    def begin(self) -> None:
        """Open a transaction; room or map space may be exhausted after some writes."""
        super().begin()
        short = self.full or (self._kinds and self._chance.random() < self.map_full_rate)
        self._writes_left = self._chance.randrange(4) if short else None

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``, if there is room."""
        self._need_room()
        super().put(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``, which needs room as well: pages are copied, not written over."""
        self._need_room()
        return super().delete(key)

    @contextlib.contextmanager
    def with_map_space(self) -> Iterator[None]:
        """Within, no batch lacks map space: before its actors start, a node makes a larger map."""
        rate, self.map_full_rate = self.map_full_rate, 0.0
        try:
            yield
        finally:
            self.map_full_rate = rate

    def grow(self) -> int:
        """Give the next batch a larger map, if the disk has room for one."""
        if self._chance.random() < GROWS_NOT:
            raise StoreFullError("the simulated disk has no room for a larger map")
        return 0

    def _need_room(self) -> None:
        if self._writes_left == 0:
            raise StoreFullError("the simulated disk is full") if self.full else MapFullError
        if self._writes_left is not None:
            self._writes_left -= 1

    def commit(self) -> None:
        """Keep the batch, unless there is no room or the node crashes before `end_commit`."""
        if self._undo:
            self._need_room()
        self.changed = any(key[:1] == RECORD for key, _ in self._undo)
        self._under_way += self._undo
        super().commit()

    @property
    def under_way(self) -> Sequence[tuple[bytes, bytes | None]]:
        """The keys that the batch under way has written, and what was under them before."""
        return self._under_way

    def end_commit(self) -> None:
        """What was committed has reached the disk, or at least the system."""
        if not self._syncs and self._under_way:
            self._unsynced.append(self._under_way)
        self._under_way = []

    def sync(self) -> None:
        """Everything whose commit has ended is safe from now on."""
        self._unsynced.clear()

    @property
    def wants_sync(self) -> bool:
        """Whether anything waits for a sync."""
        return bool(self._unsynced)

    # --- faults -------------------------------------------------------------------------

    def crash(self, *, power: bool, after_commit: bool) -> bool:
        """The process died, or the power failed.

        ``after_commit``: whether a batch under way had been committed.  Returns whether batches
        are lost whose commit had ended.
        """
        if after_commit:
            self.end_commit()
        else:
            self._revert(self._under_way)
            self._under_way = []
        lost = False
        if power and self._unsynced:
            kept = self._chance.randrange(len(self._unsynced) + 1)
            lost = kept < len(self._unsynced)
            while len(self._unsynced) > kept:
                self._revert(self._unsynced.pop())
        self._unsynced = []
        return lost

    def wipe(self) -> None:
        """Replace the disk by an empty one."""
        self.close()
        self._under_way, self._unsynced = [], []

    def rot(self) -> bool:
        """Flip a bit of a stored record; return whether there was one."""
        held = [(key, value) for key, value in self.scan(b"") if key[:1] in _RECORDS]
        if not held:
            return False
        key, value = self._chance.choice(held)
        # No checksum covers the time before the record of a hint: it is not corrupted here.
        at = self._chance.randrange(HINT_TIME_BYTES if key[:1] == HINT else 0, len(value))
        bit = 1 << self._chance.randrange(8)
        self._set(key, value[:at] + bytes([value[at] ^ bit]) + value[at + 1 :])
        return True

    def _revert(self, undo: _Undo) -> None:
        for key, before in reversed(undo):
            self._set(key, before)
