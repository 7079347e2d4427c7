"""The hints of a node: which it keeps, and what hand-off asks of them (Dynamo 4.6).

A node keeps the newer record of each key for an owner, as long as there is room.

    TakeHints     the oldest for an owner
    DropHints     deletes those that were delivered
    CountHints    how many there are for each owner
"""

from __future__ import annotations

from toystore.core.data.record import DIGEST_BYTES, TIME, CorruptRecordError, check_record
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.hints import (
    CountHints,
    CountHintsReply,
    DropHints,
    DropHintsReply,
    TakeHints,
    TakeHintsReply,
)
from toystore.core.storage.floors import below
from toystore.core.storage.hints import Hints, HintTotal
from toystore.core.storage.layout import RECORD, REFUSING, YES, fits_a_key
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.records import FAILED, STORED, Answer, Records
from toystore.core.storage.store import Store

_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)
_REFUSED = int(ReplicaStatus.REFUSED)


class HintKeeping:
    """Decides on the hints that are sent to this node, and answers questions about them."""

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

    def keep(self, owner: str, digest: bytes, record: bytes, floor: bytes, now: Now) -> Answer:
        """Keep ``record`` as a hint for ``owner``; if this node stores a newer one, that.

        ``floor``: no hint below it is kept, packed.
        """
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
        if record[TIME] < floor:
            return below(floor) if answer is STORED else answer
        own_ranges = self._own
        if not own_ranges.stays and not own_ranges.gives_away(digest):
            # This node may be gone before it can deliver more.  It stays until it has released what
            # it gives away, and has delivered the hints that it keeps then.
            return _REFUSED, None
        total = self._hints.total_of_all()
        if total.bytes + len(record) > self._bytes_max:
            return self._refuse(owner, total)
        if not self._hints.total(owner).hints:
            self._out.log("hint.stored", owner=owner, hints=1, bytes=len(record))
        self._hints.keep(owner, digest, record, now.wall_us)
        return answer

    def take(self, message: TakeHints) -> TakeHintsReply:
        """The oldest hints for an owner."""
        sound: list[tuple[bytes, bytes]] = []
        if fits_a_key(message.owner):
            sound, corrupt = self._hints.oldest(message.owner, message.bytes_max, message.after)
            for digest, error in corrupt:
                self._records.log_corrupt(digest, error)
        return TakeHintsReply(message.owner, tuple(sound))

    def drop(self, message: DropHints) -> DropHintsReply:
        """Delete the hints that were delivered, unless there are newer ones by now."""
        owner = message.owner
        deleted = sum(self._hints.delete(owner, *delivered) for delivered in message.delivered)
        if deleted:
            self._store.delete(REFUSING)
        return DropHintsReply(owner, deleted, self._hints.total(owner).hints)

    def count(self, _message: CountHints) -> CountHintsReply:
        """The hints for each owner."""
        counts = tuple(
            (owner, *total, self._hints.oldest_us(owner))
            for owner, total in self._hints.totals().items()
        )
        return CountHintsReply(counts)

    def _refuse(self, owner: str, total: HintTotal) -> Answer:
        """Refuse a hint for want of room; the first refusal is logged."""
        if self._store.get(REFUSING) is None:
            self._store.put(REFUSING, YES)
            self._out.log("hint.refused", owner=owner, hints=total.hints, bytes=total.bytes)
        return _REFUSED, None
