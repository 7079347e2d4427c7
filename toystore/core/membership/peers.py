"""How gossip speaks to the other members: every message carries news along.

This is SWIM's dissemination component (sections 3.2 and 4.1): nothing is broadcast, and
updates ride on the pings, ping-reqs and acks that are sent anyway (see `Members.updates`
for which go first, and how often).  Beyond the paper, a message to a doubted member begins
with the doubt, so that at 10% loss no refutation comes too late.
"""

from __future__ import annotations

import random

from toystore.core.membership.members import Members, sends_max
from toystore.core.protocol.address import GOSSIP, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Gossip, MemberState
from toystore.core.protocol.settings import SwimSettings


class Peers:
    """The gossip actors of all nodes but this one."""

    __slots__ = ("_chance", "_members", "_node", "_outbox", "_settings")

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

    def send(self, name: str, message: Message) -> None:
        """Send ``message`` to the gossip actor of a member."""
        self._outbox.send(Peer(name, GOSSIP), message)

    def tell(self, *names: str) -> None:
        """Send each of these members the updates that are for it, without waiting for a ping."""
        for name in names:
            self.send(name, Gossip(self.updates_for(name)))

    def say_goodbye(self) -> None:
        """Tell many at once that this node has left: no later message will carry it."""
        self.tell(*self.some(2 * self._settings.indirect_probes + self._sends_max()))

    def updates_for(self, name: str) -> tuple[MemberState, ...]:
        """What rides on a message: to the doubted, that they are; then what is new.

        A node that has left says nothing else.
        """
        own = self._members.get(self._node)
        if own is not None and own.status == MemberStatus.LEFT:
            return (own,)
        held = self._members.get(name)
        lead = () if held is None or held.status == MemberStatus.ALIVE else (held,)
        updates_max = self._settings.updates_per_message_max - len(lead)
        return lead + self._members.updates(updates_max, self._sends_max())

    def some(self, count: int, but: str = "") -> list[str]:
        """At most ``count`` random members that are alive, never ``but``."""
        others = self._members.alive(self._node, but)
        return self._chance.sample(others, min(count, len(others)))

    def _sends_max(self) -> int:
        return sends_max(self._settings.retransmit_mult, len(self._members.living()))
