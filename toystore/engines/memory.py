"""The memory engine: dictionaries, and an undo log for an abort.

There is a dictionary for each kind of key (its first byte, see the layout of the store).  A
kind is sorted only when it is scanned: a put is cheap, and a scan of the hints does not sort
the records.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from toystore.core.protocol.machine import Event
from toystore.core.storage.store import StoreSize


class _Kind:
    """The keys that share a first byte."""

    __slots__ = ("order", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.order: list[bytes] | None = None
        """The sorted keys; None after a key was added or deleted."""

    def set(self, key: bytes, value: bytes | None) -> bytes | None:
        """Put ``value``, or delete ``key`` if it is None; returns the value before."""
        before = self.values.get(key)
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        if (before is None) != (value is None):
            self.order = None
        return before


class MemoryEngine:
    """An `Engine` (see base.py) without a disk: its data ends with the process."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, _Kind] = {}
        self._undo: list[tuple[bytes, bytes | None]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None."""
        kind = self._kinds.get(key[:1])
        return None if kind is None else kind.values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        self._undo.append((key, self._set(key, value)))

    def delete(self, key: bytes) -> bool:
        """Delete ``key``; True if it existed."""
        before = self._set(key, None)
        self._undo.append((key, before))
        return before is not None

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys beginning with ``prefix``, in order, from ``prefix + start`` on."""
        for first in [prefix[:1]] if prefix else sorted(self._kinds):
            kind = self._kinds.get(first)
            if kind is None:
                continue
            order = kind.order = kind.order or sorted(kind.values)
            for at in range(bisect_left(order, prefix + start), len(order)):
                if not order[at].startswith(prefix):
                    break
                yield order[at], kind.values[order[at]]

    def size(self) -> StoreSize:
        """The number of keys; 0 bytes of disk."""
        return StoreSize(sum(len(kind.values) for kind in self._kinds.values()), 0)

    def begin(self) -> None:
        """Open a transaction."""
        self._undo.clear()

    def commit(self) -> None:
        """Store the batch."""
        self._undo.clear()

    def abort(self) -> None:
        """Undo the batch, the last change first."""
        for key, before in reversed(self._undo):
            self._set(key, before)
        self._undo.clear()

    def grow(self) -> int:
        """Not needed: memory has no map to grow."""
        return 0

    def sync(self) -> None:
        """Nothing to do."""

    def due_s(self) -> float | None:
        """Nothing is ever due."""
        return None

    def tend(self) -> list[Event]:
        """Nothing to do."""
        return []

    def close(self) -> None:
        """Discard all data."""
        self._undo.clear()
        self._kinds.clear()

    def _set(self, key: bytes, value: bytes | None) -> bytes | None:
        kind = self._kinds.get(key[:1])
        if kind is None:
            kind = self._kinds[key[:1]] = _Kind()
        return kind.set(key, value)
