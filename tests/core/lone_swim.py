"""One Swim machine without a network: the test sends what the others would send."""

from __future__ import annotations

import random

from toystore.core.membership.members import MemberList
from toystore.core.membership.swim import Swim
from toystore.core.protocol.address import GOSSIP, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import Gossip, MemberState
from toystore.core.protocol.settings import SwimSettings


def swim(node, members, settings=None, outbox=None, seeds=None):
    return Swim(
        node=node,
        boot=f"run of {node}",
        members=MemberList(members),
        seeds=seeds or [members[0]],
        settings=settings or SwimSettings(),
        shared={"swim.probe_period_s": 1.0, "durability": "sync"},
        outbox=outbox or Outbox(),
        chance=random.Random(1),
    )


class Alone:
    """n1, which has joined, and other members that the test speaks for."""

    def __init__(self, others=4):
        names = [f"n{number}" for number in range(1, others + 2)]
        self.outbox = Outbox()
        self.machine = swim("n1", names, outbox=self.outbox)
        self.at = 50.0
        self.pass_to(50.0)
        self.receive(LoadDisksReply("d1", True, False, ()), "n1")
        everyone = tuple(
            MemberState(name, MemberStatus.ALIVE, 0, f"d-{name}") for name in names[1:]
        )
        self.receive(Gossip(everyone), "n2")
        self.take()

    def receive(self, message, sender="n1"):
        self.machine.receive(message, Peer(sender, GOSSIP), Now(self.at, 0))

    def pass_to(self, at):
        self.at = at
        self.machine.on_deadline(Now(at, 0))

    def next(self):
        self.pass_to(self.machine.next_deadline())

    def take(self, *kinds):
        sends = [
            (to.node, message)
            for to, messages in self.outbox.sends.items()
            for message in messages
            if not kinds or isinstance(message, kinds)
        ]
        events = list(self.outbox.events)
        self.outbox.clear()
        self.events = events
        return sends
