"""The ring records that are decided, as one disk keeps them (`toystore/core/ring/record.py`).

    FetchRings    those after an epoch
    OfferRings    adopts those that follow the newest
    WatchRing     is answered as soon as a newer one is adopted

Adopting a record and all that follows from it is one transaction.
"""

from __future__ import annotations

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.ring import (
    FetchRings,
    FetchRingsReply,
    OfferRings,
    OfferRingsReply,
    WatchRing,
    WatchRingReply,
)
from toystore.core.ring.record import RingRecord, RingRecordError, unpack_ring
from toystore.core.storage.layout import LINEAGE, RING_RECORD, ring_record_key
from toystore.core.storage.store import Store

KEPT_MAX = 1000
"""How many records are kept: a node that was away for more changes is a new one."""


class RingRecords:
    """The ring records in ``store``."""

    def __init__(self, store: Store, founding: RingRecord, outbox: Outbox) -> None:
        """``founding``: the newest record if the store has none."""
        self._store = store
        self._founding = founding
        self._out = outbox
        self._watcher: tuple[Address, int] | None = None
        """Who waits for a newer record, and the request; the last one only."""
        self._adopted = False
        """Whether a record was adopted since the last commit."""

    def newest(self) -> RingRecord:
        """The newest decided record."""
        packed = self.after(0)
        return unpack_ring(packed[-1]) if packed else self._founding

    def after(self, epoch: int) -> tuple[bytes, ...]:
        """The packed records of later epochs, in order."""
        return tuple(
            packed
            for key, packed in self._store.scan(RING_RECORD)
            if key >= ring_record_key(epoch + 1)
        )

    def fetch(self, message: FetchRings) -> FetchRingsReply:
        """The records after an epoch."""
        return FetchRingsReply(message.request, self.after(message.after))

    def offer(self, message: OfferRings) -> tuple[OfferRingsReply, list[RingRecord]]:
        """Store the offered records that follow; returns these, too."""
        newest, reason = self.newest(), ""
        adopted: list[RingRecord] = []
        lineage = self._store.get(LINEAGE) or b""
        for packed in message.records:
            try:
                record = unpack_ring(packed)
            except RingRecordError as error:
                reason = str(error)
                break
            if record.epoch <= newest.epoch:
                continue
            if not record.follows(newest, lineage):
                reason = f"epoch {record.epoch} does not follow this node's {newest.epoch}"
                break
            self._keep(record)
            adopted.append(record)
            newest = record
        return OfferRingsReply(message.request, newest.epoch, newest.digest, reason), adopted

    def _keep(self, record: RingRecord) -> None:
        self._adopted = True
        self._store.put(ring_record_key(record.epoch), record.packed)
        if record.epoch > KEPT_MAX:
            self._store.delete(ring_record_key(record.epoch - KEPT_MAX))

    def watch(self, message: WatchRing, sender: Address) -> WatchRingReply | None:
        """The records that the watcher lacks; None, and an answer later, if there are none."""
        self._watcher = None
        if records := self.after(message.epoch):
            return WatchRingReply(message.request, records, 0)
        self._watcher = sender, message.request
        return None

    def on_commit(self) -> None:
        """Wake the watcher if a record was adopted.  It asks again."""
        if self._watcher is not None and self._adopted:
            watcher, request = self._watcher
            self._watcher = None
            self._out.send(watcher, WatchRingReply(request, (), 0))
        self._adopted = False

    def on_abort(self) -> None:
        """Nothing was adopted."""
        self._adopted = False
