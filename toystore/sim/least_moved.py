"""A check of how much a change of the ring moves, in a run that nothing else disturbs.

`least_moved`  anti-entropy moves at most a tenth more than the records that new owners lacked

The least is what a new owner of a range has in the end, at the size at which each record came.  A
few records more are allowed: some are written while their range moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from toystore.check.promises import Violation
from toystore.core.data.record import digest_of, unpack_record
from toystore.core.protocol.messages.antientropy import StoreRecords
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.record import RingRecord
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import RECORD
from toystore.core.storage.store import Store

MOST = 1.1
"""How many times the least may move."""
FEW_RECORDS = 3
"""So many large records more may move."""

_Place = tuple[str, bytes]
"""A node and a digest."""


class LeastMoved:
    """What anti-entropy has moved in each epoch."""

    def __init__(self, disks: Callable[[], Mapping[str, Store]], copies: Iterable[int]) -> None:
        """``disks``: of all nodes, by name.  ``copies``: the N of all buckets."""
        self._disks = disks
        self._copies = frozenset(copies)
        self._moved: Counter[int] = Counter()
        self._first: dict[int, dict[_Place, int]] = {}
        """The size at which each record came first, by epoch."""
        self._largest = 0

    def stored(self, ranges: Ranges, message: StoreRecords) -> None:
        """Anti-entropy has brought records to the node of ``ranges``, by its own ring record."""
        node, epoch = ranges.node, ranges.ring.epoch
        if not ranges.ring.record.moving:
            return
        first = self._first.setdefault(epoch, {})
        for packed in message.records:
            record, size = unpack_record(packed), len(packed)
            digest = digest_of(record.bucket, record.key, message.n)
            self._moved[epoch] += size
            self._largest = max(self._largest, size)
            first.setdefault((node, digest), size)

    def ended(self, record: RingRecord, ring: RingView) -> list[Violation]:
        """The ring is stable after ``record``, by which ranges have moved; ``ring``: any view."""
        moved, first = self._moved[record.epoch], self._first.get(record.epoch, {})
        disks, least = self._disks(), 0
        for name, of in _gained(ring.follow(record), self._copies):
            for key, stored in disks[name].scan(RECORD):
                digest = key[len(RECORD) :]
                if Range(digest[0], ring.partition_of(digest)) == of:
                    least += max(len(stored), first.get((name, digest), 0))
        if moved <= MOST * least + FEW_RECORDS * self._largest:
            return []
        text = f"{moved} bytes have moved in epoch {record.epoch} ({record.why}), not {least}"
        return [Violation("least_moved", text)]


def _gained(ring: RingView, copies: Iterable[int]) -> list[tuple[str, Range]]:
    """The ranges that get another owner, each with this one."""
    return [
        (slot.new, Range(n, partition))
        for n in sorted(copies)
        for partition in range(ring.partitions)
        for slot in ring.slots(partition, n)
        if slot.moves and slot.new is not None
    ]
