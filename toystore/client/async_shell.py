"""The shell of the asynchronous client: a DEALER socket for each endpoint, on an event loop.

The requests that are issued in one turn of the event loop are sent at its end, in one frame
for each endpoint.  The loop watches the sockets' file descriptors.  They are edge-triggered
(each change is signalled once), so after every wake-up and every send the state of the socket
is read until nothing is ready.  One timer serves all requests.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, TypeVarTuple, Unpack

import zmq

from toystore.client.call import KeyT, Many
from toystore.client.clock import Clock
from toystore.client.errors import Internal, ToystoreError
from toystore.client.line import Line
from toystore.client.machine import ClientMachine
from toystore.client.request import Answer, Request
from toystore.client.sockets import (
    POLLIN,
    POLLOUT,
    descriptor,
    drain,
    error_text,
    inherited,
    offer,
    ready_for,
)

_DRAIN_FRAMES_MAX = 64
"""Frames taken from one socket before the loop's other callbacks have their turn."""
_NEVER = float("inf")

_Args = TypeVarTuple("_Args")


def _guarded(
    callback: Callable[[AsyncShell, Unpack[_Args]], None],
) -> Callable[[AsyncShell, Unpack[_Args]], None]:
    """A callback that ends all requests if it raises; the event loop would only log the error."""

    @wraps(callback)
    def guarded(self: AsyncShell, *args: *_Args) -> None:
        try:
            callback(self, *args)
        except Exception as error:
            self._fail(error)

    return guarded


class AsyncShell:
    """Runs the requests of one client to their end, for the tasks of one event loop."""

    _flush_comes: bool
    _looks_come: set[int]
    _timer_due: float
    _timer_is_strong: bool
    """Whether the timer has a strong reference to this shell, needed while requests are open."""

    def __init__(
        self,
        endpoints: Sequence[str],
        clock: Clock,
        in_flight_max: int,
        *,
        spread: bool,
        learns: bool,
    ) -> None:
        """Does not connect yet.  Arguments as of `AsyncClient`."""
        self._endpoints = endpoints
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._spread = spread
        self._learns = learns
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines: dict[int, Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    @property
    def is_open(self) -> bool:
        """Whether this process has sockets of it open."""
        return bool(self._lines) and os.getpid() == self._pid

    def close(self) -> None:
        """Close the sockets; open requests end with an error.  May be called again."""
        self._check_process()
        self._closed = True
        self._machine.end("the client was closed", time.monotonic())
        self._publish()
        self.release()

    # --- asking ---------------------------------------------------------------------------

    async def ask(self, request: Request[Answer]) -> Answer:
        """Run one request to its end."""
        loop = self._check_loop()
        request.waiter = loop.create_future()
        self._machine.begin(request, time.monotonic())
        self._begun(loop)
        try:
            outcome: Answer | ToystoreError = await request.waiter
        except asyncio.CancelledError:
            self._abandon(request)
            raise
        if isinstance(outcome, ToystoreError):
            raise outcome
        return outcome

    async def ask_many(self, many: Many[KeyT, Answer]) -> Mapping[KeyT, Answer | ToystoreError]:
        """Run the requests of a call about many keys to their end."""
        loop = self._check_loop()
        requests = many.requests.values()
        for request in requests:
            request.waiter = loop.create_future()
        self._machine.begin_many(requests, many.timeout_s, time.monotonic())
        self._begun(loop)
        try:
            for request in requests:
                await request.waiter
        except asyncio.CancelledError:
            for request in requests:
                self._abandon(request)
            raise
        return many.answers()

    def _begun(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer, and send the new requests at the end of this turn of the loop."""
        if not self._flush_comes:  # Once in a turn is enough: its end sets the timer again.
            self._set_timer()  # First: even if a later step fails, the request ends in time.
            self._flush_soon(loop)

    def _abandon(self, request: Request[Any]) -> None:
        """End a request that is not awaited any more; another can take its place."""
        self._machine.abandon(request, time.monotonic())
        if self._loop is not None and not self._closed and not self._loop.is_closed():
            self._flush_soon(self._loop)

    # --- sockets and the loop -------------------------------------------------------------

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send the waiting requests at the end of this turn of the loop."""
        if not self._flush_comes:
            self._flush_comes = True
            loop.call_soon(self._on_turn)

    @_guarded
    def _on_turn(self) -> None:
        """All requests of this turn were issued."""
        self._flush()

    @_guarded
    def _on_ready(self, at: int) -> None:
        """The state of this socket has changed."""
        self._looks_come.discard(at)
        if at in self._lines:
            try:
                for frame in drain(self._lines[at].socket, _DRAIN_FRAMES_MAX):
                    self._machine.receive(frame, at, time.monotonic())
            except zmq.ZMQError as error:
                self._disconnect(at, error)
            self._machine.begin_learning(time.monotonic())
            self._flush()
            self._look_again(at)

    @_guarded
    def _on_news(self, at: int) -> None:
        """A connection was made or lost: the monitor has an event."""
        if at in self._lines:
            self._tend(at)
            self._flush()

    @_guarded
    def _on_timer(self) -> None:
        """A request or a connection may be due."""
        self._timer, self._timer_due = None, _NEVER
        for at in list(self._lines):
            self._tend(at)
        self._machine.on_deadline(time.monotonic())
        self._machine.begin_learning(time.monotonic())
        self._flush()

    def _tend(self, at: int) -> None:
        """Receive the events of a connection, and keep it up."""
        try:
            self._lines[at].tend(self._machine, time.monotonic())
        except zmq.ZMQError as error:
            self._disconnect(at, error)
        self._look_again(at)

    def _flush(self) -> None:
        """Send the waiting requests to every endpoint that is connected."""
        self._flush_comes = False
        for at, waiting in list(self._machine.waiting.items()):
            wanted = waiting or (self._spread and at not in self._lines)
            if wanted and not self._closed:
                self._send(at)
        if self._spread:
            self._machine.rotate(time.monotonic())
        self._machine.close_left(self._close_line)
        self._publish()

    def _send(self, at: int) -> None:
        """Send the requests that wait for this endpoint, if it is connected."""
        try:
            line = self._lines.get(at) or self._open(at)
            if self._machine.waiting[at] and ready_for(line.socket) & POLLOUT:
                self._machine.flush(at, partial(offer, line.socket), time.monotonic())
        except zmq.ZMQError as error:
            self._disconnect(at, error)
        self._look_again(at)

    def _look_again(self, at: int) -> None:
        """Read the state of the socket: any use of a socket may clear its descriptor's signal."""
        line = self._lines.get(at)
        if line is None or self._loop is None:
            return
        events = ready_for(line.socket)
        wanted = events & POLLIN or (events & POLLOUT and self._machine.waiting[at])
        if wanted and at not in self._looks_come:
            self._looks_come.add(at)
            self._loop.call_soon(self._on_ready, at)

    def _publish(self) -> None:
        """Set the results of finished requests, and the timer for the next deadline."""
        finished = self._machine.finished
        for request in finished:
            if not request.waiter.done():
                request.waiter.set_result(request.outcome)
        finished.clear()
        self._set_timer()

    def _set_timer(self) -> None:
        """Set the timer to the earliest deadline."""
        machine = self._machine
        dues = [machine.next_deadline(), *(line.due(machine) for line in self._lines.values())]
        due = min((due for due in dues if due is not None), default=_NEVER)
        due = min(due, machine.refresh_due)
        if due == _NEVER or self._loop is None:
            return
        is_strong = machine.busy
        if due < self._timer_due or (is_strong and not self._timer_is_strong):
            if self._timer is not None:
                self._timer.cancel()
            self._timer_due, self._timer_is_strong = due, is_strong
            callback = self._on_timer if is_strong else _weakly(self._on_timer)
            self._timer = self._loop.call_later(due - time.monotonic(), callback)

    def _open(self, at: int) -> Line:
        """Begin to connect to an endpoint, and have the loop watch the socket."""
        assert self._loop is not None
        now = time.monotonic()
        line = self._lines[at] = Line(zmq.DEALER, at, self._machine.name(at), now)
        self._loop.add_reader(descriptor(line.socket), _weakly(self._on_ready), at)
        self._loop.add_reader(descriptor(line.monitor), _weakly(self._on_news), at)
        line.tend(self._machine, now)
        return line

    # --- when something goes wrong --------------------------------------------------------

    def _disconnect(self, at: int, error: zmq.ZMQError) -> None:
        """Close the connection to an endpoint after an error of the system."""
        self._close_line(at)
        self._machine.on_disconnected(at, error_text(error), time.monotonic(), certain=True)

    def _close_line(self, at: int) -> None:
        """Close a socket."""
        line = self._lines.pop(at, None)
        if line is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(descriptor(line.socket))
                self._loop.remove_reader(descriptor(line.monitor))
            line.close(self._machine)

    def _fail(self, error: Exception) -> None:
        """End all requests after a callback failed in an unknown state, and start with none."""
        text = f"the client failed: {type(error).__name__}: {error}"
        self._machine.end(text, time.monotonic(), error=Internal)
        self._publish()
        self.release()
        self._start()

    # --- which process, which loop --------------------------------------------------------

    def _start(self) -> None:
        """Start without any request."""
        self._machine = ClientMachine(
            self._endpoints, self._clock, self._in_flight_max, learns=self._learns
        )
        self._flush_comes = False
        self._looks_come = set()
        self._timer_due, self._timer_is_strong = _NEVER, False
        self._pid = os.getpid()

    def _check_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop.  Checks for a closed client, a fork, or another loop."""
        if self._closed:
            raise ToystoreError("this client is closed")
        self._check_process()
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return loop
        if self._loop is not None and not self._loop.is_closed():
            raise ToystoreError("this client belongs to another event loop: make one for each")
        self.release()
        self._start()
        self._loop = loop
        return loop

    def _check_process(self) -> None:
        """Start again after a fork: the open sockets belong to the parent."""
        if os.getpid() != self._pid:
            inherited.append(self._lines)
            self._lines, self._timer, self._loop = {}, None, None
            self._start()

    def release(self) -> None:
        """Cancel the timer and close the sockets."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for at in list(self._lines):
            self._close_line(at)


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """A callback with a weak reference to its shell: an idle client can be collected."""
    reference = weakref.WeakMethod(method)

    def call(*args: object) -> None:
        living = reference()
        if living is not None:
            living(*args)

    return call
