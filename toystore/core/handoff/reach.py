"""Which nodes hints can be sent to, by the ring, by gossip and by the links.

A suspected member is not sent hints: it may refute, or it may be dead.
"""

from __future__ import annotations

from toystore.core.handoff.batch import Way
from toystore.core.ring.record import RingRecord
from toystore.core.ring.view import RingView


class Reach:
    """See the module's docstring."""

    __slots__ = ("_node", "alive", "linked", "ring")

    def __init__(self, node: str, ring: RingView) -> None:
        self._node = node
        self.ring = ring
        """The ring that this node follows."""
        self.alive = {node}
        """The members that are not even suspected."""
        self.linked = {node}
        """The nodes to whose storage the link is up."""

    def follow(self, record: RingRecord) -> None:
        """The ring has changed."""
        self.ring = self.ring.follow(record)
        self.alive &= {self._node, *record.all}

    def is_reachable(self, node: str) -> bool:
        """Whether hints can be sent to a node."""
        return node in self.alive and node in self.linked

    def can_deliver(self, owner: str) -> bool:
        """Whether hints for this owner can be sent to any node."""
        gone = owner not in self.ring.members
        return gone or self.is_reachable(owner) or self.ring.record.leaves(self._node)

    def way(self, node: str, digest: bytes) -> Way | None:
        """How a hint reaches a node: if this one leaves, another may keep the hint for it."""
        if self.is_reachable(node):
            return Way(node)
        if not self.ring.record.leaves(self._node):
            return None
        partition = self.ring.partition_of(digest)
        members = (*self.ring.fallbacks(partition, digest[0]), *self.ring.order(partition))
        able = (name for name in members if name != self._node and self.is_reachable(name))
        keeper = next(able, None)
        return None if keeper is None else Way(keeper, node)
