"""Stamps, the total order of all writes, and the hybrid logical clock that mints them.

A stamp is ``(time, counter, minter)`` packed big-endian into 20 bytes.  So the order of
the bytes is the order of the writes: a stamp is compared, stored and sent as it is.

    time_us   8 bytes   microseconds since 1970, by the minter's clock
    counter   4 bytes   ticks within one microsecond
    minter    8 bytes   the random id of the clock that minted it; breaks every tie

The clock is the hybrid logical clock of Kulkarni et al. (OPODIS 2014): it follows the
wall clock, but it never runs backwards, and never stays behind a stamp that it merged.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

STAMP_BYTES = 20
TIME_BYTES = 8
MINTER_BYTES = 8
_LAYOUT = struct.Struct(">QI8s")
_COUNTER_MAX = 2**32 - 1
TIME_US_MAX = 2**63 - 1
"""The latest time that a clock follows and a context may contain.  So a clock can always mint
a stamp above it."""


class Stamp(NamedTuple):
    """The fields of a stamp."""

    time_us: int
    counter: int
    minter: bytes


def pack_stamp(time_us: int, counter: int, minter: bytes) -> bytes:
    """The 20 bytes of a stamp.  Raises ValueError if a part does not fit."""
    try:
        if len(minter) != MINTER_BYTES:
            raise ValueError(f"a minter is {MINTER_BYTES} bytes, not {len(minter)}")
        return _LAYOUT.pack(time_us, counter, minter)
    except struct.error as error:
        raise ValueError(f"({time_us}, {counter}) does not fit a stamp: {error}") from None


def unpack_stamp(stamp: bytes) -> Stamp:
    """The fields of a stamp.  Raises ValueError if it is not 20 bytes."""
    if len(stamp) != STAMP_BYTES:
        raise ValueError(f"a stamp is {STAMP_BYTES} bytes, not {len(stamp)}")
    return Stamp(*_LAYOUT.unpack(stamp))


class HybridLogicalClock:
    """Mints stamps, each above every stamp that it minted or merged before.

    It has no lock: threads that share a clock need one.
    """

    __slots__ = ("_counter", "_minter", "_time_us")

    def __init__(self, minter: bytes) -> None:
        """``minter``: 8 bytes, unique to this clock."""
        if len(minter) != MINTER_BYTES:
            raise ValueError(f"a minter is {MINTER_BYTES} bytes, not {len(minter)}")
        self._minter = minter
        self._time_us = 0
        self._counter = 0

    @classmethod
    def drawn(cls, chance: random.Random) -> HybridLogicalClock:
        """A clock whose minter is drawn from ``chance``."""
        return cls(chance.randbytes(MINTER_BYTES))

    def mint(self, wall_us: int) -> bytes:
        """A stamp for a write that happens now (HLC, "send or local event")."""
        if wall_us > self._time_us:
            self._time_us, self._counter = wall_us, 0
        elif self._counter < _COUNTER_MAX:
            self._counter += 1
        else:
            self._time_us, self._counter = self._time_us + 1, 0
        return _LAYOUT.pack(self._time_us, self._counter, self._minter)

    def merge(self, stamp: bytes) -> None:
        """Mint only above ``stamp`` from now on (HLC, "receive event").

        The clock ignores a stamp after `TIME_US_MAX`: above the last one it could mint none.
        """
        time_us, counter, _ = unpack_stamp(stamp)
        if time_us <= TIME_US_MAX:
            self._time_us, self._counter = max((self._time_us, self._counter), (time_us, counter))
