"""Stamps, the total order of all writes, and the hybrid logical clock that mints them.

A stamp is ``(time, counter, minter)`` packed big-endian into 20 bytes, so that the
order of the bytes is the order of the writes: a stamp is compared, stored and sent
as it is.

    time_us   8 bytes   microseconds since 1970, as the minter's clock had it
    counter   4 bytes   ticks within one microsecond
    minter    8 bytes   who minted it, drawn at random once; breaks every tie

The clock is the hybrid logical clock of Kulkarni et al. (OPODIS 2014): it follows
the wall clock, but never runs backwards and never falls behind a stamp it was shown.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

STAMP_BYTES = 20
MINTER_BYTES = 8
_LAYOUT = struct.Struct(">QI8s")
_COUNTER_MAX = 2**32 - 1
TIME_US_MAX = 2**63 - 1
"""No clock follows a later one, and no client may claim to have seen one, so that there is
always one above to mint."""

NO_STAMP = bytes(STAMP_BYTES)
"""Lower than every stamp that is ever minted."""


class Stamp(NamedTuple):
    """A stamp taken apart."""

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
    """Take a stamp apart.  Raises ValueError if it is not 20 bytes."""
    if len(stamp) != STAMP_BYTES:
        raise ValueError(f"a stamp is {STAMP_BYTES} bytes, not {len(stamp)}")
    return Stamp(*_LAYOUT.unpack(stamp))


class HybridLogicalClock:
    """Mints stamps, each above every one it minted or was shown before.

    Not locked: whoever shares a clock between threads guards it.
    """

    __slots__ = ("_counter", "_minter", "_time_us")

    def __init__(self, minter: bytes) -> None:
        """``minter``: 8 bytes that no other clock has."""
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
        """Never again mint at or below ``stamp`` (HLC, "receive event").

        No clock follows a stamp after `TIME_US_MAX`: above the last there would be none.
        """
        time_us, counter, _ = unpack_stamp(stamp)
        if time_us <= TIME_US_MAX:
            self._time_us, self._counter = max((self._time_us, self._counter), (time_us, counter))
