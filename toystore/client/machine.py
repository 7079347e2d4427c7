"""The client's side of the protocol, as a machine without I/O.

A client has several endpoints and many open requests.  Each request is sent to one endpoint
at a time, and goes through these stages until it has an outcome:

    BACKLOG --room--> WAITING --sent--> SENT --reply----------------------------> DONE
                       ^  |              |  ^
                       |  no connection  |  late reply of an earlier attempt
                       |  (in time)      |
                       +--<-- next ------+  no answer, connection lost, NOT_SERVING,
                       |                 |  CLOCK_BEHIND, `_ONE_NODE` (once)
                       +--<-- new write -+  Superseded (above it), CLOCK_AHEAD (unstamped),
                       |                 |  CLOCK_BEHIND (by the own clock, once)
                       +--<-- PAUSED ----+  every endpoint answered NOT_SERVING

and from any stage to DONE when its deadline passes, or when no endpoint is reachable and
none was asked.  This is the Lazy Pirate of the ZMQ Guide (chapter 4) for many requests at
once: a retry has the id and the stamp of the first attempt.  So a late reply is as valid as a
prompt one, and a write happens once.  A *new write* has another id, so that a reply to the
old write is not taken for its reply.

A write whose stamp is refused is sent as a new write without a stamp, unless it may still
happen under the refused one: then it would return above later writes, so another endpoint is
asked instead.  A write without a stamp is not idempotent: once sent, it waits for its reply
and is not sent to another endpoint, which could stamp it above later writes.

A write whose stamp is too old by the clock of one node is never stamped by that node, whose clock
may be ahead.  The client stamps it again, as the write may have waited in its backlog.  If most
endpoints find the new stamp too old, too, its own clock is wrong, and the write fails.

The shell calls `begin`, `flush` when an endpoint can be written to, `receive` for each frame,
`on_connected` and `on_disconnected` when a connection changes, and `on_deadline` at
`next_deadline`.  Requests with an outcome are in `finished`.
``now`` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from toystore.client.backlog import SWEEP_S_MIN, Backlog
from toystore.client.clock import Clock
from toystore.client.endpoints import Endpoints
from toystore.client.errors import (
    ERROR_OF,
    BadRequest,
    Internal,
    Timeout,
    ToystoreError,
    Unavailable,
)
from toystore.client.request import (
    BACKLOG,
    DONE,
    PAUSED,
    SENT,
    WAITING,
    Batch,
    Request,
    WriteRequest,
)
from toystore.client.window import Window
from toystore.core.protocol.messages.client import (
    ClusterReply,
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
from toystore.wire import FrameError, decode, encode

CONNECT_S = 0.15
"""How long to wait for a connection while there are endpoints not yet tried."""
PAUSE_S = 0.05
"""How long to wait when every endpoint answered that it is not serving."""
FRAME_MESSAGES_MAX = 256
FRAME_BYTES_MAX = 512 * 1024
CONNECTION_LOST = "the connection was lost"
"""Why an endpoint is disconnected, if no more is known."""
CUTS_MAX = 2
"""A large request whose connection is lost this often is assumed to be the cause."""

_NEVER = float("inf")
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
)


class ClientMachine:
    """All requests of one client, and the endpoint of each."""

    def __init__(self, endpoints: Sequence[str], clock: Clock, in_flight_max: int) -> None:
        """``in_flight_max``: the most open requests; more wait in the backlog."""
        self.waiting: list[dict[int, Request[Any]]] = [{} for _ in endpoints]
        """For each endpoint the requests to be sent there, by id."""
        self.finished: list[Request[Any]] = []
        """The requests that have an outcome; the shell empties it."""
        self._endpoints = Endpoints(endpoints)
        self._everywhere = range(len(endpoints))
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._last_id = 0
        self._open: dict[int, Request[Any]] = {}
        self._backlog = Backlog()
        self._window = Window(in_flight_max)
        self._filling = False
        self._due = _NEVER
        """No open request is due before.  It may be too early: its request may have ended."""

    @property
    def busy(self) -> bool:
        """Whether any request is without an outcome."""
        return bool(self._open)

    @property
    def preferred(self) -> int:
        """The endpoint for new requests."""
        return self._endpoints.preferred

    def begin(self, request: Request[Any], now: float) -> None:
        """Begin a request."""
        self._enter(request, now)

    def begin_many(self, requests: Iterable[Request[Any]], timeout_s: float, now: float) -> None:
        """Begin the requests of a call about many keys; their time starts outside the backlog."""
        batch = Batch(timeout_s, now)
        for request in requests:
            request.batch = batch
            self._enter(request, now)

    def flush(self, endpoint: int, send: Callable[[bytes], bool], now: float) -> None:
        """Call ``send`` with frames for ``endpoint`` until none is left or it returns False."""
        waiting = self.waiting[endpoint]
        while waiting:
            batch = _batch(waiting)
            if not send(encode([request.message(now) for request in batch])):
                return
            for request in batch:
                del waiting[request.id]
                request.stage = SENT
                request.sent_at = now
                wait_s = request.terms.attempt_s if request.idempotent else _NEVER
                self._arm(request, now + wait_s)

    def receive(self, frame: bytes, endpoint: int, now: float) -> None:
        """Receive a frame of ``endpoint``.  Anything but a reply to an open request is ignored."""
        try:
            messages = decode(frame).messages
        except FrameError:
            return
        self._endpoints.heard_from(endpoint)
        for message in messages:
            if isinstance(message, _Reply):
                request = self._open.get(message.request)
                if request is not None:
                    self._on_reply(request, message, endpoint, now)

    def on_connected(self, endpoint: int) -> None:
        """The endpoint is connected."""
        self._endpoints.connected(endpoint)

    def on_closed(self, endpoint: int) -> None:
        """The shell has closed a connection to it."""
        self._endpoints.forget(endpoint)

    def on_unconnected(self, endpoint: int, why: str) -> None:
        """The endpoint is not connected yet, for this reason; it may still be."""
        self._endpoints.explain(endpoint, why)

    def on_disconnected(self, endpoint: int, why: str, now: float, *, certain: bool) -> None:
        """The endpoint is not connected.  ``certain``: an attempt has just failed.

        Requests that wait for it or await its reply are sent to another endpoint: a reply
        can only come over the connection by which the request was sent.
        """
        self._endpoints.disconnected(endpoint, why, now if certain else None)
        self._endpoints.prefer_another_than(endpoint, now)
        there = [request for request in self._open.values() if request.endpoint == endpoint]
        asked = [request for request in there if request.stage == SENT]
        if asked:
            max(asked, key=lambda request: request.size).cuts += 1
        for request in asked:
            self._on_cut(request, why, now)
        for request in list(self.waiting[endpoint].values()):
            self._on_unreachable(request, now)

    def next_deadline(self) -> float | None:
        """When `on_deadline` is due at the latest, or None."""
        due = min(self._due, self._backlog.next_deadline())
        return None if due == _NEVER else due

    def on_deadline(self, now: float) -> None:
        """End the requests that are out of time; send others to the next endpoint."""
        if now >= self._backlog.next_deadline():
            for request in self._backlog.overdue(now):
                self._time_out(request, now)
        if now >= self._due:
            for request in [each for each in self._open.values() if each.due <= now]:
                self._on_due(request, now)
            due = min((request.due for request in self._open.values()), default=_NEVER)
            self._due = max(due, now + SWEEP_S_MIN)

    def rotate(self, now: float) -> None:
        """Send new requests to the next endpoint that can be used."""
        self._endpoints.rotate(now)

    def abandon(self, request: Request[Any], now: float) -> None:
        """End a request whose caller does not wait any more."""
        if request.stage != DONE:
            self._remove(request, now)

    def end(self, text: str, now: float, *, error: type[ToystoreError] = ToystoreError) -> None:
        """End every request with an error; one that may have happened is not definite."""
        room, self._in_flight_max = self._in_flight_max, 0
        for request in [*self._open.values(), *self._backlog]:
            self._finish(request, error(text, definite=_is_definite(request)), now)
        self._in_flight_max = room

    # --- the stages of a request ----------------------------------------------------------

    def _enter(self, request: Request[Any], now: float) -> None:
        """Admit a request if there is room and none waits; else it waits in the backlog."""
        self._last_id += 1
        request.id = self._last_id
        has_room = len(self._open) < self._in_flight_max
        if has_room and not self._backlog.count and self._fits(request):
            self._admit(request, now)
        else:
            self._backlog.add(request)
            self._fill(now)

    def _fill(self, now: float) -> None:
        """Admit requests from the backlog while there is room."""
        if self._filling:  # A request may end as soon as it is admitted, and call this again.
            return
        self._filling = True
        while self._backlog.count and len(self._open) < self._in_flight_max:
            request = self._backlog.take(self._fits)
            if request is None:
                break
            self._admit(request, now)
        self._filling = False

    def _fits(self, request: Request[Any]) -> bool:
        """Whether a request may be sent now, if it is of a call about many keys."""
        return request.batch is None or self._window.fits(self._cost(request))

    def _cost(self, request: Request[Any]) -> int:
        """About how many bytes it and its reply will take."""
        return request.size + (int(self._window.read_bytes) if request.reply is GetReply else 0)

    def _admit(self, request: Request[Any], now: float) -> None:
        """Open the request, at an endpoint."""
        if request.batch is not None:
            request.start(now)
            request.cost = self._cost(request)
            self._window.enter(request.cost)
        self._open[request.id] = request
        if not request.pinned:
            request.endpoint = self._endpoints.preferred
        self._wait(request, now)
        if self._endpoints.failed_at >= request.began and self._is_out_of_reach(request):
            self._on_unreachable(request, now)

    def _wait(self, request: Request[Any], now: float) -> None:
        """Let the request wait until its endpoint is connected."""
        request.stage = WAITING
        self.waiting[request.endpoint][request.id] = request
        others = 1 if request.pinned else len(self._everywhere)
        if others == 1:
            wait_s = _NEVER
        elif request.moves < others:
            wait_s = CONNECT_S
        else:  # None connected in that time: wait longer for each.
            wait_s = request.terms.attempt_s
        self._arm(request, now + wait_s)

    def _arm(self, request: Request[Any], due: float) -> None:
        """Set when the request's stage ends at the latest."""
        if due > request.deadline:  # noqa: PLR1730 - `min` takes three times as long
            due = request.deadline
        request.due = due
        if due < self._due:  # noqa: PLR1730 - as above
            self._due = due

    def _on_due(self, request: Request[Any], now: float) -> None:
        """The request's stage has lasted long enough."""
        if now >= request.deadline:
            self._time_out(request, now)
        elif request.stage == PAUSED:
            self._wait(request, now)
        else:
            if request.stage == SENT:
                request.indefinite = request.astray = True
                if request.batch is not None:
                    self._learn(request, now)
            self._endpoints.shun(request.endpoint, now)
            self._move(request, now)

    def _on_cut(self, request: Request[Any], why: str, now: float) -> None:
        """The connection for its reply is lost."""
        request.indefinite = request.astray = True
        name = self._endpoints.name(request.endpoint)
        if request.cuts >= CUTS_MAX and request.size > FRAME_BYTES_MAX:
            text = (
                f"the connection was cut {request.cuts} times while these {request.size:,} bytes "
                f"were sent, at last by {name}: that is probably more than the cluster takes"
            )
            self._fail(request, BadRequest, text, now)
        elif request.idempotent and not self._is_out_of_reach(request):
            self._move(request, now)
        else:
            text = f"the connection to {name} was lost before it answered"
            text += f": {why}" if why != CONNECTION_LOST else ""
            self._fail(request, Unavailable, text, now)

    def _on_unreachable(self, request: Request[Any], now: float) -> None:
        """Its endpoint is not connected: use another, or fail if all are unreachable."""
        if not request.indefinite and self._is_out_of_reach(request):
            self._fail(request, Unavailable, f"cannot reach {self._reasons(request)}", now)
        elif len(self._choice(request)) > 1:
            self._move(request, now)

    def _is_out_of_reach(self, request: Request[Any]) -> bool:
        """Whether all endpoints that it may use have become unreachable since it began."""
        return self._endpoints.failed_since(request.began, self._choice(request))

    def _on_reply(self, request: Request[Any], reply: Any, endpoint: int, now: float) -> None:
        """A reply to this request, or to an earlier attempt of it."""
        try:
            if type(reply) is request.reply:
                if request.batch is not None:
                    self._learn(request, now)
                if isinstance(reply, GetReply):
                    self._window.learn_size(sum(map(len, reply.values)))
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

    def _learn(self, request: Request[Any], now: float) -> None:
        """Adapt the window to how long the answer took."""
        if request.stage == SENT:
            self._window.learn(now - request.sent_at, request.terms.attempt_s, now)

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
        others = len(self._choice(request)) > 1
        return others and not request.asked_another and (reply.definite or request.idempotent)

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
        request.refusal = reply.text
        request.refusals += 1
        self._endpoints.shun(request.endpoint, now)
        if request.refusals % len(self._choice(request)):
            self._move(request, now)
            return
        if not request.pinned:
            request.endpoint = self._endpoints.after(request.endpoint, now)
        request.stage = PAUSED
        self._arm(request, now + PAUSE_S)

    def _begin_new_write(self, request: WriteRequest, stamp: bytes | None, now: float) -> None:
        """Send the same put or delete as a new write, with another id."""
        self._leave_queue(request)
        del self._open[request.id]
        self._last_id += 1
        request.id, request.stamp, request.astray = self._last_id, stamp, False
        self._open[request.id] = request
        self._wait(request, now)

    def _move(self, request: Request[Any], now: float) -> None:
        """Send the request to the next endpoint."""
        self._leave_queue(request)
        request.moves += 1
        if not request.pinned:
            request.endpoint = self._endpoints.after(request.endpoint, now)
        self._wait(request, now)

    def _choice(self, request: Request[Any]) -> Sequence[int]:
        """The endpoints that it may use."""
        return (request.endpoint,) if request.pinned else self._everywhere

    # --- endings --------------------------------------------------------------------------

    def _time_out(self, request: Request[Any], now: float) -> None:
        """End a request that is out of time."""
        error: type[ToystoreError] = Timeout
        detail = f"{self._endpoints.name(request.endpoint)} was asked last"
        if request.stage == BACKLOG:
            detail = f"there was no room to send it, {len(self._open)} others were under way"
        elif request.stage != SENT and request.refusals:
            error, detail = Unavailable, f"no endpoint would take it: {request.refusal}"
        elif request.stage != SENT and not request.indefinite:
            detail = f"there was no connection to {self._reasons(request)}"
        self._fail(request, error, f"no answer within {request.terms.timeout_s:g} s: {detail}", now)

    def _reasons(self, request: Request[Any]) -> str:
        """The endpoints that it may use, with the reasons why they are unreachable."""
        return self._endpoints.reasons(self._choice(request))

    def _fail(
        self, request: Request[Any], error: type[ToystoreError], text: str, now: float
    ) -> None:
        """End the request with an error of the client itself."""
        self._finish(request, error(text, definite=_is_definite(request)), now)

    def _finish(self, request: Request[Any], outcome: Any, now: float) -> None:
        """End the request with an answer or an error."""
        self._remove(request, now)
        request.outcome = outcome
        self.finished.append(request)

    def _remove(self, request: Request[Any], now: float) -> None:
        """Remove the request, and admit the next from the backlog."""
        if request.stage == BACKLOG:
            self._backlog.remove(request)
            request.stage = DONE
            return
        self._leave_queue(request)
        request.stage = DONE
        del self._open[request.id]
        if request.batch is not None:
            self._window.leave(request.cost)
        if self._backlog.count:
            self._fill(now)

    def _leave_queue(self, request: Request[Any]) -> None:
        """Remove the request from the queue of its endpoint, if it waits there."""
        if request.stage == WAITING:
            del self.waiting[request.endpoint][request.id]


def _batch(waiting: dict[int, Request[Any]]) -> list[Request[Any]]:
    """The first requests, as many as share a frame."""
    batch: list[Request[Any]] = []
    size = 0
    for request in waiting.values():
        size += request.size
        if batch and (size > FRAME_BYTES_MAX or len(batch) == FRAME_MESSAGES_MAX):
            break
        batch.append(request)
    return batch


def _is_definite(request: Request[Any]) -> bool:
    """Whether it certainly did not and will not happen, if it ends now."""
    return not request.writes or not (request.indefinite or request.stage == SENT)
