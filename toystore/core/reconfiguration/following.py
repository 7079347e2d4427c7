"""Which record is the newest: storage tells of each that it adopts, other nodes have newer ones.

One `WatchRing` is always open at this node's storage.  If a node is seen that has a newer record,
its storage is asked for what follows, and the answer is offered to the own storage.
"""

from __future__ import annotations

import random

from toystore.core.protocol.address import RING, STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.messages.ring import (
    FetchRings,
    FetchRingsReply,
    OfferRings,
    RingChanged,
    RingSeen,
    WatchRing,
    WatchRingReply,
)
from toystore.core.protocol.roles import ACTORS
from toystore.core.ring.record import RingRecord, unpack_ring

AGAIN_S = 1.0
"""How soon storage is asked again, if it could not be asked."""
_NUMBER_BITS = 48


class Following:
    """The newest record of one node."""

    def __init__(
        self,
        node: str,
        record: RingRecord,
        lineage: bytes,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        self.record = record
        self.lineage = lineage
        self._node = node
        self._storage = Peer(node, STORAGE)
        self._out = outbox
        # A late reply to the machine before this one must not match a question of this one.
        self._number = chance.getrandbits(_NUMBER_BITS)
        self._watched = 0
        self._ask_at: float | None = 0.0

    def go_on(self, now: Now) -> None:
        """Ask storage to tell of newer records, if that is due."""
        if self._ask_at is not None and self._ask_at <= now.monotonic:
            self._ask_at = None
            self._number += 1
            self._watched = self._number
            self._out.send(self._storage, WatchRing(self._watched, self.record.epoch, 0))

    def next_deadline(self) -> float | None:
        """When storage is asked, in monotonic seconds; None while it is."""
        return self._ask_at

    def on_told(self, reply: WatchRingReply, now: Now) -> None:
        """Storage has adopted records: send the newest to the other actors."""
        if reply.request != self._watched:
            return
        self._ask_at = now.monotonic
        if reply.records:
            packed = reply.records[-1]
            self.record = unpack_ring(packed)
            for actor in ACTORS:
                if actor != RING:
                    self._out.send(Peer(self._node, actor), RingChanged(packed))

    def on_seen(self, seen: RingSeen) -> None:
        """A node has a newer record: ask its storage for what follows."""
        if seen.epoch > self.record.epoch:
            self._number += 1
            self._out.send(Peer(seen.node, STORAGE), FetchRings(self._number, self.record.epoch))

    def on_fetched(self, reply: FetchRingsReply) -> None:
        """Another storage has newer records: offer them to the own one."""
        if reply.records:
            self._number += 1
            self._out.send(self._storage, OfferRings(self._number, reply.records))

    def on_failed(self, failed: SendFailed, now: Now) -> None:
        """A question did not leave; other nodes are asked when they are seen again."""
        if isinstance(failed.message, WatchRing):
            self._ask_at = now.monotonic + AGAIN_S
