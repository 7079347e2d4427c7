"""How fast records move: anti-entropy leaves most of a node to the requests of clients.

After each batch there is a pause.  It lasts as long as the batch may have taken at the limit of
bytes a second, and at least some times as long as the batch has taken (five times, if nothing else
is set): so storage is asked for a sixth of the time at most, and less while it is busy with
requests.  While the node's coordinator refuses requests, only a tenth of the limit is left.
"""

from __future__ import annotations

SLOW_S = 2.0
"""For how long the limit is lower after the coordinator has refused requests."""
SLOW_SHARE = 0.1
"""How much of the limit is left then."""


class Pace:
    """The pauses between batches."""

    __slots__ = ("_bytes_per_s", "_pause_factor", "_slow_until", "ready_at")

    def __init__(self, bytes_per_s: int, pause_factor: float) -> None:
        """
        ``bytes_per_s``: received and sent together; 0: there are no pauses.
        ``pause_factor``: how long a pause is at least, in times of what the batch has taken.
        """
        self._bytes_per_s = bytes_per_s
        self._pause_factor = pause_factor
        self._slow_until = 0.0
        self.ready_at = 0.0
        """The monotonic second at which the next batch may begin."""

    def slow_down(self, now_s: float) -> None:
        """The node refuses requests of clients: leave it nine tenths of the limit for some time."""
        self._slow_until = now_s + SLOW_S

    def spend(self, size: int, took_s: float, now_s: float) -> None:
        """A batch of ``size`` bytes has moved, and has taken ``took_s``."""
        if self._bytes_per_s:
            share = SLOW_SHARE if now_s < self._slow_until else 1.0
            pause_s = max(size / (share * self._bytes_per_s), self._pause_factor * took_s)
            self.ready_at = max(self.ready_at, now_s) + pause_s
