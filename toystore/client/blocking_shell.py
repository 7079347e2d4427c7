"""The shell of the blocking client: sockets, waiting, threads and forks.

A single request uses a REQ socket, and one endpoint at a time.  After an attempt without an
answer, the next one uses a new socket to the next endpoint (the Lazy Pirate of the ZMQ Guide,
chapter 4).  The sockets of earlier attempts stay open until the request ends, because a late
answer is still valid.  `get_many` and `put_many` are answered in several frames, which REQ
cannot receive, so they use a DEALER for each endpoint.
`ClientMachine` decides when to ask which endpoint; this is its shell: it waits, sends, receives.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import zmq

from toystore.client.call import IN_FLIGHT_MAX, KeyT, Many
from toystore.client.clock import Clock
from toystore.client.errors import Timeout, ToystoreError
from toystore.client.line import Line
from toystore.client.machine import ClientMachine
from toystore.client.request import DONE, WAITING, Answer, Request
from toystore.client.sockets import drain, error_text, inherited, offer

_DRAIN_FRAMES_MAX = 1000
_POLL_S_MAX = 60.0

_fork_lock = threading.Lock()


class BlockingShell:
    """Runs the requests of one client to their end, one call at a time."""

    def __init__(self, endpoints: Sequence[str], clock: Clock, *, learns: bool) -> None:
        """Does not connect yet.  Arguments as of `Client`."""
        self._endpoints = endpoints
        self._clock = clock
        self._learns = learns
        self._closed = False
        self._start()

    def close(self) -> None:
        """Close the sockets.  May be called again; any other call after it is an error."""
        if os.getpid() != self._pid:
            self._restart()
        with self._lock:
            self._closed = True
            self._machine.end("the client was closed", time.monotonic())
            self._close_sockets()

    # --- one call at a time, in one process -----------------------------------------------

    def _start(self) -> None:
        """Start without any socket."""
        self._lock = threading.Lock()
        self._machine = ClientMachine(
            self._endpoints, self._clock, IN_FLIGHT_MAX, learns=self._learns
        )
        self._reqs: list[Line] = []
        """The socket for the next request; during a request, the sockets of its attempts."""
        self._dealers: dict[int, Line] = {}
        self._pid = os.getpid()

    def _restart(self) -> None:
        """Start again after a fork: the sockets are the parent's, and the lock may stay locked."""
        with _fork_lock:
            if os.getpid() != self._pid:
                inherited.extend((self._reqs, self._dealers))
                self._start()

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[ClientMachine]:
        """Lock the client for one call.  Raises `Timeout` if that takes until ``deadline``."""
        if os.getpid() != self._pid:
            self._restart()
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Timeout("the client was busy in another thread; give each thread its own")
        try:
            if self._closed:
                raise ToystoreError("this client is closed")
            with self._ending_requests():
                yield self._machine
        finally:
            self._lock.release()

    @contextmanager
    def _ending_requests(self) -> Iterator[None]:
        """End the requests of a call when the call ends, even by an exception."""
        try:
            yield
        except zmq.ZMQError as error:
            self._machine.end(error_text(error), time.monotonic())
            self._close_sockets()
        finally:
            self._machine.end("interrupted", time.monotonic())
            self._machine.finished.clear()
            self._close_attempts()

    def _close_sockets(self) -> None:
        """Close all sockets."""
        self._close_reqs()
        while self._dealers:
            self._dealers.popitem()[1].close(self._machine)

    # --- one request, over REQ ------------------------------------------------------------

    def ask(self, request: Request[Answer]) -> Answer:
        """Run one request to its end."""
        with self._turn(request.deadline) as machine:
            self._tend(self._reqs)  # A connection may have been lost since the last call.
            machine.begin(request, time.monotonic())
            while request.stage != DONE:
                self._step(request)
            self._learn(machine, request.deadline)
        outcome = request.outcome
        if isinstance(outcome, ToystoreError):
            raise outcome
        return outcome

    def _learn(self, machine: ClientMachine, until: float) -> None:
        """Ask for the members, if there is a reason: at once, as no thread runs between calls.

        ``until``: when the time of the call is over.
        """
        members = machine.begin_learning(time.monotonic(), until)
        while members is not None and members.stage != DONE:
            self._step(members)
        machine.close_left(self._close_dealer)

    def _close_dealer(self, at: int) -> None:
        """Close the connection for many requests to an endpoint, if there is one."""
        if at in self._dealers:
            self._dealers.pop(at).close(self._machine)

    def _step(self, request: Request[Any]) -> None:
        """Send the request if it waits, then wait for the next event of any attempt."""
        if request.stage == WAITING:
            with self._closing_on_error(request.endpoint):
                self._send(request.endpoint)
        for req in self._wait(self._reqs, lambda req: not req.asked):
            with self._closing_on_error(req.at):
                self._take(req)
        self._machine.on_deadline(time.monotonic())

    def _send(self, endpoint: int) -> None:
        """Send the request to this endpoint, if it is connected."""
        req = self._req_to(endpoint)

        def send(frame: bytes) -> bool:
            req.asked = offer(req.socket, frame)
            return req.asked

        self._machine.flush(endpoint, send, time.monotonic())

    def _take(self, req: Line) -> None:
        """Receive a reply.  REQ discards the reply to another request: then there is nothing."""
        try:
            frames = req.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        req.asked = False
        self._machine.receive(frames[-1], req.at, time.monotonic())

    def _req_to(self, endpoint: int) -> Line:
        """A REQ socket to this endpoint that does not await a reply."""
        for req in self._reqs:
            if req.at == endpoint and not req.asked:
                return req
        self._reqs.append(self._open(zmq.REQ, endpoint))
        return self._reqs[-1]

    def _close_attempts(self) -> None:
        """Keep one socket for the next request; close those that still await a reply."""
        at = self._machine.preferred
        self._close_reqs(next((r for r in self._reqs if r.at == at and not r.asked), None))

    def _close_reqs(self, kept: Line | None = None) -> None:
        """Close all REQ sockets but ``kept``; replies that they await are lost."""
        closed, self._reqs = self._reqs, [kept] if kept else []
        for req in closed:
            if req is not kept:
                req.close(self._machine)

    # --- many requests, over DEALER -------------------------------------------------------

    def ask_many(self, many: Many[KeyT, Answer]) -> Mapping[KeyT, Answer | ToystoreError]:
        """Run the requests of a call about many keys to their end."""
        with self._turn(time.monotonic() + many.timeout_s) as machine:
            self._tend(self._dealers.values())
            machine.begin_many(many.requests.values(), many.timeout_s, time.monotonic())
            while machine.busy:
                self._step_many()
            self._learn(machine, time.monotonic() + many.timeout_s)
        return many.answers()

    def _step_many(self) -> None:
        """Send the waiting requests, then wait for the next event."""
        machine = self._machine
        for at, waiting in list(machine.waiting.items()):
            if waiting:
                with self._closing_on_error(at):
                    self._send_many(at)
        for line in self._wait(self._dealers.values(), lambda _: True):
            with self._closing_on_error(line.at):
                for frame in drain(line.socket, _DRAIN_FRAMES_MAX):
                    machine.receive(frame, line.at, time.monotonic())
        machine.on_deadline(time.monotonic())

    def _send_many(self, at: int) -> None:
        """Send the requests that wait for an endpoint, if it is connected."""
        if at not in self._dealers:
            self._dealers[at] = self._open(zmq.DEALER, at)
        self._machine.flush(at, partial(offer, self._dealers[at].socket), time.monotonic())

    # --- sockets --------------------------------------------------------------------------

    def _open(self, kind: int, at: int) -> Line:
        """Begin to connect to an endpoint."""
        now = time.monotonic()
        line = Line(kind, at, self._machine.name(at), now)
        line.tend(self._machine, now)
        return line

    def _wait(self, lines: Iterable[Line], free: Callable[[Line], bool]) -> list[Line]:
        """Wait for an event or a deadline; returns the lines that can be read.

        ``free``: whether a line can be sent to.
        """
        machine, poller, watched = self._machine, zmq.Poller(), list(lines)
        dues = [machine.next_deadline()]
        for line in watched:
            sends = machine.waiting[line.at] and free(line)
            poller.register(line.socket, zmq.POLLIN | (zmq.POLLOUT if sends else 0))
            poller.register(line.monitor, zmq.POLLIN)
            dues.append(line.due(machine))
        ready = dict(poller.poll(_wait_ms(dues))) if machine.busy else {}
        self._tend(watched)
        return [line for line in watched if ready.get(line.socket, 0) & zmq.POLLIN]

    def _tend(self, lines: Iterable[Line]) -> None:
        """Keep these connections up, and receive their events."""
        for line in list(lines):
            with self._closing_on_error(line.at):
                line.tend(self._machine, time.monotonic())

    @contextmanager
    def _closing_on_error(self, at: int) -> Iterator[None]:
        """Close the connections to an endpoint after an error of the system."""
        try:
            yield
        except zmq.ZMQError as error:
            closed = [req for req in self._reqs if req.at == at]
            self._reqs = [req for req in self._reqs if req.at != at]
            if at in self._dealers:
                closed.append(self._dealers.pop(at))
            for line in closed:
                line.close(self._machine)
            self._machine.on_disconnected(at, error_text(error), time.monotonic(), certain=True)


def _wait_ms(dues: Iterable[float | None]) -> int:
    """Milliseconds until the first of these, rounded up to prevent a busy loop."""
    due = min((due for due in dues if due is not None), default=math.inf)
    return max(0, math.ceil(min(due - time.monotonic(), _POLL_S_MAX) * 1000))
