"""Finds out why a connection fails, by a plain TCP connection to the same address.

libzmq retries without a report of the errors.  So while a request waits for a connection, the
client also makes a plain one.
"""

from __future__ import annotations

import errno
import os
import socket

from toystore.client.sockets import TOO_MANY_OPEN
from toystore.net.connection import reaches_itself

_PENDING = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR)
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EMFILE: TOO_MANY_OPEN,
}


class Dial:
    """One attempt to connect.  Never blocks."""

    def __init__(self, host: str, port: int) -> None:
        """``host``: an IP address."""
        self.reason: str | None = None
        """Why it failed, or None."""
        self._address = (host, port)
        self._socket: socket.socket | None = None
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self.look()
        except OSError as error:
            self._end(error.errno)

    def look(self) -> bool:
        """Whether the attempt has ended."""
        if self._socket is not None:
            try:
                number = self._socket.connect_ex(self._address)
            except OSError as error:  # an IPv6 address with an unknown scope
                number = error.errno or errno.EINVAL
            if number not in _PENDING:
                self._end(number)
        return self._socket is None

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _end(self, number: int | None) -> None:
        if number in (0, errno.EISCONN):
            number = errno.ECONNREFUSED if self._reached_itself() else 0
        if number != 0:
            told = os.strerror(number or errno.EINVAL)
            self.reason = _WORDS.get(number or 0, told[:1].lower() + told[1:])
        self.close()

    def _reached_itself(self) -> bool:
        """Whether Linux connected the port to itself: no process listens there."""
        return self._socket is not None and reaches_itself(self._socket.fileno())
