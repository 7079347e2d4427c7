"""Random changes of the ring: nodes join, leave, are replaced, removed and wiped, changes are
aborted, machines restart, messages are lost, and writes go on.

In the end each range is whole, what was given away is deleted, each record is where it belongs and
nowhere else, and no acknowledged write is missing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from antientropy_scene import START_US, N, Node, Scene, digest

from toystore.core.data.record import pack_record, stamp_of
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.replica import WriteReplica, WriteReplicaReply
from toystore.core.ring.view import RingView, Slot
from toystore.core.storage.layout import RECORD, STATE

R = W = 2
KEYS = [f"key{number}" for number in range(60)]
CLIENT = Peer("client", "coordinator")


class Chaos:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scene = Scene(5, 16, move_bytes_per_s=20_000, batch_bytes=500)
        self.scene.chance = random.Random(seed)
        self.members = [f"n{number}" for number in range(1, 6)]
        self.named = 5
        self.written = 0
        self.wiped = False
        """Whether a node that was wiped may lack records still."""
        self.acknowledged: dict[str, bytes] = {}
        """The newest acknowledged record of each key."""

    # --- clients ------------------------------------------------------------------------

    def write(self, key: str) -> None:
        """Write a key by the ring of some node that is up."""
        scene = self.scene
        self.written += 1
        stamp = pack_stamp(START_US + self.written, 0, b"minter__")
        record = pack_record(stamp, "default", key.encode(), b"%d" % self.written)
        up = [node for node in scene.members() if node.up]
        ring = self.chance.choice(up).ranges.ring
        votes = sum(
            self.votes(slot, self.statuses(slot, ring, key, record))
            for slot in ring.slots(ring.partition_of(digest(key)), N)
        )
        if votes >= W:
            self.acknowledged[key] = record

    def statuses(self, slot: Slot, ring: RingView, key: str, record: bytes) -> dict[str, int]:
        """What the nodes of a slot answer to a write."""
        answers = {}
        for name in slot.nodes:
            node = self.scene.nodes[name]
            if node.up and self.chance.random() > 0.1:
                message = WriteReplica(1, digest(key), record, None, ring.epoch)
                node.tell_storage(message, CLIENT)
                self.scene.deliver()
                [reply] = self.scene.replies.pop(CLIENT)
                assert isinstance(reply, WriteReplicaReply)
                answers[name] = reply.status
        return answers

    @staticmethod
    def votes(slot: Slot, answers: dict[str, int]) -> bool:
        """Whether a slot counts for a write: every node of it has it, or the old one has moved."""
        moved = answers.get(slot.old or "") == ReplicaStatus.MOVED and slot.moves
        needed = [name for name in slot.nodes if not (moved and name == slot.old)]
        return bool(needed) and all(answers.get(name) == ReplicaStatus.OK for name in needed)

    # --- faults -------------------------------------------------------------------------

    def disturb(self) -> None:
        """Let some time pass, with writes and faults."""
        scene, chance = self.scene, self.chance
        for _ in range(chance.randint(1, 12)):
            node = scene.nodes[chance.choice(sorted(scene.record.all))]
            match chance.randrange(8):
                case 0:
                    node.restart_machine()
                case 1:
                    node.restart_storage()
                case 2:
                    scene.loss = chance.choice((0.0, 0.1, 0.5))
                case 3:
                    self.crash(node)
                case _:
                    for key in chance.sample(KEYS, 10):
                        self.write(key)
            for late in self.late():
                late.follow()
            for _ in range(5):
                scene.run(chance.choice((0.01, 0.03, 0.1, 0.4)))
                self.check_reads()

    def crash(self, node: Node) -> None:
        """A node dies and returns, with its disk."""
        self.scene.stop(node.name)
        self.scene.run(self.chance.choice((0.1, 3.0)))
        self.scene.start(node.name)

    def late(self) -> Iterator[Node]:
        """Some of the nodes that have an older record."""
        for node in self.scene.members():
            if node.ranges.ring.epoch < self.scene.record.epoch and self.chance.random() < 0.7:
                yield node

    def wipe(self) -> None:
        """A node loses its disk, while no other lacks anything because of that."""
        self.chance.choice(self.scene.members()).replace_disk()
        self.wiped = True

    # --- changes ------------------------------------------------------------------------

    def change(self) -> None:
        """Change the ring once, disturbed, perhaps aborted, and wait until it is stable."""
        before, lost = list(self.members), []
        match self.chance.randrange(5):
            case 0 if len(self.members) > 3:
                self.members.remove(self.chance.choice(self.members))
            case 1 if len(self.members) > 3:
                lost = [self.chance.choice(self.members)]
                self.members.remove(lost[0])
                self.scene.stop(lost[0])
            case 2:
                self.members[self.chance.randrange(len(self.members))] = self.newcomer()
            case 3:
                self.wipe()
                self.disturb()
                self.finish()
                return
            case _:
                self.members.append(self.newcomer())
        self.scene.decide(self.members, lost, moving=True)
        if not lost and self.chance.random() < 0.3:
            for late in self.late():
                late.follow()
            self.wipe()
        self.disturb()
        while not lost and self.chance.random() < 0.4:
            self.members, before = before, self.members
            self.scene.decide(self.members, moving=True)
            self.disturb()
        self.finish()
        self.scene.decide(self.members, moving=False)
        self.disturb()

    def newcomer(self) -> str:
        self.named += 1
        return f"n{self.named}"

    def finish(self) -> None:
        """Without further faults, ranges move until nothing is left to do."""
        self.scene.loss = 0.0
        self.scene.follow()
        for _ in range(300):
            if self.scene.moved:
                self.wiped = False
                return
            self.scene.run(1.0)
        raise AssertionError(f"not moved: {self.to_do()}")

    def to_do(self) -> dict[str, object]:
        """What is left, for the message of a failure."""
        return {one.name: (one.to_do, one.machine._status()) for one in self.scene.members()}

    def check_reads(self) -> None:
        """Any R slots that vote for a read show each acknowledged write, by any node's ring."""
        up = [node for node in self.scene.members() if node.up]
        for ring in {node.ranges.ring.epoch: node.ranges.ring for node in up}.values():
            for key, record in self.acknowledged.items():
                slots = ring.slots(ring.partition_of(digest(key)), N)
                shown = [voice for slot in slots if (voice := self.oldest_shown(slot, key))]
                for some in itertools.combinations(shown, R):
                    assert max(some) >= stamp_of(record), (key, ring.epoch, slots)
                if ring.epoch == self.scene.record.epoch and not self.wiped:
                    assert len(shown) >= sum(slot.old is not None for slot in slots), (key, slots)

    def oldest_shown(self, slot: Slot, key: str) -> bytes | None:
        """The oldest stamp that a node of the slot may answer with; None if none votes."""
        shown = []
        for node in self.scene.members():
            if (
                node.name in slot.nodes
                and node.storage._own.state_at(digest(key)) is RangeState.WHOLE
            ):
                stored = node.disk.get(RECORD + digest(key))
                shown.append(stamp_of(stored) if stored else b"\0")
        return min(shown, default=None)

    # --- checks -------------------------------------------------------------------------

    def check(self) -> None:
        """Everything is in its place, and nothing is missing."""
        self.finish()
        self.scene.run(200.0)
        for node in self.scene.members():
            assert not list(node.disk.scan(STATE)), node.name
            assert node.machine.idle, (node.name, node.machine._status())
        for key in KEYS:
            self.check_key(key)

    def check_key(self, key: str) -> None:
        owners = self.scene.owners(key)
        stored = {
            name: self.scene.nodes[name].records.get(RECORD + digest(key))
            for name in self.scene.record.all
        }
        assert {name for name, record in stored.items() if record} <= set(owners), key
        assert len({stored[name] for name in owners}) == 1, (key, stored)
        acknowledged, newest = self.acknowledged.get(key), stored[owners[0]]
        if acknowledged is not None:
            assert newest is not None, key
            assert stamp_of(newest) >= stamp_of(acknowledged), key


@pytest.mark.parametrize("seed", range(6))
def test_after_random_changes_everything_is_in_its_place(seed: int) -> None:
    chaos = Chaos(seed)
    for key in KEYS:
        chaos.write(key)
    for _ in range(4):
        chaos.change()
    chaos.check()
