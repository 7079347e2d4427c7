"""How two owners find out which records of a stretch differ, and exchange those.

    ListStretches      the rows of the own records
    CompareStretches   merges another owner's rows with the own records: the records that it
                       lacks, and the hashes of those that this node lacks
    FetchRecords       the own records with these hashes
    StoreRecords       stores records, unless the stored ones are newer

A corrupt record counts as absent, so that a sound copy of it is fetched.  Each question costs a
bounded amount of work; the answer says where it was cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from toystore.core.data.record import DIGEST_BYTES, CorruptRecordError, digest_of, unpack_record
from toystore.core.data.row import HASH_BYTES, rank_of, row_of, split_rows, time_us_of
from toystore.core.protocol.messages.antientropy import (
    CompareStretches,
    CompareStretchesReply,
    FetchRecords,
    FetchRecordsReply,
    ListStretches,
    ListStretchesReply,
    StoreRecords,
    StoreRecordsReply,
)
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.storage.floors import Floors, FloorsThere
from toystore.core.storage.layout import RECORD
from toystore.core.storage.own_ranges import MERGING, OwnRanges
from toystore.core.storage.questions import BadQuestionError, check_known
from toystore.core.storage.records import FAILED, Records
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch

RECORDS_MAX = 2000
"""The most records that are read for one question."""
BATCH_MAX = 128
"""The most records in an answer.  Requests of clients wait while a batch is read or stored."""
STRETCHES_MAX = 1024
"""The most stretches of one question that are looked at."""
BYTES_MAX = 4 * 1024 * 1024
"""The most bytes of records that are read for one question, and of those in an answer; or one."""
_MOVED = int(ReplicaStatus.MOVED)
_NEVER_US = -1


class Stretches:
    """Answers questions about single records."""

    def __init__(
        self,
        store: Store,
        records: Records,
        own: OwnRanges,
        floors: Floors,
        copies: Mapping[str, int],
    ) -> None:
        """``copies``: the N of each bucket."""
        self._store = store
        self._records = records
        self._own = own
        self._floors = floors
        self._copies = copies

    def list_rows(self, message: ListStretches) -> ListStretchesReply:
        """The rows of stretches.  Raises `BadQuestionError`."""
        listed: list[tuple[bytes, bytes, bytes]] = []
        reading = _Limit(message.rows_max, BYTES_MAX)
        for start, end in message.stretches[:STRETCHES_MAX]:
            self._check_stretch(start, end)
            rows: list[bytes] = []
            for digest, record in scan_stretch(self._store, start, end):
                if not reading.takes(record):
                    listed.append((start, digest, b"".join(rows)))
                    return ListStretchesReply(message.request, tuple(listed))
                sound = self._records.is_sound_record(digest, record)
                if sound and time_us_of(record) <= message.until_us:
                    rows.append(row_of(digest, record))
            listed.append((start, end, b"".join(rows)))
        return ListStretchesReply(message.request, tuple(listed))

    def compare(self, message: CompareStretches) -> CompareStretchesReply:
        """What two owners lack of stretches.  Raises `BadQuestionError`.

        The asker has left out its records that are younger than ``until_us``; those of this node
        are not sent, and nothing older is asked for in their place.  With ``push`` none are sent.
        """
        limits = _Limit(RECORDS_MAX, BYTES_MAX), _Limit(BATCH_MAX, message.bytes_max)
        until_us = _NEVER_US if message.push else message.until_us
        records: list[bytes] = []
        wanted: list[bytes] = []
        compared: list[tuple[bytes, int]] = []
        for start, end, rows in message.listed[:STRETCHES_MAX]:
            self._check_stretch(start, end)
            theirs = _rows_by_digest(start, end, rows)
            missing, more, to = self._compare_one(start, end, theirs, until_us, *limits)
            if to > start:
                records += missing
                wanted += more
                compared.append((to, len(missing)))
            if to < end:
                break
        return CompareStretchesReply(
            message.request,
            tuple(records),
            b"".join(wanted),
            tuple(compared),
            self._floors_at([start for start, _, _ in message.listed[: len(compared)]]),
        )

    def _compare_one(
        self,
        start: bytes,
        end: bytes,
        theirs: dict[bytes, bytes],
        until_us: int,
        reading: _Limit,
        sending: _Limit,
    ) -> tuple[list[bytes], list[bytes], bytes]:
        """The records that the asker lacks, the hashes of those that it has, and up to where."""
        own: dict[bytes, bytes] = {}
        missing: list[bytes] = []
        for digest, record in scan_stretch(self._store, start, end):
            if not reading.takes(record):
                end = digest
                break
            if not self._records.is_sound_record(digest, record):
                continue
            row = row_of(digest, record)
            if time_us_of(record) <= until_us and _is_newer(row, theirs.get(digest)):
                if not sending.takes(record):
                    end = digest
                    break
                missing.append(record)
            own[digest] = row
        wanted = [
            row[:HASH_BYTES]
            for digest, row in theirs.items()
            if digest < end and _is_newer(row, own.get(digest))
        ]
        return missing, wanted, end

    def fetch(self, message: FetchRecords) -> FetchRecordsReply:
        """The records with these hashes, as far as they are sound.  Raises `BadQuestionError`."""
        self._check_n(message.n)
        if len(message.hashes) % HASH_BYTES:
            raise BadQuestionError(f"{len(message.hashes)} bytes are no number of hashes")
        prefix = message.n.to_bytes(1, "big")
        records: list[bytes] = []
        read: list[bytes] = []
        sending = _Limit(BATCH_MAX, min(message.bytes_max, BYTES_MAX))
        served = 0
        for at in range(0, len(message.hashes), HASH_BYTES):
            digest = prefix + message.hashes[at : at + HASH_BYTES]
            record = self._store.get(RECORD + digest) or b""
            if not sending.takes(record):
                break
            served += 1
            if record and self._records.is_sound_record(digest, record):
                records.append(record)
                read.append(digest)
        return FetchRecordsReply(message.request, tuple(records), served, self._floors_at(read))

    def _floors_at(self, digests: list[bytes]) -> tuple[tuple[int, int], ...]:
        """The floors of the ranges of these digests, all of one N."""
        return self._floors.by_partition(set(map(self._own.ranges.range_of, digests)))

    def store(self, message: StoreRecords) -> StoreRecordsReply:
        """Store records, each under the digest of its own key.  Raises `BadQuestionError`."""
        self._check_n(message.n)
        there = FloorsThere(self._floors, self._own, message.floors)
        statuses = tuple(self._store_one(message.n, one, there) for one in message.records)
        return StoreRecordsReply(message.request, statuses)

    def _store_one(self, n: int, data: bytes, there: FloorsThere) -> int:
        try:
            record = unpack_record(data)
        except CorruptRecordError:
            return FAILED[0]
        digest = digest_of(record.bucket, record.key, n)
        # A bucket that this node does not know yet has the N that the other owner says.
        if self._copies.get(record.bucket, n) != n:
            return FAILED[0]
        if self._own.state_at(digest) not in MERGING:
            return _MOVED
        return self._records.write(digest, data, there.at)[0]

    # --- what is wrong with a question --------------------------------------------------

    def _check_n(self, n: int) -> None:
        if n not in self._own.ranges.copies:
            raise BadQuestionError(f"this node has no bucket with n={n}")

    def _check_stretch(self, start: bytes, end: bytes) -> None:
        """Raise `BadQuestionError` unless this is a stretch of an owned range."""
        if not len(start) == len(end) == DIGEST_BYTES or start >= end:
            raise BadQuestionError(f"{start.hex()} to {end.hex()} is no stretch of digests")
        of = self._own.ranges.range_of(start)
        check_known(of, self._own.known)
        if end > self._own.stretch(of)[1]:
            raise BadQuestionError(f"{start.hex()} to {end.hex()} is more than one range")


def _rows_by_digest(start: bytes, end: bytes, rows: bytes) -> dict[bytes, bytes]:
    """The asker's rows.  Raises `BadQuestionError` unless they are those of the stretch."""
    try:
        listed = [(start[:1] + row[:HASH_BYTES], row) for row in split_rows(rows)]
    except ValueError as error:
        raise BadQuestionError(str(error)) from None
    places = [digest for digest, _ in listed] + [end]
    if places[0] < start or not all(one < after for one, after in pairwise(places)):
        raise BadQuestionError("the rows are not those of the stretch, in order")
    return dict(listed)


class _Limit:
    """A number of records, and of their bytes, of which at least one record is taken."""

    __slots__ = ("_bytes", "_first", "_records")

    def __init__(self, records: int, size: int) -> None:
        self._records = records
        self._bytes = size
        self._first = True

    def takes(self, record: bytes) -> bool:
        """Whether one more record is taken."""
        self._records -= 1
        self._bytes -= len(record)
        taken = self._first or (self._records >= 0 and self._bytes >= 0)
        self._first = False
        return taken


def _is_newer(row: bytes, other: bytes | None) -> bool:
    """Whether a row is that of a newer record than the other one of its key."""
    return other is None or rank_of(row) > rank_of(other)
