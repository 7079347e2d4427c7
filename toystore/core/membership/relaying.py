"""Answers the pings of other members, and pings a member that they cannot reach.

    other ──PingReq──▶ this node ──Ping──▶ target
    other ◀────Ack──── this node ◀──Ack─── target
    other ◀────Nack─── this node              (no ack came, or there is no link to the target)

A nack tells the other member that this node is there, though the target may not be
(Lifeguard IV-A).  An ack that comes later is relayed all the same.

A ping or an ack that cannot be sent for want of a link is sent when the link comes up, if
the other member may still wait for it.
"""

from __future__ import annotations

from typing import NamedTuple

from toystore.core.membership.deadlines import Deadlines
from toystore.core.membership.members import Members
from toystore.core.membership.peers import LINKING_S, Peers
from toystore.core.protocol.machine import Now
from toystore.core.protocol.settings import SwimSettings

NACK_SHARE = 0.8
"""The nack is due after this share of ``probe_timeout_s``, so that it comes in time."""


class _OwedAck(NamedTuple):
    """An ack that another member waits for: that ``target``, or this node, is there."""

    to: str
    sequence: int
    target: str
    expires: float
    """Until when a healthy member waits for it, in monotonic seconds."""


class Relay:
    """The acks and nacks that this node owes to other members."""

    __slots__ = ("_members", "_nack_s", "_nacks", "_node", "_owed", "_peers", "_unsent", "_wait_s")

    def __init__(self, node: str, members: Members, peers: Peers, settings: SwimSettings) -> None:
        self._node = node
        self._members = members
        self._peers = peers
        self._wait_s = max(settings.probe_period_s, LINKING_S)
        """How long a healthy member waits for an ack, at most."""
        self._nack_s = NACK_SHARE * settings.probe_timeout_s
        self._owed: dict[int, _OwedAck] = {}
        """By the number of the ping that was sent for another member."""
        self._nacks: Deadlines[int] = Deadlines()
        """When the nack is due, by the same number."""
        self._unsent: list[_OwedAck] = []
        """Those that could not be sent."""

    def on_ping(self, sequence: int, peer: str) -> None:
        """A member pings this node."""
        self._peers.ack(peer, sequence, self._node)

    def on_ping_req(self, sequence: int, target: str, peer: str, now: Now) -> None:
        """A member asks this node to ping ``target``."""
        if self._members.listed(target) and target != self._node:
            ping = self._peers.next_sequence()
            self._owed[ping] = _OwedAck(peer, sequence, target, now.monotonic + self._wait_s)
            self._nacks.set(ping, now.monotonic + self._nack_s)
            self._peers.ping(target, ping)

    def on_ack(self, sequence: int, target: str) -> None:
        """``target`` is there: send that to the member which asked."""
        owed = self._owed.get(sequence)
        if owed is not None and owed.target == target:
            del self._owed[sequence]
            self._nacks.stop(sequence)
            self._peers.ack(owed.to, owed.sequence, target)

    def on_ping_unsent(self, sequence: int) -> None:
        """There is no link to the target: the member that asked need not wait."""
        if self._nacks.stop(sequence):
            self._nack(sequence)

    def on_ack_unsent(self, sequence: int, target: str, to: str, now: Now) -> None:
        """An ack for ``to`` could not be sent."""
        self._unsent.append(_OwedAck(to, sequence, target, now.monotonic + self._wait_s))

    def ping_again(self, name: str) -> None:
        """The link to a member has changed: repeat the pings that others have asked for."""
        for sequence, owed in self._owed.items():
            if owed.target == name:
                self._peers.ping(name, sequence)

    def ack_again(self, name: str, now: Now) -> None:
        """The link to a member is up: send the acks that it still waits for."""
        for ack in self._unsent:
            if ack.to == name and ack.expires > now.monotonic:
                self._peers.ack(name, ack.sequence, ack.target)
        self._unsent = [ack for ack in self._unsent if ack.to != name]

    def forget(self, name: str) -> None:
        """A member was removed: it waits for nothing, and no ack of it is waited for."""
        for sequence, owed in list(self._owed.items()):
            if name in (owed.to, owed.target):
                del self._owed[sequence]
                self._nacks.stop(sequence)
        self._unsent = [ack for ack in self._unsent if name not in (ack.to, ack.target)]

    def first(self) -> float | None:
        """When the first nack is due; None if no ack is awaited."""
        return self._nacks.first()

    def on_deadline(self, now: Now) -> None:
        """Send the nacks that are due."""
        for sequence in self._nacks.take_due(now.monotonic):
            self._nack(sequence)

    def expire(self, now: Now) -> None:
        """Forget the acks that no member waits for any more."""
        self._owed = {n: owed for n, owed in self._owed.items() if owed.expires > now.monotonic}
        self._unsent = [ack for ack in self._unsent if ack.expires > now.monotonic]

    def _nack(self, sequence: int) -> None:
        owed = self._owed[sequence]
        self._peers.nack(owed.to, owed.sequence, owed.target)
