"""Which requests a coordinator admits.

    room       how many requests the shell may hand to the coordinator in this turn
    turn_away  refuses the requests for which there is no room, before they are decoded
    admit      decides on one request that has been decoded

A coordinator admits a valid request (validation.py) while its node serves (serving.py) and
there is room.  There is room while fewer than ``requests_max`` requests are unanswered, the desk
is not full (desk.py), and, for requests of clients, the queue limit is not reached
(queue_limit.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from toystore.core.protocol.address import ANTIENTROPY, Address, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import Overloaded
from toystore.core.protocol.messages.client import Delete, ErrorReply, Get, Put
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.settings import CoordinatorSettings
from toystore.core.requests.desk import Desk
from toystore.core.requests.queue_limit import QueueLimit
from toystore.core.requests.serving import Phase, Serving
from toystore.core.requests.validation import ahead_s, fault_in

_LOG_EVERY_S = 1.0
_COUNTED_AS = {Get: "gets", Put: "puts", Delete: "deletes"}
_SERVING = Phase.SERVING


class Admission:
    """Decides which requests one coordinator admits, and refuses the others."""

    __slots__ = ("_desk", "_logged_at", "_queue", "_requests_max", "_serving", "_settings")

    def __init__(self, desk: Desk, serving: Serving, settings: CoordinatorSettings) -> None:
        self._desk = desk
        self._serving = serving
        self._settings = settings
        self._requests_max = settings.limits.requests_max
        self._queue = QueueLimit(self._requests_max)
        self._logged_at: dict[str, float] = {}

    def room(self, now: Now) -> float:
        """How many requests of clients can be admitted now.  The shell asks once per turn.

        Unlimited if the node does not serve: then each request is refused for that reason.
        """
        if self._serving.phase is not _SERVING:
            return math.inf
        desk = self._desk
        counts = desk.counts
        admitted = counts["gets"] + counts["puts"] + counts["deletes"]
        self._queue.observe(desk.unanswered, admitted, now.monotonic)
        return self._queue.limit - desk.unanswered if self.has_room(1) else 0

    def turn_away(self, numbers: Sequence[int], now: Now) -> list[Message]:
        """The refusals of requests for which there is no room, given their callers' numbers."""
        self._queue.refused = True
        self._desk.counts["failed"] += len(numbers)
        self._log_overload(now)
        text = self._overloaded()
        return [ErrorReply(number, Code.OVERLOADED, text, True) for number in numbers]

    def admit(self, request: Get | Put | Delete, size: int, sender: Address, now: Now) -> bool:
        """Whether a request of ``size`` bytes is admitted; if not, it is refused.

        A forwarded write was admitted by the node that its client asked, which checked if the stamp
        is ahead.  A stamp that is too old is refused, too: a tombstone above it may have been
        deleted, and a replica that does not know of that would store the write.
        """
        if self._serving.phase is not _SERVING:
            self._refuse_for_phase(request.request, sender)
            return False
        fault = fault_in(request, self._settings)
        if fault is not None:
            self.refuse(request.request, Code.BAD_REQUEST, fault, sender)
            return False
        forwarded = not isinstance(request, Get) and request.forwarded
        if not self.has_room(size) or not (forwarded or self._desk.unanswered < self._queue.limit):
            self._queue.refused = True
            self.refuse_for_room(request.request, sender, now)
            return False
        if not (isinstance(request, Get) or request.stamp is None):
            ahead = ahead_s(request.stamp, now.wall_us)
            if ahead > self._settings.clock_ahead_max_s and not forwarded:
                self._refuse_for_clock(request.request, ahead, sender, now)
                return False
            if self.time_left_s(request.stamp, now) <= 0:
                self._refuse_for_age(request.request, -ahead, sender, now)
                return False
        self._desk.counts[_COUNTED_AS[type(request)]] += 1
        return True

    def time_left_s(self, stamp: bytes, now: Now) -> float:
        """For how many seconds a write with this stamp may be sent to replicas."""
        return self._settings.reap_after_s / 2 + ahead_s(stamp, now.wall_us)

    def has_room(self, bytes_more: int) -> bool:
        """Whether one more request of ``bytes_more`` bytes can be admitted.

        Without other requests, a request of any size can be: it would never have more room.
        """
        desk = self._desk
        return (
            desk.unanswered < self._requests_max
            and (not desk.bytes or desk.bytes + bytes_more <= desk.bytes_max)
            and len(desk.requests) < desk.total_max
        )

    # --- refusals -----------------------------------------------------------------------

    def refuse(self, number: int, code: Code, text: str, sender: Address) -> None:
        """Refuse the request with the caller's ``number``: nothing was done."""
        self._desk.counts["failed"] += 1
        self._desk.outbox.send(sender, ErrorReply(number, code, text, True))

    def refuse_for_room(self, number: int, sender: Address, now: Now) -> None:
        """Refuse a request for want of room."""
        self._log_overload(now)
        self.refuse(number, Code.OVERLOADED, self._overloaded(), sender)

    def _refuse_for_phase(self, number: int, sender: Address) -> None:
        doing = "stopping" if self._serving.phase is Phase.LEAVING else "starting"
        self.refuse(number, Code.NOT_SERVING, f"{self._desk.node} is {doing}", sender)

    def _refuse_for_clock(self, number: int, ahead: float, sender: Address, now: Now) -> None:
        """Refuse a stamp that is too far ahead: the clock that minted it is wrong."""
        self._log_rarely("clock.refused", now, ahead_s=round(ahead, 3))
        text = f"the stamp is {ahead:.1f} s ahead of the clock of {self._desk.node}"
        self.refuse(number, Code.CLOCK_AHEAD, text, sender)

    def _refuse_for_age(self, number: int, age: float, sender: Address, now: Now) -> None:
        """Refuse a stamp that is too old, or seems so because the clock of this node is wrong.

        The caller asks another node.  It must not stamp its write by the clock of this one: if that
        is ahead, all other nodes would refuse the stamp, and every later one of the caller.
        """
        self._log_rarely("clock.refused", now, ahead_s=round(-age, 3))
        text = f"the stamp is {age:.1f} s behind the clock of {self._desk.node}"
        self.refuse(number, Code.CLOCK_BEHIND, text, sender)

    def _overloaded(self) -> str:
        return f"{self._desk.node} holds as many requests as it may"

    def _log_overload(self, now: Now) -> None:
        desk = self._desk
        requests, size = desk.unanswered, desk.bytes
        if self._log_rarely("coordinator.overloaded", now, requests=requests, bytes=size):
            desk.outbox.send(Peer(desk.node, ANTIENTROPY), Overloaded(requests))

    def _log_rarely(self, event: str, now: Now, **fields: Any) -> bool:
        """Log an event, unless it was logged less than a second ago; returns whether it was."""
        due = now.monotonic >= self._logged_at.get(event, -_LOG_EVERY_S) + _LOG_EVERY_S
        if due:
            self._logged_at[event] = now.monotonic
            self._desk.outbox.log(event, **fields)
        return due
