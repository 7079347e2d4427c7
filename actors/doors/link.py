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
from toystore.net.connection import Connection, Monitor
from toystore.net.endpoint import parse
from toystore.wire import Frame, FrameError, VersionError, decode


class Link(ConnectingDoor):
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
            inbox.extend(zip(frame.messages, repeat(self.to)))
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
        """Not while answers of a connection that is gone wait to be read."""
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
