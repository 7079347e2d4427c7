"""Storage of a simulated node: an actor that commits its batches, by the real `GroupCommit`.

It is busy until its commit has reached the disk, and only then do its answers leave.  A
crash in between finds the batch committed or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from toystore.core.protocol.address import COORDINATOR, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHints
from toystore.core.protocol.messages.replica import WriteReplica, WriteReplicaReply
from toystore.engines import GroupCommit
from toystore.sim.actor import SimActor
from toystore.sim.coordinator import SimCoordinator, writes_in

if TYPE_CHECKING:
    from toystore.sim.node import SimNode

SYNC_S = 0.1
"""How long a committed batch waits for its sync, with durability "async"."""
PAUSED_S = 0.01
"""How soon a commit that ends in a pause is checked again."""


class SimStorage(SimActor):
    """Storage: it is busy while a commit is on its way to the disk."""

    turn: GroupCommit

    def __init__(self, node: SimNode, role: str) -> None:
        super().__init__(node, role)
        self._busy = False
        self._batch: list[Delivery] = []
        """The messages whose commit has not ended."""

    def make_turn(self) -> GroupCommit:
        """Each turn is a transaction."""
        me = Peer(self.node.name, self.role)
        return GroupCommit(self.node.disk, me, self.make_machine, self)

    def make_machine(self, outbox: Outbox) -> Any:
        """A storage machine in its first state."""
        return super().make_machine(outbox)

    @property
    def idle(self) -> bool:
        """Whether everything that was received is on the disk."""
        return super().idle and not (self._busy or self.turn.waiting)

    def unsettled(self) -> set[tuple[bytes, str]]:
        """The last hints of this node's own coordinator that are not on the disk yet."""
        waiting = list(self._batch)
        for item in self.inbox:
            waiting += super().opened(item)
        return self._last_hints(waiting)

    def _last_hints(self, deliveries: Iterable[Delivery]) -> set[tuple[bytes, str]]:
        own = self.node.actors[COORDINATOR]
        assert isinstance(own, SimCoordinator)
        sender = Peer(self.node.name, COORDINATOR)
        return writes_in(m for m, by in deliveries if by == sender and own.is_last_hint(m))

    def may_turn(self) -> bool:
        """Whether the last commit has ended, and no other reason forbids a turn."""
        return not self._busy and super().may_turn()

    def serve(self, batch: list[Delivery], at: Now) -> None:
        """Commit a batch; the answers leave when it is on the disk."""
        node = self.node
        if node.crash_at == "at delivery" and any(type(m) is DeliverHints for m, _ in batch):
            node.crash()
            return
        chosen = self.turn.choose(batch)
        if not chosen:
            return
        with self.made_to_fail():
            self.turn.commit(chosen, at)
        self._busy, self._batch = True, batch
        self._note_refusals()
        if node.crash_at.endswith("commit"):
            node.crash()
            return
        node.world.after(self._commit_s(), self._committed)

    def _note_refusals(self) -> None:
        """Record the last hints that were refused for lack of room: no node keeps them."""
        own = Peer(self.node.name, COORDINATOR)
        replies = (m for m in self.turn.outbox.sends.get(own, ()) if type(m) is WriteReplicaReply)
        refused = {reply.request for reply in replies if reply.status == ReplicaStatus.REFUSED}
        self.node.cluster.unkept |= self._last_hints(
            (message, sender)
            for message, sender in self._batch
            if type(message) is WriteReplica and message.request in refused
        )

    def _committed(self) -> None:
        node = self.node
        if node.actors.get(self.role) is not self:
            return
        if not super().may_turn():
            node.world.after(PAUSED_S, self._committed)
            return
        self._busy, self._batch = False, []
        node.disk.end_commit()
        if node.disk.wants_sync:
            node.world.after(SYNC_S, self._sync)
        self.turn.flush(node.now())
        self.wake_for_more()

    def _sync(self) -> None:
        if self.node.actors.get(self.role) is self:
            self.node.disk.sync()

    def wake_for_more(self) -> None:
        """Wake for the background messages that are left, too."""
        if not self._busy:
            super().wake_for_more()
            if self.turn.waiting:
                self.wake(0.0001)

    def _commit_s(self) -> float:
        """How long a commit takes."""
        usual_s = self.chance.uniform(0.0003, 0.001)
        if self.chance.random() < self.node.network.rates.slow_commit:
            usual_s = self.chance.uniform(0.001, 0.1)
        return max(usual_s, self.node.commit_s)

    def log_failure(self, error: Exception, over: Message | None, restarts: int) -> None:
        """Log it; no other node gets the message, which may fail there too (sloppy_quorum.py)."""
        super().log_failure(error, over, restarts)
        self.node.cluster.unkept |= writes_in([over] if over else [])
