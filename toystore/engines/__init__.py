"""Engines: where bytes rest.  `open_engine` opens the one that a durability asks for.

sync     LMDB, on the disk before ``commit`` returns
async    LMDB, on the disk within ``sync_interval_s``: survives kill -9
memory   nothing outlives the process

`GroupCommit` feeds a storage machine in the transactions of any of them.
"""

from __future__ import annotations

from pathlib import Path

from toystore.core.storage.store import StoreFullError
from toystore.engines.base import Engine, EngineError, MapFullError
from toystore.engines.folder import NO_ROOM
from toystore.engines.group_commit import GroupCommit
from toystore.engines.lmdb_engine import LmdbEngine
from toystore.engines.memory import MemoryEngine

__all__ = [
    "NO_ROOM",
    "Engine",
    "EngineError",
    "GroupCommit",
    "MapFullError",
    "StoreFullError",
    "open_engine",
]

MAP_BYTES = 64 * 1024 * 1024


def open_engine(
    durability: str, folder: Path, *, sync_interval_s: float = 0.1, map_bytes: int = MAP_BYTES
) -> Engine:
    """The engine for ``durability``: "sync", "async" or "memory".

    ``folder`` is made if it is not there ("memory" leaves it alone), ``sync_interval_s``
    is for "async", and ``map_bytes`` is how large a fresh LMDB map is.

    Raises:
        EngineError: the folder is in use, corrupt, foreign or not writable.
        ValueError: there is no such durability.
    """
    match durability:
        case "sync":
            return LmdbEngine(folder, sync_interval_s=None, map_bytes=map_bytes)
        case "async":
            return LmdbEngine(folder, sync_interval_s=sync_interval_s, map_bytes=map_bytes)
        case "memory":
            return MemoryEngine()
        case _:
            raise ValueError(f"durability {durability!r}; it is sync, async or memory")
