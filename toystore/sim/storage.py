"""Storage of a simulated node: an actor that commits its batches, by the real `GroupCommit`.

It is busy until its commit has reached the disk, and only then do its answers leave.  A
crash in between finds the batch committed or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toystore.check.promises import Violation
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.antientropy import CompareStretches, SetRange, SweepRange
from toystore.core.protocol.messages.ring import OfferRings, RingChanged, RingForked
from toystore.core.ring.ranges import Range
from toystore.core.storage.storage import Storage
from toystore.engines import GroupCommit
from toystore.sim.actor import SimActor
from toystore.sim.moments import is_commit, is_message
from toystore.sim.trees import trees_are_true

if TYPE_CHECKING:
    from toystore.sim.node import SimNode

SYNC_S = 0.1
"""How long a committed batch waits for its sync, with durability "async"."""
PAUSED_S = 0.01
"""How soon a commit that ends in a pause is checked again."""
FEW_KEYS = 10
"""With at most as many keys, the sums are checked after each commit that changes a record."""


class SimStorage(SimActor):
    """Storage: it is busy while a commit is on its way to the disk."""

    turn: GroupCommit

    def __init__(self, node: SimNode, role: str) -> None:
        super().__init__(node, role)
        self._busy = False
        self._moved: list[Range] | None = []
        """The ranges whose state the last commit has set; None if all may have another."""

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

    def may_turn(self) -> bool:
        """Whether the last commit has ended, and no other reason forbids a turn."""
        return not self._busy and super().may_turn()

    def serve(self, batch: list[Delivery], at: Now) -> None:
        """Commit a batch; the answers leave when it is on the disk."""
        node = self.node
        if node.rot_in_comparison and any(type(m) is CompareStretches for m, _ in batch):
            node.rot_now()
        if node.at_sweep and any(type(message) is SweepRange for message, _ in batch):
            strikes, node.at_sweep = node.at_sweep, None
            strikes()
        if is_message(node.crash_at, (message for message, _ in batch)):
            node.crash()
            return
        for message, _ in batch:
            if type(message) is RingChanged:
                self.follow(message)
            elif type(message) is RingForked:
                self.disown(message)
        chosen = self.turn.choose(batch)
        if not chosen:
            return
        self.perhaps_failing(self.turn.commit, chosen, at)
        self._busy = True
        messages = [message for message, _ in chosen]
        self._moved = _moved(messages)
        node.cluster.checks.committed(self._storage().ranges, messages)
        if is_commit(node.crash_at, messages):
            node.crash()
            return
        node.world.after(self._commit_s(), self._committed)

    def _committed(self) -> None:
        node = self.node
        if node.actors.get(self.role) is not self:
            return
        if not super().may_turn():
            node.world.after(PAUSED_S, self._committed)
            return
        self._busy = False
        node.cluster.check_floors(node)
        node.disk.end_commit()
        if node.disk.changed and node.cluster.scenario.keys <= FEW_KEYS:
            node.cluster.violations += self.untrue_sums()
        if node.disk.wants_sync:
            node.world.after(SYNC_S, self._sync)
        if self._moved != []:
            node.cluster.checks.on_disk(self._moved)
        self.turn.flush(node.now())
        self.wake_for_more()

    def untrue_sums(self) -> list[Violation]:
        """What is wrong with the sums that the machine has."""
        machine, node = self._storage(), self.node
        return trees_are_true(node.name, machine.sums, node.disk, machine.ranges)

    def _storage(self) -> Storage:
        machine = self.machine
        assert isinstance(machine, Storage)
        return machine

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


def _moved(messages: list[Message]) -> list[Range] | None:
    """The ranges whose state these messages set; None if a ring record is adopted."""
    if any(type(message) is OfferRings for message in messages):
        return None
    return [Range(one.n, one.partition) for one in messages if isinstance(one, SetRange)]
