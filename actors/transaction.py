"""A transaction before the actors start.  While they run, storage has its own (group_commit.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from actors import log
from toystore.engines import Engine, MapFullError

Result = TypeVar("Result")


def transaction(engine: Engine, change: Callable[[], Result]) -> Result:
    """Make a change and commit it; if the map is full, again in a larger one.

    Any other error undoes the change, and is raised.
    """
    while True:
        engine.begin()
        try:
            result = change()
            engine.commit()
        except MapFullError:
            engine.abort()
            log.event("node", "disk.grown", bytes=engine.grow())
        except BaseException:
            engine.abort()
            raise
        else:
            return result
