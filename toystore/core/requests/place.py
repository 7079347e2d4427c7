"""Where a key belongs: found once per request, and handed to all that need it."""

from __future__ import annotations

from typing import NamedTuple

from toystore.core.data.record import digest_of
from toystore.core.ring.ring import Ring


class Place(NamedTuple):
    """The place of one key on the ring."""

    digest: bytes
    partition: int
    order: tuple[str, ...]
    """Every member, in the order in which they are asked: the owners, then the fallbacks."""
    owners: tuple[str, ...]


def place_of(ring: Ring, bucket: str, key: bytes, n: int) -> Place:
    """The place of ``key``, which the first ``n`` members of its order own."""
    digest = digest_of(bucket, key)
    partition = ring.partition_of(digest)
    order = ring.order(partition)
    return Place(digest, partition, order, order[:n])
