"""Engines store the bytes of a node.  `open_engine` opens the engine for a durability.

sync     LMDB: data is on the disk before ``commit`` returns
async    LMDB: data is on the disk within ``sync_interval_s``, and survives kill -9
memory   data is lost when the process ends

`GroupCommit` feeds a storage machine in transactions of any engine.
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

    ``folder`` is created if it does not exist ("memory" does not use it),
    ``sync_interval_s`` is for "async", and ``map_bytes`` is the size of a new LMDB map.

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
