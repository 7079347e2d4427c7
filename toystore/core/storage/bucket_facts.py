"""N of each bucket, as the store has it: it cannot change for a bucket that has data.

N decides which nodes own a key and is part of its digest.  Under another N, the records of a
bucket would lie where no request looks for them.  N of the default bucket decides the order of
all partitions, too: it cannot change if any bucket has data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toystore.core.data.record import DIGEST_BYTES, names_of
from toystore.core.protocol.settings import N_CAP
from toystore.core.storage.disk_identity import ForeignDataError
from toystore.core.storage.layout import BUCKET, HINT, HINT_TIME_BYTES, RECORD
from toystore.core.storage.store import Store

DEFAULT = "default"


def compare_buckets(store: Store, copies: Mapping[str, int]) -> None:
    """Compare N of each bucket, ``copies``, with the store, and note what is new.

    A node runs this at its start.  A bucket without data may get another N.  The N of a bucket
    that the configuration does not list is kept.

    Raises:
        ForeignDataError: a bucket has data that were stored under another N.
    """
    for bucket, n in copies.items():
        key = BUCKET + bucket.encode()
        noted = store.get(key)
        if noted == b"%d" % n:
            continue
        if noted is not None:
            _check(store, bucket, n, _decoded(noted))
        store.put(key, b"%d" % n)


def _check(store: Store, bucket: str, n: int, before: int | None) -> None:
    """Raise `ForeignDataError` if data were placed by another N of a bucket than ``n``."""
    if bucket == DEFAULT and before is not None and next(_data(store), None):
        raise ForeignDataError(
            f"bucket {bucket!r} has n={n} in the configuration, and the data on disk, of all "
            f"buckets, were placed with n={before}: give it n={before} again, or begin with empty "
            "folders"
        )
    other = _other_n(store, bucket, n, before)
    if other is not None:
        raise ForeignDataError(
            f"bucket {bucket!r} has n={n} in the configuration, and its data on disk were "
            f"stored with n={other}: give it n={other} again, or list a new bucket with n={n} "
            "and copy the keys to it"
        )


def _decoded(noted: bytes) -> int | None:
    """N in a note; None if that is corrupt."""
    n = int(noted) if noted.isdigit() else 0
    return n if 0 < n <= N_CAP else None


def _other_n(store: Store, bucket: str, n: int, before: int | None) -> int | None:
    """An N other than ``n`` under which the store has data of the bucket, or None.

    ``before``: the N that was noted; if that is not known, all records are searched.
    """
    stretch = b"" if before is None else before.to_bytes(1, "big")
    for digest, record in _data(store, stretch):
        if digest[0] != n and names_of(record)[0] == bucket.encode():
            return digest[0]
    return None


def _data(store: Store, stretch: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Digests and records of a stretch of the store, and of all hints."""
    for key, record in store.scan(RECORD + stretch):
        yield key[1:], record
    for key, hint in store.scan(HINT):
        yield key[-DIGEST_BYTES:], hint[HINT_TIME_BYTES:]
