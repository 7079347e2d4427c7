"""Anti-entropy: the replicas of a range become equal without a read (Dynamo, section 4.7)."""

from __future__ import annotations

import random

from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import RangeSum, WatchRanges, WatchRangesReply
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range, Ranges


class Antientropy:
    """Compares this node's ranges with those of their other owners."""

    def __init__(
        self,
        *,
        node: str,
        ranges: Ranges,
        settings: AntientropySettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        """``ranges``: those of the ring; the node's own are compared."""
        self._node = node
        self._ranges = ranges
        self._settings = settings
        self._out = outbox
        self._storage = Peer(node, STORAGE)
        self._request = chance.getrandbits(62)
        self._sums: dict[Range, RangeSum] = {}
        """What the own storage has last told of each range."""
        self._watch_at: float | None = 0.0
        """When the storage is asked what has changed; None while it is asked."""

    def receive(self, message: Message, sender: Address, now: Now) -> None:  # noqa: ARG002 - of Machine
        """Receive one message."""
        if isinstance(message, WatchRangesReply):
            self._sums.update((Range(one.n, one.partition), one) for one in message.ranges)
            self._watch_at = now.monotonic + (0.0 if message.more else self._settings.rest_s)

    def on_deadline(self, now: Now) -> None:
        """Ask the storage what has changed."""
        if self._watch_at is not None and self._watch_at <= now.monotonic:
            self._watch_at = None
            self._request += 1
            self._out.send(self._storage, WatchRanges(self._request, not self._sums))

    def next_deadline(self) -> float | None:
        """When the storage is asked."""
        return self._watch_at

    def on_failure(self, now: Now) -> None:
        """No caller waits for an answer, and the next comparison brings what was missed."""
