"""The door to one mailbox or port of one node."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import repeat

import zmq

from actors.doors.connecting import ConnectingDoor
from actors.doors.sockets import PEER_FRAMES_MAX, received, sent, tuned
from actors.surroundings import Surroundings
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.messages.local import LinkLost, LinkUp, SendFailed
from toystore.core.ring.cluster_id import is_newer
from toystore.net.connection import Connection, Monitor
from toystore.net.endpoint import parse
from toystore.wire import Frame, FrameError, VersionError, decode


class Link(ConnectingDoor):
    """A DEALER to one mailbox or port of one node.

    Its machine receives `LinkUp` and `LinkLost` (from the socket's monitor, TCP only) and
    `SendFailed`: the node is unreachable if the link is down, and overloaded if it is up.
    """

    def __init__(
        self, surroundings: Surroundings, actor: str, to: Peer, address: str, *, watch: bool = True
    ) -> None:
        """``watch``: whether the machine receives this link's state (not of a second link)."""
        super().__init__(f"link to {to.node}/{to.actor}", surroundings, actor)
        self.to = to
        self.socket = surroundings.context.socket(zmq.DEALER)
        self.socket.identity = surroundings.identity(actor)
        tuned(self.socket, PEER_FRAMES_MAX)
        self.monitor: Monitor | None = None
        if address.startswith("inproc:"):
            self.socket.connect(address)
        else:
            self.monitor = self.watch(self.socket)
            now = time.monotonic()
            connection = Connection(self.socket, parse(address), surroundings.resolver, now)
            self.connections[to.node] = connection
            self.tend(now)
        self.watched = watch and self.monitor is not None

    @property
    def up(self) -> bool:
        """Whether the connection is up."""
        return self.monitor is None or self.connections[self.to.node].up

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The DEALER, and its monitor if it has one."""
        return (self.socket,) if self.monitor is None else (self.socket, self.monitor.socket)

    def drain(self) -> list[Delivery]:
        """Receive answers, and the changes of the link itself.

        A frame in another version of the protocol means that this node is foreign there.
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
            messages = frame.messages
            if frame.header is not None:
                if self.is_forked(frame.header):
                    self.refusal(frame.header)
                    continue
                self.learn(frame.header)
                if is_newer(self.header.cluster, frame.header.cluster):
                    # The newer ring record says whether this node is a member.
                    messages = [message for message in messages if type(message) is not Refused]
            inbox.extend(zip(messages, repeat(self.to)))
        return inbox + self._news()

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:  # noqa: ARG002 - a link leads to one address
        """Send; return a `SendFailed` for what could not be sent, with the reason."""
        news = [] if self.up else self._news()
        unsent: list[Message] = []
        for body, carried in self.frames(messages):
            # Before the handshake, the other end may be any process.
            if unsent or not self.up or not sent(self.socket, (body,)):
                unsent.extend(carried)
        if not unsent:
            return news
        # A lost link and a full one fail in the same way.  The monitor's event, which shows
        # which it is, may not have been received yet.
        news += self._news()
        failed = (SendFailed(*self.to, message, self.up) for message in unsent)
        return news + [(message, self.to) for message in failed]

    def tend(self, now: float) -> None:
        """Tend the connection, unless answers of a lost connection wait to be received."""
        if not self.socket.poll(0):
            super().tend(now)

    def close(self) -> None:
        """Close the monitor before the socket that it watches."""
        if self.monitor is not None:
            self.monitor.close()
        super().close()

    def _news(self) -> list[Delivery]:
        """`LinkUp` and `LinkLost` since the last call."""
        changes = list(self.changes(self.monitor)) if self.monitor is not None else []
        if not self.watched:
            return []
        return [(LinkUp(node) if is_up else LinkLost(node), self.to) for node, is_up in changes]
