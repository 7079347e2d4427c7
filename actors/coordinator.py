"""The coordinator actor: the client port in front, a link to every storage behind.

Requests arrive at the client port.  One link per node leads to its replica: inproc to this
node's own storage, TCP to the other nodes.  A put for a key that this node does not own is
forwarded over a second link to an owner's client port, where this node is an ordinary client.
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
"""How soon a reply to a client that reads slowly is tried again."""
REST_S = 0.02
"""How long the client port is not polled after it has refused a request."""


class CoordinatorActor(Actor):
    """Runs the coordinator machine."""

    role = COORDINATOR
    turn: Turn[Coordinator]
    rests_until: float | None = None
    """The monotonic second until which the client port is not polled."""

    def open(self) -> None:
        """Open the mailbox, the links and the client port."""
        super().open()
        # Last, so that each turn receives replies of open requests before it admits new ones.
        around = self.surroundings
        client_port = around.own(around.me.client_port)
        self.clients = ClientPort(around, client_port, lambda: self.turn.machine.admission)
        self.add(self.clients)

    def listeners(self) -> dict[str, zmq.Socket[bytes]]:
        """The client port."""
        return {"client_port": self.clients.socket}

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Answer clients at the client port; send every other message over a link."""
        if isinstance(to, Caller):
            return self.clients.send(to, messages)
        return super().deliver(to, messages)

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Stop polling the client port for a short time if it refused requests; then serve.

        To refuse a hundred requests at once costs little more than to refuse one.  Without
        the pause, refusals could use the whole time of the thread.
        """
        if self.clients.turned_away:
            self.clients.turned_away = 0
            self.poller.unregister(self.clients.socket)
            self.rests_until = at.monotonic + REST_S
        super().serve(inbox, at)

    def idle(self) -> bool:
        """Whether every request has its answer."""
        return self.turn.machine.idle and not self.clients.holding

    def patience_s(self) -> float | None:
        """A short wait while replies wait for a slow client, or the client port is not polled."""
        if self.rests_until is not None:
            return max(0.0, self.rests_until - now().monotonic)
        return RETRY_S if self.clients.holding else None

    def after_turn(self) -> None:
        """Poll the client port again when its pause is over, and send to slow clients."""
        if self.rests_until is not None and self.rests_until <= now().monotonic:
            self.rests_until = None
            self.poller.register(self.clients.socket, zmq.POLLIN)
        if self.clients.holding:
            self.clients.retry()
