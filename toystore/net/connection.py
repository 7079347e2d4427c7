"""A connecting socket, kept connected: names are found, dead sessions are replaced.

To disconnect a socket and connect it again gives it a fresh session, whatever had become
of the old one (shown for DEALER, REQ and XPUB with libzmq 4.3.5: after a frame over
MAXMSGSIZE, a ZeroMQ peer of another kind, other software, one that says nothing).  The
socket itself, its poller and its monitor stay as they are.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket as tcp
import struct
from collections.abc import Iterator

import zmq
from zmq.utils.monitor import recv_monitor_message

from toystore.net.endpoint import Endpoint, is_ipv6, parse
from toystore.net.names import Resolver
from toystore.net.watch import Sign, Watch

CONNECT_MS = 2000
"""How long TCP may take to connect; a host that is away does not say that it is."""
LOOK_AGAIN_S = 0.05
"""How soon a lookup that is under way is asked for again."""

_SIGNS = {
    zmq.Event.CONNECTED: Sign.CONNECTED,
    zmq.Event.HANDSHAKE_SUCCEEDED: Sign.READY,
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: Sign.FAILED,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: Sign.FAILED,
    zmq.Event.HANDSHAKE_FAILED_AUTH: Sign.FAILED,
    zmq.Event.DISCONNECTED: Sign.ENDED,
}
"""None of them comes while nobody listens, so that a peer that is down costs next to nothing."""

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)

_Socket = zmq.Socket[bytes]
_numbers = itertools.count()


class Monitor:
    """What libzmq has to say of the connections of one socket."""

    def __init__(self, watched: _Socket) -> None:
        """Before ``watched`` connects."""
        self._watched = watched
        events = 0
        for event in _SIGNS:
            events |= event
        address = f"inproc://monitor of {id(watched)} {next(_numbers)}"
        watched.monitor(address, events)
        self.socket: _Socket = watched.context.socket(zmq.PAIR)
        """To poll for reading."""
        # libzmq's I/O thread waits for room here: it must never have to, also if nobody reads.
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def signs(self) -> Iterator[tuple[str, Sign, int]]:
        """What was not heard yet: the address connected to, the sign, the file descriptor."""
        try:
            while True:
                event = recv_monitor_message(self.socket, zmq.NOBLOCK)
                sign, descriptor = _SIGNS[zmq.Event(event["event"])], event["value"]
                if sign is Sign.CONNECTED and reaches_itself(descriptor):
                    sign = Sign.REACHED_ITSELF
                yield event["endpoint"].decode(), sign, descriptor
        except zmq.Again:
            return

    def close(self) -> None:
        """Before the watched socket is closed."""
        with contextlib.suppress(zmq.ZMQError):  # its context was ended, and it with that
            self._watched.disable_monitor()
        self.socket.close()


class Connection:
    """One connection of a socket, which may have others; `tend` makes it and replaces it."""

    def __init__(self, socket: _Socket, endpoint: Endpoint, resolver: Resolver, now: float) -> None:
        """Nothing is done yet.  ``now`` is monotonic seconds, as everywhere."""
        self.endpoint = endpoint
        self.address: str | None = None
        """What the socket connects to: `endpoint` with a number for its name."""
        self.host: str | None = None
        """That number."""
        self.name_fault: str | None = None
        """Why there is no number for the name, if there is none."""
        self.watch = Watch(now)
        self._socket = socket
        self._resolver = resolver
        self._attempts = 0
        """How often it was made since it was last up."""

    @property
    def up(self) -> bool:
        """Whether the peer has shaken hands and was not lost since."""
        return self.watch.up

    @property
    def due(self) -> float | None:
        """When `tend` is to be called; None while the connection is up."""
        return self.watch.due

    def hear(self, sign: Sign, descriptor: int, now: float) -> None:
        """Take in a sign of `address`."""
        self.watch.hear(sign, descriptor, now)
        if self.watch.up:
            self._attempts = 0

    def tend(self, now: float) -> bool:
        """Make the connection, or make it again, if that is due; whether it was."""
        if self.due is None or now < self.due:
            return False
        found = self._resolver.find(self.endpoint.host)
        if not found.addresses and found.fault is None:
            self.watch.due = now + LOOK_AGAIN_S
            return False
        if not self.watch.replace(now):
            return False
        self.name_fault = None if found.addresses else found.fault
        if found.addresses:
            self._connect(self._choice(found.addresses))
            self._attempts += 1
        return True

    def news(self) -> str | None:
        """What is worth telling, if anything is; once in an outage."""
        return self.watch.news()

    def _choice(self, hosts: tuple[str, ...]) -> str:
        """The addresses of a name in turn, beginning with the one that was good last."""
        if self.host not in hosts:
            return hosts[0]
        at = hosts.index(self.host)
        return hosts[at if self._attempts == 0 else (at + 1) % len(hosts)]

    def _connect(self, host: str) -> None:
        if self.address is not None:
            disconnect(self._socket, self.address)
        self.host = host
        self.address = str(self.endpoint._replace(host=host))
        try:
            connect(self._socket, self.address)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EINVAL, errno.ENODEV):
                raise
            self.name_fault = f"{self.address}: {error.strerror}"


def connect(socket: _Socket, address: str) -> None:
    """Connect to a number.  A socket that has several connections may mix IPv4 and IPv6."""
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    socket.setsockopt(zmq.IPV6, is_ipv6(parse(address).host))
    socket.connect(address)


def disconnect(socket: _Socket, address: str) -> None:
    """End a connection, whatever has become of it."""
    socket.setsockopt(zmq.IPV6, is_ipv6(parse(address).host))
    try:
        socket.disconnect(address)
    except zmq.ZMQError as error:
        if error.errno != errno.ENOENT:
            raise


def reaches_itself(descriptor: int) -> bool:
    """Whether both ends of a TCP connection are one: it was dialled from the port it goes to.

    Linux does that when nobody listens on a port of its ephemeral range, and a connection to
    the port is given the same port to come from.  Such a connection is made to end by a reset
    once it is closed: otherwise the port would stay taken for another minute (TIME_WAIT).
    The descriptor may be gone by now.
    """
    try:
        connection = tcp.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        itself: bool = connection.getsockname() == connection.getpeername()
        if itself:
            connection.setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, _RESET_AT_CLOSE)
        return itself
    except OSError:
        return False
    finally:
        connection.detach()  # it stays libzmq's
