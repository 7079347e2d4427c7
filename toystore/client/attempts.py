"""Sends each request of a client to one endpoint after another, until it has an outcome.

A client has several endpoints and many open requests.  Each request is at one endpoint at a time,
and goes through these stages:

    BACKLOG --room--> WAITING --sent--> SENT --reply----------------------------> DONE
                       ^  |              |  ^
                       |  no connection  |  late reply of an earlier attempt
                       |  (in time)      |
                       +--<-- next ------+  no answer, connection lost, NOT_SERVING,
                       |                 |  CLOCK_BEHIND, `_ONE_NODE` (once)
                       +--<-- new write -+  Superseded (above it), CLOCK_AHEAD (unstamped),
                       |                 |  CLOCK_BEHIND (by the own clock, once)
                       +--<-- PAUSED ----+  every endpoint has refused it: NOT_SERVING,
                       |                 |  or OVERLOADED, if it is one of many

and from any stage to DONE when its deadline passes, or when no endpoint is reachable and
none was asked.  This is the Lazy Pirate of the ZMQ Guide (chapter 4) for many requests at
once: a retry has the id and the stamp of the first attempt.  So a late reply is as valid as a
prompt one, and a write happens once.  What replies mean is in machine.py.

A write without a stamp is not idempotent: once sent, it waits for its reply and is not sent to
another endpoint, which could stamp it above later writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from toystore.client.admission import Admission
from toystore.client.backlog import SWEEP_S_MIN
from toystore.client.endpoints import Endpoints
from toystore.client.errors import ERROR_OF, BadRequest, Timeout, ToystoreError, Unavailable
from toystore.client.request import BACKLOG, DONE, PAUSED, SENT, WAITING, Batch, Request
from toystore.wire import encode

CONNECT_S = 0.15
"""How long to wait for a connection while there are endpoints not yet tried."""
PAUSE_S = 0.05
"""How long to wait when every endpoint answered that it is not serving."""
FRAME_MESSAGES_MAX = 256
FRAME_BYTES_MAX = 512 * 1024
CONNECTION_LOST = "the connection was lost"
"""Why an endpoint is disconnected, if no more is known."""
CUTS_MIN = 2
"""A large request is assumed to be the cause of lost connections after so many, and as many as it
may use endpoints: nodes that leave close their connections, too."""

_NEVER = float("inf")


class Attempts:
    """All requests of one client, and the endpoint of each.  ``now`` is monotonic seconds."""

    def __init__(self, endpoints: Sequence[str], in_flight_max: int) -> None:
        """``in_flight_max``: the most open requests; more wait in the backlog."""
        self.waiting: dict[int, dict[int, Request[Any]]] = {at: {} for at in range(len(endpoints))}
        """For each endpoint the requests to be sent there, by id."""
        self.finished: list[Request[Any]] = []
        """The requests that have an outcome; the shell empties it."""
        self._endpoints = Endpoints(endpoints)
        self._last_id = 0
        self._admission = Admission(in_flight_max, self._admit)
        self._backlog, self._open = self._admission.backlog, self._admission.open
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

    def name(self, endpoint: int) -> str:
        """An endpoint, as the caller has given it or as its member is listed."""
        return self._endpoints.name(endpoint)

    def begin(self, request: Request[Any], now: float) -> None:
        """Begin a request."""
        self._number(request)
        self._admission.enter(request, now)

    def begin_many(self, requests: Iterable[Request[Any]], timeout_s: float, now: float) -> None:
        """Begin the requests of a call about many keys; their time starts outside the backlog."""
        batch = Batch(timeout_s, now)
        for request in requests:
            request.batch = batch
            self.begin(request, now)

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
        for request in self._admission.close():
            self._finish(request, error(text, definite=_is_definite(request)), now)
        self._admission.reopen()

    # --- the stages of a request ----------------------------------------------------------

    def _number(self, request: Request[Any]) -> None:
        """Give a request an id of its own."""
        self._last_id += 1
        request.id = self._last_id

    def _admit(self, request: Request[Any], now: float) -> None:
        """Choose the endpoint of an open request."""
        if not request.pinned:
            request.endpoint = self._endpoints.preferred
        self._wait(request, now)
        if self._endpoints.failed_at >= request.began and self._is_out_of_reach(request, now):
            self._on_unreachable(request, now)

    def _wait(self, request: Request[Any], now: float) -> None:
        """Let the request wait until its endpoint is connected."""
        request.stage = WAITING
        self.waiting[request.endpoint][request.id] = request
        others = len(self._choice(request))
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

    def _learn(self, request: Request[Any], now: float) -> None:
        """Adapt the window to how long the answer took."""
        if request.stage == SENT:
            self._admission.window.learn(now - request.sent_at, request.terms.attempt_s, now)

    def _on_cut(self, request: Request[Any], why: str, now: float) -> None:
        """The connection for its reply is lost."""
        request.indefinite = request.astray = True
        name = self._endpoints.name(request.endpoint)
        most = max(CUTS_MIN, len(self._choice(request)))
        if request.cuts >= most and request.size > FRAME_BYTES_MAX:
            text = (
                f"the connection was cut {request.cuts} times while these {request.size:,} bytes "
                f"were sent, at last by {name}: that is probably more than the cluster takes"
            )
            self._fail(request, BadRequest, text, now)
        elif request.idempotent and not self._is_out_of_reach(request, now):
            self._move(request, now)
        else:
            text = f"the connection to {name} was lost before it answered"
            text += f": {why}" if why != CONNECTION_LOST else ""
            self._fail(request, Unavailable, text, now)

    def _on_unreachable(self, request: Request[Any], now: float) -> None:
        """Its endpoint is not connected: use another, or fail if all are unreachable."""
        if not request.indefinite and self._is_out_of_reach(request, now):
            self._fail(request, Unavailable, f"cannot reach {self._reasons(request)}", now)
        elif len(self._choice(request)) > 1:
            self._move(request, now)

    def _is_out_of_reach(self, request: Request[Any], now: float) -> bool:
        """Whether all endpoints that it may use have become unreachable since it began."""
        return self._endpoints.failed_since(request.began, self._choice(request), now)

    def _move(self, request: Request[Any], now: float) -> None:
        """Send the request to the next endpoint."""
        self._leave_queue(request)
        request.moves += 1
        if not request.pinned:
            request.endpoint = self._endpoints.after(request.endpoint, now)
        self._wait(request, now)

    def _choice(self, request: Request[Any]) -> Sequence[int]:
        """The endpoints that it may use."""
        return (request.endpoint,) if request.pinned else self._endpoints.in_use

    def _pause(self, request: Request[Any], now: float) -> None:
        """Wait, and then send the request to the next endpoint."""
        if not request.pinned:
            request.endpoint = self._endpoints.after(request.endpoint, now)
        request.stage = PAUSED
        self._arm(request, now + PAUSE_S)

    # --- endings --------------------------------------------------------------------------

    def _time_out(self, request: Request[Any], now: float) -> None:
        """End a request that is out of time."""
        error: type[ToystoreError] = Timeout
        detail = f"{self._endpoints.name(request.endpoint)} was asked last"
        if request.stage == BACKLOG:
            detail = f"there was no room to send it, {len(self._open)} others were under way"
        elif request.stage != SENT and request.refusal is not None:
            error = ERROR_OF.get(request.refusal.code, Unavailable)
            detail = f"no endpoint would take it: {request.refusal.text}"
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
        self._leave_queue(request)
        stage, request.stage = request.stage, DONE
        self._admission.leave(request, stage, now)

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
