"""A status on its way: what the coordinator knows, waiting for what storage has to tell."""

from __future__ import annotations

from typing import Any

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.client import StatusReply
from toystore.core.protocol.messages.disk import StorageStatus
from toystore.core.requests.desk import Desk, Held, Ticket

STATUS_WAIT_S = 0.5
"""Without the disk's part by then, the rest is told."""


class StatusQuery(Held):
    """Answers a `Status`; docs/PROTOCOL.md lists the keys."""

    __slots__ = ("_picture",)

    def __init__(
        self, desk: Desk, caller: Address, request: int, picture: dict[str, Any], now: Now
    ) -> None:
        """``picture`` is all but what storage has to tell."""
        began = now.monotonic
        Held.__init__(self, desk, Ticket(caller, request, began, began + STATUS_WAIT_S, 0, None))
        self._picture = picture

    def start(self) -> None:
        """Lie on the desk and ask this node's storage."""
        self.desk.open(self)
        self.desk.outbox.send(self.desk.storages[self.desk.node], StorageStatus(self.number))

    def tell(self, storage: dict[str, Any] | None, now: Now) -> None:
        """Answer, with what storage has told or with None."""
        told = dict(storage or {})
        hints = told.pop("hints", {})
        picture = {**self._picture, "hints": hints, "storage": told or None}
        self.answer(StatusReply(self.ticket.request, picture), now)
        self.end()

    def on_deadline(self, now: Now) -> None:
        """Storage is busy; the rest is worth telling."""
        self.tell(None, now)
