"""Sends requests on a timetable, even if earlier ones are not answered, to cause overload.

The client library cannot do that: it waits for room, and uses about as much CPU time as the
store itself.  Here requests are packed once, numbered and stamped when they are sent, one in
each frame, and only the kind of an answer is decoded; that costs a tenth.
Each connection is a DEALER that queues without bound, so that a store that does not read
cannot slow its own load down, and the time of an answer counts from the time on the
timetable.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgpack
import zmq

from toystore.core.data.stamp import STAMP_BYTES, HybridLogicalClock
from toystore.core.protocol.messages.client import ErrorReply, Get, GetReply, Put, WriteReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.routes import ROUTE_OF
from toystore.wire import encode

SERVED = "served"
OVERLOADED = Code.OVERLOADED.name
TIMEOUT = Code.TIMEOUT.name
"""Also for a request that is not answered, or too late."""

_TICK_MS = 1
_ID, _STAMP = 0xFFFFFFFF, b"\xff" * STAMP_BYTES
"""The placeholders for the number and the stamp in a packed request."""
_ID_MARK = b"\xce"
_SERVED_TAGS = {ROUTE_OF[GetReply].tag, ROUTE_OF[WriteReply].tag}
_ERROR_TAG = ROUTE_OF[ErrorReply].tag


class Load(NamedTuple):
    """The load: ``rate`` requests a second, or always ``in_flight`` open requests."""

    seconds: float
    rate: float = 0.0
    in_flight: int = 0
    connections: int = 8
    """To each node."""
    timeout_s: float = 2.0
    put_share: float = 0.5
    value_bytes: int = 100
    keys: int = 10_000
    seed: int = 0


class Answer(NamedTuple):
    """The outcome of one request."""

    kind: str
    due: float
    """When it was due, on this machine's monotonic clock."""
    took_s: float
    """From then to its answer; without an answer, the timeout."""


class Offered(NamedTuple):
    """The outcome of a load."""

    began: float
    ended: float
    """When the last request was due; answers are awaited for longer."""
    behind_s: float
    """The longest delay of the sender behind its timetable."""
    answers: list[Answer]


def offer(endpoints: list[str], load: Load) -> Offered:
    """Offer a load to these nodes, and wait for the last answer or its timeout."""
    sender = _Sender(endpoints, load)
    try:
        return sender.run()
    finally:
        sender.close()


class _Sender:
    """Some connections, and the requests that are open on them."""

    def __init__(self, endpoints: list[str], load: Load) -> None:
        self._load = load
        self._chance = random.Random(load.seed)
        self._clock = HybridLogicalClock.drawn(self._chance)
        self._requests = itertools.cycle(self._draw())
        self._numbers = itertools.count(1)
        self._awaited: dict[int, float] = {}
        self._answers: list[Answer] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        sockets = [self._connect(endpoint) for endpoint in endpoints * load.connections]
        self._sockets = itertools.cycle(sockets)

    def run(self) -> Offered:
        """Send requests and receive answers, until the time is over."""
        load, behind_s, sent = self._load, 0.0, 0
        began = time.monotonic()
        ended = began + load.seconds
        while (now := time.monotonic()) < ended:
            if load.rate:
                while (due := began + sent / load.rate) <= now:
                    self._send(due)
                    sent += 1
                    behind_s = max(behind_s, now - due)
            else:
                for _ in range(load.in_flight - len(self._awaited)):
                    self._send(now)
            self._receive()
        while self._awaited and time.monotonic() < ended + load.timeout_s:
            self._receive()
        lost = (Answer(TIMEOUT, due, load.timeout_s) for due in self._awaited.values())
        return Offered(began, ended, behind_s, [*self._answers, *lost])

    def close(self) -> None:
        """Close the sockets, and discard what is still queued."""
        self._context.destroy(linger=0)

    def _connect(self, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.set_hwm(0)
        socket.connect(endpoint)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _send(self, due: float) -> None:
        number = next(self._numbers)
        self._awaited[number] = due
        stamp = self._clock.mint(time.time_ns() // 1000)
        next(self._sockets).send(next(self._requests)(number.to_bytes(4, "big"), stamp))

    def _receive(self) -> None:
        for socket, _ in self._poller.poll(_TICK_MS):
            try:
                while True:
                    self._take(msgpack.unpackb(socket.recv(zmq.NOBLOCK), use_list=False)[1])
            except zmq.Again:
                continue

    def _take(self, runs: Iterable[tuple[Any, ...]]) -> None:
        now = time.monotonic()
        for tag, *replies in runs:
            for number, *rest in replies:
                due = self._awaited.pop(number, None)
                if due is None:
                    continue
                if now - due > self._load.timeout_s:
                    kind = TIMEOUT
                elif tag in _SERVED_TAGS:
                    kind = SERVED
                else:
                    kind = Code(rest[0]).name if tag == _ERROR_TAG else "SUPERSEDED"
                self._answers.append(Answer(kind, due, now - due))

    def _draw(self) -> list[Callable[[bytes, bytes], bytes]]:
        """A request for every key, in random order, packed, to be numbered and stamped."""
        load, chance = self._load, self._chance
        value = chance.randbytes(load.value_bytes)
        timeout_ms = int(load.timeout_s * 1000)
        requests: list[Callable[[bytes, bytes], bytes]] = []
        for number in chance.sample(range(load.keys), load.keys):
            key = f"key:{number}".encode()
            if chance.random() < load.put_share:
                put = Put(_ID, "default", key, value, _STAMP, b"", None, timeout_ms, False)
                requests.append(_packed(put))
            else:
                requests.append(_packed(Get(_ID, "default", key, None, timeout_ms)))
        return requests


def _packed(message: Get | Put) -> Callable[[bytes, bytes], bytes]:
    """A function of the number and the stamp that returns the frame."""
    head, tail = encode([message]).split(_ID_MARK + b"\xff" * 4, 1)
    head += _ID_MARK
    if isinstance(message, Get):
        return lambda number, _stamp: head + number + tail
    middle, end = tail.split(_STAMP, 1)
    return lambda number, stamp: b"".join((head, number, middle, stamp, end))
