"""The ring records that are decided, as one disk keeps them (`toystore/core/ring/record.py`).

    FetchRings    those after an epoch
    OfferRings    adopts those that follow the newest
    WatchRing     is answered as soon as a newer one is adopted, or a vote waits for its decision
    KeepPlan      keeps a plan for operators, FetchPlan fetches it

Adopting a record and all that follows from it is one transaction, which ends the vote on it
(`ring_vote.py`).

Two foundings of one configuration have the same lineage.  A record of the other one is refused: it
does not follow the newest; or it is one of the first, and they list other disks than known here.
"""

from __future__ import annotations

from collections.abc import Iterable

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.ring import (
    FetchPlan,
    FetchPlanReply,
    FetchRings,
    FetchRingsReply,
    KeepPlan,
    KeepPlanReply,
    OfferRings,
    OfferRingsReply,
    WatchRing,
    WatchRingReply,
)
from toystore.core.ring.record import RingRecord, RingRecordError, unpack_ring
from toystore.core.storage.layout import (
    DISK,
    LINEAGE,
    PEER,
    PLAN,
    VOTE,
    ring_record_key,
)
from toystore.core.storage.ring_chain import KEPT_MAX, last_record, records_after
from toystore.core.storage.ring_vote import RottenVoteError, read_vote
from toystore.core.storage.store import Store


class _ForeignError(RingRecordError):
    """A record is of another founding of the cluster; the text says why."""


class RingRecords:
    """The ring records in ``store``."""

    def __init__(self, store: Store, node: str, founding: RingRecord, outbox: Outbox) -> None:
        """``founding``: the newest record if the store has none."""
        self._store = store
        self._node = node
        self._founding = founding
        self._out = outbox
        self._watcher: tuple[Address, int] | None = None
        """Who waits for news, and the request; the last one only."""
        self._news = False
        """Whether a record was adopted or accepted since the last commit."""
        self._newest: RingRecord | None = None
        """None: it has to be read from the store."""

    def newest(self) -> RingRecord:
        """The newest decided record."""
        if self._newest is None:
            packed = last_record(self._store)
            self._newest = unpack_ring(packed) if packed else self._founding
        return self._newest

    def lineage(self) -> bytes:
        """The lineage of the cluster."""
        return self._store.get(LINEAGE) or b""

    def after(self, epoch: int) -> tuple[bytes, ...]:
        """The packed records of later epochs, in order, or the first of them."""
        return records_after(self._store, epoch)

    def undecided(self) -> int:
        """The epoch for which a record is accepted and not known to be decided; or 0."""
        try:
            vote = read_vote(self._store)
        except RottenVoteError:
            return 0
        return vote.epoch if vote.record and vote.epoch == self.newest().epoch + 1 else 0

    def fetch(self, message: FetchRings) -> FetchRingsReply:
        """The records after an epoch."""
        return FetchRingsReply(message.request, self.after(message.after))

    def offer(self, message: OfferRings) -> tuple[OfferRingsReply, list[RingRecord]]:
        """Store the offered records that follow; returns these, too."""
        adopted: list[RingRecord] = []
        reason, foreign = "", False
        try:
            if not self.newest().epoch and self._list_other_disks(message.records):
                raise _ForeignError("its records list other disks than this node knows")
            for packed in message.records:
                record = unpack_ring(packed)
                if self._adopt(record):
                    adopted.append(record)
        except RingRecordError as error:
            reason, foreign = str(error), isinstance(error, _ForeignError)
        newest = self.newest()
        reply = OfferRingsReply(message.request, newest.epoch, newest.digest, reason, foreign)
        return reply, adopted

    def _adopt(self, record: RingRecord) -> bool:
        """Store the next record; False if it is known already.  Raises `RingRecordError`."""
        newest, lineage = self.newest(), self.lineage()
        if record.epoch <= newest.epoch:
            known = self._store.get(ring_record_key(record.epoch)) if record.epoch else None
            if known not in (None, record.packed):
                raise _ForeignError(f"it has another record of epoch {record.epoch}")
            return False
        if record.epoch > newest.epoch + 1:
            raise RingRecordError(
                f"epoch {record.epoch} does not follow this node's {newest.epoch}: the records "
                "between them are not kept any more; this node can only join again, with an empty "
                "folder"
            )
        if not record.follows(newest, lineage):
            raise _ForeignError(
                f"its record of epoch {record.epoch} does not follow this node's of epoch "
                f"{newest.epoch}"
            )
        self._keep(record, lineage)
        return True

    def _list_other_disks(self, records: Iterable[bytes]) -> bool:
        """Whether the first records list fewer than half of the disks that this one knows.

        It must know two: one may have been replaced since, and is not listed yet.  If it was
        listed, a later record lists it.  A node of another founding may have told its own.
        """
        known = {key[len(PEER) :].decode(): disk for key, disk in self._store.scan(PEER)}
        known[self._node] = self._store.get(DISK) or b""
        listed: dict[str, set[bytes]] = {}
        for record in map(unpack_ring, records):
            for one in record.all.values():
                if one.disk:
                    listed.setdefault(one.name, set()).add(one.disk.encode())
        same = [known[name] in disks for name, disks in listed.items() if known.get(name)]
        return len(same) > 1 and 2 * sum(same) < len(same)

    def _keep(self, record: RingRecord, lineage: bytes) -> None:
        self._newest, self._news = record, True
        self._store.put(ring_record_key(record.epoch), record.packed)
        self._store.delete(VOTE)
        if record.lineage != lineage:
            self._store.put(LINEAGE, record.lineage)
        if record.epoch > KEPT_MAX:
            self._store.delete(ring_record_key(record.epoch - KEPT_MAX))

    def keep_plan(self, message: KeepPlan) -> KeepPlanReply:
        """Keep a plan in the place of the last one."""
        self._store.put(PLAN, message.plan)
        return KeepPlanReply(message.request)

    def fetch_plan(self, message: FetchPlan) -> FetchPlanReply:
        """The plan that is kept."""
        return FetchPlanReply(message.request, self._store.get(PLAN) or b"")

    def watch(self, message: WatchRing, sender: Address) -> WatchRingReply | None:
        """What the watcher does not know; None, and an answer later, if it knows all."""
        self._watcher = None
        records, undecided = self.after(message.epoch), self.undecided()
        if records or undecided != message.undecided:
            return WatchRingReply(message.request, records, undecided)
        self._watcher = sender, message.request
        return None

    def wake(self) -> None:
        """A record was accepted in this batch: the watcher is woken when it is committed."""
        self._news = True

    def on_commit(self) -> None:
        """Wake the watcher if there is news.  It asks again."""
        if self._news:
            self._wake_now()
        self._news = False

    def on_abort(self) -> None:
        """Nothing was adopted."""
        self._news, self._newest = False, None

    def on_failure(self) -> None:
        """This machine ends: the watcher asks the next one."""
        self._wake_now()

    def _wake_now(self) -> None:
        if self._watcher is not None:
            watcher, request = self._watcher
            self._watcher = None
            self._out.send(watcher, WatchRingReply(request, (), 0))
