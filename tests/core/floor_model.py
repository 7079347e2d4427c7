"""One range, its three owners and two other members, while tombstones are deleted.

Every message may be late, lost, doubled, or undone and fed again; writes, hints, repairs, copies,
comparisons and the steps of agreeing on a floor happen in any order, and disks are lost.  A write
is acknowledged by two slots, each by its owner or by a hint.  What was acknowledged may not be
lost, and what was deleted may not come back.
"""

import random
from dataclasses import dataclass, field

from undoing import reply_to

from toystore.core.data.record import digest_of, is_tombstone, pack_record, stamp_of
from toystore.core.data.row import time_us_of
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    FetchRecords,
    RaiseFloors,
    SetRange,
    StoreRecords,
    SumDead,
)
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.disk import SettleDisk
from toystore.core.protocol.messages.hints import DeliverHints, DropHints
from toystore.core.protocol.messages.replica import RepairReplica, WriteReplica
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.layout import (
    HINT,
    HINT_TIME_BYTES,
    RECORD,
    floor_key,
    state_key,
)
from toystore.core.storage.storage import Storage
from toystore.engines.memory import MemoryEngine

N, W = 3, 2
OF = Range(N, 0)
KEYS = (b"a", b"b", b"c")
DIGESTS = {key: digest_of("default", key, N) for key in KEYS}
MEMBERS = ("n1", "n2", "n3", "n4", "n5")
BURST = 40
"""How many steps a phase has, with or without new writes."""
WEIGHTS = ((0, 0, 5), (8, 16), (8, 24), (0, 6, 12), (4, 12), (0, 0, 16), (0, 1), (0, 1), (0, 0, 1))
"""How often each act is chosen, in different phases (`Model.run`)."""
REAP_US = 40
SKEW_US = 5
"""How far each node's clock is wrong."""
RING = fixed_ring(map(Member, MEMBERS), 1, N)
OWNERS = RING.owners(0, N)
OTHERS = tuple(name for name in MEMBERS if name not in OWNERS)
ASKER = Peer("asker", "antientropy")
WHOLE, BEHIND = RangeState.WHOLE, RangeState.BEHIND
OK, SUPERSEDED = ReplicaStatus.OK, ReplicaStatus.SUPERSEDED


@dataclass
class Node:
    """A member: its disk, its storage, and which owners it was compared with."""

    name: str
    skew_us: int
    store: MemoryEngine = field(default_factory=MemoryEngine)
    visited: set = field(default_factory=set)

    def __post_init__(self):
        self.start()

    def start(self):
        """A new process."""
        self.visited.clear()
        self.out = Outbox()
        self.machine = Storage(
            store=self.store,
            node=self.name,
            ranges=Ranges(RING, self.name, [N]),
            copies={"default": N},
            hint_bytes_max=10**9,
            outbox=self.out,
            chance=random.Random(1),
            reap_after_s=REAP_US / 1e6,
        )

    def ask(self, message, clock, undone=False):
        """The reply to a message; ``undone``: its batch is undone once, and fed again."""
        return reply_to(self, message, ASKER, Now(1.0, clock + self.skew_us), undone=undone)

    @property
    def state(self):
        """The state of the range, as it is stored."""
        return WHOLE if self.store.get(state_key(OF)) is None else BEHIND

    @property
    def floor(self):
        """Its floor, as it is stored."""
        return int.from_bytes(self.store.get(floor_key(OF)) or b"", "big")

    def records(self):
        """By digest."""
        return {key[len(RECORD) :]: record for key, record in self.store.scan(RECORD)}

    def hints(self):
        """Owner, digest and record of each."""
        return [
            (key[1:-18].decode(), key[-17:], hint[HINT_TIME_BYTES:])
            for key, hint in self.store.scan(HINT)
        ]


@dataclass
class Write:
    """A put or a delete: what its coordinator has not sent yet, and who has voted."""

    key: bytes
    record: bytes
    until_us: int
    """Nothing is sent, and no vote counts, after this: half of the reaping age after the stamp."""
    hinted: float
    """How often it is sent to another member than the owner."""
    unsent: list
    votes: set = field(default_factory=set)
    over: bool = False


@dataclass
class Round:
    """The first owner's try to reap, step by step."""

    floor: int
    xor: int
    todo: list
    """Who is asked next, in phases."""


class Model:
    """The members, and all that happens to them, from one seed."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.clock = 1000
        self.nodes = {name: Node(name, self.chance.randint(-SKEW_US, SKEW_US)) for name in MEMBERS}
        for node in self.nodes.values():
            self.ask(node, SettleDisk(True))
        self.writes = []
        self.frames = []
        """To whom, what, and what is done with the reply."""
        self.acknowledged = {}
        """The newest record of each key that was acknowledged."""
        self.deletes = []
        self.round = None
        self.reaped = self.wipes = 0

    def run(self, steps):
        """Phases of `BURST` steps, each with some of the acts only."""
        acts = [self.write, self.send, self.deliver, self.compare, self.reap]
        acts += [self.deliver_hints, self.repair, self.push, self.restart]
        for _ in range(steps // BURST):
            weights = [self.chance.choice(weights) for weights in WEIGHTS]
            for act in self.chance.choices(acts, weights, k=BURST):
                self.clock += self.chance.choice((0, 0, 1, 2))
                act()
                self.check(act.__name__)
            if self.chance.random() < 0.1:
                self.wipe()

    def ask(self, node, message):
        return node.ask(message, self.clock, self.chance.random() < 0.1)

    def any_owner(self):
        return self.nodes[self.chance.choice(OWNERS)]

    # --- requests -----------------------------------------------------------------------

    def write(self):
        key = self.chance.choice(KEYS)
        time_us = self.clock + self.chance.randint(-SKEW_US, SKEW_US)
        stamp = pack_stamp(time_us, 0, b"%08d" % len(self.writes))
        deletes = self.chance.random() < 0.5
        record = pack_record(stamp, "default", key, b"" if deletes else b"v", tombstone=deletes)
        until_us = time_us_of(record) + REAP_US // 2
        self.writes.append(
            Write(key, record, until_us, self.chance.choice((0, 0, 0.5, 1)), list(OWNERS))
        )
        if deletes:
            self.deletes.append((key, record))

    def send(self):
        """A coordinator sends a record to an owner, or to another member for it."""
        able = [one for one in self.writes if one.unsent and not one.over]
        able = [one for one in able if self.clock <= one.until_us]
        if not able:
            return
        write = self.chance.choice(able)
        owner = write.unsent.pop(self.chance.randrange(len(write.unsent)))
        to, hinted = owner, None
        if self.chance.random() < write.hinted:
            to, hinted = self.chance.choice(OTHERS), owner
        message = WriteReplica(1, DIGESTS[write.key], write.record, hinted)

        def voted(reply):
            if reply.status == SUPERSEDED:
                write.over = True
            if reply.status == OK and not write.over and self.clock <= write.until_us:
                write.votes.add(owner)
                if len(write.votes) == W:
                    before = self.acknowledged.get(write.key, write.record)
                    self.acknowledged[write.key] = max(before, write.record, key=stamp_of)

        self.dispatch((to, message, voted))

    def dispatch(self, frame):
        """A message leaves; some are very late."""
        late_us = self.chance.choice((0, 0, 0, 0, 0, 0, self.chance.randint(0, 3 * REAP_US)))
        self.frames.append((self.clock + late_us, frame))

    def deliver(self):
        """A message arrives, perhaps a second time, or is lost."""
        due = [frame for frame in self.frames if frame[0] <= self.clock]
        if not due:
            return
        frame = self.chance.choice(due)
        to, message, then = frame[1]
        if self.chance.random() < 0.8:
            self.frames.remove(frame)
        if self.chance.random() < 0.8:
            reply = self.ask(self.nodes[to], message)
            if then is not None:
                then(reply)

    def repair(self):
        """A coordinator has read a record, or a hint, and sends it to an owner."""
        node = self.nodes[self.chance.choice(MEMBERS)]
        copies = list(node.records().items())
        copies += [(digest, record) for _, digest, record in node.hints()]
        if copies:
            message = RepairReplica(*self.chance.choice(copies))
            self.dispatch((self.chance.choice(OWNERS), message, None))

    def deliver_hints(self):
        """A holder sends a hint, and deletes it once the owner has it."""
        node = self.nodes[self.chance.choice(OTHERS)]
        hints = node.hints()
        if not hints:
            return
        owner, digest, record = self.chance.choice(hints)

        def stored(reply):
            if reply.statuses[0] in (OK, SUPERSEDED):
                self.ask(node, DropHints(owner, ((digest, stamp_of(record)),)))

        self.dispatch((owner, DeliverHints(1, ((digest, record),)), stored))

    # --- anti-entropy -------------------------------------------------------------------

    def compare(self):
        """An owner is compared with another; one that is behind is whole after the last."""
        node, other = map(self.nodes.get, self.chance.sample(OWNERS, 2))
        state, floor = node.state, node.floor
        question = CompareRanges(1, state is BEHIND, ((*OF, b""),), 0, (floor,))
        reply = self.ask(other, question)
        theirs = (reply.floors or (0,))[0]
        if theirs > floor:
            node.visited.clear()
            self.ask(node, RaiseFloors(1, ((*OF, theirs, None),)))
        elif not reply.unready:
            self.copy(other, node)
            if state is WHOLE:
                self.copy(node, other)
            elif theirs == floor:
                node.visited.add(other.name)
        if state is BEHIND and len(node.visited) == N - 1:
            self.ask(node, SetRange(1, *OF, 0, WHOLE, floor))

    def read_out(self, node):
        """The records of a node, and the floor with which they were read."""
        hashes = b"".join(digest[1:] for digest in node.records())
        return self.ask(node, FetchRecords(1, N, hashes, 10**6))

    def copy(self, source, to):
        read = self.read_out(source)
        self.ask(to, StoreRecords(1, N, read.records, read.floors))

    def push(self):
        """Records that were read out arrive at any time."""
        source, to = map(self.nodes.get, self.chance.sample(OWNERS, 2))
        read = self.read_out(source)
        self.dispatch((to.name, StoreRecords(1, N, read.records, read.floors), None))

    # --- reaping ------------------------------------------------------------------------

    def reap(self):
        """The first owner takes one step: floor, hints of all, tombstones of the owners, raise."""
        first = self.nodes[OWNERS[0]]
        if self.round is None:
            if first.state is WHOLE:
                floor = self.clock + first.skew_us - REAP_US
                _, [(floor, dead, xor, held)] = self.ask(first, self.sum_dead(floor, close=False))
                others = [name for name in MEMBERS if name != first.name]
                self.chance.shuffle(others)
                todo = [(name, True) for name in (*others, first.name)]
                todo += [(name, False) for name in OWNERS[1:]]
                if floor and dead and not held:
                    self.round = Round(floor, xor, todo)
        elif self.chance.random() < 0.02:
            self.round = None
        elif self.round.todo:
            self.agree(*self.round.todo.pop(0))
        else:
            self.raise_agreed(first)

    @staticmethod
    def sum_dead(floor, *, close):
        return SumDead(1, 0, close, ((*OF, floor),))

    def agree(self, name, close):
        floor = self.round.floor
        reply = self.ask(self.nodes[name], self.sum_dead(floor, close=close))
        [(theirs, _, xor, held)] = reply.sums
        if theirs != floor or held or (not close and xor != self.round.xor):
            self.round = None

    def raise_agreed(self, first):
        floor, xor, self.round = self.round.floor, self.round.xor, None
        self.reaped += self.ask(first, RaiseFloors(1, ((*OF, floor, xor),))).deleted

    # --- faults -------------------------------------------------------------------------

    def wipe(self):
        """A node starts with an empty disk, if every write is elsewhere, too."""
        node = self.nodes[self.chance.choice(MEMBERS)]
        if any(self.nodes[name].state is not WHOLE for name in OWNERS):
            return
        if self.faults(without=node.name):
            return
        self.wipes += 1
        node.store = MemoryEngine()
        node.start()
        self.ask(node, SettleDisk(False))

    def restart(self):
        self.any_owner().start()

    # --- what is promised ---------------------------------------------------------------

    def faults(self, without=""):
        """What is lost or has come back, of what the owners that vote and the hints have."""
        owners = [self.nodes[name] for name in OWNERS if name != without]
        whole = [node for node in owners if node.state is WHOLE]
        hints = [one for name in OTHERS if name != without for one in self.nodes[name].hints()]
        found = []
        for key, newest in self.acknowledged.items():
            digest = DIGESTS[key]
            owned = [one for one in (node.records().get(digest) for node in whole) if one]
            copies = owned + [record for _, at, record in hints if at == digest]
            if any(stamp_of(one) >= stamp_of(newest) for one in copies):
                continue
            if any(not is_tombstone(one) for one in owned):
                found.append(f"{key} is older than what was acknowledged")
            later = any(at == key and stamp_of(one) >= stamp_of(newest) for at, one in self.deletes)
            if not later:
                found.append(f"{key} is lost")
        return found

    def check(self, after):
        assert not (found := self.faults()), (after, found)

    def end(self):
        """All arrives that is under way, and the owners are compared until they are equal."""
        self.clock += 3 * REAP_US
        while self.frames:
            self.deliver()
            self.check("deliver")
        for _ in range(1000):
            if not any(self.nodes[name].hints() for name in OTHERS):
                break
            self.deliver_hints()
            self.clock += 3 * REAP_US
            while self.frames:
                self.deliver()
        for _ in range(1000):
            self.compare()
            self.check("compare")
            stored = {tuple(sorted(self.nodes[name].records().items())) for name in OWNERS}
            if len(stored) == 1 and all(self.nodes[name].state is WHOLE for name in OWNERS):
                return
        raise AssertionError("the owners do not become equal")

    def reap_all(self):
        """Old tombstones are deleted on all owners; returns how many records are left."""
        self.clock += 10 * REAP_US
        self.round = None
        for _ in range(200):
            self.reap()
            self.compare()
        return [is_tombstone(one) for name in OWNERS for one in self.nodes[name].records().values()]
