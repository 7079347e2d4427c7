"""Hand-off in a seeded run in which every message can be lost, repeated or late."""

from __future__ import annotations

import random
from typing import Any

import pytest
from handoff_scene import REFUSED, RING, Node, hint

from toystore.core.data.record import stamp_of
from toystore.core.handoff.handoff import Handoff
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.hints import (
    CountHints,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    TakeHints,
)
from toystore.core.protocol.messages.local import (
    LinkLost,
    LinkUp,
    MembersChanged,
)
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.protocol.settings import HandoffSettings
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.layout import RECORD
from toystore.core.storage.storage import Storage
from toystore.engines.memory import MemoryEngine


class Disk:
    """The storage machine of one node, and what it answers."""

    def __init__(self, node: str) -> None:
        self.store = MemoryEngine()
        self.out = Outbox()
        self.machine = Storage(
            store=self.store,
            node=node,
            ranges=Ranges(fixed_ring([Member(node)], 8, 1), node, [3]),
            copies={"default": 3},
            hint_bytes_max=1 << 20,
            outbox=self.out,
            chance=random.Random(1),
        )

    def ask(self, message: Any, now: Now) -> Any:
        asker = Peer("n1", "handoff")
        self.machine.receive(message, asker, now)
        [answer] = self.out.sends.pop(asker)
        return answer

    def stamp(self, digest: bytes) -> bytes:
        """Of the record that it has as its own; b"" if it has none."""
        record = self.store.get(RECORD + digest)
        return b"" if record is None else stamp_of(record)


class Weather:
    """A holder and an owner, a network that loses, repeats and delays, and an owner that dies."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.node = Node()
        self.node.machine = Handoff(
            node="n1",
            ring=RING,
            settings=HandoffSettings(batch_bytes=200, reply_timeout_s=1.0, retry_s=0.5),
            outbox=self.node.out,
            chance=self.chance,
        )
        self.home, self.owner = Disk("n1"), Disk("n2")
        self.owner_up = False
        self.rough = True
        self.tried: dict[bytes, bytes] = {}
        """The highest stamp that was ever hinted, by digest."""
        self.wire: list[tuple[Address, Any]] = []
        """Receiver and message, on their way; a receiver that is no storage is the machine."""
        self.late: list[tuple[Address, Any]] = []
        """Repeated messages that come when they are not expected any more."""

    def run(self, steps: int) -> None:
        """Time passes, and some of what is on its way arrives, in any order."""
        for _ in range(steps):
            if self.rough:
                self.change()
            self.node.wait(self.chance.uniform(0, 0.4))
            self.collect()
            if self.late and self.chance.random() < 0.3:
                self.wire.append(self.late.pop(self.chance.randrange(len(self.late))))
            self.chance.shuffle(self.wire)
            some = self.chance.randint(0, len(self.wire)) if self.rough else len(self.wire)
            arriving, self.wire = self.wire[:some], self.wire[some:]
            for receiver, message in arriving:
                self.arrive(receiver, message)

    def change(self) -> None:
        """The owner dies or revives, and writes reach it or, as hints, its holder."""
        if self.chance.random() < 0.05:
            self.set_owner(not self.owner_up)
        digest, record = hint(f"key{self.chance.randrange(20)}", self.chance.randrange(1, 1000))
        if self.owner_up and self.chance.random() < 0.1:
            self.owner.ask(WriteReplica(1, digest, record, None), self.node.now)
        elif self.chance.random() < 0.3:
            self.home.ask(WriteReplica(1, digest, record, "n2"), self.node.now)
            self.tried[digest] = max(self.tried.get(digest, b""), stamp_of(record))

    def set_owner(self, up: bool) -> None:
        """The two signs of life come in any order, and while it is rough not always both."""
        self.owner_up = up
        link: Any = LinkUp("n2") if up else LinkLost("n2")
        status = MemberStatus.ALIVE if up else MemberStatus.DEAD
        signs = [link, MembersChanged(True, (MemberState("n2", int(status), 1, ""),))]
        self.chance.shuffle(signs)
        for sign in signs:
            if not self.rough or self.chance.random() < 0.8:
                self.node.receive(sign)

    def collect(self) -> None:
        for to, queue in self.node.out.sends.items():
            for message in queue:
                self.post(to, message)
        self.node.out.sends.clear()

    def post(self, receiver: Address, message: Any) -> None:
        copies = self.chance.choice([0, 1, 1, 1, 1, 1, 1, 2]) if self.rough else 1
        self.wire += [(receiver, message)] * copies
        if self.rough and self.chance.random() < 0.3:
            self.late.append((receiver, message))

    def arrive(self, receiver: Address, message: Any) -> None:
        """Storages answer with the address they answer from; the rest is the machine's."""
        match message:
            case DeliverHints():
                if self.owner_up:
                    self.post(Peer("n2", "handoff"), self.delivered(message))
            case CountHints() | TakeHints() | DropHints():
                if isinstance(message, DropHints):
                    self.check_that_the_owner_has_them(message)
                self.post(Peer("n1", "handoff"), self.home.ask(message, self.node.now))
            case _:
                assert isinstance(receiver, Peer)
                self.node.receive(message, Peer(receiver.node, STORAGE))
                self.collect()

    def delivered(self, message: DeliverHints) -> DeliverHintsReply:
        """What the owner answers; in rough weather it has no room for some."""
        refused = {
            digest for digest, _ in message.hints if self.rough and self.chance.random() < 0.1
        }
        taken = tuple(one for one in message.hints if one[0] not in refused)
        answers = iter(self.owner.ask(DeliverHints(0, taken), self.node.now).statuses)
        statuses = tuple(
            REFUSED if digest in refused else next(answers) for digest, _ in message.hints
        )
        return DeliverHintsReply(message.request, statuses)

    def check_that_the_owner_has_them(self, message: DropHints) -> None:
        for digest, stamp in message.delivered:
            assert self.owner.stamp(digest) >= stamp, "deleted, but the owner does not have it"


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_lost_every_hint_arrives_and_none_is_deleted_before(seed: int) -> None:
    weather = Weather(seed)
    weather.run(300)
    assert weather.tried
    weather.rough = False
    weather.set_owner(False)
    weather.set_owner(True)
    weather.run(200)
    assert weather.home.ask(CountHints(), weather.node.now).counts == ()
    for digest, stamp in weather.tried.items():
        assert weather.owner.stamp(digest) >= stamp
