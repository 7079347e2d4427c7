"""The coordinator actor: the client port in front, a link to every storage behind.

Requests come in at the client port.  Replicas are reached over one link per node, inproc
to this node's own storage and TCP to the others; a put for somebody else's key goes to
that node's client port over a second link, where this node is a client like any other.
"""

from __future__ import annotations

import zmq

from actors.actor import Actor
from actors.doors.client_port import ClientPort
from actors.surroundings import now
from toystore.core.protocol.address import COORDINATOR, Address, Caller
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.turn import Turn
from toystore.core.requests.coordinator import Coordinator

RETRY_S = 0.005
"""How soon a slow reader is tried again."""
REST_S = 0.02
"""How long the client port is left alone once it has turned somebody away."""


class CoordinatorActor(Actor):
    """Runs the coordinator machine."""

    role = COORDINATOR
    turn: Turn[Coordinator]
    rests_until: float | None = None
    """The monotonic second until which the client port is not polled."""

    def open(self) -> None:
        """The mailbox, the links, and the client port."""
        super().open()
        # Last, so that in each turn what finishes a request goes before what begins one.
        around = self.surroundings
        client_port = around.own(around.me.client_port)
        self.clients = ClientPort(around, client_port, lambda: self.turn.machine.admission)
        self.add(self.clients)

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Clients are answered at their port, everyone else over a link."""
        if isinstance(to, Caller):
            return self.clients.send(to, messages)
        return super().deliver(to, messages)

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Shut the door for a moment if it has turned requests away; then as every actor.

        To refuse a hundred at once costs little more than to refuse one.  The pause keeps
        refusals from taking all the time there is.
        """
        if self.clients.turned_away:
            self.clients.turned_away = 0
            self.poller.unregister(self.clients.socket)
            self.rests_until = at.monotonic + REST_S
        super().serve(inbox, at)

    def idle(self) -> bool:
        """Nothing is held: every request has its answer."""
        return self.turn.machine.idle and not self.clients.holding

    def patience_s(self) -> float | None:
        """Come back soon while replies are held for a slow reader, or the door is shut."""
        if self.rests_until is not None:
            return max(0.0, self.rests_until - now().monotonic)
        return RETRY_S if self.clients.holding else None

    def after_turn(self) -> None:
        """Open the door again, and try slow readers."""
        if self.rests_until is not None and self.rests_until <= now().monotonic:
            self.rests_until = None
            self.poller.register(self.clients.socket, zmq.POLLIN)
        if self.clients.holding:
            self.clients.retry()
