"""The nodes of the cluster as one coordinator sees them: which can be asked, which will answer.

reachable   gossip calls it alive or suspect, and its link is up (reachability.py)
trusted     reachable, and its storage is not doubted (doubts.py)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.requests.doubts import Doubts


class Nodes:
    """Which nodes a coordinator can ask, and from which it expects an answer."""

    __slots__ = (
        "_node",
        "_outbox",
        "_replica_timeout_s",
        "coordinators",
        "doubts",
        "reachable",
        "storages",
        "trusted",
    )

    def __init__(
        self, node: str, members: Iterable[str], replica_timeout_s: float, outbox: Outbox
    ) -> None:
        """``members``: every node of the ring.  At first only ``node`` itself is reachable."""
        self._node = node
        self.follow(members)
        self.reachable: frozenset[str] = frozenset((node,))
        self.trusted = self.reachable
        self.doubts = Doubts(node)
        self._replica_timeout_s = replica_timeout_s
        self._outbox = outbox

    def follow(self, members: Iterable[str]) -> None:
        """From now on these are the nodes of the ring, and this one in any case."""
        names = {self._node, *members}
        self.storages = {name: Peer(name, STORAGE) for name in names}
        self.coordinators = {name: Peer(name, COORDINATOR) for name in names}

    def reach(self, nodes: frozenset[str]) -> frozenset[str]:
        """From now on ``nodes`` are reachable.  Returns those that no longer are."""
        lost = self.reachable - nodes
        self.doubts.forget(self.reachable ^ nodes)
        self.reachable = nodes
        self.weigh()
        return lost

    def doubt(self, silent: Sequence[Peer], since_s: float, now: Now) -> None:
        """Each of ``silent`` owes an answer since monotonic second ``since_s``.

        If no other node would be trusted, the failure is this node's own, and none is doubted.
        """
        for peer in silent:
            if doubted := self.doubts.doubt(peer, since_s, now.monotonic):
                actors = [one.actor for one in doubted]
                self._outbox.log("link.silent", member=peer.node, actors=actors)
        self.weigh()
        if not self.trusted - {self._node}:
            self.trust_all()

    def suspect(self, node: str, now: Now) -> None:
        """Gossip suspects ``node``: other nodes receive no answer of it.

        If it cannot be reached, it is not asked, so there is nothing to doubt.
        """
        if node in self.reachable:
            since_s = now.monotonic - self._replica_timeout_s
            self.doubt([self.storages[node], self.coordinators[node]], since_s, now)

    def trust(self, node: str) -> None:
        """Gossip calls ``node`` alive."""
        self.doubts.forget((node,))
        self.weigh()

    def trust_all(self) -> None:
        """Doubt no node."""
        self.doubts.clear()
        self.weigh()

    def weigh(self) -> None:
        """Find the trusted nodes again, after a doubt has begun or ended."""
        self.trusted = self.doubts.trusted(self.reachable, STORAGE)
