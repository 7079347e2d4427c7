"""A status: what the coordinator knows, with what storage reports.

docs/PROTOCOL.md lists the keys.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.client import StatusReply
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.requests.desk import Desk, DeskRequest, Ticket
from toystore.core.requests.reachability import Reachability

STATUS_WAIT_S = 0.5
"""How long a status waits for the part of storage."""


class Process(NamedTuple):
    """What a status says of the node's process."""

    node: str
    cluster: str
    version: str
    started_s: float
    """The monotonic second at which it began."""


class StatusQuery(DeskRequest):
    """Answers a `Status`."""

    __slots__ = ("_picture",)

    hears = (StorageStatusReply,)

    def __init__(self, desk: Desk, ticket: Ticket, picture: dict[str, Any]) -> None:
        """``picture``: the status without the part of storage."""
        DeskRequest.__init__(self, desk, ticket)
        self._picture = picture

    def start(self) -> None:
        """Open it on the desk, and ask the storage of this node."""
        desk = self.desk
        desk.open(self)
        desk.outbox.send(desk.nodes.storages[desk.node], StorageStatus(self.number))

    def on_reply(self, reply: StorageStatusReply, node: str, now: Now) -> None:  # noqa: ARG002 - as every DeskRequest has it
        """Answer with the part of storage."""
        self._tell(reply.status, now)

    def on_deadline(self, now: Now) -> None:
        """Answer without the part of storage, which is busy."""
        self._tell({}, now)

    def _tell(self, storage: dict[str, Any], now: Now) -> None:
        told = dict(storage)
        hints = told.pop("hints", {})
        picture = {**self._picture, "hints": hints, "storage": told or None}
        self.answer(StatusReply(self.ticket.request, picture), now)
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
