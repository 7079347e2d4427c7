"""Newer rings of which a coordinator learns: a replica has answered by a record that it lacks.

The `ring` actor of the node fetches the record.  Many requests learn of it at the same time, so it
is told at most every `TELL_S` of each node.
"""

from __future__ import annotations

from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.ring import RingSeen

TELL_S = 0.2


class NewerRings:
    """The nodes that have a newer ring."""

    __slots__ = ("_outbox", "_ring", "_told")

    def __init__(self, node: str, outbox: Outbox) -> None:
        self._ring = Peer(node, RING)
        self._outbox = outbox
        self._told: dict[str, float] = {}
        """When it was told of each node, in monotonic seconds."""

    def note(self, node: str, epoch: int, now: Now) -> None:
        """``node`` has a newer ring than ``epoch``."""
        if now.monotonic - self._told.get(node, float("-inf")) >= TELL_S:
            self._told[node] = now.monotonic
            self._outbox.send(self._ring, RingSeen(node, epoch + 1))

    def clear(self) -> None:
        """A newer ring is there."""
        self._told.clear()
