"""Nodes that have a storage and an anti-entropy machine each, and nothing else.

Messages arrive at once and in order, unless they are lost; time passes from one deadline to the
next.  The ring changes when a test decides on the next record, and a node follows when it is
offered what was decided.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from toystore.core.antientropy.antientropy import Antientropy
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import ANTIENTROPY, GOSSIP, RING, STORAGE, Address, Peer
from toystore.core.protocol.machine import Event, Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import SettleDisk
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.hints import CountHints
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged, SendFailed
from toystore.core.protocol.messages.replica import ReadReplica, ReadReplicaReply
from toystore.core.protocol.messages.ring import (
    DescribeMoves,
    OfferRings,
    RingChanged,
)
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.record import Listed, RingRecord, founding, unpack_ring
from toystore.core.ring.view import RingView
from toystore.core.storage.disk_facts import begin_run
from toystore.core.storage.layout import LINEAGE, RECORD, RING_RECORD, ring_record_key
from toystore.core.storage.storage import Storage
from toystore.engines import MemoryEngine

START_US = 1_700_000_000_000_000
PARTITIONS = 8
N = 3


def record(key: str, seconds: float = -100.0, value: bytes = b"value") -> bytes:
    """A record that was written so many seconds after the start."""
    stamp = pack_stamp(START_US + int(seconds * 1e6), 0, b"minter__")
    return pack_record(stamp, "default", key.encode(), value)


def digest(key: str) -> bytes:
    return digest_of("default", key.encode(), N)


def listed(name: str) -> Listed:
    return Listed(name, name, "", 1, "", "", ())


class Node:
    """One node, on its disk."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene = scene
        self.name = name
        self.disk = MemoryEngine()
        self.events: list[Event] = []
        self.up = True
        self.boot(scene.records)
        self.tell_storage(SettleDisk(True))

    @property
    def ranges(self) -> Ranges:
        """Its ranges, by the newest record that its storage has adopted."""
        return self.storage.ranges

    def boot(self, records: Sequence[RingRecord] = ()) -> None:
        """Start the two machines; ``records``: those that an empty disk has from the start."""
        self.disk.begin()
        if records:
            self.disk.put(LINEAGE, records[0].digest)
            for one in records[1:]:
                self.disk.put(ring_record_key(one.epoch), one.packed)
        newest = dict(self.disk.scan(RING_RECORD)).values()
        start = unpack_ring(list(newest)[-1]) if newest else self.scene.records[0]
        begin_run(self.disk, self._ranges_of(start))
        self.disk.commit()
        self.start_storage(start)
        self.start_machine()

    def _ranges_of(self, record: RingRecord) -> Ranges:
        return Ranges(RingView(record, N), self.name, (N,))

    def start_storage(self, record: RingRecord) -> None:
        """A storage in its first state, on the same disk."""
        self.storage_out = Outbox()
        self.storage = Storage(
            store=self.disk,
            node=self.name,
            ranges=self._ranges_of(record),
            copies={"default": N},
            hint_bytes_max=2**20,
            outbox=self.storage_out,
            chance=random.Random(1),
            reap_after_s=self.scene.settings.reap_after_s,
        )
        self.disk.begin()
        self.storage.receive(CountHints(), Peer(self.name, GOSSIP), self.scene.now)
        self.disk.commit()

    def restart_storage(self) -> None:
        """Its storage fails, and is replaced."""
        record = self.storage.ranges.ring.record
        self.storage.on_failure(self.scene.now)
        self.scene.post(self.name, STORAGE, self.storage_out)
        self.start_storage(record)

    def restart_machine(self) -> None:
        """Its anti-entropy fails, and is replaced."""
        self.start_machine()
        self.scene.introduce()

    def start_machine(self) -> None:
        """An anti-entropy machine in its first state."""
        self.out = Outbox()
        self.machine = Antientropy(
            node=self.name,
            ranges=self._ranges_of(self.storage.ranges.ring.record),
            settings=self.scene.settings,
            outbox=self.out,
            chance=random.Random(f"{self.name}/{self.scene.time}"),
        )

    def tell_storage(self, message: Message, sender: Address | None = None) -> None:
        """Give storage one message, in a transaction of its own."""
        self.disk.begin()
        self.storage.receive(message, sender or Peer(self.name, GOSSIP), self.scene.now)
        self.disk.commit()
        self.storage.on_commit()
        self.scene.post(self.name, STORAGE, self.storage_out)

    def store(self, *records: bytes) -> None:
        """Write records past everything, as a replica would have them."""
        self.disk.begin()
        for one in records:
            key = one[42 + len("default") :][: int.from_bytes(one[36:38], "big")].decode()
            self.storage._records.write(digest(key), one, self.storage._floors.at)
        self.disk.commit()
        self.storage.on_commit()
        self.scene.post(self.name, STORAGE, self.storage_out)

    def rot(self, key: str) -> None:
        """Flip the last byte of a record."""
        stored = self.disk.get(RECORD + digest(key))
        assert stored is not None
        self.disk.begin()
        self.disk.put(RECORD + digest(key), stored[:-1] + bytes([stored[-1] ^ 1]))
        self.disk.commit()

    def replace_disk(self) -> None:
        """Lose everything, and know it."""
        self.disk = MemoryEngine()
        self.boot(self.scene.records)
        self.scene.introduce()
        self.tell_storage(SettleDisk(False))

    def follow(self) -> None:
        """Adopt what was decided."""
        packed = tuple(one.packed for one in self.scene.records[1:])
        self.tell_storage(OfferRings(1, packed), Peer(self.name, RING))
        self.scene.tell(self, RingChanged(self.scene.record.packed), Peer(self.name, RING))

    def read(self, key: str) -> ReadReplicaReply:
        """What it answers to a coordinator."""
        asker = Peer("reader", "coordinator")
        self.tell_storage(ReadReplica(1, digest(key), ()), asker)
        self.scene.deliver()
        [reply] = self.scene.replies.pop(asker)
        assert isinstance(reply, ReadReplicaReply)
        return reply

    @property
    def to_do(self) -> tuple[int, int]:
        """How many ranges lack records, and how many are to be given away."""
        told = self.storage._moves.describe(DescribeMoves(1, 0))
        return told.behind, told.unreleased

    @property
    def records(self) -> dict[bytes, bytes]:
        """What it stores."""
        return dict(self.disk.scan(RECORD))

    def logged(self, name: str) -> list[dict[str, Any]]:
        return [event.fields for event in self.events if event.name == name]


class Scene:
    """Some nodes of one ring."""

    def __init__(self, nodes: int = 3, partitions: int = PARTITIONS, **settings: Any) -> None:
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.records = [founding("scene", partitions, [listed(name) for name in names])]
        """The ring records that were decided."""
        self.loss = 0.0
        """How many of the messages between nodes are lost, from 0 to 1."""
        self.chance = random.Random(1)
        self.settings = AntientropySettings(**{"follow_s": 0.0} | settings)
        self.time = 1000.0
        self.sent: Counter[str] = Counter()
        """How many messages of each type have crossed between nodes."""
        self.crossed = 0
        """How many bytes of records have."""
        self.replies: dict[Address, list[Message]] = {}
        self._post: deque[tuple[Peer, Address, Message]] = deque()
        self.nodes = {name: Node(self, name) for name in names}
        self.introduce()

    @property
    def record(self) -> RingRecord:
        """The newest ring record."""
        return self.records[-1]

    @property
    def ring(self) -> RingView:
        """What it means."""
        return RingView(self.record, N)

    def members(self) -> list[Node]:
        """The nodes that take part by the newest record; those that are lost do not."""
        return [self.nodes[name] for name in self.record.all]

    def decide(self, members: Iterable[str], lost: Iterable[str] = (), *, moving: bool) -> None:
        """The next ring record; it moves from the members of the newest, unless that moves."""
        before = self.record
        new = tuple(listed(name) for name in sorted(members))
        old = (before.old or before.members) if moving else ()
        if before.moving and moving and new == before.old:
            old = before.members
        record = before.next(self.records[0].digest, members=new, old=old, lost=tuple(lost))
        self.records.append(record)
        for name in record.all:
            if name not in self.nodes:
                self.nodes[name] = Node(self, name)
        self.introduce()

    def follow(self) -> None:
        """Every member adopts what was decided; a node that is none any more stops."""
        for name, node in self.nodes.items():
            if name not in self.record.all:
                node.up = False
            elif node.up:
                node.follow()
        self.introduce()

    @property
    def moved(self) -> bool:
        """Whether no member lacks records or has to give away any."""
        return all(node.to_do == (0, 0) for node in self.members())

    @property
    def now(self) -> Now:
        return Now(self.time, START_US + int((self.time - 1000.0) * 1e6))

    def introduce(self) -> None:
        """Tell every machine of every member and link."""
        alive = [MemberState(name, MemberStatus.ALIVE, 0, "") for name in self.nodes]
        for name, node in self.nodes.items():
            self.tell(node, MembersChanged(True, tuple(alive)), Peer(name, GOSSIP))
            for other in self.nodes:
                if other != name and self.nodes[other].up:
                    self.tell(node, LinkUp(other), Peer(other, STORAGE))

    def stop(self, name: str) -> None:
        """A node dies."""
        self.nodes[name].up = False
        for other in self.nodes.values():
            self.tell(other, LinkLost(name), Peer(name, STORAGE))

    def start(self, name: str) -> None:
        """It returns, with its disk."""
        self.nodes[name].up = True
        self.nodes[name].boot()
        self.introduce()

    def store_everywhere(self, keys: Iterable[str], but: str = "") -> None:
        """Every owner has these keys, except ``but``."""
        for key in keys:
            for owner in self.owners(key):
                if owner != but:
                    self.nodes[owner].store(record(key))

    def owners(self, key: str) -> tuple[str, ...]:
        return self.ring.order(self.ring.partition_of(digest(key)))[:N]

    def post(self, name: str, actor: str, outbox: Outbox) -> None:
        """What a machine has written."""
        self.nodes_events(name, outbox)
        sends, outbox.sends = outbox.sends, {}
        for to, messages in sends.items():
            for message in messages:
                self._post.append((Peer(name, actor), to, message))

    def nodes_events(self, name: str, outbox: Outbox) -> None:
        events, outbox.events = outbox.events, []
        if name in getattr(self, "nodes", {}):
            self.nodes[name].events += events

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.time + seconds
        while True:
            self.deliver()
            dues = [
                due
                for node in self.nodes.values()
                if node.up and (due := node.machine.next_deadline()) is not None
            ]
            at = max(self.time, min(dues, default=end))
            if at > end:
                self.time = end
                return
            self.time = at
            for node in self.nodes.values():
                due = node.machine.next_deadline()
                if node.up and due is not None and due <= at:
                    node.machine.on_deadline(self.now)
                    self.post(node.name, ANTIENTROPY, node.out)
            self.time += 1e-6

    def quiet(self, seconds: float = 60.0) -> Counter[str]:
        """What crosses between nodes in so many seconds."""
        before = self.sent.copy()
        self.run(seconds)
        return self.sent - before

    def deliver(self) -> None:
        """Let everything arrive that was sent."""
        while self._post:
            sender, to, message = self._post.popleft()
            if not isinstance(to, Peer) or to.node not in self.nodes:
                self.replies.setdefault(to, []).append(message)
                continue
            if to.node != sender.node:
                self.sent[type(message).__name__] += 1
                self.crossed += sum(map(len, getattr(message, "records", ())))
                if self.loss and self.chance.random() < self.loss:
                    continue
            node = self.nodes[to.node]
            if not node.up or not self.nodes[sender.node].up:
                if to.actor == STORAGE and self.nodes[sender.node].up:
                    failed = SendFailed(to.node, to.actor, message, False)
                    self.tell(self.nodes[sender.node], failed, to)
            elif to.actor == STORAGE:
                node.tell_storage(message, sender)
            elif to.actor == ANTIENTROPY:
                self.tell(node, message, sender)

    def tell(self, node: Node, message: Message, sender: Peer) -> None:
        node.machine.receive(message, sender, self.now)
        self.post(node.name, ANTIENTROPY, node.out)
