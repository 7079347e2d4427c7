"""Datagrams over PUB/SUB: gossip's lossy, UDP-like way to every node.

The SUB is *bound*, like a UDP port: it is the inbox.  The XPUB *connects* to the inboxes
of the other nodes and publishes each datagram under its receiver's topic, ``n4`` and a NUL
(subscriptions match prefixes: without the NUL, n1 would get n10's).  Publishing never blocks:
a datagram to a peer that is down or paused is dropped.  With IMMEDIATE, ZeroMQ queues nothing
for a peer that is down.

A link is up when the peer's subscription arrives on the XPUB.  It is lost when the socket's
monitor reports that, because a killed peer sends no unsubscription.  Then the peer's port may
be asked whether it refuses connections.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import zmq

from actors.doors.connecting import ConnectingDoor
from actors.doors.sockets import GOODBYE_MS, bind, received, tuned
from actors.surroundings import Surroundings
from toystore.core.protocol.address import GOSSIP, Address, Peer
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.routes import Carrier, carried_by
from toystore.net.connection import Connection
from toystore.net.refusal import Refusals

EVERYONE = b"*\0"
INBOX_FRAMES_MAX = 1000


class Datagrams(ConnectingDoor):
    """The pair of sockets, and the nodes that are reachable through them."""

    ACCEPTS = carried_by(Carrier.DATAGRAM, GOSSIP)

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__("gossip", surroundings, GOSSIP)
        me = surroundings.me
        self.linked: set[str] = set()
        self.sent_frames = self.sent_bytes = 0
        """What was published, since the node started."""
        self.inbox = surroundings.context.socket(zmq.SUB)
        tuned(self.inbox, INBOX_FRAMES_MAX)
        self.inbox.subscribe(topic(me.name))
        self.inbox.subscribe(EVERYONE)
        for address in surroundings.own(me.gossip_port):
            bind(self.inbox, address)
        self.outlet = surroundings.context.socket(zmq.XPUB)
        tuned(self.outlet, INBOX_FRAMES_MAX)
        self.monitor = self.watch(self.outlet)
        self.refusals = Refusals()
        """Finds out which lost peers have no process."""
        self._connect()

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """Inbox, outlet and the outlet's monitor."""
        return (self.inbox, self.outlet, self.monitor.socket)

    def drain(self) -> list[Delivery]:
        """Receive the datagrams for this node, and update the state of the links."""
        self._watch()
        inbox: list[Delivery] = []
        for parts in received(self.inbox):
            body = parts[-1].partition(b"\0")[2]
            frame = self.opened(body, "datagram")
            if frame is None:
                continue
            if frame.header is None:
                self.reject("a datagram without a header", "datagram")
            elif self.refusal(frame.header) is None and self.unlisted(frame.header) is None:
                inbox.extend(self._accepted(frame.messages, frame.header.sender))
        return inbox

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Publish under the receiver's topic; if the link is lost, return `SendFailed`."""
        assert isinstance(to, Peer)
        if to.node not in self.linked:
            return [(SendFailed(*to, message, False), to) for message in messages]
        for body, _ in self.frames(messages):
            datagram = topic(to.node) + body
            self.outlet.send(datagram, zmq.NOBLOCK)
            self.sent_frames += 1
            self.sent_bytes += len(datagram)
        return []

    def ask_if_refused(self, node: str, now: float) -> None:
        """Find out whether the port of a lost peer refuses connections."""
        connection = self.connections[node]
        if connection.host is not None:
            self.refusals.ask(node, connection.endpoint._replace(host=connection.host), now)

    def close(self) -> None:
        """Close the sockets; the last datagrams get a limited time to leave."""
        self.refusals.close()
        self.monitor.close()
        self.outlet.linger = GOODBYE_MS
        super().close()

    def follow(self, surroundings: Surroundings) -> None:
        """Connect to the members that are new or have another address, and no longer to others."""
        self._watch()  # what waits is of the connections before
        super().follow(surroundings)
        there = {node.name: node.reached_at("gossip_port") for node in surroundings.others()}
        for name, connection in list(self.connections.items()):
            if connection.endpoint != there.get(name):
                self.linked.discard(name)
                self.refusals.forget(name)
                self.connections.pop(name).close()
        self._connect()

    def _connect(self) -> None:
        """Connect to each other node that has no connection."""
        now, resolver = time.monotonic(), self.surroundings.resolver
        for other in self.surroundings.others():
            if other.name not in self.connections:
                endpoint = other.reached_at("gossip_port")
                connection = Connection(self.outlet, endpoint, resolver, now)
                self.connections[other.name] = connection
        self.tend(now)

    def _accepted(self, messages: list[Message], sender: Peer) -> Iterable[Delivery]:
        for message in messages:
            if type(message) in self.ACCEPTS:
                yield message, sender
            else:
                self.reject(f"{type(message).__name__} is no datagram", sender)

    def _watch(self) -> None:
        """Update the links: a subscription means up, an event of the monitor means lost."""
        for node, is_up in self.changes(self.monitor):
            if not is_up:
                self.linked.discard(node)
        for parts in received(self.outlet):
            subscription, name = parts[0][:1], parts[0][1:-1].decode(errors="replace")
            if subscription == b"\x01" and name in self.connections:
                self.linked.add(name)


def topic(node: str) -> bytes:
    """The topic that one node listens to."""
    return node.encode() + b"\0"
