"""The blocking client.

A single request goes over a REQ socket, to one endpoint at a time; an attempt that stays
without an answer costs the socket, and the next is made with a fresh one, at the next
endpoint (the Lazy Pirate of the ZMQ Guide, chapter 4).  `get_many` and `put_many` are
answered in several frames, which REQ cannot take, and go over a DEALER to an endpoint.
When to ask whom is `ClientMachine`'s to say; this is its shell: it waits, sends, receives.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import zmq

from toystore.client.answer import Found, Placement, RingTable, Written
from toystore.client.call import Calls, Key, Many, Value
from toystore.client.clock import Clock
from toystore.client.errors import Timeout, ToystoreError
from toystore.client.machine import ClientMachine
from toystore.client.request import DONE, WAITING, Answer, Request
from toystore.client.sockets import Socket, drain, inherited, offer, open_dealer, open_req

BULK_IN_FLIGHT_MAX = 1024
_DRAIN_FRAMES_MAX = 1000
_POLL_S_MAX = 60.0

_fork_lock = threading.Lock()


class Client:
    """A store to talk to, blocking.  Threads may share one, and take turns; better one each.

    A client that was forked opens sockets of its own on its next use, in the child.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: float = 2.0,
        attempt_timeout: float | None = None,
        bucket: str = "default",
        clock: Clock | None = None,
    ) -> None:
        """Connects to nothing yet.  Raises `BadRequest` if an argument cannot be meant.

        Args:
            endpoints: the client ports of any nodes, "tcp://host:port"; the first is
                asked first, the others when it fails.
            timeout: seconds that a request may take, with all its retries.
            attempt_timeout: seconds that one endpoint may stay silent before the next is
                asked; a quarter of the request's timeout by default, at least 0.1.
            bucket: the bucket of requests that name none.
            clock: what stamps the writes, by default the clock of this process.
        """
        self._calls = Calls(endpoints, timeout, attempt_timeout, bucket, clock)
        self._closed = False
        self._start()

    def get(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: int | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> Found | None:
        """Read a key; None if it is not there.

        Args:
            key: bytes, or a str that is taken as UTF-8.
            bucket: instead of the client's.
            n: how many replicas the key is taken to have, instead of the bucket's N.
            r: how many replicas must answer, instead of the bucket's R.
            timeout: seconds, instead of the client's.

        Raises:
            ToystoreError: see `toystore.client.errors`.
        """
        calls = self._calls
        return self._ask(calls.get(calls.terms(bucket, n, r, timeout), key))

    def put(
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
        """Write a key.  Returns when W replicas have it.

        Args:
            key: bytes, or a str that is taken as UTF-8.
            value: bytes, or a str that is taken as UTF-8.
            bucket: instead of the client's.
            n: how many replicas to keep, instead of the bucket's N.
            w: how many must have it, instead of the bucket's W.
            timeout: seconds, instead of the client's.
            ttl: not supported yet.
            context: of what this write follows from; it is then ordered after that.

        Raises:
            ToystoreError: see `toystore.client.errors`; with `.definite` False the write
                may have happened, or may still happen.
        """
        calls = self._calls
        return self._ask(calls.put(calls.terms(bucket, n, w, timeout), key, value, ttl, context))

    def delete(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: int | None = None,
        w: int | None = None,
        timeout: float | None = None,
        context: bytes | None = None,
    ) -> Written:
        """Delete a key, there or not.  Arguments and errors as of `put`."""
        calls = self._calls
        return self._ask(calls.delete(calls.terms(bucket, n, w, timeout), key, context))

    def get_many(
        self,
        keys: Iterable[Key],
        *,
        bucket: str | None = None,
        n: int | None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> dict[Key, Found | ToystoreError | None]:
        """Read many keys at once: for each what `get` would return or raise.

        ``timeout`` is for all of them together.  Raises only what concerns them all.
        """
        terms = self._calls.terms(bucket, n, r, timeout)
        return self._ask_many(self._calls.get_many(terms, keys), terms.timeout_s)

    def put_many(
        self,
        items: Mapping[Key, Value],
        *,
        bucket: str | None = None,
        n: int | None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
    ) -> dict[Key, Written | ToystoreError]:
        """Write many keys at once: for each what `put` would return or raise.

        ``timeout`` is for all of them together.  Raises only what concerns them all.
        """
        terms = self._calls.terms(bucket, n, w, timeout)
        return self._ask_many(self._calls.put_many(terms, items, ttl), terms.timeout_s)

    def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """How the cluster looks from the node at ``endpoint`` (one of the client's), or any."""
        calls = self._calls
        return self._ask(calls.status(calls.terms(None, None, None, timeout), endpoint))

    def owners(
        self, key: Key, *, bucket: str | None = None, timeout: float | None = None
    ) -> Placement:
        """Where a key lives."""
        calls = self._calls
        return self._ask(calls.owners(calls.terms(bucket, None, None, timeout), key))

    def ring(self, *, timeout: float | None = None) -> RingTable:
        """How much of the ring each member owns."""
        calls = self._calls
        return self._ask(calls.ring(calls.terms(None, None, None, timeout)))

    def close(self) -> None:
        """Close the sockets.  May be called again; any other call after it is an error."""
        if os.getpid() != self._pid:
            self._restart()
        with self._lock:
            self._closed = True
            self._machine.close(time.monotonic())
            self._drop_req()
            while self._dealers:
                self._dealers.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- whose turn it is, and in which process -------------------------------------------

    def _start(self) -> None:
        """Begin with nothing open."""
        self._lock = threading.Lock()
        self._machine = ClientMachine(self._calls.endpoints, self._calls.clock, BULK_IN_FLIGHT_MAX)
        self._req: Socket | None = None
        self._req_at = 0
        self._req_asked = False
        self._dealers: dict[int, Socket] = {}
        self._pid = os.getpid()

    def _restart(self) -> None:
        """We were forked: what is open is the parent's, and the lock may be held for ever."""
        with _fork_lock:
            if os.getpid() != self._pid:
                inherited.extend((self._req, self._dealers))
                self._start()

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[ClientMachine]:
        """Have the client to oneself, from before ``deadline``."""
        if os.getpid() != self._pid:
            self._restart()
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Timeout("the client was busy in another thread; give each thread its own")
        try:
            if self._closed:
                raise ToystoreError("this client is closed")
            yield self._machine
        finally:
            self._lock.release()

    # --- one request, over REQ ------------------------------------------------------------

    def _ask(self, request: Request[Answer]) -> Answer:
        """See one request through."""
        with self._turn(request.deadline) as machine:
            machine.begin(request, time.monotonic())
            try:
                while request.stage != DONE:
                    self._step(request)
            finally:
                machine.abandon(request, time.monotonic())
                machine.finished.clear()
        outcome = request.outcome
        if isinstance(outcome, ToystoreError):
            raise outcome
        return outcome

    def _step(self, request: Request[Any]) -> None:
        """Send if there is something to send, then wait for what comes next."""
        machine = self._machine
        if request.stage == WAITING:
            self._send(request.endpoint)
        socket = self._req_to(request.endpoint)
        wanted = zmq.POLLOUT if request.stage == WAITING else zmq.POLLIN
        if socket.poll(_wait_ms(machine), wanted) & zmq.POLLIN:
            self._take(socket)
        machine.on_deadline(time.monotonic())

    def _send(self, endpoint: int) -> None:
        """Send what waits for this endpoint, if it is connected."""
        if self._req_asked:  # An attempt without an answer: it never comes to this socket.
            self._drop_req()
        socket = self._req_to(endpoint)

        def send(frame: bytes) -> bool:
            self._req_asked = offer(socket, frame)
            return self._req_asked

        self._machine.flush(endpoint, send, time.monotonic())

    def _take(self, socket: Socket) -> None:
        """Receive what seems to be the reply; if it is another one's, there is nothing."""
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        self._req_asked = False
        self._machine.receive(frames[-1], self._req_at, time.monotonic())

    def _req_to(self, endpoint: int) -> Socket:
        """The REQ socket, connected to this endpoint."""
        if self._req is not None and self._req_at != endpoint:
            self._drop_req()
        if self._req is None:
            self._req, self._req_at = open_req(self._calls.endpoints[endpoint]), endpoint
        return self._req

    def _drop_req(self) -> None:
        """Close the REQ socket, and with it what it still awaits."""
        if self._req is not None:
            self._req.close()
        self._req, self._req_asked = None, False

    # --- many requests, over DEALER -------------------------------------------------------

    def _ask_many(self, many: Many[Answer], timeout_s: float) -> dict[Key, Answer | ToystoreError]:
        """See the requests of a call about many keys through."""
        with self._turn(time.monotonic() + timeout_s) as machine:
            try:
                for request in many.requests.values():
                    machine.begin(request, time.monotonic())
                while machine.busy:
                    self._step_many()
            finally:
                for request in many.requests.values():
                    machine.abandon(request, time.monotonic())
                machine.finished.clear()
        return many.answers()

    def _step_many(self) -> None:
        """Send what can be sent, then wait for what comes next."""
        machine, poller = self._machine, zmq.Poller()
        for at, waiting in enumerate(machine.waiting):
            if waiting and at not in self._dealers:
                self._dealers[at] = open_dealer(self._calls.endpoints[at])
        for at, socket in self._dealers.items():
            machine.flush(at, partial(offer, socket), time.monotonic())
            poller.register(socket, zmq.POLLIN | (zmq.POLLOUT if machine.waiting[at] else 0))
        ready = dict(poller.poll(_wait_ms(machine)))
        now = time.monotonic()
        for at, socket in self._dealers.items():
            if ready.get(socket, 0) & zmq.POLLIN:
                for frame in drain(socket, _DRAIN_FRAMES_MAX):
                    machine.receive(frame, at, now)
        machine.on_deadline(now)


def _wait_ms(machine: ClientMachine) -> int:
    """How long the machine can wait, rounded up so as not to spin."""
    due = machine.next_deadline()
    wait_s = _POLL_S_MAX if due is None else min(due - time.monotonic(), _POLL_S_MAX)
    return max(0, math.ceil(wait_s * 1000))
