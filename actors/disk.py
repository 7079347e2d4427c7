"""The disk of a node before its actors start: it is opened, and found to be this node's.

convert    data of toystore 0.1.0 (converting.py)
identify   whose data they are: another node's or cluster's are refused
record     the ring record with which the node starts (core/storage/ring_at_start.py)
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from actors import log
from actors.converting import Converting
from actors.transaction import transaction
from toystore.config import ClusterConfig
from toystore.core.ring.history import NO_HISTORY, History
from toystore.core.ring.record import RingRecord
from toystore.core.storage.bucket_facts import compare_buckets
from toystore.core.storage.disk_identity import ForeignDataError, identify_disk
from toystore.core.storage.ring_at_start import differences, history_on_disk, record_at_start
from toystore.engines import Engine, EngineError, StoreFullError, open_engine

WHAT_NOW = (
    "its data are never taken back: stop what starts this process; an empty folder may join again "
    "by `toystore node --join`"
)
STDOUT = 1


class StartupError(Exception):
    """The node cannot start; the text says why and what to do."""


class NodeFailedError(Exception):
    """An actor ended with an error: the node cannot run on."""


class RemovedError(Exception):
    """The node is no longer a member of its cluster, or cannot be one; the text says what to do."""


class OwnDisk(NamedTuple):
    """What the disk of a node says of the node and its cluster."""

    id: str
    """32 hex digits."""
    lineage: bytes
    record: RingRecord
    """The ring record with which the node starts."""
    history: History = NO_HISTORY
    """The digests of the records that it keeps."""


@contextlib.contextmanager
def disk_of(
    config: ClusterConfig, name: str, folder: Path, claim: Callable[[], None], new_id: str = ""
) -> Iterator[tuple[Engine, OwnDisk]]:
    """The engine of a data folder that is this node's, and what it says of the node.

    An empty folder is initialised as this node's.  Data of toystore 0.1.0 are converted.
    ``claim`` is called once it is known that the data are this node's: it opens the log.
    ``new_id``: the id of a disk that is new, or "" for any.

    Raises:
        StartupError: the folder is another node's, or cannot be used.
        NodeFailedError: the engine could not be closed.
    """
    try:
        engine = open_engine(
            config.durability, folder, sync_interval_s=config.sync_interval_ms / 1000
        )
    except EngineError as error:
        raise StartupError(str(error)) from None
    try:
        try:
            converting = Converting(config, name, engine, say)
            is_old = converting.is_needed()
            if is_old:
                claim()
                converting.run()
            disk = _identify(config, name, engine, new_id)
            if not is_old:
                claim()
        except (ForeignDataError, EngineError, StoreFullError) as error:
            raise StartupError(str(error)) from None
        yield engine, disk
    finally:
        try:
            engine.close()
        except EngineError as error:
            raise NodeFailedError(str(error)) from None


def _identify(config: ClusterConfig, name: str, engine: Engine, new_id: str) -> OwnDisk:
    """What is on a disk that is this node's, in a transaction of its own."""

    def identify() -> OwnDisk:
        disk, lineage = identify_disk(
            engine,
            cluster=config.cluster,
            node=name,
            members_digest=config.members_digest(),
            digest=config.digest(),
            chance=random.SystemRandom(),
            disk=new_id,
        )
        record = record_at_start(engine, config.founding())
        compare_buckets(engine, config.copies())
        return OwnDisk(disk, lineage, record, history_on_disk(engine))

    return transaction(engine, identify)


def by_record(config: ClusterConfig, record: RingRecord) -> ClusterConfig:
    """The configuration with the members of the record; that they differ is logged."""
    configured = config.founding()
    if configured == record:
        return config
    if differ := differences(configured, record):
        log.event("node", "ring.file_differs", epoch=record.epoch, differences=differ)
    return config.listing(record)


def say(line: str) -> None:
    """Write a line to standard output, unless it is closed."""
    with contextlib.suppress(OSError):
        os.write(STDOUT, f"{line}\n".encode())
