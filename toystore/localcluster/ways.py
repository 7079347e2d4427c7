"""Ways between nodes, as the proxy simulates them: bytes are late, lost, held or cut off.

A way leads from one node to another.  On it travel the bytes of all their connections that go in
this direction, so the two ways of a pair can differ.  A way can be impaired:

    delay_s, jitter_s   bytes arrive so much later; the jitter is drawn for each chunk
    bytes_per_s         and not faster than this; 0: no limit
    loss                the chance that a packet is lost
    hole                nothing arrives.  TCP does not notice: this kernel acknowledges what is
                        sent, and it arrives when the hole ends.  (Without a proxy, a node's
                        TCP gives up after 3 s: see actors/doors/sockets.py.  A hole is harder.)
    cut                 connections are reset, and new ones too

**Loss** has two meanings.  SWIM's datagrams (gossip port) are lost whole, as with UDP; nothing else
on that port is lost (zmtp.py).  On the other ports TCP turns a loss into a delay: each chunk is
lost with this chance, and sent again after 200 ms, 400 ms, ... until it arrives; what was sent
after it waits.  200 ms is the least retransmission timeout of Linux (TCP_RTO_MIN), and RFC 6298
doubles it.  Most requests and replies are single segments, so no later one shows the loss earlier.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from dataclasses import dataclass, field

from toystore.localcluster.zmtp import Pieces

HELD_BYTES_MAX = 1024 * 1024
"""So much waits for one connection; then its sender finds its socket full."""
RETRANSMIT_S = 0.2
RETRANSMISSIONS_MAX = 8
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""


@dataclass(frozen=True)
class Impairment:
    """What a way does to the bytes on it; see the module's docstring."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    loss: float = 0.0
    hole: bool = False
    cut: bool = False


@dataclass
class Way:
    """From one node to another."""

    impairment: Impairment = Impairment()
    ends: set[End] = field(default_factory=set)
    busy_until: float = 0.0

    def impair(self, impairment: Impairment) -> None:
        """Change the way from now on; what waited in a hole leaves, unless it still has to."""
        self.impairment = impairment
        if impairment.cut:
            self.reset()
        for end in list(self.ends):  # one that has ended removes itself
            end.let_out()

    def reset(self) -> None:
        """Reset every connection of the pair."""
        for end in list(self.ends):
            end.reset()

    def loses(self) -> bool:
        """Whether a packet that is sent now is lost."""
        return self.impairment.loss > 0 and random.random() < self.impairment.loss

    def arrival(self, size: int, now: float, *, reliable: bool) -> float:
        """When a chunk arrives that is sent now; ``reliable``: TCP retransmits it."""
        begins, impairment = now, self.impairment
        if impairment.bytes_per_s:
            begins = max(now, self.busy_until) + size / impairment.bytes_per_s
            self.busy_until = begins
        late_s = self._retransmission_s() if reliable else 0.0
        return begins + late_s + impairment.delay_s + random.uniform(0, impairment.jitter_s)

    def _retransmission_s(self) -> float:
        """How long TCP takes until a segment is not lost."""
        losses = 0
        while losses < RETRANSMISSIONS_MAX and self.loses():
            losses += 1
        return RETRANSMIT_S * ((1 << losses) - 1)


class End(asyncio.Protocol):
    """One end of a connection: what it receives leaves by the other, as its way allows."""

    transport: asyncio.Transport
    other: End

    def __init__(self, way: Way, *, datagrams: bool) -> None:
        """``datagrams``: the messages on it are datagrams."""
        self._way = way
        self._pieces = Pieces() if datagrams else None
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._throttled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Only once both ends are joined, the connection counts."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def join(self, other: End) -> None:
        """From now on what is received here leaves by ``other``."""
        self.other = other
        self._way.ends.add(self)

    def data_received(self, data: bytes) -> None:
        """Hold it until it arrives, or lose it."""
        if self._pieces is None:
            self._hold(data, reliable=True)
            return
        for piece in self._pieces.feed(data):
            if not (piece.is_datagram and self._way.loses()):
                self._hold(piece.data, reliable=False)

    def connection_lost(self, _: Exception | None) -> None:
        """The end of a connection arrives after all that was sent, and in a hole not at all."""
        if hasattr(self, "other"):
            self._hold(b"", reliable=False)

    def pause_writing(self) -> None:
        """The receiver does not keep up: the sender has to wait."""
        self.other.throttle()

    def resume_writing(self) -> None:
        """There is room again."""
        self.other.throttle()

    def reset(self) -> None:
        """Reset both ends."""
        for end in (self, self.other):
            end._way.ends.discard(end)
            end._held.clear()
            abort(end.transport)

    def let_out(self) -> None:
        """Send on what has arrived, and wake up for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._held and not self._way.impairment.hole:
            due, data = self._held[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self.let_out)
                break
            self._held.popleft()
            self._held_bytes -= len(data)
            if not data:
                self._way.ends.discard(self)
                self.other.transport.close()
            elif not self.other.transport.is_closing():
                self.other.transport.write(data)
        self.throttle()

    def throttle(self) -> None:
        """Read on only while there is room."""
        full = self._held_bytes + self.other.transport.get_write_buffer_size() > HELD_BYTES_MAX
        if full != self._throttled and not self.transport.is_closing():
            self._throttled = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _hold(self, data: bytes, *, reliable: bool) -> None:
        now = asyncio.get_running_loop().time()
        due = self._way.arrival(len(data), now, reliable=reliable)
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, data))
        self._held_bytes += len(data)
        if self._timer is None:
            self.let_out()


def abort(transport: asyncio.Transport) -> None:
    """Reset a connection, unless it is closed already."""
    if not transport.is_closing():
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
