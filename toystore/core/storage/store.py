"""What the storage machine asks of a disk: four verbs over one ordered key space, and its size.

The machine never begins and never commits.  Its shell runs

    begin -> receive* -> commit -> flush

so that a whole drained batch is one transaction, and what the machine wrote to its
outbox leaves only after the commit.  If the commit fails the outbox is dropped.
Everything durable lives in this one key space, told apart by the first byte:

    b"r" + digest(16)                                  a record
    b"h" + owner + NUL + digest(16)                    a hint, kept for owner
    b"q" + owner + NUL + stored_at_us(8) + digest(16)  the hints of an owner, oldest first
    b"t" + owner                                       how many hints, and how many bytes
    b"m" + name                                        facts about this disk

No engine takes a key of more than 511 bytes, so `fits_a_key` says which names it has room
for; those of members, as the configuration has them, are far shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

NAME_BYTES_MAX = 255


def fits_a_key(name: str) -> bool:
    """Whether a key has room for ``name``, and it can be told there from what follows it."""
    return 0 < len(name.encode()) <= NAME_BYTES_MAX and "\0" not in name


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
