"""How long requests took in the last minute: a median and a 99th percentile.

Each request is one count in a histogram.  There are eight buckets to each doubling of the
duration, so a figure is within 7% of the truth.  The minute is a row of ten-second slots; the
oldest slot is forgotten.

    0 1 2 ... 15 | 16-17 18-19 ... 30-31 | 32-35 36-39 ... 60-63 | 64-71 ...   microseconds
"""

from __future__ import annotations

from collections import deque
from typing import TypedDict

SLOT_S = 10.0
SLOTS = 6
_BUCKETS = 240  # The last bucket holds all durations above about an hour.


class Summary(TypedDict):
    """A status's figures of one kind of request; the times are None without requests."""

    count: int
    p50_ms: float | None
    p99_ms: float | None


class Latencies:
    """The durations of one kind of request."""

    __slots__ = ("_counts", "_ends", "_slots")

    def __init__(self) -> None:
        self._counts: list[int] = []
        """The slot that is being filled."""
        self._ends = float("-inf")
        self._slots: deque[tuple[float, list[int]]] = deque()
        """When a slot ended, or will end, and its counts; the current one is the last."""

    def note(self, took_s: float, now_s: float) -> None:
        """A request was answered at monotonic second ``now_s``, and took ``took_s`` seconds."""
        if now_s >= self._ends:
            self._begin_slot(now_s)
        self._counts[bucket_of(int(took_s * 1_000_000))] += 1

    def summary(self, now_s: float) -> Summary:
        """How many were answered in the last minute, and how long they took."""
        self._forget(now_s)
        totals = [
            sum(column) for column in zip(*(counts for _, counts in self._slots), strict=True)
        ]
        count = sum(totals)
        if count == 0:
            return {"count": 0, "p50_ms": None, "p99_ms": None}
        p50_ms, p99_ms = (_percentile_ms(totals, count, part) for part in (0.50, 0.99))
        return {"count": count, "p50_ms": p50_ms, "p99_ms": p99_ms}

    def _begin_slot(self, now_s: float) -> None:
        self._forget(now_s)
        self._ends = now_s + SLOT_S
        self._counts = [0] * _BUCKETS
        self._slots.append((self._ends, self._counts))

    def _forget(self, now_s: float) -> None:
        while self._slots and self._slots[0][0] <= now_s - SLOTS * SLOT_S:
            self._slots.popleft()


def bucket_of(took_us: int) -> int:
    """The bucket of a duration: its four leading bits, and how many follow them."""
    if took_us < 16:
        return max(0, took_us)
    follow = took_us.bit_length() - 4
    return min((follow << 3) + (took_us >> follow), _BUCKETS - 1)


def middle_us(bucket: int) -> float:
    """The middle of a bucket, in microseconds."""
    if bucket < 16:
        return bucket
    follow = (bucket >> 3) - 1
    return (8 + (bucket & 7) + 0.5) * (1 << follow)


def _percentile_ms(totals: list[int], count: int, part: float) -> float:
    """The duration that ``part`` of the requests did not exceed."""
    left = part * count
    for bucket, counted in enumerate(totals):
        left -= counted
        if left <= 0:
            return round(middle_us(bucket) / 1000, 3)
    raise AssertionError("the buckets hold fewer than were counted")
