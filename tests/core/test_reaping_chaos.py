"""Random deletes while the ring changes, nodes are wiped, and messages are lost or very late.

Tombstones are removed ten seconds after the deletes.  At no time do R slots show a value that was
deleted, and in the end no tombstone is left.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from antientropy_scene import N, Node, Scene, digest
from test_moving_chaos import CLIENT, KEYS, Chaos, R, W

from toystore.core.data.record import pack_record, stamp_of, unpack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import HANDOFF, Peer
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHints, DeliverHintsReply, DropHints
from toystore.core.protocol.messages.replica import WriteReplica, WriteReplicaReply
from toystore.core.ring.view import RingView, Slot
from toystore.core.storage.layout import RECORD

REAP_AFTER_S = 10.0
SAFE = (ReplicaStatus.OK, ReplicaStatus.SUPERSEDED)


class Hint(NamedTuple):
    """A record that a node keeps for an owner."""

    keeper: str
    owner: str
    digest: bytes
    record: bytes


class Deletes(Chaos):
    """Half of the writes are deletes."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        settings = {"move_bytes_per_s": 20_000, "batch_bytes": 500, "reap_after_s": REAP_AFTER_S}
        self.scene = Scene(5, 16, **settings)
        self.scene.chance = self.chance
        self.lost = 0.1
        """How many of the writes do not arrive in time, from 0 to 1."""
        self.hints: list[Hint] = []
        self.delayed: list[tuple[str, WriteReplica]] = []
        """Writes that have not arrived yet, and where."""
        self.owners_have: dict[str, bytes] = {}
        """The newest record of each key that was acknowledged without hints."""
        self.deleted: dict[str, bytes] = {}
        """The stamp of the last delete of each key, even if it was not acknowledged."""

    # --- clients ------------------------------------------------------------------------

    def write(self, key: str) -> None:
        """Write or delete a key; nodes that do not answer may get it later."""
        scene = self.scene
        self.written += 1
        stamp = pack_stamp(scene.now.wall_us, self.written, b"minter__")
        deletes = self.chance.random() < 0.5
        if deletes:
            self.deleted[key] = stamp
        value = b"" if deletes else b"%d" % self.written
        record = pack_record(stamp, "default", key.encode(), value, tombstone=deletes)
        up = [node for node in scene.members() if node.up]
        ring = self.chance.choice(up).ranges.ring
        slots = ring.slots(ring.partition_of(digest(key)), N)
        lack = [
            slot for slot in slots if not self.votes(slot, self.statuses(slot, ring, key, record))
        ]
        if len(slots) - len(lack) >= W:
            self.owners_have[key] = record
        kept = sum(self.keep(slot, ring, key, record) for slot in lack)
        if len(slots) - len(lack) + kept >= W:
            self.acknowledged[key] = record

    def statuses(self, slot: Slot, ring: RingView, key: str, record: bytes) -> dict[str, int]:
        """What the nodes of a slot answer to a write; some get it later, and others never."""
        answers = {}
        message = WriteReplica(1, digest(key), record, None, ring.epoch)
        for name in slot.nodes:
            if self.scene.nodes[name].up and self.chance.random() > self.lost:
                reply = self.ask(name, message)
                assert isinstance(reply, WriteReplicaReply)
                answers[name] = reply.status
            elif self.chance.random() < 0.3:
                self.delayed.append((name, message))
        return answers

    def keep(self, slot: Slot, ring: RingView, key: str, record: bytes) -> bool:
        """Whether a node keeps a hint for the owner: only while nothing moves."""
        if ring.epoch != self.scene.record.epoch or ring.record.moving or slot.new is None:
            return False
        order = ring.fallbacks(ring.partition_of(digest(key)), N)
        up = [name for name in order if self.scene.nodes[name].up]
        if not up or self.chance.random() < 0.3:
            return False
        hint = Hint(self.chance.choice(up), slot.new, digest(key), record)
        message = WriteReplica(1, hint.digest, record, hint.owner, ring.epoch)
        reply = self.ask(hint.keeper, message)
        assert isinstance(reply, WriteReplicaReply)
        if reply.status == ReplicaStatus.OK:
            self.hints.append(hint)
        return reply.status == ReplicaStatus.OK

    def ask(self, name: str, message: object) -> object:
        """The answer of a storage."""
        self.scene.nodes[name].tell_storage(message, CLIENT)  # type: ignore[arg-type]
        self.scene.deliver()
        replies = self.scene.replies.pop(CLIENT)
        return replies[-1]

    # --- what happens later -------------------------------------------------------------

    def deliver(self, hint: Hint) -> bool:
        """Deliver a hint, and delete it; False if that is not possible now."""
        nodes, owners = self.scene.nodes, self.scene.ring.nodes
        if not nodes[hint.keeper].up:
            return False
        if not nodes[hint.keeper].storage._hints.totals():
            return True  # its disk is new
        of = nodes[hint.keeper].ranges.range_of(hint.digest)
        for owner in owners(of.partition, of.n):
            if not nodes[owner].up:
                return False
            reply = self.ask(owner, DeliverHints(1, ((hint.digest, hint.record),)))
            assert isinstance(reply, DeliverHintsReply)
            if reply.statuses[0] not in SAFE:
                return False
        dropped = DropHints(hint.owner, ((hint.digest, stamp_of(hint.record)),))
        nodes[hint.keeper].tell_storage(dropped, Peer(hint.keeper, HANDOFF))
        return True

    def deliver_all(self) -> None:
        """Before the ring changes nothing is kept any more."""
        self.hints = [hint for hint in self.hints if not self.deliver(hint)]
        assert not self.hints

    def change(self) -> None:
        self.deliver_all()
        super().change()

    def disturb(self) -> None:
        for name, message in self.chance.sample(self.delayed, len(self.delayed) // 2):
            self.delayed.remove((name, message))
            if name in self.scene.record.all and self.scene.nodes[name].up:
                self.ask(name, message)
        self.hints = [h for h in self.hints if self.chance.random() < 0.8 or not self.deliver(h)]
        self.lost = self.chance.choice((0.1, 0.1, 0.8))
        super().disturb()
        self.scene.run(self.chance.choice((0.1, 5.0, 20.0)))
        self.check_reads()

    def crash(self, node: Node) -> None:
        """A node is away for some time, perhaps for longer than tombstones are kept."""
        self.scene.stop(node.name)
        for key in self.chance.sample(KEYS, 10):
            self.write(key)
        self.scene.run(self.chance.choice((0.1, 3.0, 3 * REAP_AFTER_S)))
        self.scene.start(node.name)

    # --- checks -------------------------------------------------------------------------

    def check_reads(self) -> None:
        """No R slots that vote show only what is older than a write that owners have.

        Nothing at all may be shown of a key that was deleted since.
        """
        up = [node for node in self.scene.members() if node.up]
        for ring in {node.ranges.ring.epoch: node.ranges.ring for node in up}.values():
            for key, record in self.owners_have.items():
                slots = ring.slots(ring.partition_of(digest(key)), N)
                shown = [voice for slot in slots if (voice := self.oldest_shown(slot, key))]
                for some in itertools.combinations(shown, R):
                    newest = max(some)
                    deleted = self.deleted.get(key, b"") >= stamp_of(record)
                    gone = deleted and not self.is_value(key, newest)
                    assert newest >= stamp_of(record) or gone, (key, ring.epoch, slots)

    def is_value(self, key: str, stamp: bytes) -> bool:
        """Whether a node has a value of a key with this stamp."""
        found = (node.disk.get(RECORD + digest(key)) for node in self.scene.members())
        return any(
            one is not None and stamp_of(one) == stamp and not unpack_record(one).tombstone
            for one in found
        )

    def check_key(self, key: str) -> None:
        owners = self.scene.owners(key)
        records = {name: node.records for name, node in self.scene.nodes.items()}
        stored = {name: records[name].get(RECORD + digest(key)) for name in self.scene.record.all}
        assert {name for name, record in stored.items() if record} <= set(owners), key
        assert len({stored[name] for name in owners}) == 1, (key, stored)
        acknowledged, newest = self.acknowledged.get(key), stored[owners[0]]
        assert newest is None or not unpack_record(newest).tombstone, key
        if acknowledged is None:
            return
        if newest is None:
            assert self.deleted.get(key, b"") >= stamp_of(acknowledged), key
        else:
            assert stamp_of(newest) >= stamp_of(acknowledged), key


@pytest.mark.parametrize("seed", range(3))
def test_after_random_deletes_no_tombstone_is_left_and_no_value_has_come_back(seed: int) -> None:
    chaos = Deletes(seed)
    for key in KEYS:
        chaos.write(key)
    for _ in range(4):
        chaos.change()
    chaos.deliver_all()
    chaos.check()
    assert not any(
        node.storage._own.state(of) is not RangeState.WHOLE
        for node in chaos.scene.members()
        for of in node.ranges.owned
    )
