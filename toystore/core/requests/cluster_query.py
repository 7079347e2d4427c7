"""A command about the members of the cluster: it is done by the `ring` actor of this node."""

from __future__ import annotations

from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.client import Cluster, ClusterReply, ErrorReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import RingCommand, RingCommandReply
from toystore.core.requests.desk import Desk, DeskRequest, Ticket

COMMAND_WAIT_S = 5.0
"""How long the `ring` actor may take to answer."""
DECISION_WAIT_S = 15.0
"""How long it may take to have a ring record decided."""
_DECIDED = frozenset({"commit", "abort"})
_READ_ONLY = frozenset({"show", "status"})


def wait_s(command: str) -> float:
    """How long the answer to a command may take."""
    return DECISION_WAIT_S if command in _DECIDED else COMMAND_WAIT_S


class ClusterQuery(DeskRequest):
    """Answers a `Cluster`."""

    __slots__ = ("_command",)

    hears = (RingCommandReply,)

    def __init__(self, desk: Desk, ticket: Ticket, command: str) -> None:
        DeskRequest.__init__(self, desk, ticket)
        self._command = command

    def start(self, message: Cluster) -> None:
        """Open it on the desk, and pass the command to the `ring` actor of this node."""
        desk = self.desk
        desk.open(self)
        command = RingCommand(self.number, message.command, message.arguments)
        desk.outbox.send(Peer(desk.node, RING), command)

    def on_reply(self, reply: RingCommandReply, node: str, now: Now) -> None:  # noqa: ARG002 - as every DeskRequest has it
        """Answer with the result, or with why there is none."""
        number = self.ticket.request
        if reply.code:
            self.answer(ErrorReply(number, reply.code, reply.text, reply.definite), now)
        else:
            self.answer(ClusterReply(number, reply.result), now)
        self.end()

    def on_deadline(self, now: Now) -> None:
        """Answer that the `ring` actor has not."""
        text = f"the ring actor of {self.desk.node} has not answered for "
        text += f"{wait_s(self._command):g} s; toystore cluster status shows what has happened"
        self.fail(Code.TIMEOUT, text, now)

    @property
    def definite(self) -> bool:
        """The command may have been done, or may still be."""
        return self._command in _READ_ONLY
