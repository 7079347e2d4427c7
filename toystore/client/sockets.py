"""The client's sockets: one context to a process, REQ and DEALER with the right options."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import cast

import zmq

_SILENCE_S = 5
_RECONNECT_MS_MAX = 1000

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

_contexts: dict[int, Context] = {}
inherited: list[object] = []
"""What a parent process opened: never to be touched here, nor collected."""


def open_req(endpoint: str) -> Socket:
    """A REQ socket that takes only the reply to what it asked last."""
    socket = _open(zmq.REQ)
    socket.setsockopt(zmq.REQ_RELAXED, 1)
    socket.setsockopt(zmq.REQ_CORRELATE, 1)
    return _connected(socket, endpoint)


def open_dealer(endpoint: str) -> Socket:
    """A DEALER socket; it connects again by itself, also if the peer vanished silently.

    That is TCP's to find out.  ZMTP has heartbeats for it, but with those libzmq 4.3.5 aborts
    the process, ours or the peer's, if one is due while a link is down whose pipe is full.
    """
    socket = _open(zmq.DEALER)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, _SILENCE_S)
    socket.setsockopt(zmq.TCP_MAXRT, 1000 * _SILENCE_S)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS_MAX)
    return _connected(socket, endpoint)


def offer(socket: Socket, frame: bytes) -> bool:
    """Send without blocking; False if there is no connection, or no room."""
    try:
        socket.send(frame, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def drain(socket: Socket, frames_max: int) -> Iterator[bytes]:
    """What has arrived, up to so many frames."""
    try:
        for _ in range(frames_max):
            yield socket.recv(zmq.NOBLOCK)
    except zmq.Again:
        return


def descriptor(socket: Socket) -> int:
    """The file descriptor that tells, edge-triggered, when `ready_for` has changed."""
    return cast(int, socket.getsockopt(zmq.FD))


def ready_for(socket: Socket) -> int:
    """POLLIN, POLLOUT, both or neither."""
    return cast(int, socket.getsockopt(zmq.EVENTS))


def _open(kind: int) -> Socket:
    """A socket of this process's own context: a forked child has another."""
    pid = os.getpid()
    context = _contexts.get(pid)
    if context is None:
        context = _contexts.setdefault(pid, zmq.Context())
    return context.socket(kind)


def _connected(socket: Socket, endpoint: str) -> Socket:
    """Nothing queues where there is no connection, nothing lingers after a close."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    if "[" in endpoint:
        socket.setsockopt(zmq.IPV6, 1)
    socket.connect(endpoint)
    return socket
