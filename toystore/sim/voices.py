"""A check of the states of ranges while they move: in each slot one node is WHOLE, by its own disk.

It is true as long as no disk was lost: then no acknowledged write of a slot is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from toystore.check.promises import Violation
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import state_key
from toystore.core.storage.ring_at_start import newest_on_disk
from toystore.core.storage.store import Store

WHOLE = (None, bytes([RangeState.WHOLE]))


def one_voice_a_slot(
    ring: RingView, disks: Mapping[str, Store], copies: Iterable[int]
) -> list[Violation]:
    """In each slot of ``ring``, the newest, a node is WHOLE; ``copies``: the N of all buckets."""
    records = {name: newest_on_disk(disk) for name, disk in disks.items()}
    known = {name: ring.follow(record) for name, record in records.items() if record is not None}

    def is_whole(name: str, of: Range) -> bool:
        owns = name in known and name in known[name].nodes(of.partition, of.n)
        return owns and disks[name].get(state_key(of)) in WHOLE

    ranges = [Range(n, at) for n in sorted(set(copies)) for at in range(ring.partitions)]
    return [
        Violation("one_voice_a_slot", f"no node of {slot.nodes} is WHOLE in {of}, {ring.epoch}")
        for of in ranges
        for slot in ring.slots(of.partition, of.n)
        if not any(is_whole(name, of) for name in slot.nodes)
    ]
