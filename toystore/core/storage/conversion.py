"""The data of toystore 0.1.0, which has layout 1, is converted at the first start.

    layout 1                                                layout 2
    b"r" + digest(16)                                       b"R" + n(1) + digest(16)
    b"h" + owner + NUL + digest(16)                         b"H" + owner + NUL + n(1) + digest(16)
    b"q" + owner + NUL + stored_at_us(8) + digest(16)       b"Q" + ... + n(1) + digest(16)

N is that of the bucket in the configuration.  Facts and totals stay as they are.

    survey   changes nothing: whose data are these, is each bucket listed, how many are there?
    prepare  LAYOUT is "1 to 2" from now on; a disk that does not vote will be rebuilt by range
    step     moves some records, or else some hints; 0 when none is left
    tidy     deletes some of what is left of queues; 0 when nothing is left
    finish   LAYOUT is 2 now

Each but the first is a small transaction, and a step needs nothing but the store.  So the process
may be killed at any point: the next start begins again with what is left.

A record may be corrupt.  If the digest of its bucket and key is right, these are as they were
written, and the record is moved as it is.  Otherwise it is dropped, and the ranges that it may
belong to are BEHIND, so that the other owners send a sound copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toystore.core.data.record import (
    CorruptRecordError,
    check_record,
    digest_of,
    names_of,
)
from toystore.core.protocol.machine import Outbox
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.storage.bucket_facts import compare_buckets
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.disk_identity import ForeignDataError, compare_facts
from toystore.core.storage.layout import (
    CLUSTER,
    DISK,
    HINT,
    HINT_TIME_BYTES,
    LAYOUT,
    LAYOUT_VERSION,
    MEMBERS,
    NO,
    NODE,
    QUEUE,
    RECORD,
    VOTES,
)
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.store import Store

OLD_LAYOUT = b"1"
CONVERTING = b"1 to 2"
"""What LAYOUT is while records are moved, so that toystore 0.1.0 does not take what is left."""
_RECORD, _HINT, _QUEUE = b"r", b"h", b"q"
_HASH_BYTES = 16  # all of a digest in layout 1

STEP_RECORDS = 4096
"""The most records in a transaction."""
STEP_BYTES = 8 * 1024 * 1024
"""The most bytes in them; a larger record is moved alone."""


def has_old_layout(store: Store) -> bool:
    """Whether the store has data of toystore 0.1.0 that are not converted yet."""
    return store.get(LAYOUT) in (OLD_LAYOUT, CONVERTING)


class Conversion:
    """The conversion of one store."""

    def __init__(
        self, store: Store, copies: Mapping[str, int], ranges: Ranges, outbox: Outbox
    ) -> None:
        """``copies``: N of each bucket.  ``outbox``: for the log."""
        self._store = store
        self._copies = copies
        self._ranges = ranges
        self._own = OwnRanges(store, ranges)
        self._facts = DiskFacts(store, self._own)
        self._out = outbox

    def survey(self, *, cluster: str, node: str, members_digest: bytes) -> int:
        """The number of records and hints to be converted.

        ``members_digest`` is that of layout 1, over N of the default bucket too.

        Raises:
            ForeignDataError: the data belong to another node, cluster or member list, or to a
                bucket that is not listed.
        """
        stored = {name: self._store.get(name) for name in (LAYOUT, CLUSTER, NODE, MEMBERS, DISK)}
        placed_by = stored[MEMBERS] or b""
        given = {LAYOUT: stored[LAYOUT] or b"", MEMBERS: placed_by}
        compare_facts(given | {CLUSTER: cluster.encode(), NODE: node.encode()}, stored)
        if placed_by != members_digest:
            raise ForeignDataError(
                "the data are of toystore 0.1.0, and were placed by another member list than that "
                "in the configuration: restore the names, weights, zones and partitions, and n of "
                "bucket 'default', that it had, or begin with empty folders"
            )
        count = 0
        unlisted = set()
        for hashed, record in self._records_and_hints():
            count += 1
            bucket = _bucket(hashed, record)
            if bucket is not None and bucket not in self._copies:
                unlisted.add(bucket)
        if unlisted:
            raise ForeignDataError(
                "the data are of toystore 0.1.0, and have records of buckets that the "
                f"configuration does not list: {', '.join(map(repr, sorted(unlisted)))}. List each "
                "with the n that it had; nothing was changed"
            )
        return count

    def prepare(self) -> None:
        """Note that this has begun, with N of each bucket.

        Raises:
            ForeignDataError: records were converted by another N before an interruption.
        """
        compare_buckets(self._store, self._copies)
        self._store.put(LAYOUT, CONVERTING)
        self._own.read()
        if self._store.get(VOTES) == NO:
            self._facts.replace()

    def step(self) -> int:
        """Move records, or hints if no record is left; returns how many were moved or dropped."""
        for kind, move in ((_RECORD, self._move_record), (_HINT, self._move_hint)):
            rows = self._first(kind)
            for key, value in rows:
                self._store.delete(key)
                move(key, value)
            if rows:
                return len(rows)
        return 0

    def tidy(self) -> int:
        """Delete places to which no hint has led, as they are corrupt; returns how many."""
        places = self._first(_QUEUE)
        for key, _ in places:
            self._store.delete(key)
        return len(places)

    def finish(self, members_digest: bytes) -> None:
        """Nothing is left.  ``members_digest`` is that of layout 2."""
        self._store.put(MEMBERS, members_digest)
        self._store.put(LAYOUT, LAYOUT_VERSION)

    # --- one row ------------------------------------------------------------------------

    def _move_record(self, key: bytes, record: bytes) -> None:
        hashed = key[1:]
        n = self._n_of(hashed, record)
        if n is None:
            self._drop(hashed)
            self._own.read()
            self._facts.fall_behind(self._ranges_of(hashed))
        else:
            self._store.put(RECORD + n + hashed, record)

    def _move_hint(self, key: bytes, hint: bytes) -> None:
        owner, hashed = key[1 : -_HASH_BYTES - 1], key[-_HASH_BYTES:]
        stored_at, record = hint[:HINT_TIME_BYTES], hint[HINT_TIME_BYTES:]
        self._store.delete(b"%b%b\0%b%b" % (_QUEUE, owner, stored_at, hashed))
        n = self._n_of(hashed, record)
        if n is None:
            self._drop(hashed)  # it could not be delivered
        else:
            self._store.put(b"%b%b\0%b%b" % (HINT, owner, n, hashed), hint)
            self._store.put(b"%b%b\0%b%b%b" % (QUEUE, owner, stored_at, n, hashed), b"")

    def _n_of(self, hashed: bytes, record: bytes) -> bytes | None:
        """N of a record's bucket, as its digest begins in layout 2."""
        bucket = _bucket(hashed, record)
        return None if bucket is None else self._copies[bucket].to_bytes(1, "big")

    def _drop(self, hashed: bytes) -> None:
        reason = "dropped: its bucket cannot be read"
        self._out.log("record.corrupt", digest=hashed.hex(), reason=reason)

    def _ranges_of(self, hashed: bytes) -> set[Range]:
        """The ranges of this node in which a key with this digest may be."""
        if len(hashed) != _HASH_BYTES:
            return set(self._ranges.owned)
        digests = (n.to_bytes(1, "big") + hashed for n in set(self._copies.values()))
        return {self._ranges.range_of(digest) for digest in digests} & self._ranges.owned

    # --- rows ---------------------------------------------------------------------------

    def _first(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """The first rows of a kind: as many as fit a transaction, but at least one."""
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in self._store.scan(kind):
            size += len(value)
            if rows and (size > STEP_BYTES or len(rows) == STEP_RECORDS):
                break
            rows.append((key, value))
        return rows

    def _records_and_hints(self) -> Iterator[tuple[bytes, bytes]]:
        """The digest of layout 1 and the record of each."""
        for key, record in self._store.scan(_RECORD):
            yield key[1:], record
        for key, hint in self._store.scan(_HINT):
            yield key[-_HASH_BYTES:], hint[HINT_TIME_BYTES:]


def _bucket(hashed: bytes, record: bytes) -> str | None:
    """The bucket of a record; None if it cannot be read."""
    bucket, key = names_of(record)
    if len(hashed) != _HASH_BYTES:
        return None
    try:
        name = bucket.decode()
        if digest_of(name, key, 1)[1:] != hashed:
            check_record(record)
    except (CorruptRecordError, UnicodeDecodeError):
        return None
    return name
