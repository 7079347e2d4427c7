"""The interface of every engine: a `Store` with transactions, and its errors.

One thread at a time uses an engine, with one batch in each transaction:

    begin -> get, put, delete, scan -> commit

A put, a delete or the commit may raise one of these errors.  Then ``abort`` undoes the
batch and restores the state before ``begin``; after that:

    MapFullError     grow, and feed the same batch again
    StoreFullError   the disk has no room: refuse the writes, feed the rest again
    EngineError      the engine cannot be trusted any more: close it, and stop the node
"""

from __future__ import annotations

from typing import Protocol

from toystore.core.protocol.machine import Event
from toystore.core.storage.store import Store


class EngineError(Exception):
    """The engine cannot start or cannot continue; the text names the folder and what to do."""


class MapFullError(Exception):
    """The engine must `Engine.grow` before it can take this batch."""


class Engine(Store, Protocol):
    """A `Store` with transactions; see the module's docstring for the errors."""

    def begin(self) -> None:
        """Open the transaction in which every operation of the store runs."""

    def commit(self) -> None:
        """Store the batch, with the durability that the engine was opened with."""

    def abort(self) -> None:
        """Undo the batch; does nothing if there is none."""

    def grow(self) -> int:
        """Enlarge the store, between transactions; returns the new size in bytes.

        Raises `StoreFullError` if the disk has none.
        """

    def sync(self) -> None:
        """Make sure that earlier commits are on the disk, between transactions.

        Raises `EngineError`: after a failed sync the engine cannot be trusted.
        """

    def due_s(self) -> float | None:
        """The monotonic second at which `tend` is due; None if there is nothing to do."""

    def tend(self) -> list[Event]:
        """Do the work that is due, between transactions.  Returns events to be logged.

        The work is to sync earlier commits ("async"), and to free what dead readers used.
        Raises `EngineError`: after a failed sync the engine cannot be trusted.
        """

    def close(self) -> None:
        """Abort, sync and release the folder.  It may be called twice."""
