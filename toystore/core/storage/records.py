"""The records of one node, and what a write does to them.

                     ┌─ nothing, or an older record ─▶ stored, OK
    a write finds    ├─ the same record ─────────────▶ OK
    under its digest ├─ a newer record ──────────────▶ SUPERSEDED
                     ├─ a floor above it ────────────▶ SUPERSEDED, not stored (floors.py)
                     ├─ a corrupt record ────────────▶ logged; stored, OK
                     └─ a record of another key ─────▶ INTERNAL, not stored

The newer record stays, in any order of the writes.  So replicas that received the same
writes store the same records (docs/ARCHITECTURE.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from toystore.core.data.record import (
    DIGEST_BYTES,
    TIME,
    CorruptRecordError,
    check_record,
    newer,
    same_key,
    stamp_of,
)
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.storage.floors import Floors, below
from toystore.core.storage.layout import RECORD
from toystore.core.storage.store import Store
from toystore.core.storage.sums import Sums

Answer = tuple[int, bytes | None]
"""The answer to a write: its status, and the stamp of the stored record if that is newer."""
STORED: Answer = (int(ReplicaStatus.OK), None)
FAILED: Answer = (int(ReplicaStatus.INTERNAL), None)

_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)


class Records:
    """The records in ``store``."""

    def __init__(self, store: Store, sums: Sums, floors: Floors, outbox: Outbox) -> None:
        """``sums``: are told of each record that is stored.  ``outbox``: for the log."""
        self._store = store
        self._sums = sums
        self._floors = floors
        self._out = outbox

    def write(self, digest: bytes, record: bytes, floor_at: Callable[[bytes], bytes]) -> Answer:
        """Store ``record``, unless the stored record objects (see `objection`), or a floor.

        ``floor_at``: the floor for such a record, by its digest.
        """
        try:
            check_record(record)
        except CorruptRecordError:
            return FAILED
        if len(digest) != DIGEST_BYTES:
            return FAILED
        key = RECORD + digest
        stored = self._store.get(key)
        objection = self.objection(digest, stored, record, self.is_sound_record)
        if objection is not None:
            return objection
        time = record[TIME]
        if time < self._floors.highest and time < (floor := floor_at(digest)):
            return below(floor)
        self._store.put(key, record)
        self._sums.note(digest, stored, record)
        return STORED

    def objection(
        self,
        digest: bytes,
        stored: bytes | None,
        record: bytes,
        is_sound: Callable[[bytes, bytes], bool],
    ) -> Answer | None:
        """The answer to a sound ``record`` if ``stored`` stays; None if ``stored`` is replaced.

        ``is_sound``: `is_sound_record` or `is_sound_hint`, as ``stored`` is.
        """
        if stored is None:
            return None
        stamp = stamp_of(record)
        older = stamp_of(stored) < stamp and stored[:1] == record[:1]
        if older and same_key(stored, record):
            return None
        # Only a sound record may object.
        if not is_sound(digest, stored):
            return None
        if not same_key(stored, record):
            return FAILED
        if stamp_of(stored) > stamp:
            return _SUPERSEDED, stamp_of(stored)
        return STORED if newer(stored, record) == stored else None

    def newest(self, digest: bytes, own: bytes | None, hints: Iterable[bytes]) -> bytes | None:
        """The newest sound copy, or None: the own record or a hint, all under ``digest``."""
        best = own if own is not None and self.is_sound_record(digest, own) else None
        for hint in hints:
            if self.is_sound_hint(digest, hint):
                best = hint if best is None else newer(best, hint)
        return best

    def is_sound_record(self, digest: bytes, stored: bytes) -> bool:
        """Whether an own record is as it was written.

        A corrupt one is logged when it is met for the first time, and is in no sum from then on.
        """
        return self._is_sound(digest, stored, self._sums.doubt)

    def is_sound_hint(self, digest: bytes, stored: bytes) -> bool:
        """Whether the record of a hint is as it was written.  Logs a corrupt one."""
        return self._is_sound(digest, stored, lambda _: True)

    def _is_sound(self, digest: bytes, stored: bytes, is_new: Callable[[bytes], bool]) -> bool:
        """Whether a record is as it was written; ``is_new``: whether a corrupt one is logged."""
        try:
            check_record(stored)
        except CorruptRecordError as error:
            if is_new(digest):
                self.log_corrupt(digest, error)
            return False
        return True

    def log_corrupt(self, digest: bytes, error: CorruptRecordError) -> None:
        """Log a stored record that is corrupt."""
        self._out.log("record.corrupt", digest=digest.hex(), reason=str(error))
