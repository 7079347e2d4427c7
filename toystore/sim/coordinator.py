"""The coordinator of a simulated node: an actor with a door for clients.

It also records what an audit must excuse (`SimCluster.unkept`): the acknowledged writes that
are lost with their coordinator, and the last hints for which no coordinator receives an answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from toystore.core.data.record import stamp_of
from toystore.core.protocol.address import STORAGE, Address, Caller, Peer
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.requests.coordinator import Coordinator
from toystore.sim.actor import Letter, SimActor
from toystore.wire import request_numbers


class SimCoordinator(SimActor):
    """The coordinator: it refuses requests without room before they are decoded."""

    @property
    def machine(self) -> Coordinator:
        """The coordinator machine."""
        machine = super().machine
        assert isinstance(machine, Coordinator)
        return machine

    def take_turn(self) -> None:
        """Take a turn; ask once how much room there is, as the real coordinator does."""
        self._room = self.machine.admission.room(self.node.now())
        super().take_turn()

    def opened(self, item: Letter | Delivery) -> list[Delivery]:
        """The requests of a frame; refuse them if there is no room."""
        deliveries = super().opened(item)
        if not (isinstance(item, Letter) and isinstance(item.sender, Caller)):
            return deliveries
        if self._room <= 0 and (numbers := request_numbers(item.frame)):
            for refusal in self.machine.admission.turn_away(numbers, self.node.now()):
                self.turn.outbox.send(item.sender, refusal)
            return []
        self._room -= len(deliveries)
        return deliveries

    def deliver(self, address: Address, messages: list[Message]) -> list[Delivery]:
        """Send, and record the last hints that go to other nodes: no answer to them is received."""
        if address != Peer(self.node.name, STORAGE):
            self.node.cluster.unkept |= writes_in(m for m in messages if self.is_last_hint(m))
        return super().deliver(address, messages)

    def is_last_hint(self, message: Message) -> bool:
        """Whether a message carries a hint, and no request waits for its answer."""
        return (
            type(message) is WriteReplica
            and message.hint_owner is not None
            and not self.machine.holds(message.request)
        )

    @property
    def idle(self) -> bool:
        """Whether the actor is idle, and every request is complete."""
        return super().idle and self.machine.idle

    def unsettled(self) -> set[tuple[bytes, str]]:
        """The writes that are acknowledged but not complete."""
        return {(write.place.digest, write.stamp.hex()) for write in self.machine.settling()}


def writes_in(messages: Iterable[Message]) -> set[tuple[bytes, str]]:
    """Digest and stamp of each write among messages to storage."""
    return {
        (message.digest, stamp_of(message.record).hex())
        for message in messages
        if type(message) is WriteReplica
    }
