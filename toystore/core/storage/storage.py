"""The storage machine: it serves one node's records, hints and facts.

    WriteReplica, RepairReplica, DeliverHints   `Records` stores the newer record (records.py),
                                                or it is kept for an owner (hint_keeping.py)
    ReadReplica                                 the newest sound copy in both
    TakeHints, DropHints, CountHints            `HintKeeping`, too
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

from toystore.core.data.record import DIGEST_BYTES
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
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
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
    DeliverHintsReply,
    DropHints,
    TakeHints,
)
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
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
from toystore.core.storage.floors import NO_FLOOR, Floors
from toystore.core.storage.hint_keeping import HintKeeping
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import LINEAGE, RECORD
from toystore.core.storage.own_ranges import MERGING, OwnRanges
from toystore.core.storage.questions import BadQuestionError
from toystore.core.storage.range_moves import RangeMoves
from toystore.core.storage.records import Answer, Records
from toystore.core.storage.ring_acceptor import Acceptor
from toystore.core.storage.ring_records import RingRecords
from toystore.core.storage.store import Store
from toystore.core.storage.stretches import Stretches
from toystore.core.storage.sums import Sums
from toystore.core.storage.tombstones import Tombstones

_OK = int(ReplicaStatus.OK)
_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)
_NOT_FOUND = int(ReplicaStatus.NOT_FOUND)
_NO_VOTE = int(ReplicaStatus.NO_VOTE)
_REFUSED = int(ReplicaStatus.REFUSED)
_INTERNAL = int(ReplicaStatus.INTERNAL)
_STALE = int(ReplicaStatus.STALE), None
_MOVED = int(ReplicaStatus.MOVED), None
_GIVEN_AWAY = frozenset((RangeState.RETIRED, RangeState.RELEASED, RangeState.STRAY))


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
        self._node = node
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
        self._keeping = HintKeeping(store, own, records, hints, hint_bytes_max, outbox)
        self._moves = moves = RangeMoves(store, own, facts, self.sums, hints, floors)
        self._handlers: dict[type[Any], Callable[[Any, Address, Now], None]] = {
            WriteReplica: self._write_replica,
            ReadReplica: self._read_replica,
            RepairReplica: self._repair_replica,
            DeliverHints: self._deliver_hints,
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
            TakeHints: self._keeping.take,
            DropHints: self._keeping.drop,
            CountHints: self._keeping.count,
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

    # --- records ------------------------------------------------------------------------

    def _write_replica(self, message: WriteReplica, sender: Address, now: Now) -> None:
        if message.hint_owner is None or message.hint_owner == self._node:
            status, stamp = self._refusal(message) or self._records.write(
                message.digest, message.record, self._floors.for_writes
            )
        else:
            status, stamp = self._keeping.keep(
                message.hint_owner, message.digest, message.record, self._floors.closed, now
            )
        self._out.send(sender, WriteReplicaReply(message.request, status, stamp))

    def _refusal(self, message: WriteReplica) -> Answer | None:
        """The answer to an owner's write that is not stored here; None if it is stored.

        A coordinator with an older ring may have sent it to too few nodes; one with a newer ring
        knows better than this node where it belongs.
        """
        own = self._own
        if len(message.digest) != DIGEST_BYTES:
            return None
        if message.epoch > own.record.epoch:
            own.written_early(message.digest)
            return None
        if message.epoch < own.moved and message.hint_owner is None:
            return _STALE
        return None if own.state_at(message.digest) in MERGING else _MOVED

    def _repair_replica(self, message: RepairReplica, _sender: Address, _now: Now) -> None:
        self._merge(message.digest, message.record)

    def _deliver_hints(self, message: DeliverHints, sender: Address, now: Now) -> None:
        if message.hint_owner:
            keep = self._keeping.keep
            answers = [keep(message.hint_owner, *hint, NO_FLOOR, now) for hint in message.hints]
        else:
            answers = [self._merge(*hint) for hint in message.hints]
        statuses = tuple(status for status, _ in answers)
        self._out.send(sender, DeliverHintsReply(message.request, statuses))

    def _merge(self, digest: bytes, record: bytes) -> Answer:
        """Store a hint or a repair, unless its range has moved away or has a floor above it."""
        if len(digest) == DIGEST_BYTES and self._own.state_at(digest) not in MERGING:
            return _MOVED
        return self._records.write(digest, record, self._floors.at)

    def _read_replica(self, message: ReadReplica, sender: Address, _now: Now) -> None:
        """Answer with the newest sound copy: the record, or a hint for one of the owners asked."""
        digest = message.digest
        if len(digest) != DIGEST_BYTES:
            self._out.send(sender, ReadReplicaReply(message.request, _INTERNAL, None))
            return
        own = self._store.get(RECORD + digest)
        found = (self._hints.find(owner, digest) for owner in message.hint_owners)
        hints = [hint for hint in found if hint is not None]
        newest = self._records.newest(digest, own, hints)
        state = self._own.state_at(digest)
        if state is not RangeState.WHOLE and not message.hint_owners:
            # It is asked as an owner.
            status = _NO_VOTE
            if state in _GIVEN_AWAY:
                status, newest = _MOVED
        elif newest is not None:
            status = _OK
        elif own is not None or hints or not self._votes_on(digest):
            # A record was here and is corrupt, or was lost with another disk.
            status = _NO_VOTE
        else:
            status = _NOT_FOUND
        self._out.send(sender, ReadReplicaReply(message.request, status, newest))

    def _votes_on(self, digest: bytes) -> bool:
        """Whether it proves anything that nothing is stored under ``digest``."""
        return self._facts.votes_in(self.ranges.range_of(digest))

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
