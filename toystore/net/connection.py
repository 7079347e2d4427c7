"""Keeps a connecting socket connected: looks up the peer's name, replaces dead sessions.

A socket that is disconnected and connected again has a new session, even if the old one
had failed.  This was tested for DEALER, REQ and XPUB with libzmq 4.3.5, after a frame over
MAXMSGSIZE, with a ZeroMQ peer of another socket type, with other software, and with a peer
that sends nothing.  The socket, its poller and its monitor do not change.
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

from toystore.hosts import is_ipv6
from toystore.net.endpoint import Endpoint, parse
from toystore.net.names import Resolver
from toystore.net.watch import Sign, Watch

CONNECT_MS = 2000
"""The time limit of a TCP connect: an unreachable host sends no error."""
LOOK_AGAIN_S = 0.05
"""The time between two looks at a lookup that is under way."""

_SIGNS = {
    zmq.Event.CONNECTED: Sign.CONNECTED,
    zmq.Event.HANDSHAKE_SUCCEEDED: Sign.READY,
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: Sign.FAILED,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: Sign.FAILED,
    zmq.Event.HANDSHAKE_FAILED_AUTH: Sign.FAILED,
    zmq.Event.DISCONNECTED: Sign.ENDED,
}
"""While no process listens on the port, none of them occurs: a peer that is down costs little."""

RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""A value of SO_LINGER: no end is left in TIME_WAIT."""

_Socket = zmq.Socket[bytes]
_numbers = itertools.count()


class Monitor:
    """Reads libzmq's events about the connections of one socket."""

    def __init__(self, watched: _Socket) -> None:
        """Make it before ``watched`` connects."""
        self._watched = watched
        events = 0
        for event in _SIGNS:
            events |= event
        address = f"inproc://monitor of {id(watched)} {next(_numbers)}"
        watched.monitor(address, events)
        self.socket: _Socket = watched.context.socket(zmq.PAIR)
        """The socket to poll for reading."""
        # Without a bound, libzmq's I/O thread never blocks here, even if no thread reads.
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def signs(self) -> Iterator[tuple[str, Sign, int]]:
        """The new signs: the address of the connection, the sign, the file descriptor."""
        try:
            while True:
                event = recv_monitor_message(self.socket, zmq.NOBLOCK)
                sign, descriptor = _SIGNS[zmq.Event(event["event"])], event["value"]
                if sign is Sign.CONNECTED and reaches_itself(descriptor):
                    sign = Sign.REACHED_ITSELF
                yield event["endpoint"].decode(), sign, descriptor
        except zmq.Again:
            return

    @property
    def has_signs(self) -> bool:
        """Whether there are signs that were not taken yet."""
        return bool(self.socket.poll(0))

    def close(self) -> None:
        """Call it before the watched socket is closed."""
        with contextlib.suppress(zmq.ZMQError):  # its context was ended
            self._watched.disable_monitor()
        self.socket.close()


class Connection:
    """One connection of a socket; `tend` makes it and replaces it.  A socket may have several."""

    def __init__(self, socket: _Socket, endpoint: Endpoint, resolver: Resolver, now: float) -> None:
        """Does not connect yet.  ``now`` is monotonic seconds, in all methods."""
        self.endpoint = endpoint
        self.address: str | None = None
        """What the socket connects to: `endpoint` with an IP address for its name."""
        self.host: str | None = None
        """That IP address."""
        self.watch = Watch(now)
        self._socket = socket
        self._resolver = resolver
        self._attempts = 0
        """The number of attempts since it was last up."""

    @property
    def up(self) -> bool:
        """Whether the handshake succeeded and the connection has not ended since."""
        return self.watch.up

    @property
    def due(self) -> float | None:
        """When `tend` is to be called; None while the connection is up."""
        return self.watch.due

    def hear(self, sign: Sign, descriptor: int, now: float) -> None:
        """Receive a sign of `address`."""
        self.watch.hear(sign, descriptor, now)
        if self.watch.up:
            self._attempts = 0

    def hurry(self, now: float) -> None:
        """The peer is there: if the connection is down, let `tend` connect at once."""
        self.watch.hurry(now)

    def tend(self, now: float) -> bool:
        """Make or replace the connection if that is due; returns whether it was."""
        if self.due is None or now < self.due:
            return False
        found = self._resolver.find(self.endpoint.host)
        if not found.addresses and found.reason is None:
            self.watch.due = now + LOOK_AGAIN_S
            return False
        if not self.watch.replace(now):
            return False
        if found.addresses:
            self._connect(self._choice(found.addresses))
            self._attempts += 1
        return True

    def close(self) -> None:
        """End the connection; the socket and its other connections stay."""
        if self.address is not None:
            disconnect(self._socket, self.address)

    def news(self) -> str | None:
        """A report for the log, or None; at most one in an outage."""
        return self.watch.news()

    def _choice(self, hosts: tuple[str, ...]) -> str:
        """The next address of the name: first the last one that was up, then the others in turn."""
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
            # This host has no such address family or zone: the connection stays down.
            if error.errno not in (errno.EINVAL, errno.ENODEV):
                raise


def connect(socket: _Socket, address: str) -> None:
    """Connect to an IP address.  The connections of a socket may mix IPv4 and IPv6."""
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    socket.setsockopt(zmq.IPV6, is_ipv6(parse(address).host))
    socket.connect(address)


def disconnect(socket: _Socket, address: str) -> None:
    """End a connection, in any state of it."""
    socket.setsockopt(zmq.IPV6, is_ipv6(parse(address).host))
    try:
        socket.disconnect(address)
    except zmq.ZMQError as error:
        if error.errno != errno.ENOENT:
            raise


def reaches_itself(descriptor: int) -> bool:
    """Whether a TCP connection has the same address and port at both ends.

    Linux makes such a connection if no process listens on a port of its ephemeral range, and
    a connect to that port gets the same port as its source.  When it is closed it is reset:
    otherwise the port would stay in use for another minute (TIME_WAIT).  The descriptor may
    already be closed.
    """
    try:
        connection = tcp.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        itself: bool = connection.getsockname() == connection.getpeername()
        if itself:
            connection.setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, RESET_AT_CLOSE)
        return itself
    except OSError:
        return False
    finally:
        connection.detach()  # the descriptor belongs to libzmq
