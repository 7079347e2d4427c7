"""Which hints a node keeps: the newer record of each key, as long as there is room (Dynamo 4.6)."""

from __future__ import annotations

from toystore.core.data.record import DIGEST_BYTES, CorruptRecordError, check_record
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.storage.hints import Hints, HintTotal
from toystore.core.storage.layout import RECORD, REFUSING, YES, fits_a_key
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.records import FAILED, STORED, Answer, Records
from toystore.core.storage.store import Store

_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)
_REFUSED = int(ReplicaStatus.REFUSED)


class HintKeeping:
    """Decides on the hints that are sent to this node."""

    def __init__(
        self,
        store: Store,
        own: OwnRanges,
        records: Records,
        hints: Hints,
        bytes_max: int,
        outbox: Outbox,
    ) -> None:
        """``bytes_max``: the most bytes of hinted records, for all owners together."""
        self._store = store
        self._own = own
        self._records = records
        self._hints = hints
        self._bytes_max = bytes_max
        self._out = outbox

    def keep(self, owner: str, digest: bytes, record: bytes, now: Now) -> Answer:
        """Keep ``record`` as a hint for ``owner``; if this node stores a newer one, that."""
        try:
            check_record(record)
        except CorruptRecordError:
            return FAILED
        if len(digest) != DIGEST_BYTES or not fits_a_key(owner):
            return FAILED
        own = self._store.get(RECORD + digest)
        records = self._records
        answer = records.objection(digest, own, record, records.is_sound_record) or STORED
        if own is not None and answer[0] == _SUPERSEDED:
            # The write of ``own`` may have failed; then the owner would get neither record.
            record = own
        elif answer is not STORED:
            return answer
        hint = self._hints.find(owner, digest)
        objection = records.objection(digest, hint, record, records.is_sound_hint)
        if objection is not None:
            return answer if objection is STORED else objection
        if self._own.record.leaves(self._own.ranges.node):
            # A coordinator with an older ring: this node may be gone before it can deliver more.
            return _REFUSED, None
        total = self._hints.total_of_all()
        if total.bytes + len(record) > self._bytes_max:
            return self._refuse(owner, total)
        if not self._hints.total(owner).hints:
            self._out.log("hint.stored", owner=owner, hints=1, bytes=len(record))
        self._hints.keep(owner, digest, record, now.wall_us)
        return answer

    def _refuse(self, owner: str, total: HintTotal) -> Answer:
        """Refuse a hint for want of room; the first refusal is logged."""
        if self._store.get(REFUSING) is None:
            self._store.put(REFUSING, YES)
            self._out.log("hint.refused", owner=owner, hints=total.hints, bytes=total.bytes)
        return _REFUSED, None
