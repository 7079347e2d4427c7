"""The reconfiguration machine: the actor `ring` follows and changes who the members are.

    Reconfiguration    messages, timers, links
     '- Following      the newest record, from this node's storage or another's   (following.py)

Its node's storage keeps the decided records, and tells it of each that it adopts.  The machine
sends that to the other actors of the node.
"""

from __future__ import annotations

import random

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.messages.ring import FetchRingsReply, RingSeen, WatchRingReply
from toystore.core.reconfiguration.following import Following
from toystore.core.ring.record import RingRecord


class Reconfiguration:
    """Follows the ring of one node."""

    def __init__(
        self,
        *,
        node: str,
        record: RingRecord,
        lineage: bytes,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        """``record``: with which the node has started."""
        self._following = Following(node, record, lineage, outbox, chance)

    @property
    def record(self) -> RingRecord:
        """The newest that this node's storage has adopted."""
        return self._following.record

    def receive(self, message: Message, sender: Address, now: Now) -> None:  # noqa: ARG002 - of Machine
        """Receive one message."""
        match message:
            case WatchRingReply():
                self._following.on_told(message, now)
            case FetchRingsReply():
                self._following.on_fetched(message)
            case RingSeen():
                self._following.on_seen(message)
            case SendFailed():
                self._following.on_failed(message, now)

    def on_deadline(self, now: Now) -> None:
        """Do what is due."""
        self._following.go_on(now)

    def next_deadline(self) -> float | None:
        """When something is due."""
        return self._following.next_deadline()

    def on_failure(self, now: Now) -> None:
        """No caller waits for an answer."""
