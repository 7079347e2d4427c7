"""Floors: times in microseconds since 1970, below which what is not stored of a range is dead."""

from __future__ import annotations


def latest_floor(wall_us: int, reap_after_s: float) -> int:
    """The latest floor that a node takes; a later one was made by a clock that is wrong.

    All that is written before a floor is dead.  One in the future would kill what is written until
    then.  No floor, 0, always fits.

    ``wall_us``: the time by the node's own clock.
    ``reap_after_s``: how old tombstones have to be, in seconds.
    """
    return max(0, wall_us - int(reap_after_s * 1_000_000 / 2))
