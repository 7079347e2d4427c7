"""About how much a range has: what members have stored, over the ranges that they own.

The records of a member are assumed to be spread evenly over its ranges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from toystore.core.reconfiguration.known import Totals
from toystore.core.ring.record import RingRecord
from toystore.core.ring.ring import Ring
from toystore.core.ring.view import ring_view


def owned_ranges(ring: Ring, copies: Iterable[int]) -> Counter[str]:
    """How many ranges each member owns; ``copies``: every N that a bucket has."""
    return Counter(
        owner
        for n in copies
        for partition in range(ring.partitions)
        for owner in ring.order(partition)[:n]
    )


def mean_range(owned: Mapping[str, int], totals: Mapping[str, Totals]) -> Totals:
    """The mean of the ranges of those members whose totals are known; 0 without any."""
    seen = [name for name in totals if owned.get(name)]
    ranges = sum(owned[name] for name in seen) or 1
    return Totals(*(sum(totals[name][at] for name in seen) / ranges for at in (0, 1)))


def planned_load(record: RingRecord, n: int) -> dict[str, int]:
    """How many partitions each member owns, of the default bucket's N, once nothing moves.

    A member that is lost owns none: the others divide its partitions.
    """
    left = tuple(one for one in record.members if one.name not in record.lost)
    ring = ring_view(replace(record, members=left, old=(), lost=()), n).ring
    return {name: owned for name, (owned, _) in ring.shares().items()}
