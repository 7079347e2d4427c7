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
"""How many frames are received from one socket per turn."""
DRAIN_BYTES_MAX = 16 * 1024 * 1024
"""How many bytes are received from one socket per turn."""
PEER_FRAMES_MAX = 256
"""High-water mark between actors."""
SILENT_S_MAX = 3
"""When TCP has received nothing from a host for about this long, its link is lost."""
GOODBYE_MS = 200
"""How long sent answers may take to leave when a port is closed."""
RECONNECT_MS = 100
RECONNECT_MS_MAX = 200
ENVELOPE_FRAMES_MAX = 8

_MORE_FOLLOW = int(zmq.NOBLOCK | zmq.SNDMORE)  # combining two enums costs more than sending


def received(
    socket: zmq.Socket[bytes], frames_max: int = DRAIN_FRAMES_MAX
) -> Iterator[list[bytes]]:
    """The messages that wait on a socket, each a list of frames, up to the bounds of a turn."""
    room = DRAIN_BYTES_MAX
    receive = socket.recv
    routed = socket.type == zmq.ROUTER  # the first frame is an identity; others follow
    try:
        for _ in range(frames_max):
            parts = [receive(zmq.NOBLOCK)] if routed else []
            more = True
            while more:
                # A `Frame` knows if more follow; asking the socket costs more than receiving.
                frame = receive(zmq.NOBLOCK, copy=False)
                more = frame.more
                if len(parts) <= ENVELOPE_FRAMES_MAX:  # one more, so that it is rejected
                    parts.append(frame.bytes)
            yield parts
            room -= len(parts[-1])
            if room < 0:
                return
    except zmq.Again:
        return


def sent(socket: zmq.Socket[bytes], parts: tuple[bytes, ...], *, gone: bool = False) -> bool:
    """Send without blocking; False if it cannot leave now.

    ``gone``: the result if the peer is unknown.
    """
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
    """Set the options that every socket of a node has."""
    socket.set_hwm(frames_max)
    socket.linger = 0
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
    # TCP itself detects a host that is unreachable.  ZMTP's heartbeats would, too, but with them
    # libzmq 4.3.5 aborts the process when a peer fills a queue and disconnects.
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

    ``frames_max``, ``backlog``: high-water marks for sending and receiving; without a backlog
    ``frames_max`` is both.
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
