"""The asynchronous client: awaitable, pipelined, on a plain DEALER for each endpoint.

All requests that are issued in one turn of the event loop leave in one frame for each
endpoint, when the turn is over.  The loop watches the sockets' file descriptors; those are
edge-triggered (they tell of a change, once), so after every wake-up and every send the
socket itself is asked what is ready, until nothing is.  One timer serves all requests.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import zmq

from toystore.client.answer import Found, Placement, RingTable, Written
from toystore.client.call import Calls, Key, Many, Value
from toystore.client.clock import Clock
from toystore.client.errors import ToystoreError
from toystore.client.machine import ClientMachine
from toystore.client.request import Answer, Request
from toystore.client.sockets import (
    Socket,
    descriptor,
    drain,
    inherited,
    offer,
    open_dealer,
    ready_for,
)

_DRAIN_FRAMES_MAX = 64
"""Frames taken from one socket before the loop's other callbacks have their turn."""


class AsyncClient:
    """A store to talk to, awaitable; for the tasks of one event loop."""

    _flush_comes: bool
    _looks_come: set[int]
    _timer_due: float

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: float = 2.0,
        attempt_timeout: float | None = None,
        bucket: str = "default",
        clock: Clock | None = None,
        max_in_flight: int = 1024,
        spread: bool = False,
    ) -> None:
        """Connects to nothing yet.  Arguments as of `Client`, and two more.

        Args:
            endpoints: as of `Client`.
            timeout: as of `Client`.
            attempt_timeout: as of `Client`.
            bucket: as of `Client`.
            clock: as of `Client`.
            max_in_flight: requests beyond it wait in the client for room.
            spread: use the endpoints in turn, rather than the first until it fails.
        """
        self._calls = Calls(endpoints, timeout, attempt_timeout, bucket, clock)
        self._in_flight_max = max_in_flight
        self._spread = spread
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dealers: dict[int, Socket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    async def get(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: int | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> Found | None:
        """As `Client.get`."""
        calls = self._calls
        return await self._ask(calls.get(calls.terms(bucket, n, r, timeout), key))

    async def put(
        self,
        key: Key,
        value: Value,
        *,
        bucket: str | None = None,
        n: int | None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        context: bytes | None = None,
    ) -> Written:
        """As `Client.put`."""
        calls = self._calls
        terms = calls.terms(bucket, n, w, timeout)
        return await self._ask(calls.put(terms, key, value, ttl, context))

    async def delete(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: int | None = None,
        w: int | None = None,
        timeout: float | None = None,
        context: bytes | None = None,
    ) -> Written:
        """As `Client.delete`."""
        calls = self._calls
        return await self._ask(calls.delete(calls.terms(bucket, n, w, timeout), key, context))

    async def get_many(
        self,
        keys: Iterable[Key],
        *,
        bucket: str | None = None,
        n: int | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> dict[Key, Found | ToystoreError | None]:
        """As `Client.get_many`."""
        calls = self._calls
        return await self._ask_many(calls.get_many(calls.terms(bucket, n, r, timeout), keys))

    async def put_many(
        self,
        items: Mapping[Key, Value],
        *,
        bucket: str | None = None,
        n: int | None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
    ) -> dict[Key, Written | ToystoreError]:
        """As `Client.put_many`."""
        calls = self._calls
        terms = calls.terms(bucket, n, w, timeout)
        return await self._ask_many(calls.put_many(terms, items, ttl))

    async def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """As `Client.status`."""
        calls = self._calls
        return await self._ask(calls.status(calls.terms(None, None, None, timeout), endpoint))

    async def owners(
        self, key: Key, *, bucket: str | None = None, timeout: float | None = None
    ) -> Placement:
        """As `Client.owners`."""
        calls = self._calls
        return await self._ask(calls.owners(calls.terms(bucket, None, None, timeout), key))

    async def ring(self, *, timeout: float | None = None) -> RingTable:
        """As `Client.ring`."""
        calls = self._calls
        return await self._ask(calls.ring(calls.terms(None, None, None, timeout)))

    async def close(self) -> None:
        """Close the sockets; what is awaited ends with an error.  May be called again."""
        self._check_process()
        self._closed = True
        self._machine.close(time.monotonic())
        self._settle()
        self._release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- asking ---------------------------------------------------------------------------

    async def _ask(self, request: Request[Answer]) -> Answer:
        """See one request through."""
        self._check_loop()
        future = self._begin(request)
        try:
            outcome = await future
        except asyncio.CancelledError:
            self._abandon(request)
            raise
        if isinstance(outcome, ToystoreError):
            raise outcome
        return outcome

    async def _ask_many(self, many: Many[Answer]) -> dict[Key, Answer | ToystoreError]:
        """See the requests of a call about many keys through."""
        self._check_loop()
        futures = [self._begin(request) for request in many.requests.values()]
        try:
            for future in futures:
                await future
        except asyncio.CancelledError:
            for request in many.requests.values():
                self._abandon(request)
            raise
        return many.answers()

    def _begin(self, request: Request[Answer]) -> asyncio.Future[Answer | ToystoreError]:
        """Take on a request, to leave when this turn of the loop is over."""
        assert self._loop is not None
        request.waiter = future = self._loop.create_future()
        self._machine.begin(request, time.monotonic())
        self._flush_soon(self._loop)
        return future

    def _abandon(self, request: Request[Any]) -> None:
        """Nobody awaits it any more; its place may go to another."""
        self._machine.abandon(request, time.monotonic())
        if self._loop is not None and not self._closed:
            self._flush_soon(self._loop)

    # --- sockets and the loop -------------------------------------------------------------

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what waits when this turn of the loop is over."""
        if not self._flush_comes:
            self._flush_comes = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits, wherever there is a connection."""
        self._flush_comes = False
        for at, waiting in enumerate(self._machine.waiting):
            if waiting and not self._closed:
                self._send(at)
        if self._spread:
            self._machine.rotate(time.monotonic())
        self._settle()

    def _send(self, at: int) -> None:
        """Send what waits for this endpoint, if it is connected."""
        socket = self._dealers.get(at) or self._open(at)
        if ready_for(socket) & zmq.POLLOUT:
            self._machine.flush(at, partial(offer, socket), time.monotonic())
        self._look_again(at, socket)

    def _on_ready(self, at: int) -> None:
        """Something about this socket has changed."""
        self._looks_come.discard(at)
        socket = self._dealers.get(at)
        if socket is not None:
            for frame in drain(socket, _DRAIN_FRAMES_MAX):
                self._machine.receive(frame, at, time.monotonic())
            self._flush()
            self._look_again(at, socket)

    def _look_again(self, at: int, socket: Socket) -> None:
        """Whatever touches a socket may take the descriptor's news with it: ask the socket."""
        events = ready_for(socket)
        wanted = events & zmq.POLLIN or (events & zmq.POLLOUT and self._machine.waiting[at])
        if wanted and at not in self._looks_come:
            assert self._loop is not None
            self._looks_come.add(at)
            self._loop.call_soon(self._on_ready, at)

    def _settle(self) -> None:
        """Hand out what is finished, and set the timer to what is due next."""
        finished = self._machine.finished
        for request in finished:
            if not request.waiter.done():
                request.waiter.set_result(request.outcome)
        finished.clear()
        due = self._machine.next_deadline()
        if due is not None and due < self._timer_due and self._loop is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_due = due
            self._timer = self._loop.call_later(due - time.monotonic(), self._on_timer)

    def _on_timer(self) -> None:
        """Some request may be due."""
        self._timer, self._timer_due = None, float("inf")
        self._machine.on_deadline(time.monotonic())
        self._flush()

    def _open(self, at: int) -> Socket:
        """Connect to an endpoint, and have the loop watch the socket."""
        assert self._loop is not None
        socket = self._dealers[at] = open_dealer(self._calls.endpoints[at])
        self._loop.add_reader(descriptor(socket), self._on_ready, at)
        return socket

    # --- which process, which loop --------------------------------------------------------

    def _start(self) -> None:
        """Begin with nothing asked."""
        self._machine = ClientMachine(self._calls.endpoints, self._calls.clock, self._in_flight_max)
        self._flush_comes = False
        self._looks_come = set()
        self._timer_due = float("inf")
        self._pid = os.getpid()

    def _check_loop(self) -> None:
        """Find out if we were closed, forked, or moved to another event loop."""
        if self._closed:
            raise ToystoreError("this client is closed")
        self._check_process()
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise ToystoreError("this client belongs to another event loop: make one for each")
        self._release()
        self._start()
        self._loop = loop

    def _check_process(self) -> None:
        """We may have been forked: then what is open is the parent's."""
        if os.getpid() != self._pid:
            inherited.append(self._dealers)
            self._dealers, self._timer, self._loop = {}, None, None
            self._start()

    def _release(self) -> None:
        """Let go of the loop and the sockets."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._dealers:
            socket = self._dealers.popitem()[1]
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(descriptor(socket))
            socket.close()
