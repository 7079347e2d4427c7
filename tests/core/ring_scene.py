"""Nodes that have a storage and a reconfiguration machine each, and nothing else.

Messages arrive at once and in order, unless `post` is replaced; time passes from one deadline to
the next.  No ranges move here: `Node.left` is what storage says of how far it is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from toystore.core.protocol.address import COORDINATOR, GOSSIP, RING, STORAGE, Address, Peer
from toystore.core.protocol.machine import Event, Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import AdoptLineage, SettleDisk
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import MembersChanged, SendFailed
from toystore.core.protocol.messages.ring import (
    DescribeMoves,
    DescribeMovesReply,
    OfferRings,
    RingCommand,
    RingCommandReply,
    RingSeen,
)
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.reconfiguration import Reconfiguration
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import DISK
from toystore.core.storage.storage import Storage
from toystore.engines import MemoryEngine

START_US = 1_700_000_000_000_000
START_S = 1000.0
PARTITIONS = 16
N = 3
LINEAGE = b"L" * 16


def listed(name: str, disk: str = "") -> Listed:
    """A member of weight 1, on a host and ports of its own."""
    return Listed(name, name, disk, 1, "", name, (7400, 7401, 7402, 7403))


class Node:
    """One node, on its disk."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene = scene
        self.name = name
        self.up = False
        self.events: list[Event] = []
        self.disks = 0
        self.new_disk()

    def new_disk(self) -> None:
        """Begin with an empty disk."""
        self.disks += 1
        self.engine = MemoryEngine()
        self.disk = f"{self.name}d{self.disks}".ljust(32, "0")
        self.engine.put(DISK, self.disk.encode())
        self.left: dict[str, Any] = {"votes": True}
        """Fields of the `DescribeMovesReply` of its storage; those that are not named are 0."""

    @property
    def record(self) -> RingRecord:
        """The newest that its storage has adopted."""
        return self.storage._rings.newest()

    def start(self, *, votes: bool | None = True) -> None:
        """Start the two machines; ``votes``: whether gossip finds that the disk is the known one.

        None: gossip does not find out.
        """
        self.up = True
        self.storage_out = Outbox()
        ranges = Ranges(RingView(self.scene.founding, N), self.name, (N,))
        self.storage = Storage(
            store=self.engine,
            node=self.name,
            ranges=ranges,
            copies={"default": N},
            hint_bytes_max=2**20,
            outbox=self.storage_out,
            chance=random.Random(1),
        )
        self.feed_storage(AdoptLineage(LINEAGE), Peer(self.name, GOSSIP))
        if votes is not None:
            self.feed_storage(SettleDisk(votes), Peer(self.name, GOSSIP))
        self.start_ring()

    def start_ring(self) -> None:
        """Start the reconfiguration machine, or a new one."""
        self.out = Outbox()
        self.machine = Reconfiguration(
            node=self.name,
            record=self.record,
            lineage=LINEAGE,
            disk=self.disk,
            n=N,
            copies=frozenset({N}),
            settings=self.scene.settings,
            outbox=self.out,
            chance=self.scene.chance(self.name),
            described={"cluster": "test"},
        )
        self.feed_ring(self.scene.statuses(), Peer(self.name, GOSSIP))

    def feed_storage(self, message: Message, sender: Address) -> None:
        """Give storage one message, in a transaction of its own."""
        self.engine.begin()
        self.storage.receive(message, sender, self.scene.now)
        self.engine.commit()
        self.storage.on_commit()
        self._send(STORAGE, self.storage_out)

    def feed_ring(self, message: Message, sender: Address) -> None:
        """Give the reconfiguration machine one message."""
        self.machine.receive(message, sender, self.scene.now)
        self._send(RING, self.out)

    def wake(self) -> None:
        """The deadline of the reconfiguration machine has come."""
        self.machine.on_deadline(self.scene.now)
        self._send(RING, self.out)

    def describe(self, message: DescribeMoves) -> DescribeMovesReply:
        """What storage says of how far it is."""
        fields = dict.fromkeys(DescribeMovesReply._fields, 0) | self.left
        fields |= {"request": message.request, "epoch": self.record.epoch, "disk": self.disk}
        return DescribeMovesReply(**fields)

    def logged(self, name: str) -> list[dict[str, Any]]:
        """The fields of the events of one name."""
        return [event.fields for event in self.events if event.name == name]

    def _send(self, actor: str, outbox: Outbox) -> None:
        self.events += outbox.events
        outbox.events = []
        sends, outbox.sends = outbox.sends, {}
        for to, messages in sends.items():
            for message in messages:
                self.scene.post(Peer(self.name, actor), to, message)


class Scene:
    """Some nodes of one cluster."""

    def __init__(self, nodes: int = 3, seed: int = 0, **settings: Any) -> None:
        """``settings``: of `RingSettings`."""
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.settings = RingSettings(**settings)
        self.seed = seed
        self.founding = founding("test", PARTITIONS, map(listed, names))
        self.time = START_S
        self.queue: deque[tuple[Peer, Address, Message]] = deque()
        self.cut: set[frozenset[str]] = set()
        """The pairs of nodes that do not reach each other."""
        self.status: dict[str, MemberStatus] = {}
        """What gossip says of nodes that are not alive."""
        self.replies: list[RingCommandReply] = []
        self.dropped: list[Message] = []
        """Messages that are lost: those for which `loses` is true."""
        self.loses: Callable[[Peer, Peer, Message], bool] = lambda sender, to, message: False
        self._machines = 0
        self._request = 0
        self.nodes: dict[str, Node] = {}
        for name in names:
            self.nodes[name] = Node(self, name)
        for node in self.nodes.values():
            node.start()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @property
    def now(self) -> Now:
        return Now(self.time, START_US + int((self.time - START_S) * 1e6))

    def chance(self, name: str) -> random.Random:
        """For one machine."""
        self._machines += 1
        return random.Random(f"{self.seed}/{name}/{self._machines}")

    # --- what happens to nodes ----------------------------------------------------------

    def stop(self, name: str) -> None:
        """A node dies."""
        self.nodes[name].up = False

    def call_dead(self, *names: str) -> None:
        """Gossip finds these dead."""
        self.status |= dict.fromkeys(names, MemberStatus.DEAD)
        self.tell_statuses()

    def call_alive(self, *names: str) -> None:
        """Gossip finds these alive again."""
        for name in names:
            self.status.pop(name, None)
        self.tell_statuses()

    def tell_statuses(self) -> None:
        """Gossip sends every machine the members."""
        for node in self.running:
            node.feed_ring(self.statuses(), Peer(node.name, GOSSIP))

    def statuses(self) -> MembersChanged:
        rows = (
            MemberState(name, self.status.get(name, MemberStatus.ALIVE), 0, node.disk)
            for name, node in self.nodes.items()
        )
        return MembersChanged(True, tuple(rows))

    def split(self, *names: str) -> None:
        """These nodes do not reach the others."""
        others = set(self.nodes) - set(names)
        self.cut |= {frozenset((name, other)) for name in names for other in others}

    def see(self, name: str, other: str) -> None:
        """A node sees that another one has a newer record, by the header of a frame."""
        seen = RingSeen(other, self.nodes[other].record.epoch)
        self.nodes[name].feed_ring(seen, Peer(name, GOSSIP))

    def announce(self, name: str, at: str) -> RingCommandReply:
        """A newcomer announces itself at a member."""
        if name not in self.nodes:
            self.nodes[name] = Node(self, name)
        one = listed(name, self.nodes[name].disk)
        arguments = {**one._asdict(), "after": -1}
        del arguments["seat"]
        return self.command(at, "join", **arguments)

    def start_newcomer(self, name: str, at: str) -> None:
        """A newcomer that has become a member starts, with the records that it was sent."""
        records = tuple(self.announce(name, at).result["records"])
        node = self.nodes[name]
        node.start()
        node.feed_storage(OfferRings(1, records), Peer(name, RING))
        self.deliver()

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.up]

    # --- commands -----------------------------------------------------------------------

    def send_command(self, name: str, command: str, /, **arguments: Any) -> int:
        """Send a command; returns its number."""
        self._request += 1
        message = RingCommand(self._request, command, arguments)
        self.nodes[name].feed_ring(message, Peer(name, COORDINATOR))
        return self._request

    def command(self, name: str, command: str, /, **arguments: Any) -> RingCommandReply:
        """Send a command, and let time pass until it is answered."""
        number = self.send_command(name, command, **arguments)
        self.run_until(lambda: self.reply_to(number) is not None)
        reply = self.reply_to(number)
        assert reply is not None
        return reply

    def reply_to(self, number: int) -> RingCommandReply | None:
        return next((one for one in self.replies if one.request == number), None)

    def plan(self, name: str, *changes: str) -> RingCommandReply:
        """Make a plan of changes such as "join n4"."""
        rows = [[int(w) if w.isdigit() else w for w in change.split()] for change in changes]
        return self.command(name, "plan", changes=rows)

    def change(self, name: str, *changes: str) -> RingCommandReply:
        """Make a plan, and commit it."""
        planned = self.plan(name, *changes)
        assert not planned.code, planned.text
        return self.command(name, "commit")

    # --- time and messages --------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.time + seconds
        while self._step(end):
            pass

    def run_until(self, happened: Callable[[], bool], seconds: float = 100.0) -> None:
        """Let time pass until something has happened."""
        end = self.time + seconds
        self.deliver()
        while not happened():
            assert self._step(end), "it has not happened"
            self.deliver()

    def _step(self, end: float) -> bool:
        """Deliver everything and serve the next deadline, if it is before ``end``."""
        self.deliver()
        dues = [due for node in self.running if (due := node.machine.next_deadline()) is not None]
        at = max(self.time, min(dues, default=end))
        if at >= end:
            self.time = end
            return False
        self.time = at
        for node in self.running:
            due = node.machine.next_deadline()
            if due is not None and due <= at:
                node.wake()
        self.time += 1e-6
        return True

    def post(self, sender: Peer, to: Address, message: Message) -> None:
        """What a machine sends."""
        self.queue.append((sender, to, message))

    def deliver(self) -> None:
        """Let everything arrive that was sent."""
        while self.queue:
            self.arrive(*self.queue.popleft())

    def arrive(self, sender: Peer, to: Address, message: Message) -> None:
        """Let one message arrive, or fail."""
        if isinstance(message, RingCommandReply):
            self.replies.append(message)
            return
        if not isinstance(to, Peer) or to.actor not in (STORAGE, RING):
            return
        if to.node != sender.node and self.loses(sender, to, message):
            self.dropped.append(message)
            return
        node = self.nodes.get(to.node)
        if node is None or not node.up or frozenset((sender.node, to.node)) in self.cut:
            self._fail(sender, to, message)
        elif to.actor == RING:
            node.feed_ring(message, sender)
        elif isinstance(message, DescribeMoves):
            self.post(to, sender, node.describe(message))
        else:
            node.feed_storage(message, sender)

    def _fail(self, sender: Peer, to: Peer, message: Message) -> None:
        node = self.nodes[sender.node]
        if sender.actor == RING and node.up:
            node.feed_ring(SendFailed(to.node, to.actor, message, False), to)
