"""The storage machine: it serves one node's records, hints and facts.

    WriteReplica, RepairReplica, DeliverHints,  `Replica` (replica.py): `Records` stores the newer
    ReadReplica                                 record (records.py), or it is kept for an owner
    TakeHints, DropHints, CountHints            `HintKeeping` (hint_keeping.py)
    LoadDisks, SaveDisk, SettleDisk             `DiskFacts` (disk_facts.py)
    AdoptLineage                                the lineage (disk_identity.py)
    PrepareRing, AcceptRing                     the vote on the next ring (ring_acceptor.py)
    FetchRings, OfferRings, WatchRing,          `RingRecords` (ring_records.py)
    KeepPlan, FetchPlan
    WatchRanges, CompareRanges, ScrubLeaf       `Comparing` compares whole ranges by their `Sums`
                                                (comparing.py, sums.py)
    SetRange, SweepRange,                       `RangeMoves` sets the states of `OwnRanges`
    DescribeMoves                               (range_moves.py, own_ranges.py)
    ListStretches, CompareStretches,            `Stretches` exchanges single records
    FetchRecords, StoreRecords                  (stretches.py)
    SumDead, RaiseFloors                        `Tombstones` are deleted as `Floors` rise
                                                (tombstones.py, floors.py)
    StorageStatus                               all of them

All data is in the one `Store` that the shell gave to the machine (`layout.py` lists the keys).
The shell may abort a batch and feed it again, or discard it, and tells the machine of each commit
and abort: only the sums, copies of what the store has, and who waits for a change are outside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareStretches,
    FetchRecords,
    ListStretches,
    QuestionFailedReply,
    RaiseFloors,
    ScrubLeaf,
    SetRange,
    StoreRecords,
    SumDead,
    SweepRange,
    WatchRanges,
)
from toystore.core.protocol.messages.disk import (
    AdoptLineage,
    LoadDisks,
    LoadDisksReply,
    SaveDisk,
    SettleDisk,
    StorageStatus,
    StorageStatusReply,
)
from toystore.core.protocol.messages.hints import (
    CountHints,
    DeliverHints,
    DropHints,
    TakeHints,
)
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    RepairReplica,
    WriteReplica,
)
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    DescribeMoves,
    FetchPlan,
    FetchRings,
    KeepPlan,
    OfferRings,
    PrepareRing,
    WatchRing,
)
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.record import RingRecord
from toystore.core.storage.comparing import Comparing
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.floors import Floors
from toystore.core.storage.hint_keeping import HintKeeping
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import LINEAGE
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.questions import BadQuestionError
from toystore.core.storage.range_moves import RangeMoves
from toystore.core.storage.records import Records
from toystore.core.storage.replica import Replica
from toystore.core.storage.ring_acceptor import Acceptor
from toystore.core.storage.ring_records import RingRecords
from toystore.core.storage.store import Store
from toystore.core.storage.stretches import Stretches
from toystore.core.storage.sums import Sums
from toystore.core.storage.tombstones import Tombstones


class Storage:
    """Serves one node's store."""

    def __init__(
        self,
        *,
        store: Store,
        node: str,
        ranges: Ranges,
        copies: Mapping[str, int],
        hint_bytes_max: int,
        outbox: Outbox,
        chance: random.Random,  # noqa: ARG002 - every machine gets one
        reap_after_s: float = AntientropySettings().reap_after_s,
    ) -> None:
        """``copies``: the N of each bucket.

        ``hint_bytes_max``: the most bytes of hinted records, for all owners together.
        ``reap_after_s``: how old tombstones are deleted.
        """
        self._store = store
        self._own = own = OwnRanges(store, ranges)
        self._hint_bytes_max = hint_bytes_max
        self._out = outbox
        self.sums = Sums(store, ranges, outbox)
        self._floors = floors = Floors(store, own)
        self._records = records = Records(store, self.sums, floors, outbox)
        self._hints = hints = Hints(store)
        self._facts = facts = DiskFacts(store, own)
        self._rings = rings = RingRecords(store, node, ranges.ring.record, outbox)
        acceptor = Acceptor(store, node, rings, facts)
        self._tombstones = dead = Tombstones(
            store, own, facts, self.sums, records, hints, floors, reap_after_s
        )
        self._comparing = comparing = Comparing(self.sums, own, facts, floors, dead, outbox)
        stretches = Stretches(store, records, own, floors, copies)
        keeping = HintKeeping(store, own, records, hints, hint_bytes_max, outbox)
        replica = Replica(
            store=store,
            node=node,
            own=own,
            records=records,
            hints=hints,
            keeping=keeping,
            floors=floors,
            facts=facts,
            outbox=outbox,
        )
        self._moves = moves = RangeMoves(store, own, facts, self.sums, hints, floors)
        self._handlers: dict[type[Any], Callable[[Any, Address, Now], None]] = {
            WriteReplica: replica.write,
            ReadReplica: replica.read,
            RepairReplica: replica.repair,
            DeliverHints: replica.deliver,
            CompareRanges: self._compare_ranges,
            SumDead: self._sum_dead,
            RaiseFloors: self._raise_floors,
            LoadDisks: self._load_disks,
            SaveDisk: self._save_disk,
            AdoptLineage: self._adopt_lineage,
            SettleDisk: self._settle_disk,
            StorageStatus: self._storage_status,
            WatchRanges: self._watch_ranges,
            WatchRing: self._watch_ring,
            OfferRings: self._offer_rings,
        }
        self._questions: dict[type[Any], Callable[[Any], Message]] = {
            ScrubLeaf: comparing.scrub,
            SetRange: moves.set_state,
            SweepRange: moves.sweep,
            DescribeMoves: moves.describe,
            ListStretches: stretches.list_rows,
            CompareStretches: stretches.compare,
            FetchRecords: stretches.fetch,
            StoreRecords: stretches.store,
            TakeHints: keeping.take,
            DropHints: keeping.drop,
            CountHints: keeping.count,
            PrepareRing: acceptor.prepare,
            AcceptRing: acceptor.accept,
            FetchRings: rings.fetch,
            KeepPlan: rings.keep_plan,
            FetchPlan: rings.fetch_plan,
        }

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Receive one message.  Storage ignores messages about links and members."""
        if not self._own.is_read:
            self._own.read()
            self._floors.read()
            self.sums.follow(self._own.known)
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message, sender, now)
            return
        question = self._questions.get(type(message))
        if question is not None:
            self._out.send(sender, _answer(question, message))

    def on_deadline(self, now: Now) -> None:
        """Storage has no deadlines."""

    def next_deadline(self) -> float | None:
        """Storage has no deadlines."""
        return None

    def on_failure(self, now: Now) -> None:  # noqa: ARG002 - of Machine
        """Only the watchers wait for an answer."""
        self._comparing.on_failure()
        self._rings.on_failure()

    def on_commit(self) -> None:
        """All that was received since the last commit or abort is stored."""
        self.sums.on_commit()
        self._comparing.on_commit()
        self._rings.on_commit()

    def on_abort(self) -> None:
        """Nothing that was received since the last commit or abort is stored or answered."""
        self.sums.on_abort()
        self._comparing.on_abort()
        self._rings.on_abort()
        self._own.forget()

    @property
    def ranges(self) -> Ranges:
        """The ranges of this node, by the newest ring record that it has adopted."""
        return self._own.ranges

    @property
    def is_watched(self) -> bool:
        """Whether the anti-entropy of this node waits to be told of the next change."""
        return self._comparing.is_watched

    # --- the disk -----------------------------------------------------------------------

    def _load_disks(self, _message: LoadDisks, sender: Address, _now: Now) -> None:
        facts = self._facts
        reply = LoadDisksReply(facts.disk(), facts.confirmed(), facts.replaced(), facts.peers())
        self._out.send(sender, reply)

    def _adopt_lineage(self, message: AdoptLineage, _sender: Address, _now: Now) -> None:
        self._store.put(LINEAGE, message.lineage)

    def _save_disk(self, message: SaveDisk, _sender: Address, _now: Now) -> None:
        self._facts.save_peer(message.member, message.disk)

    def _settle_disk(self, message: SettleDisk, _sender: Address, _now: Now) -> None:
        if message.votes:
            self._facts.keep()
        elif self._facts.replace():
            self.sums.change_all()

    # --- the ring -----------------------------------------------------------------------

    def _watch_ring(self, message: WatchRing, sender: Address, _now: Now) -> None:
        reply = self._rings.watch(message, sender)
        if reply is not None:
            self._out.send(sender, reply)

    def _offer_rings(self, message: OfferRings, sender: Address, _now: Now) -> None:
        reply, adopted = self._rings.offer(message)
        for record in adopted:
            self._adopt(record)
        self._out.send(sender, reply)

    def _adopt(self, record: RingRecord) -> None:
        """Follow the next ring record: the states of all ranges that it changes are set, too."""
        before = self._own.known
        adoption = self._own.adopt(record)
        if adoption.strays:
            self._out.log("ranges.stray", ranges=adoption.strays)
        self._facts.count_votes()
        self.sums.follow(self._own.known)
        ended = before - self._own.known
        for of in sorted(ended):
            self._floors.delete(of)
        for of in sorted(ended | adoption.changed):
            self.sums.change(of)

    # --- anti-entropy -------------------------------------------------------------------

    def _sum_dead(self, message: SumDead, sender: Address, now: Now) -> None:
        self._out.send(sender, self._tombstones.sum(message, now.wall_us))

    def _raise_floors(self, message: RaiseFloors, sender: Address, now: Now) -> None:
        self._out.send(sender, self._tombstones.raise_floors(message, now.wall_us))

    def _compare_ranges(self, message: CompareRanges, sender: Address, now: Now) -> None:
        compare = self._comparing.compare
        self._out.send(sender, _answer(lambda one: compare(one, sender, now.wall_us), message))

    # --- reports ------------------------------------------------------------------------

    def _watch_ranges(self, message: WatchRanges, sender: Address, _now: Now) -> None:
        reply = self._comparing.watch(message, sender)
        if reply is not None:
            self._out.send(sender, reply)

    def _storage_status(self, message: StorageStatus, sender: Address, now: Now) -> None:
        totals = self._hints.totals()
        hints = {
            owner: {
                "count": total.hints,
                "bytes": total.bytes,
                "oldest_age_s": max(0, now.wall_us - self._hints.oldest_us(owner)) / 1e6,
            }
            for owner, total in totals.items()
        }
        status = {
            "disk": self._facts.disk(),
            "votes": self._facts.votes(),
            "ranges": len(self.ranges.owned),
            "ranges_behind": self._own.behind(),
            "rotten": self.sums.rotten,
            "keys": self._moves.count_records(),
            "disk_bytes": self._store.size().disk_bytes,
            "hints": hints,
            "hint_bytes_max": self._hint_bytes_max,
        }
        self._out.send(sender, StorageStatusReply(message.request, status))


def _answer(question: Callable[[Any], Message], message: Any) -> Message:
    """The answer to a question of anti-entropy, or what is wrong with it."""
    try:
        return question(message)
    except BadQuestionError as error:
        return QuestionFailedReply(message.request, str(error))
