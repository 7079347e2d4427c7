"""The door for clients.  It refuses excess requests undecoded, and buffers unread replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import zmq

from actors.doors.door import Door
from actors.doors.sockets import ENVELOPE_FRAMES_MAX, GOODBYE_MS, bound_router, received, sent
from actors.surroundings import Surroundings, now
from toystore.core.protocol.address import COORDINATOR, Address, Caller
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.client import ErrorReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.routes import Carrier, carried_by
from toystore.core.requests.admission import Admission
from toystore.wire import FrameError, decode, request_numbers

CLIENT_DRAIN_MAX = 10_000
"""How many frames the client port receives in a turn; most of that many are refused."""
CLIENT_FRAMES_MAX = 32
"""High-water mark towards one client."""
CLIENT_BACKLOG = 256
"""High-water mark from one client.  Only requests that wait in this queue, not those that wait
before it, can be refused in time."""
HELD_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of replies buffered for one client beyond its high-water mark.  One reply of any size
is buffered."""
HELD_OVERHEAD_BYTES = 256
"""Bytes that Python needs to buffer a reply, beside the reply itself."""


class ClientPort(Door):
    """A ROUTER for untrusted clients: it does not rely on what they send about themselves.

    The sender of a request is its whole envelope, every frame before the body, and the
    reply echoes it: a REQ's ``[identity, request id, empty]`` and a DEALER's
    ``[identity]`` are served alike.
    """

    ACCEPTS = carried_by(Carrier.CLIENT_PORT, COORDINATOR)

    def __init__(
        self,
        surroundings: Surroundings,
        addresses: Iterable[str],
        admission: Callable[[], Admission],
    ) -> None:
        """``admission``: gives the `Admission` of the machine behind this door."""
        super().__init__("client", surroundings, COORDINATOR)
        self.turned_away = 0
        """How many requests were refused for lack of room since the last reset."""
        self._admission = admission
        self.is_signed = False
        self.socket = bound_router(
            surroundings,
            CLIENT_FRAMES_MAX,
            addresses,
            backlog=CLIENT_BACKLOG,
        )
        self._held: dict[bytes, deque[tuple[Caller, bytes]]] = {}
        self._held_bytes: dict[bytes, int] = {}

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The one socket."""
        return (self.socket,)

    def drain(self) -> list[Delivery]:
        """Receive requests; answer any other frame with `BAD_REQUEST`.

        Requests without room are answered `OVERLOADED` here, before they are decoded: while a
        node is overloaded, a refusal must cost as little as possible.
        """
        inbox: list[Delivery] = []
        refused: dict[tuple[bytes, ...], list[int]] = {}
        admission, at = self._admission(), now()
        room = admission.room(at)
        for parts in received(self.socket, CLIENT_DRAIN_MAX):
            body = parts.pop()
            envelope = tuple(parts)
            if not 0 < len(envelope) < ENVELOPE_FRAMES_MAX:
                self.reject(f"{len(envelope) + 1} frames in one message", envelope[0])
            elif len(inbox) >= room and (numbers := request_numbers(body)):
                refused.setdefault(envelope, []).extend(numbers)
            else:
                inbox += self._requests(body, Caller(envelope))
        for envelope, numbers in refused.items():
            self.turned_away += len(numbers)
            self.send(Caller(envelope), admission.turn_away(numbers, at))
        return inbox

    def _requests(self, body: bytes, caller: Caller) -> Iterator[Delivery]:
        """The requests in a frame."""
        try:
            frame = decode(body)
        except FrameError as error:
            self.reject_frame(error, caller.envelope[0])
            self._complain(caller, str(error))
            return
        header = frame.header
        refusal = header and (self.refusal(header) or self.unlisted(header))
        if refusal:
            self.send(caller, [Refused(refusal)])
            return
        for message in frame.messages:
            if type(message) not in self.ACCEPTS:
                self._complain(caller, f"{type(message).__name__} is not a request")
            elif getattr(message, "forwarded", False) and frame.header is None:
                self._complain(caller, "forwarded: only a member forwards")
            else:
                yield message, caller

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Answer a client, or buffer the answer if the client reads slowly."""
        assert isinstance(to, Caller)
        for body, carried in self.frames(messages):
            if to.envelope[0] in self._held or not self._post(to, body):
                self._hold(to, body, len(carried))
        return []

    @property
    def holding(self) -> bool:
        """Whether any reply is buffered for a client that reads slowly."""
        return bool(self._held)

    def retry(self) -> None:
        """Send the buffered replies that can be sent now."""
        for identity, queue in list(self._held.items()):
            while queue and self._post(*queue[0]):
                self._held_bytes[identity] -= _weight(*queue.popleft())
            if not queue:
                del self._held[identity], self._held_bytes[identity]

    def close(self) -> None:
        """Close the socket; the last answers get a limited time to leave."""
        self.socket.linger = GOODBYE_MS
        super().close()

    def _post(self, caller: Caller, body: bytes) -> bool:
        """True if the reply is sent, or its client has disconnected; False if it must wait."""
        return sent(self.socket, (*caller.envelope, body), gone=True)

    def _hold(self, caller: Caller, body: bytes, messages: int) -> None:
        """Buffer a reply until the pipe of its client's identity has room again."""
        identity = caller.envelope[0]
        held = self._held_bytes.get(identity, 0)
        weight = held + _weight(caller, body)
        if held and weight > HELD_BYTES_MAX:
            self.drop(messages)
            return
        self._held_bytes[identity] = weight
        self._held.setdefault(identity, deque()).append((caller, body))

    def _complain(self, caller: Caller, text: str) -> None:
        self.send(caller, [ErrorReply(0, Code.BAD_REQUEST, text, True)])


def _weight(caller: Caller, body: bytes) -> int:
    """The size of a buffered reply in bytes."""
    return sum(map(len, caller.envelope)) + len(body) + HELD_OVERHEAD_BYTES
