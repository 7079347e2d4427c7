"""A check of the sums that storage keeps in memory: they are those of the records on its disk.

A leaf whose sum is known, and to which nothing was written since it was summed, is summed again
from the disk.  A corrupt record is in the sum until storage finds it, and not after that.
"""

from __future__ import annotations

import functools

from toystore.check.promises import Violation
from toystore.core.data.record import CorruptRecordError, check_record, is_tombstone
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.tree import hash_of
from toystore.core.storage.layout import RECORD
from toystore.core.storage.sums import LeafSum, Sums
from toystore.sim.disk import SimDisk


def trees_are_true(name: str, sums: Sums, disk: SimDisk, ranges: Ranges) -> list[Violation]:
    """The sums of node ``name`` are true; `Violation` otherwise."""
    given, rotten = sums.known(), set(sums.rotten_digests())
    true = dict.fromkeys(given, LeafSum(0, 0, 0))
    for key, record in disk.scan(RECORD):
        digest = key[len(RECORD) :]
        leaf = ranges.index_of(digest)
        if leaf not in true:
            continue
        hashed = _hash_of(digest, record)
        if hashed is not None:
            xor, records, tombstones = true[leaf]
            dead = is_tombstone(record)
            true[leaf] = LeafSum(xor ^ hashed, records + 1, tombstones + dead)
        elif digest not in rotten:
            del true[leaf], given[leaf]
    if given == true:
        return []
    wrong = [
        f"leaf {leaf} is {given[leaf]}, and not {true[leaf]}"
        for leaf in given
        if given[leaf] != true[leaf]
    ]
    return [Violation("trees_are_true", f"{name}: {'; '.join(wrong)}")]


@functools.lru_cache(maxsize=10_000)
def _hash_of(digest: bytes, record: bytes) -> int | None:
    """The hash of a record; None if it is corrupt.  Most records are the same at the next check."""
    try:
        check_record(record)
    except CorruptRecordError:
        return None
    return hash_of(digest, record)
