"""How much of calls about many keys is under way at once: as much as is answered promptly.

More would only stand in queues, ours or a node's, until it times out.  How much that is, is
found as TCP does (Jacobson, *Congestion Avoidance and Control*, 1988): begin with little, and
with each prompt answer let one more be under way; when answers become slow, halve it.  What
is known is the size of what is sent, and what was read last tells what reads will bring: so
bytes are bounded, too.
"""

from __future__ import annotations

IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024
"""What is under way, with the replies that are expected."""
_FIRST = 64
_LEAST = 8
_READ_BYTES_GUESS = 128 * 1024
"""How large a value is taken to be before any was read."""


class Window:
    """The bound for one client's calls about many keys."""

    def __init__(self, most: int) -> None:
        """``most``: requests, however promptly they are answered."""
        self._most = most
        self._size = min(_FIRST, most)
        self._halved_at = float("-inf")
        self._requests = 0
        self._bytes = 0
        self.read_bytes = float(_READ_BYTES_GUESS)
        """How large the next value that is read is taken to be."""

    def fits(self, size: int) -> bool:
        """Whether one more request of ``size`` bytes, with its reply, may be under way."""
        few = self._requests < self._size and self._bytes + size <= IN_FLIGHT_BYTES_MAX
        return few or not self._requests

    def enter(self, size: int) -> None:
        """One more is under way."""
        self._requests += 1
        self._bytes += size

    def leave(self, size: int) -> None:
        """It is no longer."""
        self._requests -= 1
        self._bytes -= size

    def learn(self, took_s: float, patience_s: float, now: float) -> None:
        """An answer took this long, or is still missing; at most ``patience_s`` are waited for."""
        if took_s <= patience_s / 4:
            self._size = min(self._size + 1, self._most)
        elif took_s > patience_s / 2 and now - self._halved_at > took_s:
            self._size = max(self._size // 2, _LEAST)
            self._halved_at = now

    def learn_size(self, size: int) -> None:
        """A value of this size was read."""
        self.read_bytes += (size - self.read_bytes) / 8
