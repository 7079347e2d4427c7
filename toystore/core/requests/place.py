"""Where a key belongs on the ring.  It is found once per request."""

from __future__ import annotations

from toystore.core.data.record import digest_of
from toystore.core.ring.view import RingView


class Place:
    """The place of one key on the ring."""

    __slots__ = ("digest", "order", "owners", "partition")

    def __init__(self, ring: RingView, bucket: str, key: bytes, n: int) -> None:
        """The key is owned by the first ``n`` members of its partition's order."""
        self.digest = digest_of(bucket, key, n)
        self.partition = ring.partition_of(self.digest)
        self.order = ring.order(self.partition)
        """Every member, in the order in which they are asked: the owners, then the fallbacks."""
        self.owners = self.order[:n]
