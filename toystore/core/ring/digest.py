"""What tells one cluster from another, as digests: members, addresses, and N of each bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toystore.core.ring.ring import Member

DIGEST_BYTES = 16
BUCKET_BYTES = 5
"""The size of a row in the table of buckets."""
_NAME_BYTES = BUCKET_BYTES - 1


class Place(NamedTuple):
    """The addresses of a member: its host, and its ports in the order of the file's keys."""

    host: str
    ports: tuple[int, ...]


def members_digest(members: Iterable[Member], partitions: int) -> bytes:
    """16 bytes over what decides the ring: names, weights, zones and the number of partitions.

    The order in which the members are listed decides nothing.
    """
    return _digest([partitions, sorted(member[:3] for member in members)])


def members_digest_of_layout_1(members: Iterable[Member], partitions: int, n: int) -> bytes:
    """The digest as stores of layout 1 have it: over N of the default bucket, too."""
    return _digest([partitions, n, sorted(member[:3] for member in members)])


def cluster_digest(cluster: str, members: Iterable[tuple[Member, Place]], partitions: int) -> bytes:
    """16 bytes over all that makes a cluster this one: what decides the ring, name and addresses.

    A copy of the configuration in which any name or address was changed has another.  The
    digest at the founding of a cluster is its lineage (`cluster_id.py`).
    """
    return _digest([cluster, partitions, sorted((member[:3], place) for member, place in members)])


def bucket_table(copies: Mapping[str, int]) -> bytes:
    """N of each bucket: rows of 4 bytes of BLAKE2b of the bucket's name and 1 of N, in order."""
    return b"".join(sorted(_name(bucket) + n.to_bytes(1, "big") for bucket, n in copies.items()))


def other_copies(table: bytes, copies: Mapping[str, int]) -> tuple[str, int] | None:
    """The first bucket that has another N in ``table`` than in ``copies``, with that N, or None.

    A bucket that only one of the two has is no difference.
    """
    rows = (table[at : at + BUCKET_BYTES] for at in range(0, len(table), BUCKET_BYTES))
    theirs = {row[:_NAME_BYTES]: row[_NAME_BYTES:] for row in rows}
    for bucket, n in sorted(copies.items()):
        other = int.from_bytes(theirs.get(_name(bucket), n.to_bytes(1, "big")), "big")
        if other != n:
            return bucket, other
    return None


def _name(bucket: str) -> bytes:
    return hashlib.blake2b(bucket.encode(), digest_size=_NAME_BYTES).digest()


def _digest(decisive: list[Any]) -> bytes:
    return hashlib.blake2b(json.dumps(decisive).encode(), digest_size=DIGEST_BYTES).digest()
