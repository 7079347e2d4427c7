"""The clock that stamps this process's writes.

Every write gets its stamp here, and keeps it on each retry (docs/ARCHITECTURE.md).  The clock
merges every stamp and context that the process receives, so a write comes after all that its
process has seen.  All clients of a process share one clock, and so agree on the order of
their writes.  A forked child continues above its parent's last stamp, with its own minter.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Protocol

from toystore.client.errors import ToystoreError
from toystore.core.data.stamp import HybridLogicalClock, unpack_stamp


class Clock(Protocol):
    """The interface of a client's clock."""

    def mint(self) -> bytes:
        """A stamp above all that were minted or merged."""

    def merge(self, stamp: bytes) -> None:
        """Mint only above ``stamp`` from now on."""


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
        """Take a new minter, above all stamps, and a new lock: the old one may stay locked."""
        seen = self._clock.mint(0)
        self._lock = threading.Lock()
        self._clock = HybridLogicalClock.drawn(random.SystemRandom())
        self._clock.merge(seen)


class CheckedClock:
    """A caller's own clock, whose failures become errors of the request that they concern."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def mint(self) -> bytes:
        """A stamp of the clock.  Raises `ToystoreError` if the clock fails."""
        try:
            stamp = self._clock.mint()
            unpack_stamp(stamp)
        except Exception as error:
            raise _failed("mint", error) from error
        return stamp

    def merge(self, stamp: bytes) -> None:
        """Merge a stamp into the clock.  Raises `ToystoreError` if the clock fails."""
        unpack_stamp(stamp)
        try:
            self._clock.merge(stamp)
        except Exception as error:
            raise _failed("merge", error) from error


def _failed(method: str, error: Exception) -> ToystoreError:
    text = f"the clock that this client was given failed in {method}()"
    return ToystoreError(f"{text}: {type(error).__name__}: {error}")


process_clock = ProcessClock()
"""The default clock of every client."""

os.register_at_fork(after_in_child=process_clock.redraw)
