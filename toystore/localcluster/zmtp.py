"""Divides one direction of a ZMTP 3 connection into the parts that a lossy link loses or keeps.

SWIM's datagrams are messages from a PUB or XPUB socket to a SUB.  A lossy link loses each of them
whole, as UDP would.  All else is needed for the connection itself and is never lost: the greeting,
commands (READY, PING, SUBSCRIBE), and messages from a SUB, which are subscriptions.

The format is that of ZMTP 3.1 (rfc.zeromq.org/spec/37) without encryption: a greeting of 64 bytes,
then frames of a flags byte, a size of 1 or 8 bytes, and a body.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

GREETING_BYTES = 64
SIGNATURE, VERSION_AT, VERSION = 0xFF, 10, b"\x03"
MORE, LONG, COMMAND = 1, 2, 4
READY = b"\x05READY"
SOCKET_TYPE = b"\x0bSocket-Type\0\0\0"
"""The name of the property, and the high bytes of its length."""
PUBLISHERS = (b"\x03PUB", b"\x04XPUB")


class Piece(NamedTuple):
    """Bytes that are sent on together."""

    data: bytes
    is_datagram: bool
    """Whether this is a whole message of a publisher."""


class Pieces:
    """Takes the bytes of one direction as they arrive; gives them in pieces, nothing changed.

    An incomplete frame waits for its rest.  A connection that is not ZMTP 3 is passed on as it is.
    """

    def __init__(self) -> None:
        self._greeting = bytearray()
        self._buffer = bytearray()
        self._publishes = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Add bytes; returns the pieces that are complete now."""
        if rest := GREETING_BYTES - len(self._greeting):
            # Each side waits for the first bytes of the other's greeting: they cannot wait here.
            self._greeting += data[:rest]
            yield Piece(data[:rest], is_datagram=False)
            data = data[rest:]
        if not data:
            return
        self._buffer += data
        if not self._is_zmtp:
            yield self._take(len(self._buffer))
        while self._is_zmtp and (size := self._next_message()):
            yield self._take(size, is_datagram=self._publishes and not self._buffer[0] & COMMAND)

    @property
    def _is_zmtp(self) -> bool:
        greeting = self._greeting
        return greeting[0] == SIGNATURE and greeting[VERSION_AT : VERSION_AT + 1] == VERSION

    def _next_message(self) -> int:
        """The size of the command or message at the start of the buffer; 0 if it is incomplete."""
        end = 0
        while True:
            size = self._frame_size(end)
            if not size or end + size > len(self._buffer):
                return 0
            flags = self._buffer[end]
            if flags & COMMAND:
                self._learn(bytes(self._buffer[end : end + size]))
            end += size
            if not flags & MORE:
                return end

    def _frame_size(self, start: int) -> int:
        """The size of the frame at ``start``, with its head; 0 if the head is incomplete."""
        head = 9 if start < len(self._buffer) and self._buffer[start] & LONG else 2
        if len(self._buffer) < start + head:
            return 0
        return head + int.from_bytes(self._buffer[start + 1 : start + head], "big")

    def _learn(self, command: bytes) -> None:
        """Learn from READY whether the sender is a publisher."""
        if READY in command:
            socket_type = command.partition(SOCKET_TYPE)[2]
            self._publishes = socket_type.startswith(PUBLISHERS)

    def _take(self, size: int, *, is_datagram: bool = False) -> Piece:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Piece(data, is_datagram)
