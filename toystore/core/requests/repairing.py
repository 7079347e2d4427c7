"""A repair that an operator asks for: it is done by the anti-entropy of this node."""

from __future__ import annotations

from toystore.core.protocol.address import ANTIENTROPY, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import RepairRanges, RepairRangesReply
from toystore.core.protocol.messages.client import RepairReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.requests.desk import DeskRequest

REPAIR_WAIT_S = 1.0
"""How long anti-entropy may take to answer how far it is."""


class RepairQuery(DeskRequest):
    """Answers a `Repair`: begins its job, or tells how far that is."""

    __slots__ = ()

    hears = (RepairRangesReply,)

    def start(self, job: int, n: int | None, partition: int | None) -> None:
        """Open it on the desk, and ask the anti-entropy of this node."""
        desk = self.desk
        desk.open(self)
        desk.outbox.send(Peer(desk.node, ANTIENTROPY), RepairRanges(self.number, job, n, partition))

    def on_reply(self, reply: RepairRangesReply, node: str, now: Now) -> None:  # noqa: ARG002 - as every DeskRequest has it
        """Answer with the progress of the job."""
        self.answer(RepairReply(self.ticket.request, reply.progress), now)
        self.end()

    def on_deadline(self, now: Now) -> None:
        """Answer that anti-entropy is busy."""
        text = f"anti-entropy of {self.desk.node} has not answered for {REPAIR_WAIT_S:g} s"
        self.fail(Code.TIMEOUT, text, now)

    @property
    def definite(self) -> bool:
        """The job may have begun."""
        return False
