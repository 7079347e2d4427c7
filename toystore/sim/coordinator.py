"""The coordinator of a simulated node: an actor with a door for clients."""

from __future__ import annotations

from toystore.core.protocol.address import Caller
from toystore.core.protocol.messages import Delivery
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

    @property
    def idle(self) -> bool:
        """Whether the actor is idle, and every request is complete."""
        return super().idle and self.machine.idle
