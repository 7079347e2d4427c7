"""How a request is asked: the client's side of the protocol, as a machine without I/O.

A client has several endpoints and many requests in flight.  Each request goes to one
endpoint at a time, and from stage to stage until it has an outcome:

    BACKLOG --room--> WAITING --sent--> SENT --reply----------------------------> DONE
                       ^  |              |  ^
                       |  no connection  |  late reply of an earlier attempt
                       |  in time        |
                       +--<-- next ------+  silent, NOT_SERVING, `_SPARED_BY` (once)
                       +--<-- anew ------+  Superseded (above it), CLOCK_AHEAD (unstamped)
                       +--<-- PAUSED ----+  every endpoint said NOT_SERVING

and from any stage to DONE when its deadline passes.  This is the Lazy Pirate of the ZMQ
Guide (chapter 4) for many requests at once: a retry has the id and the stamp of the first
attempt, so that a late reply is as good as a prompt one, and a write happens once.  A put
*anew* is another write and has another id, lest the old one's reply be taken for its own.

A write whose stamp is refused is put anew without one, unless it may still happen under
that stamp: then it would come back above what followed it, so other endpoints are asked.
A write without a stamp is not idempotent: once sent, it waits for its reply and is not
put to another endpoint, where it could come to be stamped above what followed it.

The shell calls `begin`, `flush` when an endpoint can be written to, `receive` for what
arrives and `on_deadline` when `next_deadline` has come; it finds the outcomes in
`finished`.  ``now`` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toystore.client.clock import Clock
from toystore.client.errors import ERROR_OF, Internal, Timeout, ToystoreError, Unavailable
from toystore.client.request import BACKLOG, DONE, PAUSED, SENT, WAITING, Request, WriteRequest
from toystore.core.messages import (
    Code,
    ErrorReply,
    GetReply,
    OwnersReply,
    RingLoadReply,
    StatusReply,
    SupersededReply,
    WriteReply,
)
from toystore.wire import FrameError, decode, encode

CONNECT_S = 0.15
"""How long to wait for a connection while there are endpoints not yet tried."""
PAUSE_S = 0.05
"""How long to wait when every endpoint said that it is not serving."""
SHUN_S = 1.0
"""How long an endpoint that failed a request is passed over, while there are others."""
SWEEP_S_MIN = 0.002
"""Sweeps over all open requests for those that are due are at least this far apart."""
FRAME_MESSAGES_MAX = 256
FRAME_BYTES_MAX = 512 * 1024

_NEVER = float("inf")
_SPARED_BY = (Code.OVERLOADED, Code.UNAVAILABLE)
"""Said of one node and not of all: it is full, or cut off from the others."""
_Reply = (
    GetReply | WriteReply | SupersededReply | ErrorReply | StatusReply | OwnersReply | RingLoadReply
)


class ClientMachine:
    """All requests of one client, and which endpoint each is put to."""

    def __init__(self, endpoints: Sequence[str], clock: Clock, in_flight_max: int) -> None:
        """``in_flight_max``: requests beyond it wait in a backlog for room."""
        self.preferred = 0
        """The endpoint that new requests are put to: the last that did not fail one."""
        self.waiting: list[dict[int, Request[Any]]] = [{} for _ in endpoints]
        """For each endpoint what is to be sent there, by id."""
        self.finished: list[Request[Any]] = []
        """What has an outcome; the shell empties it."""
        self._endpoints = endpoints
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._last_id = 0
        self._open: dict[int, Request[Any]] = {}
        self._backlog: dict[int, Request[Any]] = {}
        self._shunned: dict[int, float] = {}
        # No request is due before these; they may be early, as what they came from is over.
        self._due = _NEVER
        self._backlog_due = _NEVER

    @property
    def busy(self) -> bool:
        """Whether any request is without an outcome."""
        return bool(self._open)

    def begin(self, request: Request[Any], now: float) -> None:
        """Take on a request."""
        self._last_id += 1
        request.id = self._last_id
        if len(self._open) < self._in_flight_max:
            self._admit(request, now)
        else:
            self._backlog[request.id] = request
            self._backlog_due = min(self._backlog_due, request.due)

    def flush(self, endpoint: int, send: Callable[[bytes], bool], now: float) -> None:
        """Hand frames for ``endpoint`` to ``send`` until none is left or it returns False."""
        waiting = self.waiting[endpoint]
        while waiting:
            batch = _batch(waiting)
            if not send(encode([request.message(now) for request in batch])):
                return
            for request in batch:
                del waiting[request.id]
                request.stage = SENT
                last = request.deadline
                if request.idempotent:
                    last = min(last, now + request.terms.attempt_s)
                self._arm(request, last)

    def receive(self, frame: bytes, endpoint: int, now: float) -> None:
        """Take in a frame that ``endpoint`` sent; what is not a reply of ours is ignored."""
        try:
            messages = decode(frame).messages
        except FrameError:
            return
        if self._shunned:
            self._shunned.pop(endpoint, None)
        for message in messages:
            if isinstance(message, _Reply):
                request = self._open.get(message.request)
                if request is not None:
                    self._on_reply(request, message, endpoint, now)

    def next_deadline(self) -> float | None:
        """When `on_deadline` is wanted at the latest, or None."""
        due = min(self._due, self._backlog_due)
        return None if due == _NEVER else due

    def on_deadline(self, now: float) -> None:
        """Give up, or put to another endpoint, whatever has waited long enough."""
        if now >= self._backlog_due:
            for request in [held for held in self._backlog.values() if held.due <= now]:
                self._give_up(request, now)
            self._backlog_due = self._next_sweep(self._backlog, now)
        if now >= self._due:
            for request in [held for held in self._open.values() if held.due <= now]:
                self._on_due(request, now)
            self._due = self._next_sweep(self._open, now)

    def rotate(self, now: float) -> None:
        """Put new requests to the next endpoint that is not shunned."""
        self.preferred = self._after(self.preferred, now)

    def abandon(self, request: Request[Any], now: float) -> None:
        """Forget a request whose caller has gone away."""
        if request.stage != DONE:
            self._remove(request, now)

    def close(self, now: float) -> None:
        """End every request with an error."""
        self._in_flight_max = 0
        for request in [*self._open.values(), *self._backlog.values()]:
            error = ToystoreError("the client was closed", definite=_is_definite(request))
            self._finish(request, error, now)

    # --- a request's way from stage to stage ----------------------------------------------

    def _admit(self, request: Request[Any], now: float) -> None:
        """There is room: put the request to an endpoint."""
        self._open[request.id] = request
        if not request.pinned:
            request.endpoint = self.preferred
        self._wait(request, now)

    def _wait(self, request: Request[Any], now: float) -> None:
        """To be sent, as soon as there is a connection to its endpoint."""
        request.stage = WAITING
        self.waiting[request.endpoint][request.id] = request
        others = 1 if request.pinned else len(self._endpoints)
        if others == 1:
            patience_s = _NEVER
        elif request.moves < others:
            patience_s = CONNECT_S
        else:  # None connected that fast.  Perhaps they are far away: give each more time.
            patience_s = request.terms.attempt_s
        self._arm(request, now + patience_s)

    def _arm(self, request: Request[Any], due: float) -> None:
        """Set when the request's stage is over at the latest."""
        request.due = due = min(due, request.deadline)
        self._due = min(self._due, due)

    def _on_due(self, request: Request[Any], now: float) -> None:
        """The request's stage has lasted long enough."""
        if now >= request.deadline:
            self._give_up(request, now)
        elif request.stage == PAUSED:
            self._wait(request, now)
        else:
            if request.stage == SENT:
                request.silent = request.astray = True
            self._shun(request, now)
            self._move(request, now)

    def _on_reply(self, request: Request[Any], reply: Any, endpoint: int, now: float) -> None:
        """A reply to this request, or to an earlier attempt of it."""
        try:
            if type(reply) is request.reply:
                self._finish(request, request.answer(reply, self._clock), now)
            elif isinstance(reply, SupersededReply) and isinstance(request, WriteRequest):
                self._on_superseded(request, reply, now)
            elif isinstance(reply, ErrorReply) and (request.stage, request.endpoint) == (
                SENT,
                endpoint,
            ):  # An earlier attempt's error says nothing of the present one.
                self._on_error(request, reply, now)
        except ValueError:
            return  # A reply with an impossible stamp is as good as none.

    def _on_superseded(self, request: WriteRequest, reply: SupersededReply, now: float) -> None:
        """Some replica holds something newer: put anew, above it.

        Other replicas may have taken the write and show it to a read with R=1: from here
        on no error is definite.
        """
        self._clock.merge(reply.stamp)
        request.silent = True
        self._put_anew(request, self._clock.mint() if request.stamp else None, now)

    def _on_error(self, request: Request[Any], reply: ErrorReply, now: float) -> None:
        """Raise what it says, unless it is a reason to ask again."""
        if reply.code == Code.NOT_SERVING:
            self._on_refusal(request, now)
        elif reply.code == Code.CLOCK_AHEAD and isinstance(request, WriteRequest) and request.stamp:
            if request.astray:
                self._on_refusal(request, now)
            else:
                self._put_anew(request, None, now)
        elif reply.code in _SPARED_BY and self._may_spare(request, reply):
            request.spared = True
            if not reply.definite:
                request.silent = request.astray = True
            self._shun(request, now)
            self._move(request, now)
        else:
            definite = not request.writes or (reply.definite and not request.silent)
            error = ERROR_OF.get(reply.code, Internal)(reply.text, definite=definite)
            self._finish(request, error, now)

    def _may_spare(self, request: Request[Any], reply: ErrorReply) -> bool:
        """Whether a request that one endpoint had no room or no replicas for may try another."""
        others = len(self._endpoints) > 1 and not request.pinned
        return others and not request.spared and (reply.definite or request.idempotent)

    def _on_refusal(self, request: Request[Any], now: float) -> None:
        """Nothing was done here: ask the next at once, or all of them again after a pause."""
        request.refusals += 1
        self._shun(request, now)
        if request.refusals % (1 if request.pinned else len(self._endpoints)):
            self._move(request, now)
            return
        if not request.pinned:
            request.endpoint = self._after(request.endpoint, now)
        request.stage = PAUSED
        self._arm(request, now + PAUSE_S)

    def _put_anew(self, request: WriteRequest, stamp: bytes | None, now: float) -> None:
        """The same put or delete as another write, with another id."""
        self._leave_queue(request)
        del self._open[request.id]
        self._last_id += 1
        request.id, request.stamp, request.astray = self._last_id, stamp, False
        self._open[request.id] = request
        self._wait(request, now)

    def _shun(self, request: Request[Any], now: float) -> None:
        """The request's endpoint failed it: let others go elsewhere for a while."""
        at = request.endpoint
        self._shunned[at] = now + SHUN_S
        if self.preferred == at:
            self.preferred = self._after(at, now)

    def _move(self, request: Request[Any], now: float) -> None:
        """Put the request to the next endpoint."""
        self._leave_queue(request)
        request.moves += 1
        if not request.pinned:
            request.endpoint = self._after(request.endpoint, now)
        self._wait(request, now)

    def _after(self, endpoint: int, now: float) -> int:
        """The next endpoint that is not shunned; if all are, simply the next."""
        count = len(self._endpoints)
        for step in range(1, count + 1):
            candidate = (endpoint + step) % count
            if self._shunned.get(candidate, now) <= now:
                return candidate
        return (endpoint + 1) % count

    # --- endings --------------------------------------------------------------------------

    def _give_up(self, request: Request[Any], now: float) -> None:
        """The caller's patience is at an end."""
        error: type[ToystoreError] = Timeout
        asked = f"{self._endpoints[request.endpoint]} was asked last"
        if request.stage == BACKLOG:
            asked = "there was no room to send it"
        elif request.stage != SENT and request.refusals:
            error, asked = Unavailable, "no endpoint would take it"
        elif request.stage != SENT and not request.silent:
            asked = f"there was no connection to {', '.join(self._endpoints)}"
        text = f"no answer within {request.terms.timeout_s:g} s: {asked}"
        self._finish(request, error(text, definite=_is_definite(request)), now)

    def _finish(self, request: Request[Any], outcome: Any, now: float) -> None:
        """The request has an answer, or an error."""
        self._remove(request, now)
        request.outcome = outcome
        self.finished.append(request)

    def _remove(self, request: Request[Any], now: float) -> None:
        """Let go of the request; its place goes to the first of the backlog."""
        if request.stage == BACKLOG:
            del self._backlog[request.id]
        else:
            self._leave_queue(request)
            del self._open[request.id]
            if self._backlog and len(self._open) < self._in_flight_max:
                self._admit(self._backlog.pop(next(iter(self._backlog))), now)
        request.stage = DONE

    def _leave_queue(self, request: Request[Any]) -> None:
        """If it still waits to be sent, it does so no more."""
        if request.stage == WAITING:
            del self.waiting[request.endpoint][request.id]

    @staticmethod
    def _next_sweep(held: dict[int, Request[Any]], now: float) -> float:
        """When the first of them is due, but not at once again."""
        due = min((request.due for request in held.values()), default=_NEVER)
        return max(due, now + SWEEP_S_MIN)


def _batch(waiting: dict[int, Request[Any]]) -> list[Request[Any]]:
    """The first that share a frame."""
    batch: list[Request[Any]] = []
    size = 0
    for request in waiting.values():
        size += request.size
        if batch and (size > FRAME_BYTES_MAX or len(batch) == FRAME_MESSAGES_MAX):
            break
        batch.append(request)
    return batch


def _is_definite(request: Request[Any]) -> bool:
    """Whether it certainly did not and will not happen, if it is dropped now."""
    return not request.writes or not (request.silent or request.stage == SENT)
