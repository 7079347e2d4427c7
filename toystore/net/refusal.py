"""Finds out whether a port refuses connections: then its process is gone, and its host is up.

libzmq reports that a connection was not made, but not why.  So this opens a TCP connection of
its own, without blocking, and closes it again:

    connect ──▶ refused                                   REFUSED
        |─────▶ established ──▶ the peer sends a byte     ACCEPTED
        |            '────────▶ closed by the peer        connect again, `CONNECTS_MAX` times
        '─────▶ nothing in `CONNECT_MS`; another error    UNKNOWN

A ZeroMQ peer that accepts a connection sends the first bytes of the handshake.  While a process
ends, its system may still accept for it; it closes such a connection, and then refuses.

The connection is closed with a reset before the handshake: neither end is left in TIME_WAIT,
and the socket of the peer reports no client.
"""

from __future__ import annotations

import contextlib
import selectors
import socket as tcp
from dataclasses import dataclass
from enum import Enum

from toystore.net.connection import CONNECT_MS, RESET_AT_CLOSE, reaches_itself
from toystore.net.endpoint import Endpoint

CONNECTS_MAX = 3
AGAIN_S = 1.0
"""If a port did not refuse, it is asked again after this time, once."""


class Answer(Enum):
    """What became of a TCP connection to a port."""

    REFUSED = "refused"
    """No process listens there, and the host is up."""
    ACCEPTED = "accepted"
    """A process listens there."""
    UNKNOWN = "unknown"
    """The host did not answer, or the connection failed for another reason."""


class Attempt:
    """Asks one port once.  ``now`` is monotonic seconds, in all methods."""

    def __init__(self, endpoint: Endpoint, selector: selectors.BaseSelector, now: float) -> None:
        """``endpoint``: with an IP address.  ``selector``: ready when `look` is to be called."""
        self.due = now + CONNECT_MS / 1000
        """When the answer is known at the latest."""
        self._endpoint = endpoint
        self._selector = selector
        self._socket: tcp.socket | None = None
        self._connects = 0

    def look(self, now: float) -> Answer | None:
        """The answer, or None while there is none.  Never blocks."""
        try:
            return Answer.UNKNOWN if now >= self.due else self._look()
        except OSError:  # no route, no file descriptor, ...
            return Answer.UNKNOWN

    def close(self) -> None:
        """Reset the connection."""
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _look(self) -> Answer | None:
        while self._socket is not None or self._connects < CONNECTS_MAX:
            try:
                connection = self._socket or self._connect()
                if reaches_itself(connection.fileno()):
                    return Answer.REFUSED
                if connection.recv(1):
                    return Answer.ACCEPTED
            except BlockingIOError:
                return None
            except ConnectionRefusedError:
                return Answer.REFUSED
            except ConnectionResetError:
                pass
            self.close()
        return Answer.UNKNOWN

    def _connect(self) -> tcp.socket:
        """Begin a connection."""
        self._connects += 1
        # An address is not looked up, so this does not block; it resolves the zone of IPv6.
        # A host of type str would import the codec of international names, which takes 5 ms.
        host, port = self._endpoint.host.encode(), self._endpoint.port
        found = tcp.getaddrinfo(host, port, type=tcp.SOCK_STREAM, flags=tcp.AI_NUMERICHOST)
        family, kind, _, _, address = found[0]
        self._socket = tcp.socket(family, kind)
        self._socket.setblocking(False)
        self._socket.setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, RESET_AT_CLOSE)
        self._selector.register(self._socket, selectors.EVENT_READ)
        with contextlib.suppress(BlockingIOError):
            self._socket.connect(address)
        return self._socket


@dataclass(slots=True)
class _Question:
    """A port that is asked, or is to be asked again."""

    endpoint: Endpoint
    attempt: Attempt | None
    again_at: float | None
    """When it is asked for the second time; None once it has been."""


class Refusals:
    """Asks the ports of peers; a peer has a name.  ``now`` is monotonic seconds.

    A port is asked at once, and if it does not refuse, again after `AGAIN_S`.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._questions: dict[str, _Question] = {}

    def fileno(self) -> int:
        """Readable when `refused` is to be called."""
        return self._selector.fileno()

    @property
    def due(self) -> float | None:
        """When `refused` is to be called at the latest; None while no port is asked."""
        times = (q.attempt.due if q.attempt else q.again_at for q in self._questions.values())
        return min((time for time in times if time is not None), default=None)

    def ask(self, name: str, endpoint: Endpoint, now: float) -> None:
        """Ask the port of a peer; ``endpoint`` has an IP address."""
        self.forget(name)
        attempt = Attempt(endpoint, self._selector, now)
        self._questions[name] = _Question(endpoint, attempt, now + AGAIN_S)

    def forget(self, name: str) -> None:
        """Ask no more: the peer is back."""
        question = self._questions.pop(name, None)
        if question is not None and question.attempt is not None:
            question.attempt.close()

    def refused(self, now: float) -> list[str]:
        """The peers whose ports refuse connections; each is returned once.  Never blocks."""
        return [name for name in list(self._questions) if self._refuses(name, now)]

    def close(self) -> None:
        """Close every connection."""
        for name in list(self._questions):
            self.forget(name)
        self._selector.close()

    def _refuses(self, name: str, now: float) -> bool:
        question = self._questions[name]
        if question.attempt is None:
            if question.again_at is None or now < question.again_at:
                return False
            question.again_at = None
            question.attempt = Attempt(question.endpoint, self._selector, now)
        answer = question.attempt.look(now)
        if answer is None:
            return False
        if answer is Answer.REFUSED or question.again_at is None:
            self.forget(name)
        else:
            question.attempt.close()
            question.attempt = None
        return answer is Answer.REFUSED
