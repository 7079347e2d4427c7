"""The client's side of the protocol, as a machine without I/O: what the frames of nodes mean.

A reply ends its request, or is a reason to send that again (attempts.py).  A *new write* has
another id, so that a reply to the old write is not taken for its reply.  A write whose stamp is
refused is sent as a new write without a stamp, unless it may still happen under the refused one:
then it would return above later writes, so another endpoint is asked instead.

A write whose stamp is too old by the clock of one node is never stamped by that node, whose clock
may be ahead.  The client stamps it again, as the write may have waited in its backlog.  If most
endpoints find the new stamp too old, too, its own clock is wrong, and the write fails.

A frame also names the epoch of the node's ring: if that is a newer one, the client asks for the
members, and uses their endpoints, too (learning.py, endpoints.py).

The shell calls `begin`, `flush` when an endpoint can be written to, `receive` for each frame,
`on_connected` and `on_disconnected` when a connection changes, and `on_deadline` at
`next_deadline`.  Requests with an outcome are in `finished`.  After it has received frames, it
calls `begin_learning`, and `close_left` from time to time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from toystore.client.attempts import Attempts
from toystore.client.clock import Clock
from toystore.client.errors import ERROR_OF, BadRequest, Internal, ToystoreError
from toystore.client.learning import Learning
from toystore.client.request import DONE, SENT, MembersRequest, Request, WriteRequest
from toystore.core.protocol.messages.client import (
    ClusterReply,
    DescribeMembersReply,
    ErrorReply,
    GetReply,
    OwnersReply,
    RepairReply,
    RingLoadReply,
    StatusReply,
    SupersededReply,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.wire import FrameError, decode

_ONE_NODE = (Code.OVERLOADED, Code.UNAVAILABLE)
"""Errors of one node: it is full, or cannot reach enough others.  Another may serve."""
_Reply = (
    GetReply
    | WriteReply
    | SupersededReply
    | ErrorReply
    | StatusReply
    | RepairReply
    | ClusterReply
    | OwnersReply
    | RingLoadReply
    | DescribeMembersReply
)


class ClientMachine(Attempts):
    """All requests of one client, and what it knows of the cluster."""

    def __init__(
        self, endpoints: Sequence[str], clock: Clock, in_flight_max: int, *, learns: bool = False
    ) -> None:
        """``in_flight_max``: the most open requests; more wait in the backlog.

        ``learns``: whether to use the members of the cluster, too, besides ``endpoints``.
        """
        Attempts.__init__(self, endpoints, in_flight_max)
        self._clock = clock
        self._learning = Learning(random.Random(), on=learns)
        self._to_ask: int | None = None
        """The endpoint that is to be asked for the members."""

    def receive(self, frame: bytes, endpoint: int, now: float) -> None:
        """Receive a frame of ``endpoint``.  Anything but a reply to an open request is ignored."""
        try:
            messages, _, epoch = decode(frame)
        except FrameError:
            return
        self._endpoints.heard_from(endpoint)
        if self._learning.hear(epoch, now):
            self._to_ask = endpoint
        for message in messages:
            if isinstance(message, _Reply):
                request = self._open.get(message.request)
                if request is not None:
                    self._on_reply(request, message, endpoint, now)

    # --- members --------------------------------------------------------------------------

    def begin_learning(self, now: float, until: float = float("inf")) -> MembersRequest | None:
        """Begin a request for the members, if there is a reason; its outcome is not `finished`.

        The shell calls it when it can send a request of its own, and at `refresh_due` if it can.
        ``until``: when it ends at the latest.
        """
        endpoint, self._to_ask = self._to_ask, None
        has_reason = endpoint in self.waiting or now >= self._learning.due
        if not has_reason or until <= now:
            return None
        self._learning.ask(now)
        request = MembersRequest(now)
        request.deadline = min(request.deadline, until)
        if endpoint is not None and endpoint in self.waiting:
            request.pinned, request.endpoint = True, endpoint
        self._number(request)
        self._admission.admit(request, now)
        return request

    @property
    def refresh_due(self) -> float:
        """When `begin_learning` is due, even if nothing is received."""
        return self._learning.due

    def close_left(self, close: Callable[[int], None]) -> None:
        """Call ``close`` with each endpoint that has left and awaits no reply, and forget it."""
        for endpoint in self._endpoints.left():
            if all(request.endpoint != endpoint for request in self._open.values()):
                close(endpoint)
                self._endpoints.remove(endpoint)
                del self.waiting[endpoint]

    def _learn_members(self, reply: DescribeMembersReply, now: float) -> None:
        """Use the endpoints of these members; requests for those that have left move."""
        names = self._learning.learn(reply, now)
        if not names:
            return
        self._endpoints.follow(names, now)
        for endpoint in self._endpoints.in_use:
            self.waiting.setdefault(endpoint, {})
        for endpoint in self._endpoints.left():
            for request in list(self.waiting[endpoint].values()):
                self._move(request, now)

    def _finish(self, request: Request[Any], outcome: Any, now: float) -> None:
        """End the request with an answer or an error."""
        if not isinstance(request, MembersRequest):
            Attempts._finish(self, request, outcome, now)
            return
        self._remove(request, now)
        if isinstance(outcome, DescribeMembersReply):
            self._learn_members(outcome, now)

    # --- replies --------------------------------------------------------------------------

    def _on_reply(self, request: Request[Any], reply: Any, endpoint: int, now: float) -> None:
        """A reply to this request, or to an earlier attempt of it."""
        try:
            if type(reply) is request.reply:
                if request.batch is not None:
                    self._learn(request, now)
                if isinstance(reply, GetReply):
                    self._admission.window.learn_size(sum(map(len, reply.values)))
                self._finish(request, request.answer(reply, self._clock), now)
            elif isinstance(reply, SupersededReply) and isinstance(request, WriteRequest):
                self._on_superseded(request, reply, now)
            elif isinstance(reply, ErrorReply) and (request.stage, request.endpoint) == (
                SENT,
                endpoint,
            ):  # An error of an earlier attempt does not count.
                self._on_error(request, reply, now)
        except ValueError:
            return  # A reply with an impossible stamp is ignored.
        except ToystoreError as error:  # The caller's clock has failed.
            self._fail(request, type(error), str(error), now)
        if request.stage == DONE and request.batch is not None:
            request.batch.progressed_at = now

    def _on_superseded(self, request: WriteRequest, reply: SupersededReply, now: float) -> None:
        """A replica stores a newer record: send a new write, above it.

        Other replicas may have stored the write, and a read with R=1 may find it: from now on
        no error is definite.
        """
        self._clock.merge(reply.stamp)
        request.indefinite = True
        self._begin_new_write(request, self._clock.mint() if request.stamp else None, now)

    def _on_error(self, request: Request[Any], reply: ErrorReply, now: float) -> None:
        """Finish with the error, unless it is a reason to ask again."""
        if reply.code == Code.NOT_SERVING:
            self._on_refusal(request, reply, now)
        elif reply.code == Code.CLOCK_BEHIND and isinstance(request, WriteRequest):
            self._on_behind(request, reply, now)
        elif reply.code == Code.OVERLOADED and reply.definite and request.batch is not None:
            self._admission.window.refused(now)
            self._on_refusal(request, reply, now)
        elif reply.code == Code.CLOCK_AHEAD and isinstance(request, WriteRequest) and request.stamp:
            if request.astray:
                self._on_refusal(request, reply, now)
            else:
                self._begin_new_write(request, None, now)
        elif reply.code in _ONE_NODE and self._may_ask_another(request, reply):
            request.asked_another = True
            if not reply.definite:
                request.indefinite = request.astray = True
            self._endpoints.shun(request.endpoint, now)
            self._move(request, now)
        else:
            definite = not request.writes or (reply.definite and not request.indefinite)
            error = ERROR_OF.get(reply.code, Internal)(reply.text, definite=definite)
            self._finish(request, error, now)

    def _may_ask_another(self, request: Request[Any], reply: ErrorReply) -> bool:
        """Whether a request may use another endpoint after an error of one node."""
        if request.pinned or request.asked_another:
            return False
        return len(self._endpoints.in_use) > 1 and (reply.definite or request.idempotent)

    def _on_behind(self, request: WriteRequest, reply: ErrorReply, now: float) -> None:
        """The stamp is too old by the clock of a node: that clock is wrong, or the own one is."""
        if request.astray:
            self._on_refusal(request, reply, now)
        elif request.behind is None:
            request.behind = set()
            self._begin_new_write(request, self._clock.mint(), now)
        else:
            request.behind.add(request.endpoint)
            if 2 * len(request.behind) > len(self._choice(request)):
                text = f"{reply.text}, and of most endpoints: set the clock of this machine"
                self._finish(request, BadRequest(text, definite=not request.indefinite), now)
            else:
                self._on_refusal(request, reply, now)

    def _on_refusal(self, request: Request[Any], reply: ErrorReply, now: float) -> None:
        """The endpoint did nothing: ask the next at once, or all again after a pause."""
        request.refusal = reply
        request.refusals += 1
        self._endpoints.shun(request.endpoint, now)
        if request.refusals % len(self._choice(request)):
            self._move(request, now)
        else:
            self._pause(request, now)

    def _begin_new_write(self, request: WriteRequest, stamp: bytes | None, now: float) -> None:
        """Send the same put or delete as a new write, with another id."""
        self._leave_queue(request)
        del self._open[request.id]
        self._number(request)
        request.stamp, request.astray = stamp, False
        self._open[request.id] = request
        self._wait(request, now)
