"""The client's sockets: one context for each process, REQ and DEALER with their options."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import zmq

from toystore.net.names import Resolver

TOO_MANY_OPEN = (
    "this process has too many files and sockets open "
    "(ulimit -n; ZeroMQ takes 65,535 sockets at most)"
)
_SILENCE_S = 5
_RECONNECT_MS = 100
_RECONNECT_MS_MAX = 1000
_CONTEXT_DESCRIPTORS = 16
"""Enough file descriptors for a context and its first socket."""

POLLIN, POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)
"""Plain numbers: an operation on pyzmq's enums takes a microsecond."""

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

_contexts: dict[int, Context] = {}
_resolvers: dict[int, Resolver] = {}
inherited: list[object] = []
"""Sockets of the parent process: they must not be used or collected here."""


def open_socket(kind: int) -> Socket:
    """A REQ or a DEALER with the options of a client, not connected yet.

    TCP detects a peer that has vanished.  ZMTP has heartbeats for that, but with them libzmq
    4.3.5 aborts the process, ours or the peer's, if a heartbeat is due while a link is down
    and its pipe is full.
    """
    socket = _open(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # Without a connection nothing is queued.
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS_MAX)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _SILENCE_S)
    socket.setsockopt(zmq.TCP_MAXRT, 1000 * _SILENCE_S)
    if kind == zmq.REQ:  # It receives only the reply to its last request.
        socket.setsockopt(zmq.REQ_RELAXED, 1)
        socket.setsockopt(zmq.REQ_CORRELATE, 1)
    return socket


def resolver() -> Resolver:
    """The resolver for all clients of this process; a fork does not have its threads."""
    return _resolvers.setdefault(os.getpid(), Resolver())


def offer(socket: Socket, frame: bytes) -> bool:
    """Send without blocking; False if there is no connection, or no room."""
    try:
        socket.send(frame, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def drain(socket: Socket, frames_max: int) -> Iterator[bytes]:
    """The frames that have arrived, up to ``frames_max``."""
    try:
        for _ in range(frames_max):
            yield socket.recv(zmq.NOBLOCK)
    except zmq.Again:
        return


def descriptor(socket: Socket) -> int:
    """The edge-triggered file descriptor that signals a change of `ready_for`."""
    return cast(int, socket.getsockopt(zmq.FD))


def ready_for(socket: Socket) -> int:
    """POLLIN, POLLOUT, both or neither."""
    return cast(int, socket.getsockopt(zmq.EVENTS))


def error_text(error: Exception) -> str:
    """An error of the system, as a text for the caller."""
    number = getattr(error, "errno", None)
    if number in (errno.EMFILE, errno.ENFILE):
        return TOO_MANY_OPEN
    return f"the socket failed: {error}"


def _open(kind: int) -> Socket:
    """A socket of this process's context; a forked child has its own."""
    pid = os.getpid()
    context = _contexts.get(pid)
    if context is None or context.closed:
        context = _contexts[pid] = _new_context()
    return context.socket(kind)


def _new_context() -> Context:
    """A context that allows as many sockets as libzmq does."""
    try:
        with ExitStack() as stack:  # libzmq aborts the process if it gets no descriptors here.
            for _ in range(_CONTEXT_DESCRIPTORS):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        raise zmq.ZMQError(error.errno) from error
    context: Context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, context.get(zmq.SOCKET_LIMIT))
    return context
