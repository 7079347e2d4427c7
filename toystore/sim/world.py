"""Virtual time and chance: what makes a run repeatable.

Everything that will happen stands in one queue, ordered by its time and, at one time, by
when it was put there.  Time jumps from one entry to the next.  Whatever is left to chance
is drawn from streams that are named: a fault that is taken out of a scenario leaves the
delays of the network as they were, as far as it can.

All that matters is noted in a trace, of which a digest is kept: two runs of one scenario
have the same digest, in any process.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from heapq import heappop, heappush

BEGIN_S = 1000.0
"""When a world begins."""
DIGEST_BYTES = 16

Tell = Callable[[str], None]
"""Where the lines of a trace go."""


class World:
    """A clock, a queue of what will happen, and chance."""

    def __init__(self, seed: int, tell: Tell | None = None) -> None:
        """``tell``: what to do with every line of the trace, if anything."""
        self.now = BEGIN_S
        self._seed = seed
        self._tell = tell
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._queued = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def chance(self, name: str) -> random.Random:
        """A stream of chance of its own."""
        return random.Random(f"{self._seed}/{name}")

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Have something happen at a time, or now if that is past."""
        self._queued += 1
        heappush(self._queue, (max(when_s, self.now), self._queued, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have something happen in a while."""
        self.at(self.now + delay_s, action)

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until ``condition`` holds or the limit is reached; whether it holds."""
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
        """Add to the trace; ``data`` counts for the digest, but is not told."""
        self._digest.update(f"{self.now!r} {who} {what} ".encode())
        self._digest.update(data)
        if self._tell is not None:
            self._tell(f"{self.now - BEGIN_S:10.6f}  {who:<16} {what}")

    def digest(self) -> str:
        """Of all that was noted so far, as hex."""
        return self._digest.hexdigest()
