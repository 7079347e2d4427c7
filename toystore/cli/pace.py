"""How fast a figure grows, by what was noted of it in the last seconds."""

from __future__ import annotations

from collections import deque

PACE_S = 20.0
"""The time from which the pace is taken."""


class Pace:
    """The pace of one figure.  If it falls, it begins anew: it is of something else."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, figure: int, now_s: float) -> None:
        """It is this now."""
        seen = self._seen
        if seen and figure < seen[-1][1]:
            seen.clear()
        seen.append((now_s, figure))
        while seen[0][0] < now_s - PACE_S:
            seen.popleft()

    @property
    def per_s(self) -> float:
        """By how much it grows; 0 if that is not known."""
        (since_s, first), (now_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now_s - since_s) if now_s > since_s else 0.0
