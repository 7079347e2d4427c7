"""What the calls return: plain named tuples."""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    """What a get found."""

    value: bytes
    """The value (with several `values`, the first)."""
    values: tuple[bytes, ...]
    """Every concurrent value; one under last write wins."""
    context: bytes
    """What this read has seen: pass it to the put that follows from it."""
    owners: int
    """How many owners of the key are in the quorum of the answer."""
    fallbacks: int
    """How many fallbacks are in it."""


class Written(NamedTuple):
    """The acknowledgement of a put or a delete."""

    context: bytes
    """What this write has seen, and itself: pass it to the next put that follows from it."""
    stamp: bytes
    """The 20 bytes that order this write among all others."""
    owners: int
    """How many owners of the key had stored it when it was acknowledged."""
    fallbacks: int
    """How many fallbacks kept it as a hint by then."""


class Placement(NamedTuple):
    """The owners and the fallbacks of a key."""

    partition: int
    owners: tuple[str, ...]
    """The owners, in the order of the ring."""
    fallbacks: tuple[str, ...]
    """The nodes that take the place of unreachable owners, in order."""


class Load(NamedTuple):
    """One member's share of the ring."""

    member: str
    owned: int
    """Partitions of which it is an owner."""
    first: int
    """Partitions of which it is the first owner."""


class RingTable(NamedTuple):
    """The ring, member by member."""

    partitions: int
    load: tuple[Load, ...]
