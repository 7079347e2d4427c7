"""The disks of nodes, as LMDB files: what each replica holds, and records that are made corrupt.

They are read beside a running node.  They are only changed while it does not run.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lmdb

from toystore.config import ClusterConfig
from toystore.core.data.record import CorruptRecordError, check_record
from toystore.core.ring.record import RingRecord, unpack_ring
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import RECORD, RING_RECORD

Records = dict[bytes, bytes]
"""Records by their digests."""


def records_of(folder: Path, digests: Iterable[bytes] | None = None) -> Records:
    """The records in the folder of a node: all, or those of ``digests``."""
    with _opened(folder, readonly=True) as data, data.begin() as transaction:
        if digests is not None:
            found = ((digest, transaction.get(RECORD + digest)) for digest in digests)
            return {digest: record for digest, record in found if record is not None}
        records: Records = {}
        cursor = transaction.cursor()
        if cursor.set_range(RECORD):
            for key, record in cursor:
                if not key.startswith(RECORD):
                    break
                records[key[len(RECORD) :]] = record
        return records


def bytes_of(records: Records) -> int:
    """The size of records, without what LMDB adds."""
    return sum(map(len, records.values()))


def corrupt(folder: Path, count: int, chance: random.Random) -> list[bytes]:
    """Change a byte in each of some records of a node that does not run; returns their digests."""
    records = records_of(folder)
    digests = chance.sample(sorted(records), count)
    with _opened(folder, readonly=False) as data, data.begin(write=True) as transaction:
        for digest in digests:
            record = bytearray(records[digest])
            record[chance.randrange(len(record))] ^= chance.randrange(1, 256)
            transaction.put(RECORD + digest, bytes(record))
    return digests


def is_sound(record: bytes) -> bool:
    """Whether a record is as it was written."""
    try:
        check_record(record)
    except CorruptRecordError:
        return False
    return True


def newest_ring(config: ClusterConfig, folders: Iterable[Path]) -> RingView:
    """The ring by the newest record on the disks of some nodes; that of the file without one."""
    records = [config.founding(), *(one for folder in folders for one in ring_records_of(folder))]
    newest = max(records, key=lambda record: record.epoch)
    return RingView(newest, config.buckets["default"].n)


def ring_records_of(folder: Path) -> list[RingRecord]:
    """The ring records in the folder of a node."""
    with _opened(folder, readonly=True) as data, data.begin() as transaction:
        cursor = transaction.cursor()
        found = cursor.set_range(RING_RECORD)
        rows = itertools.takewhile(lambda row: row[0].startswith(RING_RECORD), cursor)
        return [unpack_ring(packed) for _, packed in rows] if found else []


def unequal(ring: RingView, held: dict[str, Records]) -> list[bytes]:
    """The digests of the records that not every owner holds, with the same bytes.

    ``held``: the records of each node.
    """
    digests = set().union(*held.values())
    return [digest for digest in digests if not _is_equal(digest, ring, held)]


def strays(ring: RingView, held: dict[str, Records]) -> list[tuple[str, bytes]]:
    """The records that a node holds and does not own: (node, digest) each."""
    return [
        (node, digest)
        for node, records in held.items()
        for digest in records
        if node not in ring.owners(ring.partition_of(digest), digest[0])
    ]


def _is_equal(digest: bytes, ring: RingView, held: dict[str, Records]) -> bool:
    owners = ring.owners(ring.partition_of(digest), digest[0])
    copies = {held.get(owner, {}).get(digest) for owner in owners}
    return len(copies) == 1 and None not in copies


@contextlib.contextmanager
def _opened(folder: Path, *, readonly: bool) -> Iterator[Any]:
    size = (folder / "data" / "data.mdb").stat().st_size
    data = lmdb.open(str(folder / "data"), readonly=readonly, map_size=size)
    try:
        yield data
    finally:
        data.close()
