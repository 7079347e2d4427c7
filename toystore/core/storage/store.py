"""What the storage machine asks of a disk: four verbs over one ordered key space, and its size.

The machine never begins and never commits.  Its shell runs

    begin -> receive* -> commit -> flush

so that a whole drained batch is one transaction, and what the machine wrote to its
outbox leaves only after the commit.  If the commit fails the outbox is dropped.
Everything durable lives in this one key space; `layout.py` lists the kinds of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class StoreFullError(Exception):
    """The disk has no room for this batch; reads go on, writes are refused."""


class StoreSize(NamedTuple):
    """How much a store holds."""

    keys: int
    """Keys of every kind."""
    disk_bytes: int
    """What it takes up on the disk; 0 if it lives in memory."""


class Store(Protocol):
    """An ordered map of bytes, seen inside one transaction."""

    def get(self, key: bytes) -> bytes | None:
        """The value under ``key``, or None."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``.  Raises `StoreFullError` if there is no room."""

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; True if it was there."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys beginning with ``prefix``, in order, from ``prefix + start`` on.

        Not to be continued across a put or a delete: collect first, then change.
        """

    def size(self) -> StoreSize:
        """How much there is, in all; costs no scan."""
