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
    """How many owners of the key the answer rests on."""
    fallbacks: int
    """How many stand-ins for owners it rests on besides."""


class Written(NamedTuple):
    """What a put or a delete was acknowledged with."""

    context: bytes
    """What this write has seen and made: pass it to the next put that follows from it."""
    stamp: bytes
    """The 20 bytes that order this write among all others."""
    owners: int
    """How many owners of the key had it when it was acknowledged."""
    fallbacks: int
    """How many stand-ins for owners had it besides."""


class Placement(NamedTuple):
    """Where a key lives."""

    partition: int
    owners: tuple[str, ...]
    """The owners, first choice first."""
    fallbacks: tuple[str, ...]
    """Who stands in for them, in order."""


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
