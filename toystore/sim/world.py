"""Virtual time and chance: what makes a run repeatable.

All future actions are in one queue, ordered by their time; actions of the same time are ordered
by when they were queued.  Time jumps from one action to the next.  Every random choice is drawn
from a named stream: if a fault is removed from a scenario, the delays of the network stay as
they were where possible.

All relevant steps are written to a trace, which has a digest: two runs of one scenario have
the same digest, in any process.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from heapq import heappop, heappush

BEGIN_S = 1000.0
"""The time at which a world begins."""
DIGEST_BYTES = 16

Tell = Callable[[str], None]
"""Receives the lines of a trace."""


class World:
    """A clock, a queue of future actions, and chance."""

    def __init__(self, seed: int, tell: Tell | None = None) -> None:
        """``tell``: called with each line of the trace, unless it is None."""
        self.now = BEGIN_S
        self._seed = seed
        self._tell = tell
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._queued = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def chance(self, name: str) -> random.Random:
        """A separate random stream."""
        return random.Random(f"{self._seed}/{name}")

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Queue an action for a time, or for now if that is past."""
        self._queued += 1
        heappush(self._queue, (max(when_s, self.now), self._queued, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Queue an action for ``delay_s`` from now."""
        self.at(self.now + delay_s, action)

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until ``condition`` is true or the limit is reached; whether it is true."""
        end = self.now + limit_s
        while not condition():
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return condition()
            self.now, _, action = heappop(self._queue)
            action()
        return True

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, seconds)

    # --- the trace ----------------------------------------------------------------------

    def note(self, who: str, what: str, data: bytes = b"") -> None:
        """Add a line to the trace; ``data`` is part of the digest, but not of the line."""
        self._digest.update(f"{self.now!r} {who} {what} ".encode())
        self._digest.update(data)
        if self._tell is not None:
            self._tell(f"{self.now - BEGIN_S:10.6f}  {who:<16} {what}")

    def digest(self) -> str:
        """The digest of the trace so far, as hex."""
        return self._digest.hexdigest()
