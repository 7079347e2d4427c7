"""A hand-off machine, its outbox and a clock, and ways to the states of a delivery."""

from __future__ import annotations

import random
from typing import Any

from toystore.core.data.record import digest_of, pack_record, stamp_of
from toystore.core.data.stamp import pack_stamp
from toystore.core.handoff.handoff import Handoff
from toystore.core.protocol.address import GOSSIP, STORAGE, Address, Peer
from toystore.core.protocol.machine import Event, Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.hints import (
    CountHints,
    CountHintsReply,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    TakeHintsReply,
)
from toystore.core.protocol.messages.local import LinkUp, MembersChanged
from toystore.core.protocol.settings import HandoffSettings
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring

OK, SUPERSEDED = int(ReplicaStatus.OK), int(ReplicaStatus.SUPERSEDED)
REFUSED, INTERNAL = int(ReplicaStatus.REFUSED), int(ReplicaStatus.INTERNAL)
HOME = Peer("n1", STORAGE)
HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000
SETTINGS = HandoffSettings()
RING = fixed_ring([Member(f"n{number}") for number in range(1, 7)], 8, 3)

Hint = tuple[bytes, bytes]


def hint(key: str, time_us: int = 1) -> Hint:
    record = pack_record(pack_stamp(time_us, 0, b"minter--"), "default", key.encode(), b"value")
    return digest_of("default", key.encode(), 3), record


def stamps_of(*hints: Hint) -> tuple[Hint, ...]:
    return tuple((digest, stamp_of(record)) for digest, record in hints)


class Node:
    """A machine, its outbox and a clock that the test winds."""

    def __init__(self) -> None:
        self.out = Outbox()
        self.machine = Handoff(
            node="n1", ring=RING, settings=SETTINGS, outbox=self.out, chance=random.Random(1)
        )
        self.seconds = 100.0
        self.wall_us = START_US
        self.taken: list[tuple[Address, Any]] = []
        """What `retries_until_taken` saw sent."""

    @property
    def now(self) -> Now:
        return Now(self.seconds, self.wall_us)

    def receive(self, message: Any, sender: Address = HOME) -> None:
        self.machine.receive(message, sender, self.now)

    def member(self, name: str, status: MemberStatus) -> None:
        state = MemberState(name, int(status), 1, "")
        self.receive(MembersChanged(True, (state,)), Peer("n1", GOSSIP))

    def wait(self, seconds: float) -> None:
        """Let time pass, serving every deadline on it punctually."""
        end = self.seconds + seconds
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.seconds = max(self.seconds, due)
            self.machine.on_deadline(self.now)
        self.seconds = end

    def sent(self) -> list[tuple[Address, Any]]:
        """Everything sent since the last call, without the counts."""
        sends = [(to, message) for to, queue in self.out.sends.items() for message in queue]
        self.out.sends.clear()
        return [(to, message) for to, message in sends if not isinstance(message, CountHints)]

    def counts(self) -> int:
        """How many counts were asked for since the outbox was last emptied."""
        queue = self.out.sends.pop(HOME, [])
        return sum(isinstance(message, CountHints) for message in queue)

    def events(self) -> list[Event]:
        events, self.out.events[:] = list(self.out.events), []
        return events

    def names(self) -> list[str]:
        return [event.name for event in self.events()]

    # The way to the middle of a delivery.

    def with_owner(self, name: str = "n2") -> Node:
        self.member(name, MemberStatus.ALIVE)
        self.receive(LinkUp(name))
        self.sent()
        return self

    def taking(self, *owners: str) -> Node:
        owners = owners or ("n2",)
        for owner in owners:
            self.with_owner(owner)
        self.receive(CountHintsReply(tuple((owner, 3, 300, START_US) for owner in owners)))
        return self

    def delivering(self, *hints: Hint, owner: str = "n2") -> DeliverHints:
        self.taking(owner)
        self.sent()
        self.receive(TakeHintsReply(owner, hints))
        [(to, message)] = self.sent()
        assert to == Peer(owner, STORAGE)
        assert isinstance(message, DeliverHints)
        return message

    def deleting(self, *hints: Hint) -> DropHints:
        request = self.delivering(*hints).request
        self.receive(DeliverHintsReply(request, (OK,) * len(hints)), Peer("n2", STORAGE))
        [(_, message)] = self.sent()
        assert isinstance(message, DropHints)
        return message
