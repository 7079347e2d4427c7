"""The floors of this node: below the floor of a range, what is not stored is dead.

A floor is a time in microseconds.  A record is below it if the time of its stamp is lower.  When a
floor is raised the tombstones below it are deleted, in the same transaction (tombstones.py).  After
that nothing tells an old record from one that was deleted, so none is stored:

    a new write, or a new hint    is refused below `Floors.closed`, a floor for the whole node
    any other copy of a record    is refused below the floor of its range, unless it was read where
                                  the range had the same floor or a higher one

Floors only rise.  What is in memory here is a copy of what is in the store, and is read again after
a batch was undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from toystore.core.data.stamp import STAMP_BYTES, TIME_BYTES
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.ring.ranges import Range
from toystore.core.storage.layout import CLOSED, FLOOR, floor_key
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.store import Store

NO_FLOOR = bytes(TIME_BYTES)
"""A floor is packed as the time of a stamp, and compared with it as bytes."""

_KEY_BYTES = len(floor_key(Range(0, 0)))


class Floors:
    """The floors in ``store``."""

    def __init__(self, store: Store, own: OwnRanges) -> None:
        self._store = store
        self._own = own
        self._floors: dict[Range, bytes] = {}
        self.closed = NO_FLOOR
        """No new write below it is stored, in any range."""
        self.highest = NO_FLOOR
        """The highest of all: at or above it nothing is refused."""

    def read(self) -> None:
        """Read the store, in an open transaction."""
        self._floors = {
            Range(key[1], int.from_bytes(key[2:], "big")): floor
            for key, floor in self._store.scan(FLOOR)
            if len(key) == _KEY_BYTES and len(floor) == TIME_BYTES
        }
        closed = self._store.get(CLOSED) or b""
        self.closed = closed if len(closed) == TIME_BYTES else NO_FLOOR
        self.highest = max(self.closed, *self._floors.values(), NO_FLOOR)

    # --- what is refused ----------------------------------------------------------------

    def at(self, digest: bytes) -> bytes:
        """The floor of the range of a digest, packed."""
        return self._floors.get(self._own.ranges.range_of(digest), NO_FLOOR)

    def for_writes(self, digest: bytes) -> bytes:
        """The floor for new writes of a key, packed."""
        return max(self.closed, self.at(digest))

    def of(self, of: Range) -> int:
        """The floor of a range; 0 if it has none."""
        return int.from_bytes(self._floors.get(of, NO_FLOOR), "big")

    def by_partition(self, ranges: Iterable[Range]) -> tuple[tuple[int, int], ...]:
        """The partition and the floor of each of these ranges that has a floor."""
        return tuple((of.partition, self.of(of)) for of in sorted(ranges) if of in self._floors)

    # --- what changes -------------------------------------------------------------------

    def close(self, floor: int) -> None:
        """Store no new write below ``floor`` from now on."""
        packed = pack_floor(floor)
        if packed > self.closed:
            self._store.put(CLOSED, packed)
            self.closed = packed
            self.highest = max(self.highest, packed)

    def rise(self, of: Range, floor: int) -> None:
        """Raise the floor of a range: what is dead below it is deleted in the same transaction."""
        assert floor > self.of(of)
        packed = pack_floor(floor)
        self._store.put(floor_key(of), packed)
        self._floors[of] = packed
        self.highest = max(self.highest, packed)

    def delete(self, of: Range) -> None:
        """Nothing of a range is left here."""
        if self._floors.pop(of, None) is not None:
            self._store.delete(floor_key(of))


class FloorsThere:
    """The floors of ranges of one N at the node where some records were read."""

    def __init__(self, floors: Floors, own: OwnRanges, there: tuple[tuple[int, int], ...]) -> None:
        self._floors = floors
        self._own = own
        self._there: Mapping[int, int] = dict(there)

    def at(self, digest: bytes) -> bytes:
        """The floor below which a record from there is not stored, packed."""
        floor = self._floors.at(digest)
        there = self._there.get(self._own.ranges.range_of(digest).partition, 0)
        return floor if int.from_bytes(floor, "big") > there else NO_FLOOR


def pack_floor(floor: int) -> bytes:
    """A floor as it is stored."""
    return floor.to_bytes(TIME_BYTES, "big")


def below(floor: bytes) -> tuple[int, bytes]:
    """The answer to a write below a floor: its writer has to stamp it again, above the floor."""
    return int(ReplicaStatus.SUPERSEDED), floor + bytes(STAMP_BYTES - TIME_BYTES)
