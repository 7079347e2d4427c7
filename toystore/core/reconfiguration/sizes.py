"""About how much a range has: what members have stored, over the ranges that they own.

The records of a member are assumed to be spread evenly over its ranges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from toystore.core.reconfiguration.known import Totals
from toystore.core.ring.ring import Ring


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
