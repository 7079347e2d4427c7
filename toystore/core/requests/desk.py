"""The coordinator's desk: all its requests that are not complete, and when each is due.

A request is on the desk from its admission to its end, under a number that the coordinator
gives it.  Most requests end some time after their answer: a write when each owner has its
copy or a hint, a read when it has repaired the stale replicas.  There are two kinds of timers:

    silences    nodes that were asked and must answer within ``replica_timeout_s``.  The
                time is the same for all, so a queue keeps them in order.
    deadlines   when the caller of a request gives up, or the request wants to be reminded: a heap.

Both hold numbers, and skip those of requests that have ended.  So a request that ends in time
costs one append for each, and nothing is searched.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, ClassVar

from toystore.core.data.stamp import HybridLogicalClock
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import ErrorReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.settings import CoordinatorSettings
from toystore.core.requests.latencies import Latencies
from toystore.core.requests.newer_rings import NewerRings
from toystore.core.requests.nodes import Nodes
from toystore.core.requests.place import Layouts

_NUMBER_BITS = 48
_CROWD = 4
"""The desk has room for this many times ``requests_max`` requests, with the answered ones."""


class Ticket:
    """A caller's request for one answer, in time."""

    __slots__ = ("began", "caller", "deadline", "latencies", "request", "size")

    def __init__(
        self,
        caller: Address,
        request: int,
        now: Now,
        timeout_s: float,
        size: int,
        latencies: Latencies | None,
    ) -> None:
        """``request``: the caller's number; ``size``: bytes of its keys and values.

        ``latencies``: where the time to the answer is noted, if anywhere.
        """
        self.caller = caller
        self.request = request
        self.began = now.monotonic
        self.deadline = self.began + timeout_s
        self.size = size
        self.latencies = latencies


class DeskRequest:
    """One request, from its admission to its end."""

    __slots__ = ("answered", "bytes", "desk", "number", "ticket")

    hears: ClassVar[tuple[type[Any], ...]]
    """The types of the replies that it receives."""

    def __init__(self, desk: Desk, ticket: Ticket) -> None:
        self.desk = desk
        self.ticket = ticket
        self.bytes = ticket.size
        self.number = 0
        self.answered = False

    def on_reply(self, reply: Any, node: str, now: Now) -> None:
        """An actor of ``node`` has sent a reply of a type in `hears`."""
        raise NotImplementedError

    def on_deadline(self, now: Now) -> None:
        """Its deadline has come, or the second at which it is to be reminded."""
        raise NotImplementedError

    def awaited(self, nodes: Sequence[str]) -> list[Peer]:  # noqa: ARG002 - for subclasses
        """The actors of ``nodes`` that were asked for this request and have not answered."""
        return []

    def on_silence(self, peers: Sequence[Peer], now: Now) -> None:
        """Each of ``peers`` has been silent for ``replica_timeout_s``."""

    def on_lost(self, node: str, now: Now) -> None:
        """``node`` has become unreachable: it is dead, or its link is lost."""

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:
        """A message to ``node`` did not leave: its link is down, or its queue is full."""

    def on_ring(self, layouts: Layouts, now: Now) -> None:
        """The ring has changed; ``layouts``: the ranges of the new one."""

    def on_failure(self, now: Now) -> None:
        """Answer with an error if it is not answered: the machine is about to be replaced."""
        if not self.answered:
            self.fail(Code.INTERNAL, f"{self.desk.node} failed while it held this request", now)

    def on_removed(self, now: Now) -> None:
        """The node is no member any more; what the node alone answers goes on."""

    @property
    def definite(self) -> bool:
        """Whether a failure now would mean that nothing was done."""
        return True

    def answer(self, reply: Message, now: Now) -> None:
        """Answer the caller, once."""
        assert not self.answered
        self.answered = True
        desk, ticket = self.desk, self.ticket
        desk.unanswered -= 1
        if ticket.latencies is not None:
            ticket.latencies.note(now.monotonic - ticket.began, now.monotonic)
        if type(reply) is ErrorReply:
            desk.counts["failed"] += 1
        desk.outbox.send(ticket.caller, reply)

    def fail(self, code: int, text: str, now: Now) -> None:
        """Answer with an error, and end."""
        self.answer(ErrorReply(self.ticket.request, code, text, self.definite), now)
        self.end()

    def fail_as_removed(self, now: Now) -> None:
        """Answer that this node is no member any more, so that the caller asks another."""
        code = Code.NOT_SERVING if self.definite else Code.UNAVAILABLE
        self.fail(code, f"{self.desk.node} is no member any more", now)

    def end(self) -> None:
        """Leave the desk."""
        self.desk.close(self)


class Desk:
    """All requests of one coordinator, and what they share."""

    __slots__ = (
        "_deadlines",
        "_number",
        "_replica_timeout_s",
        "_silences",
        "bytes",
        "bytes_max",
        "clock",
        "counts",
        "newer_rings",
        "node",
        "nodes",
        "outbox",
        "read_latencies",
        "requests",
        "total_max",
        "unanswered",
        "write_latencies",
    )

    def __init__(
        self,
        node: str,
        members: Iterable[str],
        settings: CoordinatorSettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        self.node = node
        self.outbox = outbox
        self.clock = HybridLogicalClock.drawn(chance)
        self.nodes = Nodes(node, members, settings.replica_timeout_s, outbox)
        self.newer_rings = NewerRings(node, outbox)
        self.requests: dict[int, DeskRequest] = {}
        self.total_max = _CROWD * settings.limits.requests_max
        self.unanswered = 0
        """The number of open requests."""
        self.bytes = 0
        self.bytes_max = settings.limits.request_bytes_max
        self.counts = dict.fromkeys(("gets", "puts", "deletes", "forwarded", "failed"), 0)
        self.read_latencies = Latencies()
        self.write_latencies = Latencies()
        """Of the writes of clients; the node that forwards a write notes how long it took."""
        self._replica_timeout_s = settings.replica_timeout_s
        # Late replies to the machine before this one must not match numbers of this one.
        self._number = chance.getrandbits(_NUMBER_BITS)
        self._silences: deque[tuple[float, int, Sequence[str]]] = deque()
        self._deadlines: list[tuple[float, int]] = []

    # --- what is on it ------------------------------------------------------------------

    def crowded(self) -> bool:
        """Whether more than half of its space is taken."""
        return 2 * self.bytes > self.bytes_max or 2 * len(self.requests) > self.total_max

    def next_number(self) -> int:
        """The number of a question to another actor."""
        self._number += 1
        return self._number

    def open(self, request: DeskRequest) -> None:
        """Put a request on the desk."""
        request.number = number = self._number = self._number + 1
        self.requests[number] = request
        self.unanswered += 1
        self.bytes += request.bytes
        heappush(self._deadlines, (request.ticket.deadline, number))

    def renumber(self, request: DeskRequest) -> None:
        """Give a request another number: replies to the old number no longer count."""
        del self.requests[request.number]
        request.number = self.next_number()
        self.requests[request.number] = request
        heappush(self._deadlines, (request.ticket.deadline, request.number))

    def charge(self, request: DeskRequest, bytes_more: int) -> None:
        """A request holds so many bytes more."""
        request.bytes += bytes_more
        self.bytes += bytes_more

    def close(self, request: DeskRequest) -> None:
        """Take a request off the desk, if it is still there."""
        if self.requests.pop(request.number, None) is not None:
            self.bytes -= request.bytes
            if not request.answered:
                self.unanswered -= 1

    def each(self) -> Iterator[DeskRequest]:
        """Each request that is here now, unless it ends before its turn."""
        for number in list(self.requests):
            if request := self.requests.get(number):
                yield request

    # --- when it is due -----------------------------------------------------------------

    def watch(self, number: int, nodes: Sequence[str], now: Now) -> None:
        """Call the request's ``on_silence`` for those of ``nodes`` that do not answer in time."""
        self._silences.append((now.monotonic + self._replica_timeout_s, number, nodes))

    def extend(self, request: DeskRequest, now: Now) -> None:
        """Call the request's ``on_deadline`` again, after two times ``replica_timeout_s``."""
        self.remind(request, now.monotonic + 2 * self._replica_timeout_s)

    def remind(self, request: DeskRequest, at_s: float) -> None:
        """Call the request's ``on_deadline`` at monotonic second ``at_s`` too."""
        heappush(self._deadlines, (at_s, request.number))

    def next_deadline(self) -> float | None:
        """The monotonic second at which the first timer is due, or None."""
        requests, silences, deadlines = self.requests, self._silences, self._deadlines
        while silences and silences[0][1] not in requests:
            silences.popleft()
        while deadlines and deadlines[0][1] not in requests:
            heappop(deadlines)
        if not deadlines:
            return silences[0][0] if silences else None
        return min(silences[0][0], deadlines[0][0]) if silences else deadlines[0][0]

    def expire(self, now: Now) -> None:
        """Serve the timers that are due."""
        deadlines, silences = self._deadlines, self._silences
        while deadlines and deadlines[0][0] <= now.monotonic:
            if request := self.requests.get(heappop(deadlines)[1]):
                request.on_deadline(now)
        while silences and silences[0][0] <= now.monotonic:
            until, number, nodes = silences.popleft()
            request = self.requests.get(number)
            if request is not None and (silent := request.awaited(nodes)):
                self.nodes.doubt(silent, until - self._replica_timeout_s, now)
                request.on_silence(silent, now)

    def rearm(self, now: Now) -> None:
        """This process stalled: each node that has not answered gets the whole time again."""
        self.nodes.trust_all()
        until = now.monotonic + self._replica_timeout_s
        self._silences = deque((until, number, nodes) for _, number, nodes in self._silences)

    # --- reachable nodes ----------------------------------------------------------------

    def reach(self, nodes: frozenset[str], now: Now) -> None:
        """Set the reachable nodes, and tell each request about those that are lost."""
        self._lose(self.nodes.reach(nodes), now)

    def follow(self, layouts: Layouts, nodes: frozenset[str], now: Now) -> None:
        """The ring has changed: follow its members, of which ``nodes`` are reachable.

        Requests are planned by the new ring before they are told which nodes are lost.
        """
        self.newer_rings.clear()
        self.nodes.follow(layouts.ring.members)
        lost = self.nodes.reach(nodes)
        for request in self.each():
            request.on_ring(layouts, now)
        self._lose(lost, now)

    def give_up(self, now: Now) -> None:
        """This node is no member any more: no other node answers it."""
        for request in self.each():
            request.on_removed(now)

    def _lose(self, nodes: Iterable[str], now: Now) -> None:
        for node in sorted(nodes):
            for request in self.each():
                request.on_lost(node, now)
