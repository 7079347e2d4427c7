"""Asks the client ports of many nodes at once, before the actors of this node start.

No answer is needed: a node may be down, or on its way up.  A port that refuses the connection is
not waited for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zmq

from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import ClusterReply
from toystore.net.connection import connect
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver
from toystore.wire import FrameError, decode, encode

MORE_S = 0.2
"""How much longer other answers are waited for after the first."""


class StoppedError(Exception):
    """A signal has come, or a watched descriptor has ended."""


class Asking:
    """Asks the nodes at some endpoints the same."""

    def __init__(self, resolver: Resolver, stopped: Callable[[int], bool] = bool) -> None:
        """``stopped``: whether this process is to stop, as a watched descriptor is readable."""
        self._resolver = resolver
        self._stopped = stopped
        self._watched: Sequence[int] = ()

    def watch(self, descriptors: Sequence[int]) -> None:
        """Call ``stopped`` when one of these file descriptors is readable."""
        self._watched = descriptors

    def pause(self, for_s: float) -> None:
        """Wait.  Raises `StoppedError`."""
        self.ask((), None, for_s)

    def ask(
        self, endpoints: Iterable[Endpoint], message: Message | None, within_s: float
    ) -> list[dict[str, Any]]:
        """The results that nodes have answered; raises `StoppedError`."""
        end, endpoints = time.monotonic() + within_s, list(endpoints)
        for one in endpoints:
            self._resolver.find(one.host)  # all at once
        addresses = [address for one in endpoints for address in self._addresses(one, end)]
        with zmq.Context() as context, contextlib.ExitStack() as stack:
            context.linger = 0
            poller = zmq.Poller()
            for descriptor in self._watched:
                poller.register(descriptor, zmq.POLLIN)
            open_: dict[zmq.Socket[bytes], zmq.Socket[bytes]] = {}
            for address in addresses:
                socket, monitor = self._connected(context, address, stack)
                open_[socket] = open_[monitor] = socket
                poller.register(socket, zmq.POLLIN)
                poller.register(monitor, zmq.POLLIN)
                assert message is not None
                socket.send(encode([message]), zmq.NOBLOCK)
            return self._answers(poller, open_, end)

    def _answers(
        self, poller: zmq.Poller, waiting: dict[zmq.Socket[bytes], zmq.Socket[bytes]], end: float
    ) -> list[dict[str, Any]]:
        """What comes until the end, or until no answer is waited for."""
        answers: list[dict[str, Any]] = []
        asks = bool(waiting)
        while (left := end - time.monotonic()) > 0 and bool(waiting) == asks:
            for ready, _ in poller.poll(int(left * 1000) + 1):
                if isinstance(ready, int):
                    if self._stopped(ready):
                        raise StoppedError
                    continue
                socket = waiting.get(ready)
                if socket is None:
                    continue
                if ready is socket and (result := _result(socket.recv())) is not None:
                    answers.append(result)
                    end = min(end, time.monotonic() + MORE_S)
                for one in [key for key, of in waiting.items() if of is socket]:
                    del waiting[one]
                    poller.unregister(one)
        return answers

    def _addresses(self, endpoint: Endpoint, end: float) -> list[str]:
        """The first address of an endpoint's host; none if it is not found in time."""
        left = max(0.0, end - time.monotonic())
        found = self._resolver.wait(endpoint.host, left).addresses
        return [str(endpoint._replace(host=host)) for host in found[:1]]

    @staticmethod
    def _connected(
        context: zmq.Context[Any], address: str, stack: contextlib.ExitStack
    ) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """A socket, and its monitor, which is readable once the port has refused."""
        socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        monitor: zmq.Socket[bytes] = socket.get_monitor_socket(zmq.Event.CONNECT_RETRIED)
        stack.callback(socket.close, 0)
        stack.callback(socket.disable_monitor)
        connect(socket, address)
        return socket, monitor


def _result(body: bytes) -> dict[str, Any] | None:
    """The result in an answer; None if there is none."""
    try:
        messages = decode(body).messages
    except FrameError:
        return None
    return next((one.result for one in messages if isinstance(one, ClusterReply)), None)
