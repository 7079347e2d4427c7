"""Limits how many requests of calls about many keys are open at once.

More requests than the nodes answer promptly would only wait in queues, until they time out.
The limit is found as in TCP (Jacobson, *Congestion Avoidance and Control*, 1988): it starts
low, grows by one with each prompt answer, and is halved when answers become slow, or when a node
has no room for a request, which is then sent again after a pause.  Bytes are limited too: the sizes
of requests are known, those of replies are estimated from past reads.
"""

from __future__ import annotations

IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024
"""The most bytes of open requests and their expected replies."""
_FIRST = 64
_LEAST = 8
_REFUSED_S = 0.1
_READ_BYTES_GUESS = 128 * 1024
"""The assumed size of a value before the first read."""


class Window:
    """The limit for one client's calls about many keys."""

    def __init__(self, most: int) -> None:
        """``most``: the highest limit, in requests."""
        self._most = most
        self._size = min(_FIRST, most)
        self._halved_at = float("-inf")
        self._requests = 0
        self._bytes = 0
        self.read_bytes = float(_READ_BYTES_GUESS)
        """The estimated size of the next value that is read."""

    def fits(self, size: int) -> bool:
        """Whether one more request of ``size`` bytes, with its reply, may be opened."""
        few = self._requests < self._size and self._bytes + size <= IN_FLIGHT_BYTES_MAX
        return few or not self._requests

    def enter(self, size: int) -> None:
        """A request was opened."""
        self._requests += 1
        self._bytes += size

    def leave(self, size: int) -> None:
        """A request has ended."""
        self._requests -= 1
        self._bytes -= size

    def learn(self, took_s: float, attempt_s: float, now: float) -> None:
        """An answer took ``took_s``, or is still awaited after that; the limit is ``attempt_s``."""
        if took_s <= attempt_s / 4:
            self._size = min(self._size + 1, self._most)
        elif took_s > attempt_s / 2 and now - self._halved_at > took_s:
            self._size = max(self._size // 2, _LEAST)
            self._halved_at = now

    def refused(self, now: float) -> None:
        """A node has no room: halve the limit, once for all that it refuses at once."""
        if now - self._halved_at > _REFUSED_S:
            self._size = max(self._size // 2, _LEAST)
            self._halved_at = now

    def learn_size(self, size: int) -> None:
        """A value of this size was read."""
        self.read_bytes += (size - self.read_bytes) / 8
