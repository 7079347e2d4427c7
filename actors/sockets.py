"""The four kinds of door through which an actor hears and speaks.

    Mailbox     ROUTER, bound     other actors come to it; answers go back by identity
    ClientPort  ROUTER, bound     strangers come to it; their whole envelope is echoed
    Link        DEALER, connects  to one mailbox or port of one node, here or elsewhere
    Datagrams   SUB + XPUB        gossip's lossy, UDP-like way to everyone (datagrams.py)

A door has sockets to poll, a `drain` that takes in what waits, up to a bound, and never
blocks, and a `send` that never blocks either.  What arrives malformed, foreign or for
somebody else is counted, logged once per sender and dropped.  A door that connects has
connections (toystore/net/connection.py), which it tends when that is due: names are found,
and connections that stay down are replaced, without the machine hearing of it.

Every queue is bounded, in bytes too: a ZeroMQ pipe holds at most its high-water mark of
frames, and a frame is at most ``frame_bytes_max`` (one large message aside).  When one is
full, a `Link` says `SendFailed` to its machine, a `Mailbox` drops the reply and counts it,
and a `ClientPort` holds up to `HELD_BYTES_MAX` for a client that reads slowly.

Every socket takes the largest frame that any node may send (`wire.FRAME_BYTES_MAX`), whatever
this node's own limits are: a peer may have stored under higher ones, or forward what it took
under them.  What a client may put is for the coordinator to judge, which answers; a frame that
ZeroMQ finds too large cuts the connection, and whoever waits for an answer learns nothing.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import zmq

from actors import log
from actors.surroundings import Surroundings
from toystore.core.protocol.address import COORDINATOR, Address, Caller, Peer
from toystore.core.protocol.failures import error_instead
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.client import (
    ErrorReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.messages.local import LinkLost, LinkUp, SendFailed
from toystore.core.protocol.routes import Carrier, carried_by, taken_by
from toystore.core.requests.admission import no_room
from toystore.net import listening
from toystore.net.connection import Connection, Monitor
from toystore.net.endpoint import parse
from toystore.wire import (
    FRAME_BYTES_MAX,
    Frame,
    FrameError,
    Header,
    VersionError,
    decode,
    encode,
    encode_bounded,
    request_numbers,
)

DRAIN_FRAMES_MAX = 1000
"""How many frames are taken from one socket per turn."""
DRAIN_BYTES_MAX = 16 * 1024 * 1024
"""How many bytes, likewise."""
CLIENT_DRAIN_MAX = 10_000
"""How many at the client port, most of which are turned away at once if they are so many."""
PEER_FRAMES_MAX = 256
"""High-water mark between actors."""
CLIENT_FRAMES_MAX = 32
"""High-water mark towards one client."""
CLIENT_BACKLOG = 256
"""And from it: what waits here is refused in time if need be, what waits before it is not."""
HELD_BYTES_MAX = 4 * 1024 * 1024
"""Replies held for one client beyond its high-water mark; one is held whatever its size."""
SILENT_S_MAX = 3
"""A host that TCP has not heard from for about this long is gone, and its link lost."""
HELD_OVERHEAD_BYTES = 256
"""What Python needs to hold a reply, beside its bytes."""
GOODBYE_MS = 200
"""How long answers already given may take to leave when a port is closed."""
RECONNECT_MS = 100
RECONNECT_MS_MAX = 200
ENVELOPE_FRAMES_MAX = 8
LOGGED_SENDERS_MAX = 256
NAME_TOLD_MAX = 64
"""How much of a stranger's name is told; no member's is longer."""


class Door:
    """What every door has: its sockets, a way in, a way out, and a memory for misfits."""

    def __init__(self, port: str, surroundings: Surroundings, actor: str) -> None:
        self.port = port
        self.surroundings = surroundings
        self.actor = actor
        self.header: Header = surroundings.header(actor)
        self.speaks_as: Header | None = self.header
        self.rejected = 0
        self.dropped = 0
        self.connections: dict[str, Connection] = {}
        """What this door connects to, each with the node that is there."""
        self._logged: set[object] = set()
        self._refused: set[object] = set()

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The sockets to poll."""
        raise NotImplementedError

    def drain(self) -> list[Delivery]:
        """Everything that waits, up to a bound, without blocking."""
        raise NotImplementedError

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Send without blocking; returns what the machine must hear about it."""
        raise NotImplementedError

    def tend(self, now: float) -> None:
        """Make and replace the connections that are due; log what is worth telling of them."""
        for node, connection in self.connections.items():
            connection.tend(now)
            self.tell(node, connection)

    def changes(self, monitor: Monitor) -> Iterator[tuple[str, bool]]:
        """The nodes whose connection came up (True) or was lost since this was last asked."""
        for address, sign, descriptor in monitor.signs():
            for node, connection in self.connections.items():
                if connection.address != address:
                    continue
                was_up = connection.up
                connection.hear(sign, descriptor, time.monotonic())
                self.tell(node, connection)
                if connection.up != was_up:
                    yield node, connection.up

    def tell(self, node: str, connection: Connection) -> None:
        """Log what has become of a connection, if that is worth telling."""
        cause = connection.news()
        if cause is not None:
            log.event(self.actor, "link.replaced", member=node, port=self.port, cause=cause)

    def close(self) -> None:
        """Close the sockets."""
        for socket in self.sockets():
            socket.close()

    def frames(self, messages: list[Message]) -> Iterable[tuple[bytes, list[Message]]]:
        """The frames that carry ``messages``, each with those that it carries.

        A message too large for any receiver, which no limits allow, is not among them, or
        there is an error in its place.
        """
        for body, carried in encode_bounded(
            messages, self.speaks_as, self.surroundings.frame_bytes_max
        ):
            if len(body) <= FRAME_BYTES_MAX:
                yield body, carried
            elif (error := self._oversized(carried[0], len(body))) is not None:
                yield encode([error], self.speaks_as), carried

    def _oversized(self, message: Message, size: int) -> Message | None:
        """Log a message that cannot be sent, and say what its receiver is told instead."""
        kind = type(message).__name__
        if kind not in self._logged:
            self._logged.add(kind)
            log.event(self.actor, "message.oversized", port=self.port, message=kind, bytes=size)
        return error_instead(message, f"the answer has {size} bytes; at most {FRAME_BYTES_MAX}")

    def opened(self, body: bytes, sender: object) -> Frame | None:
        """Decode a frame; a misfit is counted and logged, and None comes back."""
        try:
            return decode(body)
        except FrameError as error:
            self.reject(str(error), sender)
            return None

    def reject(self, reason: str, sender: object) -> None:
        """Count a misfit, and log the first from each sender."""
        self.rejected += 1
        if sender not in self._logged and len(self._logged) < LOGGED_SENDERS_MAX:
            self._logged.add(sender)
            log.event(
                self.actor, "frame.rejected", port=self.port, reason=reason, sender=str(sender)
            )

    def refusal(self, header: Header) -> str | None:
        """Why a header does not belong here, or None.

        Of what a stranger says no more is kept, logged and sent back than tells who it is.
        """
        if header[1:] == self.header[1:]:
            return None
        node, cluster = header.sender.node[:NAME_TOLD_MAX], header.cluster[:NAME_TOLD_MAX]
        digest = header.members_digest[:4].hex()
        if header.cluster != self.header.cluster:
            reason = f"cluster {cluster!r} is not {self.header.cluster!r}"
        else:
            reason = (
                f"the member list of {node} (digest {digest}) is not the one here "
                f"({self.header.members_digest[:4].hex()}); both must be the same"
            )
        key = (node, cluster, digest)
        if key not in self._refused and len(self._refused) < LOGGED_SENDERS_MAX:
            self._refused.add(key)
            log.event(self.actor, "member.refused", member=node, reason=reason)
        return reason

    def drop(self, count: int) -> None:
        """Count replies that could not be delivered; log at 1, 10, 100, ..."""
        before, self.dropped = self.dropped, self.dropped + count
        if len(str(self.dropped)) > len(str(before)) or before == 0:
            log.event(self.actor, "reply.dropped", port=self.port, count=self.dropped)


class Mailbox(Door):
    """A ROUTER where actors come: inproc always, and a TCP port where peers come too."""

    def __init__(self, surroundings: Surroundings, actor: str, *addresses: str) -> None:
        super().__init__(actor, surroundings, actor)
        self.socket = bound_router(surroundings, PEER_FRAMES_MAX, addresses)
        self._accepts = taken_by(actor)
        self._routes: dict[Peer, bytes] = {}

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The one socket."""
        return (self.socket,)

    def drain(self) -> list[Delivery]:
        """Messages from actors of this cluster; others are told `Refused`."""
        inbox: list[Delivery] = []
        for parts in received(self.socket):
            if len(parts) != 2:
                self.reject(f"{len(parts)} frames, not an identity and a body", parts[0])
                continue
            identity, body = parts
            try:
                frame = decode(body)
            except FrameError as error:
                self.reject(str(error), identity)
                if isinstance(error, VersionError):
                    self._post(identity, [Refused(str(error))])
                continue
            if frame.header is None:
                self.reject("no header: clients go to the client port", identity)
                continue
            refusal = self.refusal(frame.header)
            if refusal is not None:
                self._post(identity, [Refused(refusal)])
                continue
            sender = frame.header.sender
            self._routes[sender] = identity
            for message in frame.messages:
                if type(message) in self._accepts:
                    inbox.append((message, sender))
                else:
                    self.reject(f"{type(message).__name__} is not for {self.actor}", identity)
        return inbox

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Answer an actor that has written before; what cannot leave is dropped."""
        identity = self._routes.get(to) if isinstance(to, Peer) else None
        if identity is None:
            self.drop(len(messages))
        else:
            self._post(identity, messages)
        return []

    def _post(self, identity: bytes, messages: list[Message]) -> None:
        for body, carried in self.frames(messages):
            if not sent(self.socket, (identity, body)):
                self.drop(len(carried))


class ClientPort(Door):
    """A ROUTER for strangers: nothing they call themselves is believed.

    The sender of a request is its whole envelope, every frame before the body, and the
    reply echoes it: a REQ's ``[identity, request id, empty]`` and a DEALER's
    ``[identity]`` are served alike.
    """

    ACCEPTS = carried_by(Carrier.CLIENT_PORT, COORDINATOR)

    def __init__(
        self, surroundings: Surroundings, addresses: Iterable[str], room: Callable[[], float]
    ) -> None:
        """``room``: says how many more requests can be taken on."""
        super().__init__("client", surroundings, COORDINATOR)
        self.turned_away = 0
        """How many requests found no room, since this was last reset."""
        self._room = room
        self.speaks_as = None
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
        """Requests; whoever sends anything else gets a `BAD_REQUEST`.

        Those for which there is no room are answered `OVERLOADED` here and now, unread:
        while a node has too much to do, what it will not do must cost next to nothing.
        """
        inbox: list[Delivery] = []
        refused: dict[tuple[bytes, ...], list[int]] = {}
        room = self._room()
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
            self._refuse(numbers, Caller(envelope))
        return inbox

    def _requests(self, body: bytes, caller: Caller) -> Iterator[Delivery]:
        """What a frame asks for."""
        try:
            frame = decode(body)
        except FrameError as error:
            self.reject(str(error), caller.envelope[0])
            self._complain(caller, str(error))
            return
        refusal = frame.header and self.refusal(frame.header)
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

    def _refuse(self, numbers: list[int], caller: Caller) -> None:
        """There is no room for these."""
        self.turned_away += len(numbers)
        text = no_room(self.surroundings.me.name)
        self.send(caller, [ErrorReply(each, Code.OVERLOADED, text, True) for each in numbers])

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Answer a client, or hold the answer for a while if it reads slowly."""
        assert isinstance(to, Caller)
        for body, carried in self.frames(messages):
            if to.envelope[0] in self._held or not self._post(to, body):
                self._hold(to, body, len(carried))
        return []

    @property
    def holding(self) -> bool:
        """Whether anything is held for a client that reads slowly."""
        return bool(self._held)

    def retry(self) -> None:
        """Send what was held, as far as it goes now."""
        for identity, queue in list(self._held.items()):
            while queue and self._post(*queue[0]):
                self._held_bytes[identity] -= _weight(*queue.popleft())
            if not queue:
                del self._held[identity], self._held_bytes[identity]

    def close(self) -> None:
        """Give the last answers a moment to leave."""
        self.socket.linger = GOODBYE_MS
        super().close()

    def _post(self, caller: Caller, body: bytes) -> bool:
        """True if it is sent, or its client is gone; False if it must wait."""
        return sent(self.socket, (*caller.envelope, body), gone=True)

    def _hold(self, caller: Caller, body: bytes, messages: int) -> None:
        """Hold a reply until its client's pipe, which is its identity's, has room again."""
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


class Link(Door):
    """A DEALER to one mailbox or port of one node.

    Its machine hears `LinkUp` and `LinkLost` (from the socket's monitor, TCP only) and
    `SendFailed`: with the link down that means unreachable, with it up overloaded.
    """

    def __init__(
        self, surroundings: Surroundings, actor: str, to: Peer, address: str, *, watch: bool = True
    ) -> None:
        """``watch``: whether the machine is told of this link (a second one to a node is not)."""
        super().__init__(f"link to {to.node}/{to.actor}", surroundings, actor)
        self.to = to
        self.socket = surroundings.context.socket(zmq.DEALER)
        self.socket.identity = surroundings.identity(actor)
        tuned(self.socket, PEER_FRAMES_MAX)
        self.monitor: Monitor | None = None
        if address.startswith("inproc:"):
            self.socket.connect(address)
        else:
            self.monitor = Monitor(self.socket)
            now = time.monotonic()
            connection = Connection(self.socket, parse(address), surroundings.resolver, now)
            self.connections[to.node] = connection
            self.tend(now)
        self.watched = watch and self.monitor is not None

    @property
    def up(self) -> bool:
        """Whether the other end is there."""
        return self.monitor is None or self.connections[self.to.node].up

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The DEALER, and its monitor if it has one."""
        return (self.socket,) if self.monitor is None else (self.socket, self.monitor.socket)

    def drain(self) -> list[Delivery]:
        """Answers, and news of the link itself.

        Whatever is said in another version of the protocol, it says that we do not belong there.
        """
        inbox: list[Delivery] = []
        for parts in received(self.socket):
            try:
                frame = decode(parts[-1])
            except VersionError as error:
                frame = Frame([Refused(f"{self.to.node} speaks {error}")], None)
            except FrameError as error:
                self.reject(str(error), self.to)
                continue
            inbox.extend((message, self.to) for message in frame.messages)
        return inbox + self._news()

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:  # noqa: ARG002 - a link leads to one address
        """Send, or tell the machine what could not be sent, and why."""
        news = [] if self.up else self._news()
        unsent: list[Message] = []
        for body, carried in self.frames(messages):
            # Before its handshake is done, anybody could be there.
            if unsent or not self.up or not sent(self.socket, (body,)):
                unsent.extend(carried)
        if not unsent:
            return news
        # A lost link and a full one fail alike; the monitor tells which it is, and may not
        # have been heard yet.
        news += self._news()
        failed = (SendFailed(*self.to, message, self.up) for message in unsent)
        return news + [(message, self.to) for message in failed]

    def tend(self, now: float) -> None:
        """As every door, but not while answers of a connection that is gone wait to be read."""
        if not self.socket.poll(0):
            super().tend(now)

    def close(self) -> None:
        """The monitor goes before what it watches."""
        if self.monitor is not None:
            self.monitor.close()
        super().close()

    def _news(self) -> list[Delivery]:
        """What has become of the link since this was last asked."""
        changes = list(self.changes(self.monitor)) if self.monitor is not None else []
        if not self.watched:
            return []
        return [(LinkUp(node) if is_up else LinkLost(node), self.to) for node, is_up in changes]


# --- plain functions on sockets ---------------------------------------------------------


def _weight(caller: Caller, body: bytes) -> int:
    """What a held reply takes, in bytes."""
    return sum(map(len, caller.envelope)) + len(body) + HELD_OVERHEAD_BYTES


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
            socket.send(part, zmq.NOBLOCK | zmq.SNDMORE)
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
