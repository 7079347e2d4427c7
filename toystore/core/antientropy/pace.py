"""How fast records move: anti-entropy leaves most of a node to the requests of clients.

After each batch there is a pause.  It lasts as long as the batch may have taken at the limit of
bytes a second, and at least as long as the batch has taken: so storage is asked for half of
the time at most, and less while it is busy with requests.
"""

from __future__ import annotations


class Pace:
    """The pauses between batches."""

    __slots__ = ("_bytes_per_s", "ready_at")

    def __init__(self, bytes_per_s: int) -> None:
        """``bytes_per_s``: received and sent together; 0: there are no pauses."""
        self._bytes_per_s = bytes_per_s
        self.ready_at = 0.0
        """The monotonic second at which the next batch may begin."""

    def spend(self, size: int, took_s: float, now_s: float) -> None:
        """A batch of ``size`` bytes has moved, and has taken ``took_s``."""
        if self._bytes_per_s:
            pause_s = max(size / self._bytes_per_s, took_s)
            self.ready_at = max(self.ready_at, now_s) + pause_s
