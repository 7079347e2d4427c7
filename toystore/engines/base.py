"""What every engine offers: a `Store` with transactions around it, and what it raises.

One thread uses an engine at a time, one batch to a transaction:

    begin -> get, put, delete, scan -> commit

Whatever fails, ``abort`` undoes the batch and leaves the engine as it was before
``begin``; after that

    MapFullError     grow, and feed the same batch again
    StoreFullError   the disk has no room: refuse what writes, feed the rest again
    EngineError      nothing here can be trusted any more: close, and stop the node

each of which a put, a delete or the commit may raise.
"""

from __future__ import annotations

from typing import Protocol

from toystore.core.protocol.machine import Event
from toystore.core.storage.store import Store


class EngineError(Exception):
    """The engine cannot start, or not go on; the text names the folder and the cure."""


class MapFullError(Exception):
    """The engine must `Engine.grow` before it can take this batch."""


class Engine(Store, Protocol):
    """A `Store` with transactions; see the module's docstring for the errors."""

    def begin(self) -> None:
        """Open the transaction that every verb of the store works in."""

    def commit(self) -> None:
        """Keep the batch, as durably as the engine was opened for."""

    def abort(self) -> None:
        """Undo the batch; does nothing if there is none."""

    def grow(self) -> int:
        """Make room for more, between transactions; returns the new size in bytes.

        Raises `StoreFullError` if the disk has none.
        """

    def due_s(self) -> float | None:
        """The monotonic second at which `tend` is wanted; None if there is nothing to do."""

    def tend(self) -> list[Event]:
        """Between transactions, do what has come due: bring to the disk what was committed
        without waiting for it ("async"), clean up after others.  Returns what is to be logged.

        Raises `EngineError`: after a failed sync nothing can be trusted.
        """

    def close(self) -> None:
        """Abort, sync and let go of the folder; closing twice does no harm."""
