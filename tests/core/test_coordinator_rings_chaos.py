"""The ring changes under requests: no answered read misses a write that was acknowledged before.

Two coordinators, six storages.  A seed decides when each of them learns of a ring, which messages
are late or lost, when ranges are copied, become whole, are given away and are deleted, and whether
a node dies and is removed.  The storages follow the rules of a range's states in the smallest model
of them.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from coordinator_scene import (
    DEAD,
    MOVED,
    NO_VOTE,
    NOT_FOUND,
    OK,
    REFUSED,
    STALE,
    SUPERSEDED,
    FixedView,
    Scene,
)

from toystore.core.data.context import unpack_context
from toystore.core.data.record import digest_of, newer, pack_record, stamp_of
from toystore.core.data.stamp import STAMP_BYTES
from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.messages.client import Delete, ErrorReply, GetReply, Put, WriteReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.ring.view import Slot

NAMES = tuple(f"n{i}" for i in range(1, 7))
COORDINATORS = ("n1", "n6")
KEYS = (b"key-1", b"key-2")
N = 3
STEPS = 1500
LATE = 0.15
GIVEN = ("given away", "released")
NOTHING = pack_record(bytes(STAMP_BYTES), "default", b"", b"")
"""It is older than every write."""


class Replica:
    """The storage of one node, with the state of the only range."""

    def __init__(self, name: str, ring: FixedView) -> None:
        self.name = name
        self.epoch = 0
        self.fence = 0
        self.state = "whole" if name in ring.nodes(0, N) else ""
        self.records: dict[bytes, bytes] = {}
        self.hints: dict[tuple[str, bytes], bytes] = {}
        self.walked: set[str] = set()
        """The nodes from which it has copied in this epoch."""

    def slot(self, ring: FixedView) -> Slot | None:
        return next((slot for slot in ring.slots(0, N) if self.name in slot), None)

    def adopt(self, ring: FixedView) -> None:
        """Follow the record of the next epoch."""
        assert ring.epoch == self.epoch + 1
        self.epoch, self.walked = ring.epoch, set()
        slot = self.slot(ring)
        if ring.record.moving:
            self.fence = ring.epoch
        if slot is None:
            self.state = ""
            if not ring.record.moving:
                self.records.clear()
        elif slot.new == self.name and self.state != "whole":
            self.state = "behind"

    def merge(self, records: dict[bytes, bytes]) -> None:
        for digest, record in records.items():
            mine = self.records.get(digest)
            self.records[digest] = record if mine is None else newer(mine, record)

    def write(self, asked: WriteReplica) -> WriteReplicaReply:
        if asked.hint_owner is not None:
            hint = asked.hint_owner, asked.digest
            self.hints[hint] = newer(self.hints.get(hint, asked.record), asked.record)
            return WriteReplicaReply(asked.request, OK, None)
        if asked.epoch < self.fence:
            return WriteReplicaReply(asked.request, STALE, None)
        if asked.epoch <= self.epoch and self.state not in ("whole", "behind"):
            return WriteReplicaReply(asked.request, MOVED, None)
        mine = self.records.get(asked.digest, b"")
        if mine and stamp_of(mine) > stamp_of(asked.record):
            return WriteReplicaReply(asked.request, SUPERSEDED, stamp_of(mine))
        self.records[asked.digest] = asked.record
        return WriteReplicaReply(asked.request, OK, None)

    def read(self, asked: ReadReplica) -> ReadReplicaReply:
        record = self.records.get(asked.digest)
        if asked.hint_owners:
            hints = [self.hints.get((owner, asked.digest)) for owner in asked.hint_owners]
            record = max(filter(None, [record, *hints]), key=stamp_of, default=None)
        elif self.state in GIVEN:
            return ReadReplicaReply(asked.request, MOVED, None)
        elif self.state != "whole":
            return ReadReplicaReply(asked.request, NO_VOTE, record)
        return ReadReplicaReply(asked.request, OK if record else NOT_FOUND, record)


class Rings:
    """Coordinators and storages while the ring changes as a seed says."""

    def __init__(self, seed: int, *, calm: bool) -> None:
        """``calm``: nothing is lost and no link fails."""
        self.chance = random.Random(seed)
        self.calm = calm
        self.rings = [FixedView([NAMES])]
        self.replicas = {name: Replica(name, self.rings[0]) for name in NAMES}
        self.scenes = {name: Scene(6, node=name, ring=self.rings[0]) for name in COORDINATORS}
        self.mail: list[tuple[Peer, Peer, Any]] = []
        """(from, to, message) of each message under way."""
        self.dead = ""
        """The node that was removed after its death."""
        self.acknowledged: list[tuple[bytes, WriteReply]] = []
        self.asked: dict[tuple[str, int], tuple[str, bytes, int]] = {}
        """By coordinator and request: the kind, the key, how many writes were acknowledged."""
        self.outcomes: Counter[Any] = Counter()
        self.checked = 0
        """How many times a read had to return a certain write."""

    def run(self) -> None:
        acts = [self.client] * 4 + [self.deliver] * 44 + [self.turn] + [self.adopt] * 4
        acts += (
            [self.walk, self.fill, self.give_away] * 2 + [self.push] + [self.change, self.pass_time]
        )
        if not self.calm:
            acts += [self.lose, self.link, self.unsent]
        for _ in range(STEPS):
            self.chance.choice(acts)()
            self.collect()
        while not all(scene.machine.idle for scene in self.scenes.values()):
            for act in (*[self.deliver] * 20, *[self.adopt] * 6, *[self.turn] * 4, self.pass_time):
                act()
                self.collect()

    # --- clients and messages -----------------------------------------------------------

    def client(self) -> None:
        scene = self.scenes[self.chance.choice(COORDINATORS)]
        key = self.chance.choice(KEYS)
        quorum = self.chance.randint(1, N)
        kind = self.chance.choice(["get", "put"])
        if kind == "get":
            request = scene.get(key, r=quorum, timeout_ms=5000)
        else:
            request = scene.put(key, w=quorum, timeout_ms=5000, stamp=None)
        self.asked[scene.node, request] = kind, key, len(self.acknowledged)

    def deliver(self) -> None:
        """Deliver a message: the newest mostly, so that others are late."""
        if not self.mail:
            return
        at = self.chance.randrange(len(self.mail)) if self.chance.random() < LATE else -1
        sender, to, message = self.mail.pop(at)
        if to.actor == STORAGE:
            self.serve(sender, to, message)
        elif to.node in self.scenes:
            self.scenes[to.node].told(message, sender)
        else:
            refusal = ErrorReply(message.request, Code.NOT_SERVING, "no", True)
            self.mail.append((to, sender, refusal))

    def serve(self, sender: Peer, to: Peer, message: Any) -> None:
        if to.node == self.dead:
            return
        replica = self.replicas[to.node]
        if type(message) is RepairReplica:
            if replica.state not in GIVEN:
                replica.merge({message.digest: message.record})
            return
        reply: Any
        if not self.calm and self.chance.random() < 0.02:
            kind = WriteReplicaReply if type(message) is WriteReplica else ReadReplicaReply
            reply = kind(message.request, REFUSED, None)
        elif type(message) is WriteReplica:
            reply = replica.write(message)
        else:
            reply = replica.read(message)
        self.mail.append((to, sender, reply))

    def lose(self) -> None:
        if self.mail:
            self.mail.pop(self.chance.randrange(len(self.mail)))

    def unsent(self) -> None:
        """A question comes back to its coordinator."""
        questions = [one for one in self.mail if one[1].actor == STORAGE]
        if questions:
            one = self.chance.choice(questions)
            self.mail.remove(one)
            sender, to, message = one
            overloaded = self.chance.random() < 0.5
            self.scenes[sender.node].told(SendFailed(*to, message, overloaded), to)

    def link(self) -> None:
        scene = self.scenes[self.chance.choice(COORDINATORS)]
        self.chance.choice([scene.link, scene.link, scene.link, scene.unlink])(
            self.chance.choice(NAMES)
        )

    def pass_time(self) -> None:
        seconds = self.chance.expovariate(100 if self.calm else 10)
        for scene in self.scenes.values():
            scene.wait(seconds)

    # --- the ring -----------------------------------------------------------------------

    def change(self) -> None:
        """The next record is decided: a move begins, ends, or is aborted; a node is removed."""
        ring = self.rings[-1]
        order, epoch = ring.order(0), ring.epoch + 1
        if not ring.record.moving:
            lost = self.removed() if self.chance.random() < 0.3 else ()
            names = [name for name in order if name not in lost]
            to = tuple(self.chance.sample(names, len(names)))
            self.rings.append(FixedView([to], before=[order], epoch=epoch, lost=lost))
        elif self.has_moved(ring):
            self.rings.append(FixedView([order], epoch=epoch))
        elif not ring.record.lost and self.chance.random() < 0.1:
            before = ring.before.order(0)
            self.rings.append(FixedView([before], before=[order], epoch=epoch))

    def removed(self) -> tuple[str, ...]:
        """A node that is dead from now on, unless there was one before."""
        if self.calm or self.dead:
            return ()
        self.dead = self.chance.choice([name for name in NAMES if name not in COORDINATORS])
        for scene in self.scenes.values():
            scene.gossip({self.dead: DEAD})
        return (self.dead,)

    def has_moved(self, ring: FixedView) -> bool:
        slots = [slot for slot in ring.slots(0, N) if slot.moves]
        return all(
            self.knows(slot.new, ring) == "whole"
            and (slot.old is None or self.knows(slot.old, ring) == "released")
            for slot in slots
        )

    def knows(self, node: str | None, ring: FixedView) -> str:
        """The state of the range at ``node``, if that has adopted ``ring``."""
        assert node is not None
        replica = self.replicas[node]
        return replica.state if replica.epoch == ring.epoch else ""

    def adopt(self) -> None:
        """A storage adopts the next record."""
        replica = self.replicas[self.chance.choice(NAMES)]
        if replica.name != self.dead and replica.epoch < self.rings[-1].epoch:
            replica.adopt(self.rings[replica.epoch + 1])

    def turn(self) -> None:
        """A coordinator follows the ring that the storage of its node has adopted."""
        node = self.chance.choice(COORDINATORS)
        self.scenes[node].turn_to(self.rings[self.replicas[node].epoch])

    def move(self) -> tuple[Replica, Replica] | None:
        """The old replica and the new one of a slot, if both have adopted the newest record."""
        ring = self.rings[-1]
        slot = self.chance.choice(ring.slots(0, N))
        if not slot.moves or slot.old is None:
            return None
        assert slot.new is not None
        old, new = self.replicas[slot.old], self.replicas[slot.new]
        return (old, new) if old.epoch == new.epoch == ring.epoch else None

    def sources(self, new: Replica) -> set[str]:
        """From which nodes a new replica copies: the old one, or if that is lost all others."""
        ring = self.rings[-1]
        slot = new.slot(ring)
        if slot is not None and slot.old is not None:
            return {slot.old}
        return set(ring.nodes(0, N)) - {new.name}

    def behind(self) -> Replica | None:
        """A new replica that has adopted the newest record and is not whole."""
        ring = self.rings[-1]
        replicas = [self.replicas[slot.new] for slot in ring.slots(0, N) if slot.new and slot.moves]
        new = self.chance.choice(replicas) if replicas else None
        return new if new and new.state == "behind" and new.epoch == ring.epoch else None

    def walk(self) -> None:
        """A new replica copies a source, once all of them have adopted the record."""
        new = self.behind()
        if new is None:
            return
        sources = self.sources(new)
        if all(self.replicas[name].epoch == new.epoch for name in sources):
            source = self.chance.choice(sorted(sources))
            new.merge(self.replicas[source].records)
            new.walked.add(source)

    def fill(self) -> None:
        """A new replica becomes whole some time after its walks."""
        new = self.behind()
        if new is not None and new.walked >= self.sources(new):
            new.state = "whole"

    def give_away(self) -> None:
        """An old replica learns that the new one is whole."""
        if (pair := self.move()) and pair[1].state == "whole" and pair[0].state != "released":
            pair[0].state = "given away"

    def push(self) -> None:
        """An old replica pushes what it still has that the new one lacks."""
        if (pair := self.move()) and pair[0].state == "given away":
            pair[1].merge(pair[0].records)
            pair[0].state = "released"

    # --- what is seen -------------------------------------------------------------------

    def collect(self) -> None:
        for scene in self.scenes.values():
            me = Peer(scene.node, COORDINATOR)
            self.mail += [(me, Peer(to, STORAGE), message) for to, message in scene.asked]
            for to, message in scene.forwarded:
                is_request = type(message) in (Put, Delete)
                self.mail.append((me, Peer(to, COORDINATOR), message))
                assert is_request or to in self.scenes
            for reply in scene.answers:
                self.answered(scene.node, reply)
            scene.asked.clear()
            scene.forwarded.clear()
            scene.answers.clear()

    def answered(self, node: str, reply: Any) -> None:
        _, key, before = self.asked.pop((node, reply.request))
        self.outcomes[reply.code if type(reply) is ErrorReply else type(reply)] += 1
        if type(reply) is WriteReply:
            self.acknowledged.append((key, reply))
            assert len(self.holders(key, reply.stamp)) >= reply.owners + reply.fallbacks
        elif type(reply) is GetReply:
            self.check(key, reply, self.acknowledged[:before])

    def holders(self, key: bytes, stamp: bytes) -> list[str]:
        """The nodes that have this write or a newer one, as a record or as a hint."""
        digest = digest_of("default", key, N)
        return [
            name
            for name, replica in self.replicas.items()
            if stamp_of(replica.records.get(digest, NOTHING)) >= stamp
            or any(
                at == digest and stamp_of(one) >= stamp for (_, at), one in replica.hints.items()
            )
        ]

    def check(self, key: bytes, reply: GetReply, before: list[tuple[bytes, WriteReply]]) -> None:
        """A read returns each write before it with which it shares a slot, or a newer one.

        What only the dead node had is lost.
        """
        found = unpack_context(reply.context) if reply.context else b""
        for written, write in before:
            alone = self.dead and write.owners == 1
            if written == key and write.owners + reply.owners > N and not alone:
                assert found >= write.stamp, (reply, write)
                self.checked += 1


@pytest.mark.parametrize("seed", range(30))
def test_no_read_misses_a_write_while_the_ring_changes(seed: int) -> None:
    rings = Rings(seed, calm=False)

    rings.run()

    assert rings.asked == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_change_alone_fails_no_request(seed: int) -> None:
    rings = Rings(seed, calm=True)

    rings.run()

    assert set(rings.outcomes) == {GetReply, WriteReply}, rings.outcomes
    assert rings.asked == {}


def test_the_chaos_of_rings_moves_ranges_and_checks_reads() -> None:
    """So that the tests above cannot pass for want of anything happening."""
    checked, ends, aborts, removed = 0, 0, 0, 0

    for seed in range(20):
        rings = Rings(seed, calm=False)
        rings.run()
        checked += rings.checked
        removed += rings.dead != ""
        moving = [ring.record.moving for ring in rings.rings]
        ends += moving.count(False) - 1
        aborts += sum(a and b for a, b in itertools.pairwise(moving))

    assert checked > 500
    assert ends > 5
    assert aborts > 10
    assert removed > 2
