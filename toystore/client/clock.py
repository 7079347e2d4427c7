"""The clock that stamps this process's writes.

Every put carries a stamp minted here, the same on each retry (docs/ARCHITECTURE.md), and
whatever stamp or context arrives is merged, so that a write follows in the order of all
writes what its process has seen.  All clients of a process share one clock, and so agree
on the order of their writes.  A forked child goes on above its parent's last stamp, as a
minter of its own.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Protocol

from toystore.core.stamp import HybridLogicalClock


class Clock(Protocol):
    """What a client asks of a clock; for one that lies, see the tests."""

    def mint(self) -> bytes:
        """A stamp above all that were minted or merged."""

    def merge(self, stamp: bytes) -> None:
        """Never again mint at or below ``stamp``."""


class ProcessClock:
    """A hybrid logical clock on this machine's wall clock, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock = HybridLogicalClock.drawn(random.SystemRandom())

    def mint(self) -> bytes:
        """A stamp above all that were minted or merged."""
        with self._lock:
            return self._clock.mint(time.time_ns() // 1000)

    def merge(self, stamp: bytes) -> None:
        """Never again mint at or below ``stamp``."""
        with self._lock:
            self._clock.merge(stamp)

    def redraw(self) -> None:
        """Become another minter, above all that was minted; the old lock may be held."""
        seen = self._clock.mint(0)
        self._lock = threading.Lock()
        self._clock = HybridLogicalClock.drawn(random.SystemRandom())
        self._clock.merge(seen)


process_clock = ProcessClock()
"""The clock of every client that is not given another."""

os.register_at_fork(after_in_child=process_clock.redraw)
