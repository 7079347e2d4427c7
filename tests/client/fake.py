"""A small coordinator to test the clients against: real sockets, a scripted mind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from toystore.core.data.context import pack_context
from toystore.core.data.stamp import HybridLogicalClock, pack_stamp
from toystore.core.protocol.messages.client import (
    Cluster,
    ClusterReply,
    Delete,
    DescribeMembers,
    DescribeMembersReply,
    ErrorReply,
    Get,
    GetReply,
    Owners,
    OwnersReply,
    Put,
    Repair,
    RepairReply,
    RingLoad,
    RingLoadReply,
    Status,
    StatusReply,
    SupersededReply,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.wire import FrameError, decode, encode

HOLD = object()
"""An answer of the script: answer as usual, but not before `Fake.release`."""


class Fake:
    """One coordinator with a store of its own, on a free port, in a thread.

    ``script`` is called with each message and returns what to do: None to keep silent,
    `HOLD`, a reply, raw bytes to send as they are, or `Fake.usual` of the message.
    """

    def __init__(self, port: int | None = None, store: dict[bytes, Any] | None = None) -> None:
        self.store: dict[bytes, tuple[bytes, bytes | None]] = {} if store is None else store
        self.script: Callable[[Any], Any] = self.usual
        self.seen: list[Any] = []
        """Every message, in order of arrival."""
        self.frames: list[int] = []
        """How many messages each frame carried."""
        self.frame_bytes: list[int] = []
        self.envelopes: list[list[bytes]] = []
        self.epoch: int | None = None
        """Of the ring that it names in each frame, if any."""
        self.members: list[str] = []
        """The endpoints of the members of that ring."""
        self._held: list[tuple[list[bytes], Any]] = []
        self._commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._context = zmq.Context()
        self._wake = self._context.socket(zmq.PAIR)
        self._wake.bind(f"inproc://{id(self)}")
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def usual(self, message: Any) -> Any:
        """What an honest coordinator with one replica would answer."""
        match message:
            case Get(request, _, key):
                if key not in self.store:
                    return GetReply(request, (), b"", 3, 0)
                stamp, value = self.store[key]
                values = () if value is None else (value,)
                return GetReply(request, values, pack_context(stamp), 2, 0)
            case Put() | Delete():
                stamp = message.stamp or pack_stamp(time.time_ns() // 1000, 0, b"fakefake")
                held = self.store.get(message.key, (b"",))[0]
                if held > stamp:
                    return SupersededReply(message.request, held)
                self.store[message.key] = (stamp, getattr(message, "value", None))
                return WriteReply(message.request, stamp, 2, 1)
            case Status(request):
                return StatusReply(request, {"node": self.endpoint, "members": ["n1"]})
            case Repair(request, job):
                return RepairReply(request, {"job": job, "finished": False})
            case Cluster(request, command, arguments):
                return ClusterReply(request, {"command": command, **arguments})
            case DescribeMembers(request):
                return DescribeMembersReply(request, self.epoch or 0, tuple(self.members))
            case Owners(request):
                return OwnersReply(request, 7, ("n1", "n2"), ("n3",))
            case RingLoad(request):
                return RingLoadReply(request, 64, (("n1", 64, 32), ("n2", 64, 32)))
        raise AssertionError(message)

    def fail(self, code: Code, *, definite: bool = True) -> None:
        """From now on answer everything with an error."""
        self.script = lambda message: ErrorReply(message.request, code, f"no: {code}", definite)

    def of(self, kind: type) -> list[Any]:
        """The messages of one type that have arrived."""
        return [message for message in self.seen if type(message) is kind]

    def release(self) -> None:
        """Send what was held."""
        self._command("release")

    def die(self) -> None:
        """Stop answering and close the port, as a killed process does."""
        if self._thread.is_alive():
            self._command("die")
            self._thread.join(10)
            self._wake.close()
            self._context.term()

    def _command(self, command: str) -> None:
        self._commands.put(command)
        self._wake.send(b"")

    def _run(self) -> None:
        socket, commands = self._context.socket(zmq.ROUTER), self._context.socket(zmq.PAIR)
        socket.linger = 0
        commands.connect(f"inproc://{id(self)}")
        if self._port is None:
            self._port = socket.bind_to_random_port("tcp://127.0.0.1")
        else:
            socket.bind(f"tcp://127.0.0.1:{self._port}")
        self.endpoint = f"tcp://127.0.0.1:{self._port}"
        self._ready.set()
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(commands, zmq.POLLIN)
        alive = True
        while alive:
            ready = dict(poller.poll())
            if commands in ready:
                commands.recv()
                alive = self._commands.get() != "die"
                while alive and self._held:
                    self._send(socket, *self._held.pop(0))
            if socket in ready and alive:
                *envelope, body = socket.recv_multipart()
                self._receive(socket, envelope, body)
        socket.close()
        commands.close()

    def _receive(self, socket: Any, envelope: list[bytes], body: bytes) -> None:
        try:
            messages = decode(body).messages
        except FrameError:
            return
        self.frames.append(len(messages))
        self.frame_bytes.append(len(body))
        self.envelopes.append(envelope)
        replies = []
        for message in messages:
            self.seen.append(message)
            reply = self.script(message)
            if reply is HOLD:
                self._held.append((envelope, self.usual(message)))
            elif isinstance(reply, bytes):
                self._send(socket, envelope, reply)
            elif reply is not None:
                replies.append(reply)
        if replies:
            self._send(socket, envelope, encode(replies, None, self.epoch))

    def _send(self, socket: Any, envelope: list[bytes], reply: Any) -> None:
        body = reply if isinstance(reply, bytes) else encode([reply], None, self.epoch)
        socket.send_multipart([*envelope, body])


class SkewedClock:
    """A clock that is wrong by so many seconds."""

    def __init__(self, skew_s: float) -> None:
        self._clock = HybridLogicalClock(b"skewed00")
        self._skew_us = int(skew_s * 1e6)

    def mint(self) -> bytes:
        return self._clock.mint(time.time_ns() // 1000 + self._skew_us)

    def merge(self, stamp: bytes) -> None:
        self._clock.merge(stamp)
