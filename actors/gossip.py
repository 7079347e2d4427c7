"""The gossip actor: SWIM over datagrams, and full exchanges over sockets of its own.

Pings, acks and piggybacked updates are datagrams and may be lost.  A full exchange
(push-pull, on join and every `exchange_period_s`) needs an answer, so it is sent over a link
to the other node's *exchange* port.  A peer counts as linked once both ways are up.  When one is
lost, the machine soon learns whether the peer's process is gone while its host is up: then the
gossip port refuses connections (`LinkRefused`).
"""

from __future__ import annotations

import time
from typing import NamedTuple

import zmq

from actors import log
from actors.actor import Actor
from actors.doors.datagrams import Datagrams
from actors.doors.link import Link
from toystore.core.membership.swim import Swim
from toystore.core.protocol.address import GOSSIP, STORAGE, Address, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.disk import AdoptLineage
from toystore.core.protocol.messages.local import LinkLost, LinkRefused, LinkUp
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.routes import Way, by_way
from toystore.core.protocol.turn import Turn

COUNT_S = 5.0
"""How often the number of sent datagrams is logged, at debug level."""


class RefusedError(Exception):
    """The cluster refuses this node: it belongs to another, or differs in what all must share."""


class Counted(NamedTuple):
    """What had been sent at a time."""

    at: float
    datagrams: int
    bytes: int


class GossipActor(Actor):
    """Runs the SWIM machine."""

    role = GOSSIP
    turn: Turn[Swim]

    def open(self) -> None:
        """Open the mailbox with the exchange port, the datagrams, and the links to other nodes."""
        around = self.surroundings
        self._exchanges: dict[str, Link] = {}
        self._linked: set[str] = set()
        self.add_mailbox(*around.own(around.me.exchange_port))
        self.datagrams = Datagrams(around)
        self.add(self.datagrams)
        self.wake_by(self.datagrams.refusals.fileno(), self.datagrams)
        self._counted = Counted(time.monotonic(), 0, 0)
        self.add_links()

    def link(self, to: Peer, *, watched: bool) -> Link:  # noqa: ARG002 - not by itself
        """A link to an exchange port; the machine receives the state of both ways (`serve`)."""
        link = self._exchanges[to.node] = super().link(to, watched=False)
        return link

    def listeners(self) -> dict[str, zmq.Socket[bytes]]:
        """The two ways to this actor."""
        return {"exchange_port": self.mailbox.socket, "gossip_port": self.datagrams.inbox}

    def follow(self, changed: RingChanged) -> list[Delivery]:
        """Link to the members of the new record by both ways, and to no others."""
        super().follow(changed)
        listed = {node.name for node in self.surroundings.others()}
        self._exchanges = {name: link for name, link in self._exchanges.items() if name in listed}
        linked = {name for name in self._linked & self.datagrams.linked if name in listed}
        lost, self._linked = self._linked - linked, linked
        return [(LinkLost(name), Peer(name, GOSSIP)) for name in sorted(lost)]

    def linked_nodes(self) -> set[str]:
        """The peers whose two ways are both up."""
        return self._linked

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Serve the changes of links first, then the messages."""
        self._hurry(inbox, at.monotonic)
        news = self._link_news(at.monotonic) + self._refusals(at.monotonic)
        super().serve(news + inbox, at)
        refused = self.turn.machine.refused
        if refused is not None:
            raise RefusedError(refused)

    def after_turn(self) -> None:
        """Log every `COUNT_S` how many datagrams were sent."""
        last, now = self._counted, time.monotonic()
        if now < last.at + COUNT_S:
            return
        datagrams, size = self.datagrams.sent_frames, self.datagrams.sent_bytes
        self._counted = Counted(now, datagrams, size)
        log.event(
            self.role,
            "gossip.sent",
            datagrams=datagrams - last.datagrams,
            bytes=size - last.bytes,
            over_s=round(now - last.at, 3),
        )

    def patience_s(self) -> float | None:
        """Until a port is asked again, or is no longer waited for."""
        due = self.datagrams.refusals.due
        return None if due is None else due - time.monotonic()

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Send exchanges to other gossip actors over links, and other messages as datagrams."""
        if not isinstance(to, Peer) or to.actor != GOSSIP:
            return super().deliver(to, messages)
        news: list[Delivery] = []
        for way, some in by_way(messages):
            match way:
                case Way.ASK:
                    news += super().deliver(to, some)
                case Way.ANSWER:
                    news += self.mailbox.send(to, some)
                case Way.DATAGRAM:
                    news += self.datagrams.send(to, some)
        return news

    def adopt(self, lineage: bytes) -> None:
        """Have it stored, too.  If that fails, this is repeated after the next start."""
        super().adopt(lineage)
        log.event(self.role, "lineage.adopted", lineage=lineage.hex())
        self.deliver(Peer(self.me, STORAGE), [AdoptLineage(lineage)])

    def _hurry(self, inbox: list[Delivery], now: float) -> None:
        """Connect at once to nodes that send, but have no link: they have just started."""
        senders = {sender.node for _, sender in inbox if isinstance(sender, Peer)}
        for name in (senders & self._exchanges.keys()) - self._linked:
            for door in (self.datagrams, self._exchanges[name]):
                door.connections[name].hurry(now)

    def _link_news(self, now: float) -> list[Delivery]:
        """`LinkUp` for each peer with both ways newly up, `LinkLost` for each that lost one."""
        linked = {name for name in self.datagrams.linked if self._exchanges[name].up}
        if linked == self._linked:
            return []
        up, lost = linked - self._linked, self._linked - linked
        self._linked = linked
        for name in up:
            self.datagrams.refusals.forget(name)
        for name in lost:
            self.datagrams.ask_if_refused(name, now)
        return [(LinkUp(name), Peer(name, GOSSIP)) for name in sorted(up)] + [
            (LinkLost(name), Peer(name, GOSSIP)) for name in sorted(lost)
        ]

    def _refusals(self, now: float) -> list[Delivery]:
        """`LinkRefused` for each lost peer whose port has refused a connection."""
        refused = self.datagrams.refusals.refused(now)
        return [(LinkRefused(name), Peer(name, GOSSIP)) for name in refused]
