"""Hand-off in a seeded run in which the ring changes, and every message can be lost or late.

The holder is n1.  The other nodes are models: what each has stored and keeps, and the ring record
that it follows, which may be older or newer than the holder's.
"""

from __future__ import annotations

from typing import Any

import pytest
from handoff_scene import OK, REFUSED, RING, SUPERSEDED, hint
from test_handoff_chaos import Weather

from toystore.core.data.record import stamp_of
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.messages.codes import MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.hints import (
    CountHints,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
)
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.ring.record import Listed, RingRecord
from toystore.core.ring.view import RingView

MOVED = int(ReplicaStatus.MOVED)
NAMES = tuple(f"n{number}" for number in range(1, 7))
OTHERS = NAMES[1:]
N = 3


class Model:
    """One node."""

    def __init__(self) -> None:
        self.ring = RING
        self.up = True
        self.own: dict[bytes, bytes] = {}
        """The highest stamp, by digest."""
        self.kept: dict[tuple[str, bytes], bytes] = {}
        """The same of the hints that it keeps, by owner and digest."""
        self.retired: set[tuple[int, bytes]] = set()
        """By epoch and digest: its successor votes."""


class RingWeather(Weather):
    """Six nodes; n1 keeps hints."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.nodes = {name: Model() for name in NAMES}
        self.record: RingRecord = RING.record
        self.ring = RING
        """The ring that n1 follows."""
        self.said_moved: set[tuple[str, bytes]] = set()
        self.hinted = 0
        self.deleted = 0

    # --- what happens ---

    def change(self) -> None:
        if self.chance.random() < 0.05:
            name = self.chance.choice(OTHERS)
            self.set_up(name, not self.nodes[name].up)
        if self.chance.random() < 0.04:
            self.decide()
        for name in NAMES:
            if self.chance.random() < 0.1:
                self.follow(name)
        self.retire()
        digest, record = hint(f"key{self.chance.randrange(40)}", self.chance.randrange(1, 1000))
        if self.chance.random() < 0.4:
            owner = self.chance.choice(self.nodes_of(digest, self.ring))
            if owner != "n1":
                self.home.ask(WriteReplica(1, digest, record, owner), self.node.now)
                self.hinted += 1

    def decide(self) -> None:
        """A stable record becomes moving; a moving one stable, aborted, or loses a member."""
        before, lineage = self.record, RING.record.digest
        if not before.moving:
            names = self.chance.sample(OTHERS, self.chance.randint(3, 5))
            lost = tuple(one.name for one in before.members if one.name not in ("n1", *names))
            lost = lost[: self.chance.choice([0, 0, 1])]
            self.record = before.next(
                lineage, members=listed("n1", *names), old=before.members, lost=lost
            )
        elif self.chance.random() < 0.3 and not before.lost:
            self.record = before.next(lineage, members=before.old, old=before.members)
        else:
            self.record = before.next(lineage, old=(), lost=())

    def follow(self, name: str) -> None:
        if self.nodes[name].ring.record is self.record:
            return
        self.nodes[name].ring = RingView(self.record, N)
        if name == "n1":
            gone = set(self.ring.members) - set(self.record.all)
            for other in sorted(gone):
                self.node.receive(LinkLost(other))
            self.ring = RingView(self.record, N)
            self.node.receive(RingChanged(self.record.packed))
            self.node.receive(MembersChanged(True, (), tuple(gone)))
            for other in sorted(self.record.all):
                self.show(other)

    def retire(self) -> None:
        """An old owner of a slot may have found its successor to be whole."""
        node = self.nodes[self.chance.choice(NAMES)]
        digest, _ = hint(f"key{self.chance.randrange(40)}")
        node.retired.add((node.ring.epoch, digest))

    def set_up(self, name: str, up: bool) -> None:
        self.nodes[name].up = up
        self.show(name)

    def show(self, name: str) -> None:
        """Let n1 see whether a member is up."""
        if name == "n1" or name not in self.ring.members:
            return
        up = self.nodes[name].up
        status = MemberStatus.ALIVE if up else MemberStatus.DEAD
        self.node.receive(LinkUp(name) if up else LinkLost(name))
        self.node.receive(MembersChanged(True, (MemberState(name, int(status), 1, ""),)))

    # --- messages ---

    def post(self, receiver: Address, message: Any) -> None:
        if isinstance(message, DropHints):
            for digest, stamp in message.delivered:
                self.check(message.owner, digest, stamp)
        super().post(receiver, message)

    def check_that_the_owner_has_them(self, message: DropHints) -> None:
        """It was checked when it was sent."""

    def arrive(self, receiver: Address, message: Any) -> None:
        if not isinstance(message, DeliverHints):
            super().arrive(receiver, message)
            return
        assert isinstance(receiver, Peer)
        if self.nodes[receiver.node].up:
            statuses = tuple(
                self.store(receiver.node, message.hint_owner, digest, stamp_of(record))
                for digest, record in message.hints
            )
            self.post(Peer(receiver.node, "handoff"), DeliverHintsReply(message.request, statuses))

    def store(self, name: str, hint_owner: str, digest: bytes, stamp: bytes) -> int:
        node = self.nodes[name]
        if self.rough and self.chance.random() < 0.1:
            return REFUSED
        if hint_owner:
            assert name in {one.name for one in self.ring.record.members}
            kept = node.kept.get((hint_owner, digest), b"")
            node.kept[hint_owner, digest] = max(kept, stamp)
            return OK
        if self.has_moved(name, digest):
            self.said_moved.add((name, digest))
            return MOVED
        before = node.own.get(digest, b"")
        node.own[digest] = max(before, stamp)
        return SUPERSEDED if before > stamp else OK

    # --- what is true ---

    def nodes_of(self, digest: bytes, ring: RingView) -> tuple[str, ...]:
        return ring.nodes(ring.partition_of(digest), N)

    def has_moved(self, name: str, digest: bytes) -> bool:
        node = self.nodes[name]
        slots = node.ring.slots(node.ring.partition_of(digest), N)
        slot = next((slot for slot in slots if name in slot), None)
        if slot is None:
            return True
        return slot.new != name and (node.ring.epoch, digest) in node.retired

    def check(self, owner: str, digest: bytes, stamp: bytes) -> None:
        """Each node that has to have a hint has it, or a member keeps it for that node."""
        self.deleted += 1
        place = self.ring.partition_of(digest), N
        slot = next((slot for slot in self.ring.slots(*place) if owner in slot), None)
        moved = (owner, digest) in self.said_moved and not self.is_safe(owner, digest, stamp)
        if owner not in self.ring.members or moved:
            needed = self.ring.nodes(*place)
        elif slot is not None:
            needed = slot.nodes
        else:
            needed = (owner,)
        assert needed
        for name in needed:
            gives_away = name not in self.ring.owners(*place)
            if not (gives_away and (name, digest) in self.said_moved):
                assert self.is_safe(name, digest, stamp), f"{name} does not have a hint for {owner}"

    def is_safe(self, name: str, digest: bytes, stamp: bytes) -> bool:
        kept = [node.kept.get((name, digest), b"") for node in self.nodes.values()]
        return max(self.nodes[name].own.get(digest, b""), *kept) >= stamp

    def calm(self) -> None:
        """No message is lost any more; all follow the newest ring."""
        self.rough = False
        for name in NAMES:
            self.follow(name)


def listed(*names: str) -> tuple[Listed, ...]:
    rows = {one.name: one for one in RING.record.members}
    return tuple(sorted(rows[name] for name in names))


@pytest.mark.parametrize("seed", range(40))
def test_while_the_ring_changes_no_hint_is_deleted_before_each_node_has_it(seed: int) -> None:
    weather = RingWeather(seed)
    weather.calm()
    for name in OTHERS:
        weather.set_up(name, True)
    weather.rough = True
    weather.run(400)
    if weather.record.moving:
        weather.record = weather.record.next(RING.record.digest, old=(), lost=())
    weather.calm()
    for name in OTHERS:
        weather.set_up(name, True)
    weather.run(300)
    assert weather.home.ask(CountHints(), weather.node.now).counts == ()
    assert weather.hinted > 50
    assert weather.deleted > 10


@pytest.mark.parametrize("seed", range(20))
def test_a_node_that_leaves_keeps_no_hint_though_owners_are_absent(seed: int) -> None:
    weather = RingWeather(seed)
    weather.run(100)
    if weather.record.moving:
        weather.record = weather.record.next(RING.record.digest, old=(), lost=())
    before = weather.record.members
    members = tuple(one for one in before if one.name != "n1")
    weather.record = weather.record.next(RING.record.digest, members=members, old=before)
    weather.calm()
    absent = weather.chance.sample([one.name for one in members], len(members) - 1)
    for name in OTHERS:
        weather.set_up(name, name not in absent)
    weather.run(300)
    assert weather.home.ask(CountHints(), weather.node.now).counts == ()
    assert weather.hinted > 10
