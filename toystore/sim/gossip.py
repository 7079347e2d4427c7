"""Gossip of a simulated node: an actor that sends datagrams beside the messages of its links."""

from __future__ import annotations

from functools import partial

from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.routes import Way, by_way
from toystore.sim.actor import SimActor
from toystore.wire import Header


class SimGossip(SimActor):
    """Gossip: what its links do not carry are datagrams."""

    def ask(self, to: Peer, messages: list[Message], header: Header) -> list[Delivery]:
        """Send exchanges over links, other messages as datagrams."""
        news: list[Delivery] = []
        for way, some in by_way(messages):
            send = self._datagrams if way is Way.DATAGRAM else super().ask
            news += send(to, some, header)
        return news

    def _datagrams(self, to: Peer, messages: list[Message], header: Header) -> list[Delivery]:
        """Send datagrams, which may be lost; return `SendFailed` if there is no link."""
        if to not in self.links or not self.links[to].up:
            return [(SendFailed(*to, message, False), to) for message in messages]
        for frame in self.frames(messages, header):
            arrive = partial(self.node.cluster.datagram, to, frame)
            self.node.network.datagram(self.node.name, to.node, arrive)
        return []
