"""Exchanges: two members compare all they know (push-pull anti-entropy of the member table).

A node exchanges with a seed to join, with a random member periodically, and with a
suspected, dead or unknown member when its link comes up.  The random member may be dead, or
may never have sent a message: so the two halves of a split find each other again.  One
exchange between the halves is enough, because each side spreads what it learns.
"""

from __future__ import annotations

import random

from toystore.core.membership.disks import Disks
from toystore.core.membership.members import Members
from toystore.core.membership.peers import Peers
from toystore.core.membership.random_order import in_random_order
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Exchange, ExchangeReply, MemberState

EXCHANGE_MEMBERS = 64
"""In larger groups each node exchanges less often, because each exchange is larger."""


def exchange_period_s(base_s: float, members: int) -> float:
    """How often a node exchanges with a random member: ``base_s`` * max(1, N / 64) seconds.

    So what a node sends for exchanges in an hour does not grow with the group, and a group of
    any size has at least 64 exchanges in ``base_s``.
    """
    return base_s * max(1.0, members / EXCHANGE_MEMBERS)


class Exchanges:
    """Sends this node's table; what it receives is for `Swim` to learn."""

    __slots__ = ("_boot", "_chance", "_disks", "_members", "_node", "_peers", "_request")

    def __init__(
        self,
        *,
        node: str,
        boot: str,
        members: Members,
        disks: Disks,
        peers: Peers,
        chance: random.Random,
    ) -> None:
        """``boot``: the id of this run of ``node``."""
        self._node = node
        self._boot = boot
        self._members = members
        self._disks = disks
        self._peers = peers
        self._chance = chance
        self._request = 0

    def start(self, name: str) -> None:
        """Send a member all this node knows, and ask for all it knows."""
        self._request += 1
        members = self._members.states(but=name) + self.knowledge_of(name)
        self._peers.send(name, Exchange(self._request, members, self._boot))

    def start_with_any(self) -> None:
        """Exchange with a random member that has not left."""
        for name in in_random_order(self._members.names, self._chance):
            if name != self._node and not self._members.has_left(name):
                self.start(name)
                return

    def answer(self, exchange: Exchange, name: str, about_it: tuple[MemberState, ...]) -> None:
        """Send a member all this node knows, for its ``exchange``.

        ``about_it``: what was known of the member before its `Exchange` was learned.  So it
        learns what it has to refute, and which disk it was known with.  That row comes last:
        when the member refutes, it already knows which members are alive.
        """
        members = self._members.states(but=name) + about_it
        self._peers.send(name, ExchangeReply(exchange.request, members, exchange.boot))

    def knowledge_of(self, name: str) -> tuple[MemberState, ...]:
        """What is known of one member, even if it is only the disk of an earlier run.

        With that disk it is called alive: if it still has the disk, it has nothing to refute.
        """
        state = self._members.get(name)
        if state is not None:
            return (state,)
        disk = self._disks.known(name)
        return (MemberState(name, MemberStatus.ALIVE, 0, disk),) if disk else ()

    def reprieved(self, state: MemberState) -> MemberState:
        """A received row of a dead member, as one of a suspected member, which may refute.

        No member accuses it yet, so it has the longest time: after a split each half receives
        such rows of its own living members.  The row of this node is not changed: it refutes
        what is wrong in it.
        """
        if state.status == MemberStatus.DEAD and state.name != self._node:
            return state._replace(status=MemberStatus.SUSPECT)
        return state
