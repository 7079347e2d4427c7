"""The sockets behind the doors: options, binding, and reads and writes that never block."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Iterator

import zmq

from actors.surroundings import Surroundings
from toystore.net import listening
from toystore.wire import FRAME_BYTES_MAX

DRAIN_FRAMES_MAX = 1000
"""How many frames are taken from one socket per turn."""
DRAIN_BYTES_MAX = 16 * 1024 * 1024
"""How many bytes, likewise."""
PEER_FRAMES_MAX = 256
"""High-water mark between actors."""
SILENT_S_MAX = 3
"""A host that TCP has not heard from for about this long is gone, and its link lost."""
GOODBYE_MS = 200
"""How long answers already given may take to leave when a port is closed."""
RECONNECT_MS = 100
RECONNECT_MS_MAX = 200
ENVELOPE_FRAMES_MAX = 8

_MORE_FOLLOW = int(zmq.NOBLOCK | zmq.SNDMORE)  # To combine two enums costs more than to send.


def received(
    socket: zmq.Socket[bytes], frames_max: int = DRAIN_FRAMES_MAX
) -> Iterator[list[bytes]]:
    """What waits on a socket, a list of frames each, up to the bounds of one turn."""
    room = DRAIN_BYTES_MAX
    receive = socket.recv
    routed = socket.type == zmq.ROUTER  # An identity leads, and something always follows it.
    try:
        for _ in range(frames_max):
            parts = [receive(zmq.NOBLOCK)] if routed else []
            more = True
            while more:
                # A `Frame` knows if more follow; to ask the socket costs more than to receive.
                frame = receive(zmq.NOBLOCK, copy=False)
                more = frame.more
                if len(parts) <= ENVELOPE_FRAMES_MAX:  # one too many is kept, to be rejected for
                    parts.append(frame.bytes)
            yield parts
            room -= len(parts[-1])
            if room < 0:
                return
    except zmq.Again:
        return


def sent(socket: zmq.Socket[bytes], parts: tuple[bytes, ...], *, gone: bool = False) -> bool:
    """Send without blocking; False if it cannot leave now.  ``gone``: what to say of nobody."""
    try:
        for part in itertools.islice(parts, len(parts) - 1):
            socket.send(part, _MORE_FOLLOW)
        socket.send(parts[-1], zmq.NOBLOCK)
    except zmq.Again:
        return False
    except zmq.ZMQError as error:
        if error.errno != errno.EHOSTUNREACH:
            raise
        return gone
    return True


def tuned(socket: zmq.Socket[bytes], frames_max: int) -> None:
    """The options that every socket of a node has."""
    socket.set_hwm(frames_max)
    socket.linger = 0
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
    # A host that is cut off is found by TCP itself.  ZMTP's heartbeats would find it too, but
    # with them libzmq 4.3.5 aborts the process when a peer fills a queue and goes away.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, SILENT_S_MAX - 1)
    socket.setsockopt(zmq.TCP_MAXRT, SILENT_S_MAX * 1000)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)


def bound_router(
    surroundings: Surroundings,
    frames_max: int,
    addresses: Iterable[str],
    *,
    backlog: int | None = None,
) -> zmq.Socket[bytes]:
    """A ROUTER bound to each address.  Raises `PortError`.

    ``frames_max``, ``backlog``: high-water marks each way; without a backlog they are one.
    """
    socket: zmq.Socket[bytes] = surroundings.context.socket(zmq.ROUTER)
    tuned(socket, frames_max)
    socket.setsockopt(zmq.RCVHWM, backlog or frames_max)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    for address in addresses:
        bind(socket, address)
    return socket


def bind(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind, with an error that names the address and what to do."""
    try:
        listening.bind(socket, address)
    except zmq.ZMQError as error:
        socket.close()
        raise PortError(f"cannot bind {address}: {error.strerror}") from None


class PortError(Exception):
    """A port cannot be bound: in use, or not an address of this host."""
