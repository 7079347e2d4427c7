"""What a write writes: a put or a delete, with its stamp and the place of its key.

The client stamps a mutation, or the coordinator that it asks.  A write sends it to replicas
(writing.py); a forward sends it to another coordinator (forwarding.py).
"""

from __future__ import annotations

from typing import NamedTuple

from toystore.core.data.record import pack_record
from toystore.core.data.stamp import HybridLogicalClock
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.client import Delete, Put
from toystore.core.requests.place import Place


class Mutation(NamedTuple):
    """One put or delete, stamped."""

    message: Put | Delete
    """What the caller asked; its own stamp may be None."""
    stamp: bytes
    minted: bool
    """Whether this coordinator has minted the stamp, and so may mint a higher one."""
    place: Place
    w: int

    def record(self) -> bytes:
        """The record that every replica keeps."""
        message = self.message
        if type(message) is Put:
            return pack_record(self.stamp, message.bucket, message.key, message.value)
        return pack_record(self.stamp, message.bucket, message.key, b"", tombstone=True)

    def reminted(self, clock: HybridLogicalClock, above: bytes, now: Now) -> Mutation:
        """The same with a new stamp, higher than ``above``."""
        clock.merge(above)
        return self._replace(stamp=clock.mint(now.wall_us))

    def forwarded(self, number: int, timeout_ms: int) -> Put | Delete:
        """The message that forwards it to another coordinator, which answers to ``number``."""
        return self.message._replace(
            request=number, stamp=self.stamp, timeout_ms=timeout_ms, forwarded=True
        )
