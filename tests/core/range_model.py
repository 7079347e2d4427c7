"""One range, and the storages of its nodes, while members come, go, fail and are undone.

Coordinators and storages follow the ring late, messages are lost and arrive in any order, and
anti-entropy does its steps at any time.  Each write that was acknowledged has a stamp; a read may
not find less than what was acknowledged under its key before it began.

In a model that `reaps`, some writes are deletes, and old tombstones are deleted while nothing
moves: where a delete was acknowledged, a read may find nothing.
"""

import random
from dataclasses import dataclass, field

from undoing import reply_to

from toystore.core.data.record import digest_of, pack_record, stamp_of
from toystore.core.data.row import time_us_of
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    RaiseFloors,
    SetRange,
    StoreRecords,
    SumDead,
    SweepRange,
)
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.disk import SettleDisk
from toystore.core.protocol.messages.replica import ReadReplica, WriteReplica
from toystore.core.protocol.messages.ring import DescribeMoves, OfferRings
from toystore.core.reconfiguration.successors import aborted, finished, without
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.record import Listed, founding
from toystore.core.ring.view import RingView
from toystore.core.storage.disk_facts import begin_run
from toystore.core.storage.layout import RECORD, floor_key, ring_record_key
from toystore.core.storage.storage import Storage
from toystore.engines.memory import MemoryEngine

N = 3
OF = Range(N, 0)
KEYS = (b"a", b"b", b"c", b"d")
ASKER = Peer("asker", "coordinator")
OK, SUPERSEDED, NOT_FOUND, NO_VOTE, REFUSED, INTERNAL, STALE, MOVED = ReplicaStatus
WHOLE, BEHIND, RETIRED, RELEASED, STRAY, NONE = RangeState
KEPT = (OK, SUPERSEDED)
REAP_US = 4
"""Stamps are numbers of writes: so many writes later a tombstone is deleted."""


def listed(name, weight=1):
    return Listed(name, name, "", weight, "", "", ())


@dataclass
class Node:
    """One node: its disk, its storage, and how far its anti-entropy is."""

    name: str
    store: MemoryEngine = field(default_factory=MemoryEngine)
    visited: set = field(default_factory=set)
    """The sources that were copied from since the newest record was adopted."""
    clock: int = 0
    """The wall clock of all nodes."""

    def start(self, record):
        """A new process, with the record that it starts with."""
        self.visited = set()
        self.store.begin()
        ranges = Ranges(RingView(record, N), self.name, [N])
        begin_run(self.store, ranges)
        self.store.commit()
        self.out = Outbox()
        self.machine = Storage(
            store=self.store,
            node=self.name,
            ranges=ranges,
            copies={"default": N},
            hint_bytes_max=0,
            outbox=self.out,
            chance=random.Random(1),
            reap_after_s=REAP_US / 1e6,
        )

    def ask(self, message, undone=False):
        """The reply to a message; ``undone``: its batch is undone once, and fed again."""
        return reply_to(self, message, ASKER, Now(1.0, self.clock), undone=undone)

    @property
    def progress(self):
        return self.ask(DescribeMoves(1, 0))

    @property
    def epoch(self):
        return self.progress.epoch

    def state(self, epoch, floor=0):
        """The state of the range; None if the node has not adopted the asker's record.

        ``floor``: that of the asker.
        """
        reply = self.ask(CompareRanges(1, True, ((*OF, b""),), epoch, (floor,)))
        return RangeState(reply.states[0]) if reply.states else None

    @property
    def floor(self):
        return int.from_bytes(self.store.get(floor_key(OF)) or b"", "big")

    def raise_to(self, floor):
        """Take over the floor of another owner, if it is higher; whether that was so."""
        if floor > self.floor:
            self.visited.clear()
            self.ask(RaiseFloors(1, ((*OF, floor, None),)))
            return True
        return False

    def set(self, state, epoch):
        return self.ask(SetRange(1, *OF, epoch, state, self.floor)).state == state

    def records(self):
        return [record for _, record in self.store.scan(RECORD)]


@dataclass
class Request:
    """A write or a read that is under way: to whom it was sent, and what was answered."""

    key: bytes
    epoch: int
    slots: tuple
    unsent: list
    stamp: bytes = b""
    record: bytes = b""
    """b"": it is a read."""
    floor: bytes = b""
    """The newest stamp that was acknowledged when a read began."""
    answers: dict = field(default_factory=dict)

    def votes(self):
        return sum(map(self._write_vote if self.record else self._read_vote, self.slots))

    def _write_vote(self, slot):
        answers = [self.answers.get(node) for node in slot.nodes]
        moved = slot.moves and slot.new is not None and self.answers.get(slot.old) == MOVED
        answers = [OK if moved and node == slot.old else one
                   for node, one in zip(slot.nodes, answers, strict=True)]  # fmt: skip
        return bool(answers) and all(one == OK for one in answers)

    def _read_vote(self, slot):
        return any(self.answers.get(node) in (OK, NOT_FOUND) for node in slot.nodes)


class Model:
    """The range and all that happens to it, from one seed."""

    def __init__(self, seed, w, r, *, reaps=False):
        self.chance = random.Random(seed)
        self.w, self.r = w, r
        self.reaps = reaps
        self.keys = KEYS if reaps else KEYS[:2]
        self.chain = [founding("", 1, map(listed, ("n1", "n2", "n3", "n4")))]
        self.names = 4
        self.nodes = {}
        for one in self.chain[0].members:
            self.nodes[one.name] = node = Node(one.name)
            node.start(self.chain[0])
            node.ask(SettleDisk(True))
        self.acknowledged = dict.fromkeys(KEYS, b"")
        self.deleted = dict.fromkeys(KEYS, b"")
        """The newest stamp of a delete, of those that have begun."""
        self.clock = 0
        self.open = []
        self.reads = self.losses = self.reaped = 0

    @property
    def newest(self):
        return self.chain[-1]

    def run(self, steps):
        acts = [self.write] * 4 + [self.read] * 4 + [self.deliver] * 30 + [self.give_up]
        acts += [self.move] * 14 + [self.adopt] * 5 + [self.finish] * 3
        acts += [self.change, self.abort, self.lose, self.wipe, self.restart]
        if self.reaps:
            acts += [self.compare] * 10 + [self.reap] * 10
        for _ in range(steps):
            self.chance.choice(acts)()

    def any_node(self):
        return self.chance.choice(list(self.nodes.values()))

    # --- requests -----------------------------------------------------------------------

    def _begin(self, **fields):
        record = self.chance.choice(self.chain[-2:])
        slots = RingView(record, N).slots(0, N)
        unsent = [node for slot in slots for node in slot.nodes]
        self.chance.shuffle(unsent)
        key = self.chance.choice(self.keys)
        self.open.append(Request(key, record.epoch, slots, unsent, **fields))
        return self.open[-1]

    def write(self):
        self.clock += 1
        for node in self.nodes.values():
            node.clock = self.clock
        write = self._begin(stamp=pack_stamp(self.clock, 0, b"minter-1"))
        deletes = self.reaps and self.chance.random() < 0.4
        value = b"" if deletes else b"%d" % self.clock
        write.record = pack_record(write.stamp, "default", write.key, value, tombstone=deletes)
        if deletes:
            self.deleted[write.key] = write.stamp

    def read(self):
        read = self._begin()
        read.floor = self.acknowledged[read.key]

    def deliver(self):
        """One message of an open request arrives, or is lost."""
        if not self.open:
            return
        request = self.chance.choice(self.open)
        if not request.unsent:
            self.open.remove(request)
            return
        node = self.nodes.get(request.unsent.pop())
        if node is None or self.chance.random() < 0.35:
            return
        digest, undone = digest_of("default", request.key, N), self.chance.random() < 0.1
        if request.record:
            message = WriteReplica(1, digest, request.record, None, request.epoch)
            request.answers[node.name] = node.ask(message, undone).status
            until = time_us_of(request.record) + REAP_US // 2
            in_time = not self.reaps or self.clock <= until
            if request.votes() >= self.w and in_time:
                before = self.acknowledged[request.key]
                self.acknowledged[request.key] = max(before, request.stamp)
        else:
            reply = node.ask(ReadReplica(1, digest, ()), undone)
            request.answers[node.name] = reply.status
            request.stamp = max(request.stamp, stamp_of(reply.record) if reply.record else b"")
            if request.votes() >= self.r:
                self.reads += 1
                self.open.remove(request)
                found = request.stamp or self.deleted[request.key]
                assert found >= request.floor, f"{request} has missed a write"

    def give_up(self):
        if self.open:
            self.open.remove(self.chance.choice(self.open))

    # --- the ring -----------------------------------------------------------------------

    def _decide(self, **changes):
        self.chain.append(self.newest.next(b"", **changes))
        stay = self.newest.all
        for name in [name for name in self.nodes if name not in stay]:
            del self.nodes[name]
        for name in [name for name in stay if name not in self.nodes]:
            self.nodes[name] = node = Node(name, clock=self.clock)
            self._store_records(node)
            node.start(self.newest)
            node.ask(SettleDisk(True))

    def _store_records(self, node):
        node.store.begin()
        for record in self.chain[1:]:
            node.store.put(ring_record_key(record.epoch), record.packed)
        node.store.commit()

    def change(self):
        """A member joins, leaves or gets another weight."""
        if self.newest.moving or self.chance.random() < 0.3:
            return
        members = {one.name: one for one in self.newest.members}
        if self.chance.random() < 0.5 and len(members) < 6:
            self.names += 1
            members[f"n{self.names}"] = listed(f"n{self.names}")
        elif len(members) > N + 1 and self.chance.random() < 0.6:
            del members[self.chance.choice(list(members))]
        else:
            name = self.chance.choice(list(members))
            members[name] = listed(name, self.chance.randint(1, 4))
        self._decide(old=self.newest.members, members=tuple(sorted(members.values())), lost=())

    def abort(self):
        if self.newest.moving and (changes := aborted(self.newest)):
            self._decide(**changes)

    def adopt(self):
        node = self.any_node()
        after = node.epoch
        records = self.chain[after + 1 :][: self.chance.randint(1, 3)]
        if records:
            offer = OfferRings(1, tuple(one.packed for one in records))
            reply = node.ask(offer, undone=self.chance.random() < 0.3)
            assert (reply.epoch, reply.reason) == (records[-1].epoch, "")
            node.visited.clear()

    def finish(self):
        """Nothing is left to be moved: the ring is stable."""
        if not self.newest.moving:
            return
        reports = [node.progress for node in self.nodes.values()]
        if all(
            (one.epoch, one.behind, one.unreleased) == (self.newest.epoch, 0, 0) for one in reports
        ):
            self._decide(**finished(self.newest))

    # --- faults -------------------------------------------------------------------------

    def _is_safe(self):
        """Whether each slot has a whole node, so that one disk may be lost."""
        slots = RingView(self.newest, N).slots(0, N)
        return len(self.nodes) > N + 1 and all(
            any(self.nodes[node].state(self.newest.epoch) is WHOLE for node in slot.nodes)
            for slot in slots
        )

    def lose(self):
        """A node is dead for good."""
        node = self.any_node()
        remain = [one for one in self.newest.members if one.name != node.name]
        if self.w > 1 and self._is_safe() and len(remain) > N and not self.newest.lost:
            self.losses += 1
            self._decide(**without(self.newest, [node.name]))

    def wipe(self):
        """A node starts with an empty disk."""
        node = self.any_node()
        if self.w > 1 and self._is_safe():
            self.losses += 1
            node.store = MemoryEngine()
            node.start(self.chain[0])
            node.ask(SettleDisk(False))

    def restart(self):
        node = self.any_node()
        node.start(self.chain[node.epoch])

    # --- anti-entropy -------------------------------------------------------------------

    def move(self):
        """One step of a node's anti-entropy, by the record that it has adopted."""
        node = self.any_node()
        view = RingView(self.chain[node.epoch], N)
        slot = next((one for one in view.slots(0, N) if node.name in one), None)
        match node.state(view.epoch):
            case RangeState.BEHIND if slot is not None and slot.new == node.name:
                self._fill(node, view, slot)
            case RangeState.WHOLE | RangeState.BEHIND if slot and slot.new not in (node.name, None):
                successor = self.nodes.get(slot.new)
                if successor is not None and successor.state(view.epoch) is WHOLE:
                    node.set(RETIRED, view.epoch)
            case RangeState.RETIRED | RangeState.STRAY:
                self._push(node, view)
            case RangeState.RELEASED:
                node.ask(SweepRange(1, *OF, view.epoch, self.chance.randint(1, 5)))

    def _fill(self, node, view, slot):
        """Copy from one source; after the last one the range is whole."""
        source = self.nodes.get(slot.old) if slot.moves else None
        if source is None or source.state(view.epoch, node.floor) is not WHOLE:
            others = [name for name in view.nodes(0, N) if name != node.name]
            left = [name for name in others if name not in node.visited]
            if not left:
                node.set(WHOLE, view.epoch)
                return
            source = self.nodes.get(self.chance.choice(left))
        state = None if source is None else source.state(view.epoch, node.floor)
        if state is None or (state in (WHOLE, BEHIND) and node.raise_to(source.floor)):
            return
        alone = source.name == slot.old and source.state(view.epoch) is WHOLE
        self._copy(source, node)
        node.visited.add(source.name)
        if alone:
            node.set(WHOLE, view.epoch)

    def compare(self):
        """Two owners that are whole make their records equal; the lower floor rises first."""
        view = RingView(self.newest, N)
        owners = [self.nodes[name] for name in view.nodes(0, N) if name in self.nodes]
        node, other = self.chance.sample(owners, 2)
        if node.state(view.epoch) is WHOLE and other.state(view.epoch, node.floor) is WHOLE:
            node.raise_to(other.floor)
            self._copy(other, node)
            self._copy(node, other)

    def reap(self):
        """The first owner raises the floor, if no member objects and the owners agree."""
        view = RingView(self.newest, N)
        floor = self.clock - REAP_US
        names = view.owners(0, N)
        first = self.nodes[names[0]]
        if floor <= first.floor:
            return
        question = SumDead(1, view.epoch, True, ((*OF, floor),))
        answers = {name: node.ask(question).sums[0] for name, node in self.nodes.items()}
        agreed = all((to, held) == (floor, False) for to, _, _, held in answers.values())
        if agreed and len({answers[name] for name in names}) == 1:
            raised = RaiseFloors(1, ((*OF, floor, answers[first.name][2]),), view.epoch)
            self.reaped += first.ask(raised).deleted

    def _push(self, node, view):
        """Give what is here to all owners; then it is released."""
        owners = [self.nodes.get(name) for name in view.owners(0, N) if name != node.name]
        if all(
            one is not None and one.state(view.epoch) is not None and self._copy(node, one)
            for one in owners
        ):
            node.set(RELEASED, view.epoch)

    def _copy(self, source, to):
        records, floors = tuple(source.records()), ((OF.partition, source.floor),)
        statuses = to.ask(StoreRecords(1, N, records, floors)).statuses if records else ()
        return all(status in KEPT for status in statuses)
