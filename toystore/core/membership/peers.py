"""Sends messages to the other members, with updates attached to them.

This is SWIM's dissemination component (sections 3.2 and 4.1): nothing is broadcast, and
updates are attached to the pings, ping-reqs and acks that are sent anyway (`updates.py`
says which go first, and how often).  Beyond the paper, a message to a member that is
suspected, dead or left begins with that state, so that it can refute in time even if 10%
of the messages are lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from toystore.core.membership.members import Members
from toystore.core.membership.random_order import in_random_order
from toystore.core.membership.updates import sends_max
from toystore.core.protocol.address import GOSSIP, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import (
    Ack,
    Gossip,
    MemberState,
    Nack,
    Ping,
    PingReq,
)
from toystore.core.protocol.settings import SwimSettings

LINKING_S = 1.0
"""How long it may take, at most, until all can reach a member that has just come (back)."""


class Peers:
    """The gossip actors of all nodes but this one."""

    __slots__ = ("_chance", "_members", "_node", "_outbox", "_sequence", "_settings")

    def __init__(
        self,
        node: str,
        members: Members,
        settings: SwimSettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        self._node = node
        self._members = members
        self._settings = settings
        self._outbox = outbox
        self._chance = chance
        self._sequence = 0

    def send(self, name: str, message: Message) -> None:
        """Send ``message`` to the gossip actor of a member."""
        self._outbox.send(Peer(name, GOSSIP), message)

    def next_sequence(self) -> int:
        """The number of a new ping; no other ping of this machine has it."""
        self._sequence += 1
        return self._sequence

    def ping(self, name: str, sequence: int) -> None:
        """Ask a member whether it is there."""
        self.send(name, Ping(sequence, self.updates_for(name)))

    def ping_req(self, name: str, sequence: int, target: str) -> None:
        """Ask a member to ping ``target`` for this node."""
        self.send(name, PingReq(sequence, target, self.updates_for(name)))

    def ack(self, name: str, sequence: int, target: str) -> None:
        """Answer a ping or a ping-req of a member: ``target`` is there."""
        self.send(name, Ack(sequence, target, self.updates_for(name)))

    def nack(self, name: str, sequence: int, target: str) -> None:
        """Answer a ping-req: ``target`` has not acked.  With it goes what is known of it."""
        self.send(name, Nack(sequence, target, self.updates_for(name, target)))

    def send_updates(self, *names: str) -> None:
        """Send each of these members the updates for it, without waiting for a ping."""
        for name in names:
            self.send(name, Gossip(self.updates_for(name)))

    def announce_leave(self) -> None:
        """Send many members at once that this node has left: no later message will carry it."""
        self.send_updates(*self.some(2 * self._settings.indirect_probes + self._sends_max()))

    def updates_for(self, *about: str) -> tuple[MemberState, ...]:
        """The updates on a message: the rows of those it is ``about`` if not alive; then the queue.

        It is about its receiver, so that this can refute.  A node that has left sends only
        that it has.
        """
        own = self._members.get(self._node)
        if own is not None and own.status == MemberStatus.LEFT:
            return (own,)
        first = tuple(
            [
                row
                for row in map(self._members.get, about)
                if row is not None and row.status != MemberStatus.ALIVE
            ]
        )
        updates_max = self._settings.updates_per_message_max - len(first)
        return first + self._members.updates(updates_max, self._sends_max())

    def others(self, but: str = "") -> Iterator[str]:
        """The other members that are alive, in random order, never ``but``."""
        for name in in_random_order(self._members.names, self._chance):
            if name not in (self._node, but) and self._members.is_alive(name):
                yield name

    def some(self, count: int, but: str = "") -> list[str]:
        """At most ``count`` random members that are alive, never ``but``."""
        return list(islice(self.others(but), count))

    def _sends_max(self) -> int:
        return sends_max(self._settings.retransmit_mult, self._members.living_count)
