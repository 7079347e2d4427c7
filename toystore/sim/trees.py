"""A check of the sums that storage keeps in memory: they are those of the records on its disk.

A leaf whose sum is known, and to which nothing was written since it was summed, is summed again
from the disk.  A corrupt record is in the sum until storage finds it, and not after that.
"""

from __future__ import annotations

from toystore.check.promises import Violation
from toystore.core.data.record import CorruptRecordError, check_record, is_tombstone
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.tree import hash_of
from toystore.core.storage.layout import RECORD
from toystore.core.storage.sums import LeafSum, Sums
from toystore.sim.disk import SimDisk


def trees_are_true(name: str, sums: Sums, disk: SimDisk, ranges: Ranges) -> list[Violation]:
    """The sums of node ``name`` are true; `Violation` otherwise."""
    rotten, known = set(sums.rotten_digests()), sums.known()
    xor: dict[int, int] = {}
    count: dict[int, int] = {}
    tombstones: dict[int, int] = {}
    doubtful: set[int] = set()
    for key, record in disk.scan(RECORD):
        digest = key[len(RECORD) :]
        leaf = ranges.index_of(digest)
        if _is_sound(record):
            xor[leaf] = xor.get(leaf, 0) ^ hash_of(digest, record)
            count[leaf] = count.get(leaf, 0) + 1
            tombstones[leaf] = tombstones.get(leaf, 0) + is_tombstone(record)
        elif digest not in rotten:
            doubtful.add(leaf)
    true = {
        leaf: LeafSum(*(counted.get(leaf, 0) for counted in (xor, count, tombstones)))
        for leaf in known
    }
    wrong = [
        f"leaf {leaf} is {given}, and not {true[leaf]}"
        for leaf, given in known.items()
        if leaf not in doubtful and given != true[leaf]
    ]
    return [Violation("trees_are_true", f"{name}: {'; '.join(wrong)}")] if wrong else []


def _is_sound(record: bytes) -> bool:
    try:
        check_record(record)
    except CorruptRecordError:
        return False
    return True
