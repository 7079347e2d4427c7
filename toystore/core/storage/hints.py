"""Hints: the writes that this node keeps for owners that did not store them (Dynamo 4.6).

Three kinds of keys (`layout.py`) change together, in the store's current transaction:

    a hint    the time when it was stored, and the record
    a queue   empty values: each key is the place of one hint in the queue of its owner
    a total   the number of an owner's hints, and the bytes of their records

A newer record for the same key takes the place of the older one in the queue.  So the age
of a hint is the age of the oldest write that its owner may not have.

Any of the three may be corrupt on a disk.  The hints are the truth: when the queue or the
total of an owner reaches its end, both are compared with the hints and, if they disagree,
rebuilt from them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from toystore.core.data.record import DIGEST_BYTES, CorruptRecordError, check_record, stamp_of
from toystore.core.protocol.settings import ARRAY_ITEMS_CAP
from toystore.core.storage.layout import HINT_TIME_BYTES, TOTAL, hint_key, queue_prefix, total_key
from toystore.core.storage.store import Store

_TOTAL = struct.Struct(">QQ")
_TOTAL_END = 2**64


class HintTotal(NamedTuple):
    """The number and size of the hints for one owner, or for all."""

    hints: int
    bytes: int
    """Of their records."""


class Hints:
    """The hints in ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, owner: str, digest: bytes) -> bytes | None:
        """The record kept for ``owner``, or None.  It is not checked."""
        hint = self._store.get(hint_key(owner, digest))
        return None if hint is None else hint[HINT_TIME_BYTES:]

    def within(self, owner: str, start: bytes, end: bytes) -> Iterator[bytes]:
        """The records kept for ``owner`` from one digest on and before another; not checked."""
        hints = hint_key(owner, b"")
        for key, hint in self._store.scan(hints, start):
            if key >= hints + end:
                return
            yield hint[HINT_TIME_BYTES:]

    def keep(self, owner: str, digest: bytes, record: bytes, wall_us: int) -> None:
        """Keep ``record``, instead of the record that was kept under ``digest``."""
        key = hint_key(owner, digest)
        before = self._store.get(key) or b""
        stored_at = before[:HINT_TIME_BYTES]
        if len(stored_at) < HINT_TIME_BYTES:
            stored_at = wall_us.to_bytes(HINT_TIME_BYTES, "big")
            self._store.put(queue_prefix(owner) + stored_at + digest, b"")
        self._store.put(key, stored_at + record)
        self._add(owner, 0 if before else 1, len(record) - len(before[HINT_TIME_BYTES:]))

    def oldest(
        self, owner: str, bytes_max: int, after: bytes = b""
    ) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, CorruptRecordError]]]:
        """The oldest sound hints: as many as fit ``bytes_max``, but at least one.

        ``after``: only the hints behind the one with this digest, if that is still kept.  An
        empty answer means that there are no more.  The second list is the corrupt hints that
        were met: they can never be delivered, so they are deleted.
        """
        start = self._place_after(owner, after)
        sound, corrupt = self._first(owner, bytes_max, start)
        if not sound and not start and self.total(owner).hints:
            self._rebuild(owner)
            sound, more = self._first(owner, bytes_max)
            corrupt += more
        return sound, corrupt

    def _place_after(self, owner: str, digest: bytes) -> bytes:
        """The place after a hint in the owner's queue; b"", the beginning, without that hint."""
        hint = self._store.get(hint_key(owner, digest)) if len(digest) == DIGEST_BYTES else None
        return b"" if hint is None else hint[:HINT_TIME_BYTES] + digest + b"\0"

    def _first(
        self, owner: str, bytes_max: int, start: bytes = b""
    ) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, CorruptRecordError]]]:
        """The first hints of the owner's queue; places without a sound hint are deleted."""
        sound: list[tuple[bytes, bytes]] = []
        corrupt: list[tuple[bytes, CorruptRecordError]] = []
        lost: list[bytes] = []
        size = 0
        for place, _ in self._store.scan(queue_prefix(owner), start):
            digest = place[-DIGEST_BYTES:]
            record = self.find(owner, digest)
            if record is None:
                lost.append(place)
                continue
            try:
                check_record(record)
            except CorruptRecordError as error:
                corrupt.append((digest, error))
                lost.append(place)
                continue
            size += len(record)
            if sound and (size > bytes_max or len(sound) == ARRAY_ITEMS_CAP):
                break
            sound.append((digest, record))
        for digest, _ in corrupt:
            self._delete(owner, digest)
        # A hint with a corrupt time does not lead to its place, but its place leads to it.
        for place in lost:
            self._store.delete(place)
        return sound, corrupt

    def delete(self, owner: str, digest: bytes, stamp: bytes) -> bool:
        """Delete a hint if its stamp is still ``stamp``; True if it was."""
        record = self.find(owner, digest)
        if record is None or stamp_of(record) != stamp:
            return False
        self._delete(owner, digest)
        return True

    def total(self, owner: str) -> HintTotal:
        """The total of the hints for ``owner``."""
        packed = self._store.get(total_key(owner))
        return HintTotal(0, 0) if packed is None else _unpack_total(packed)

    def totals(self) -> dict[str, HintTotal]:
        """The totals of all owners that have hints, by name; corrupt names are left out."""
        totals = {}
        for key, packed in self._store.scan(TOTAL):
            try:
                totals[key[1:].decode()] = _unpack_total(packed)
            except UnicodeDecodeError:
                continue
        return totals

    def total_of_all(self) -> HintTotal:
        """The total of the hints for all owners together."""
        totals = self.totals().values()
        return HintTotal(sum(one.hints for one in totals), sum(one.bytes for one in totals))

    def oldest_us(self, owner: str) -> int:
        """The wall time at which the oldest hint for ``owner`` was stored; 0 without hints."""
        queue = queue_prefix(owner)
        for place, _ in self._store.scan(queue):
            return int.from_bytes(place[len(queue) :][:HINT_TIME_BYTES], "big")
        return 0

    def _delete(self, owner: str, digest: bytes) -> None:
        key = hint_key(owner, digest)
        hint = self._store.get(key)
        if hint is not None:
            self._store.delete(key)
            self._store.delete(queue_prefix(owner) + hint[:HINT_TIME_BYTES] + digest)
            self._add(owner, -1, -len(hint[HINT_TIME_BYTES:]))

    def _add(self, owner: str, hints: int, size: int) -> None:
        before = self.total(owner)
        hints, size = before.hints + hints, before.bytes + size
        if 0 < hints < _TOTAL_END and 0 <= size < _TOTAL_END:
            self._store.put(total_key(owner), _TOTAL.pack(hints, size))
        else:
            self._rebuild(owner)

    def _rebuild(self, owner: str) -> None:
        """Rebuild the queue and the total of ``owner`` from the stored hints."""
        hints = hint_key(owner, b"")
        kept = [
            (hint[:HINT_TIME_BYTES] + key[len(hints) :], len(hint[HINT_TIME_BYTES:]))
            for key, hint in self._store.scan(hints)
            if len(key) == len(hints) + DIGEST_BYTES
        ]
        queue = queue_prefix(owner)
        for place, _ in list(self._store.scan(queue)):
            self._store.delete(place)
        for place, _ in kept:
            self._store.put(queue + place, b"")
        if kept:
            self._store.put(total_key(owner), _TOTAL.pack(len(kept), sum(size for _, size in kept)))
        else:
            self._store.delete(total_key(owner))


def _unpack_total(packed: bytes) -> HintTotal:
    """A total; a corrupt one counts as one hint, so that it is rebuilt in the end."""
    if len(packed) == _TOTAL.size:
        total = HintTotal._make(_TOTAL.unpack(packed))
        if total.hints:
            return total
    return HintTotal(1, 0)
