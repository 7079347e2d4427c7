"""One anti-entropy machine, n1, among storages that answer as a test wants.

Each storage has ranges with a floor and a number of tombstones.  It answers at once, and what it
was asked is remembered.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from toystore.core.antientropy.antientropy import Antientropy
from toystore.core.protocol.address import GOSSIP, RING, STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareRangesReply,
    CompareStretches,
    CompareStretchesReply,
    FetchRecords,
    FetchRecordsReply,
    ListStretches,
    ListStretchesReply,
    RaiseFloors,
    RaiseFloorsReply,
    RangeSum,
    ScrubLeaf,
    ScrubLeafReply,
    SetRange,
    SetRangeReply,
    StoreRecords,
    StoreRecordsReply,
    SumDead,
    SumDeadReply,
    WatchRanges,
    WatchRangesReply,
)
from toystore.core.protocol.messages.codes import MemberStatus, RangeState, ReplicaStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import LEAVES, Range, Ranges
from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.ring.tree import SUM_BYTES, root_of, sum_of
from toystore.core.ring.view import RingView

START_US = 1_700_000_000_000_000
PARTITIONS = 8
N = 3


@dataclass
class Copy:
    """A range at one storage."""

    state: RangeState = RangeState.WHOLE
    floor: int = 0
    tombstones: int = 0
    hashes: int = 7
    """The XOR of the tombstones."""
    values: int = 0
    """What else it has: equal replicas have the same number."""
    keeps: bool = False
    refuses: bool = False
    lowered: int | None = None
    """The latest floor for which it has few enough tombstones."""
    rises: bool = True
    """Whether its floor can be raised."""
    records: tuple[bytes, ...] = ()
    """What it sends to one that compares stretches."""

    @property
    def tree(self) -> bytes:
        first = sum_of(self.hashes * bool(self.tombstones) ^ self.values << 20, self.tombstones)
        return first + bytes((LEAVES - 1) * SUM_BYTES)


@dataclass
class Script:
    """A storage."""

    copies: dict[Range, Copy]
    asked: list[Message] = field(default_factory=list)
    changed: set[Range] = field(default_factory=set)
    rows_max: int = 1000
    """How many ranges are answered at once."""


class Scene:
    """The machine of n1, and the storages of all members."""

    def __init__(self, nodes: int = 3, **settings: Any) -> None:
        names = [f"n{number}" for number in range(1, nodes + 1)]
        listed = [Listed(name, name, "", 1, "", "", ()) for name in names]
        self.records = [founding("scripted", PARTITIONS, listed)]
        self.ranges = Ranges(RingView(self.records[0], N), "n1", (N,))
        self.settings = AntientropySettings(reap_after_s=160.0, follow_s=0.0, **settings)
        self.time = 1000.0
        self.out = Outbox()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[tuple[str, Message]] = []
        """What was asked of storages, in order, but for WatchRanges and ScrubLeaf."""
        self.watch: int | None = None
        self.storages = {
            name: Script({of: Copy() for of in Ranges(self.ranges.ring, name, (N,)).owned})
            for name in names
        }
        self.storages["n1"].changed |= self.ranges.owned
        self.machine = Antientropy(
            node="n1",
            ranges=self.ranges,
            settings=self.settings,
            outbox=self.out,
            chance=random.Random(1),
        )
        states = tuple(MemberState(name, MemberStatus.ALIVE, 0, "") for name in names)
        self.tell(MembersChanged(True, states))
        for name in names[1:]:
            self.tell(LinkUp(name))

    @property
    def now(self) -> Now:
        return Now(self.time, START_US + int(self.time * 1e6))

    def first_owned(self, by: str = "n1") -> list[Range]:
        """The ranges whose first owner is this node."""
        every = (Range(N, partition) for partition in range(PARTITIONS))
        return [of for of in every if self.ranges.owners(of)[0] == by]

    def change(self, of: Range, only: Iterable[str] = (), **fields: Any) -> None:
        """A range changes at its owners, or at some."""
        for name, storage in self.storages.items():
            copy = storage.copies.get(of)
            if copy is not None and (not only or name in only):
                for key, value in fields.items():
                    setattr(copy, key, value)
                storage.changed.add(of)
        self._wake()

    def decide(self, record: RingRecord) -> None:
        """The next ring record."""
        self.records.append(record)
        self.tell(RingChanged(record.packed), Peer("n1", RING))

    def lose(self, name: str) -> None:
        self.tell(LinkLost(name))

    def find(self, name: str) -> None:
        self.tell(LinkUp(name))

    def tell(self, message: Message, sender: Address | None = None) -> None:
        self.machine.receive(message, sender or Peer("n1", GOSSIP), self.now)
        self.deliver()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.time + seconds
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.time = max(self.time, due)
            self.machine.on_deadline(self.now)
            self.deliver()
            self.time += 1e-6
        self.time = end

    def deliver(self) -> None:
        """Let every question be answered."""
        while self.out.sends or self.out.events:
            self.log += [(event.name, event.fields) for event in self.out.events]
            self.out.events.clear()
            sends, self.out.sends = self.out.sends, {}
            for to, messages in sends.items():
                assert isinstance(to, Peer)
                assert to.actor == STORAGE
                for message in messages:
                    self._ask(to, message)

    def _ask(self, to: Peer, message: Message) -> None:
        if isinstance(message, WatchRanges):
            self.watch = message.request
            self._wake()
            return
        if not isinstance(message, ScrubLeaf):
            self.asked.append((to.node, message))
        reply = self.answer(to.node, message)
        if reply is not None:
            self.machine.receive(reply, to, self.now)
            self._wake()

    def _wake(self) -> None:
        storage = self.storages["n1"]
        if self.watch is not None and storage.changed:
            told = tuple(
                RangeSum(
                    *of,
                    copy.state is RangeState.BEHIND,
                    copy.tree,
                    copy.state,
                    copy.floor,
                    copy.tombstones,
                )
                for of in sorted(storage.changed)
                if (copy := storage.copies[of])
            )
            storage.changed.clear()
            request, self.watch = self.watch, None
            self.machine.receive(
                WatchRangesReply(request, told, False), Peer("n1", STORAGE), self.now
            )

    # --- the answers, which a test may replace ------------------------------------------

    def answer(self, name: str, message: Message) -> Message | None:
        """What a storage answers; None: nothing."""
        storage = self.storages[name]
        match message:
            case SumDead():
                return self._sum(storage, message)
            case RaiseFloors():
                return self._raise(storage, message)
            case CompareRanges():
                return self._compare(storage, message)
            case ListStretches():
                listed = tuple((*one, b"") for one in message.stretches)
                return ListStretchesReply(message.request, listed)
            case CompareStretches():
                return self._compare_stretches(storage, message)
            case StoreRecords():
                statuses = (int(ReplicaStatus.OK),) * len(message.records)
                return StoreRecordsReply(message.request, statuses)
            case FetchRecords():
                return FetchRecordsReply(message.request, (), len(message.hashes) // 16)
            case SetRange():
                copy = storage.copies[Range(message.n, message.partition)]
                copy.state = RangeState(message.state)
                return SetRangeReply(message.request, message.state, 0)
            case ScrubLeaf():
                return ScrubLeafReply(message.request, 0, 0, 0, False)
        raise AssertionError(message)

    def _sum(self, storage: Script, message: SumDead) -> SumDeadReply:
        sums = []
        for n, partition, floor in message.ranges[: storage.rows_max]:
            copy = storage.copies.get(Range(n, partition), Copy())
            lowered = min(floor, floor if copy.lowered is None else copy.lowered)
            told = 0 if copy.refuses else lowered
            sums.append((told, copy.tombstones, copy.hashes, copy.keeps))
        return SumDeadReply(message.request, tuple(sums))

    def _raise(self, storage: Script, message: RaiseFloors) -> RaiseFloorsReply:
        floors, deleted = [], 0
        for n, partition, floor, hashes in message.floors:
            copy = storage.copies[Range(n, partition)]
            agreed = hashes is None or hashes == copy.hashes
            if agreed and copy.rises and floor > copy.floor:
                deleted += copy.tombstones
                copy.floor, copy.tombstones, copy.lowered = floor, 0, None
                storage.changed.add(Range(n, partition))
            floors.append(copy.floor)
        return RaiseFloorsReply(message.request, tuple(floors), deleted)

    def _compare(self, storage: Script, message: CompareRanges) -> CompareRangesReply:
        floors = message.floors or (0,) * len(message.roots)
        differing, unready, states, own = [], [], bytearray(), []
        for (n, partition, root), floor in zip(message.roots, floors, strict=True):
            copy = storage.copies.get(Range(n, partition), Copy(RangeState.NONE))
            if copy.state is RangeState.WHOLE and floor > copy.floor:
                copy.floor, copy.tombstones = floor, 0
            states.append(copy.state)
            own.append(copy.floor)
            if copy.state is RangeState.NONE or not (
                message.rebuilding or copy.state is RangeState.WHOLE
            ):
                unready.append((n, partition))
            elif root_of(copy.tree) != root:
                differing.append((n, partition, copy.tree))
        return CompareRangesReply(
            message.request, tuple(differing), tuple(unready), bytes(states), tuple(own)
        )

    def _compare_stretches(
        self, storage: Script, message: CompareStretches
    ) -> CompareStretchesReply:
        records: list[bytes] = []
        compared, floors = [], {}
        for start, end, _ in message.listed:
            of = self.ranges.range_of(start)
            records += storage.copies[of].records
            compared.append((end, len(storage.copies[of].records)))
            floors[of.partition] = storage.copies[of].floor
        return CompareStretchesReply(
            message.request, tuple(records), b"", tuple(compared), tuple(floors.items())
        )

    # --- what was asked -----------------------------------------------------------------

    def of_type(self, kind: type, at: str | None = None) -> list[Any]:
        """The messages of one type, to one storage or to any, in order."""
        return [one for name, one in self.asked if type(one) is kind and at in (None, name)]

    def logged(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.log if event == name]
