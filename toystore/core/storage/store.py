"""What the storage machine needs of a disk: four operations on one ordered key space, and its size.

The machine does not begin or commit transactions.  Its shell runs

    begin -> receive* -> commit -> flush

So a whole batch is one transaction, and the machine's outbox is sent only after the commit.
If the commit fails, the outbox is cleared.
All durable data is in this one key space; `layout.py` lists the kinds of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class StoreFullError(Exception):
    """The disk has no room for this batch: reads still work, writes are refused."""


class StoreSize(NamedTuple):
    """The size of a store."""

    keys: int
    """Keys of every kind."""
    disk_bytes: int
    """Its size on the disk; 0 if it is in memory."""


class Store(Protocol):
    """An ordered map of bytes, used inside a transaction."""

    def get(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``.  Raises `StoreFullError` if there is no room."""

    def delete(self, key: bytes) -> bool:
        """Delete ``key``; True if it existed."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys beginning with ``prefix``, in order, from ``prefix + start`` on.

        A put or a delete ends its validity: collect the keys first, then change them.
        """

    def size(self) -> StoreSize:
        """The size of the whole store.  It costs no scan."""
