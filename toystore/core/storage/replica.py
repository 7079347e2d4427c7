"""What coordinators and hand-off ask of the records and the hints of one node.

WriteReplica     an owner's copy, or a hint for another owner
ReadReplica      the newest sound copy, or whether it proves anything that there is none
RepairReplica    a newer record, from a read
DeliverHints     hints for this node, or hints of a node that leaves
"""

from __future__ import annotations

from toystore.core.data.record import DIGEST_BYTES
from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHints, DeliverHintsReply
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.floors import NO_FLOOR, Floors
from toystore.core.storage.hint_keeping import HintKeeping
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import RECORD
from toystore.core.storage.own_ranges import MERGING, OwnRanges
from toystore.core.storage.records import Answer, Records
from toystore.core.storage.store import Store

_OK = int(ReplicaStatus.OK)
_NOT_FOUND = int(ReplicaStatus.NOT_FOUND)
_NO_VOTE = int(ReplicaStatus.NO_VOTE)
_INTERNAL = int(ReplicaStatus.INTERNAL)
_STALE = int(ReplicaStatus.STALE), None
_MOVED = int(ReplicaStatus.MOVED), None
_GIVEN_AWAY = frozenset((RangeState.RETIRED, RangeState.RELEASED, RangeState.STRAY))


class Replica:
    """Answers questions about single records."""

    def __init__(
        self,
        *,
        store: Store,
        node: str,
        own: OwnRanges,
        records: Records,
        hints: Hints,
        keeping: HintKeeping,
        floors: Floors,
        facts: DiskFacts,
        outbox: Outbox,
    ) -> None:
        self._store = store
        self._node = node
        self._own = own
        self._records = records
        self._hints = hints
        self._keeping = keeping
        self._floors = floors
        self._facts = facts
        self._out = outbox

    def write(self, message: WriteReplica, sender: Address, now: Now) -> None:
        """Store a record here, or keep it as a hint for another owner."""
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
            own.written_early(message.digest, message.epoch)
            return None
        if message.epoch < own.moved and message.hint_owner is None:
            return _STALE
        return None if own.state_at(message.digest) in MERGING else _MOVED

    def repair(self, message: RepairReplica, _sender: Address, _now: Now) -> None:
        """Store a newer record that a read has found; nothing is answered."""
        self._merge(message.digest, message.record)

    def deliver(self, message: DeliverHints, sender: Address, now: Now) -> None:
        """Store hints for this node, or keep those of a node that leaves."""
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

    def read(self, message: ReadReplica, sender: Address, _now: Now) -> None:
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
        return self._facts.votes_in(self._own.ranges.range_of(digest))
