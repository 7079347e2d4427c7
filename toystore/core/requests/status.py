"""A status: what the coordinator knows, with what storage and anti-entropy report.

docs/PROTOCOL.md lists the keys.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from toystore.core.protocol.address import ANTIENTROPY, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import AntientropyStatus, AntientropyStatusReply
from toystore.core.protocol.messages.client import StatusReply
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.requests.desk import Desk, DeskRequest, Ticket
from toystore.core.requests.reachability import Reachability

STATUS_WAIT_S = 0.5
"""How long a status waits for the parts of storage and of anti-entropy."""


class Process(NamedTuple):
    """What a status says of the node's process."""

    node: str
    cluster: str
    version: str
    started_s: float
    """The monotonic second at which it began."""


class StatusQuery(DeskRequest):
    """Answers a `Status`."""

    __slots__ = ("_antientropy", "_picture", "_storage")

    hears = (StorageStatusReply, AntientropyStatusReply)

    def __init__(self, desk: Desk, ticket: Ticket, picture: dict[str, Any]) -> None:
        """``picture``: the status without the parts of storage and of anti-entropy."""
        DeskRequest.__init__(self, desk, ticket)
        self._picture = picture
        self._storage: dict[str, Any] | None = None
        self._antientropy: dict[str, Any] | None = None

    def start(self) -> None:
        """Open it on the desk, and ask the storage and the anti-entropy of this node."""
        desk = self.desk
        desk.open(self)
        desk.outbox.send(desk.nodes.storages[desk.node], StorageStatus(self.number))
        desk.outbox.send(Peer(desk.node, ANTIENTROPY), AntientropyStatus(self.number))

    def on_reply(
        self,
        reply: StorageStatusReply | AntientropyStatusReply,
        node: str,  # noqa: ARG002 - as every DeskRequest has it
        now: Now,
    ) -> None:
        """Answer once both parts are there."""
        if isinstance(reply, StorageStatusReply):
            self._storage = reply.status
        else:
            self._antientropy = reply.status
        if self._storage is not None and self._antientropy is not None:
            self._tell(now)

    def on_deadline(self, now: Now) -> None:
        """Answer without the part of the actor that is busy."""
        self._tell(now)

    def _tell(self, now: Now) -> None:
        storage = dict(self._storage or {})
        hints = storage.pop("hints", {})
        parts = {"hints": hints, "storage": storage or None, "antientropy": self._antientropy}
        self.answer(StatusReply(self.ticket.request, self._picture | parts), now)
        self.end()


def picture_of(
    process: Process, around: Reachability, desk: Desk, now: Now, *, serving: bool
) -> dict[str, Any]:
    """What a coordinator knows of its node, of the members, and of its requests."""
    return {
        "node": process.node,
        "cluster": process.cluster,
        "version": process.version,
        "uptime_s": round(now.monotonic - process.started_s, 3),
        "joined": around.joined,
        "serving": serving,
        "members": around.picture(),
        "requests": {
            "held": desk.unanswered,
            "settling": len(desk.requests) - desk.unanswered,
            "bytes": desk.bytes,
            **desk.counts,
        },
        "latencies": {
            "gets": desk.read_latencies.summary(now.monotonic),
            "puts": desk.write_latencies.summary(now.monotonic),
        },
    }
