"""Data in the layout of toystore 0.1.0, as its storage wrote them."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable

from toystore.core.data.record import digest_of, pack_record, unpack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.ring.digest import members_digest_of_layout_1
from toystore.core.ring.ring import Member
from toystore.core.storage.store import Store

STORED_AT_US = 1_700_000_000_000_000


def old_digest(bucket: str, key: bytes) -> bytes:
    """The 16 bytes of a digest of layout 1."""
    return digest_of(bucket, key, 1)[1:]


def old_record(bucket: str, key: bytes, value: bytes = b"value", counter: int = 0) -> bytes:
    """A record, which is the same in both layouts."""
    return pack_record(pack_stamp(STORED_AT_US, counter, b"minter 1"), bucket, key, value)


def put_record(store: Store, record: bytes) -> None:
    """Store a record."""
    fields = unpack_record(record)
    store.put(b"r" + old_digest(fields.bucket, fields.key), record)


def put_hints(store: Store, owner: str, records: Iterable[bytes]) -> None:
    """Keep hints for an owner, with their queue and their total."""
    name, size = owner.encode(), Counter[str]()
    for at, record in enumerate(records):
        fields = unpack_record(record)
        digest = old_digest(fields.bucket, fields.key)
        stored_at = (STORED_AT_US + at).to_bytes(8, "big")
        store.put(b"h%b\0%b" % (name, digest), stored_at + record)
        store.put(b"q%b\0%b%b" % (name, stored_at, digest), b"")
        size.update(hints=1, bytes=len(record))
    store.put(b"t" + name, struct.pack(">QQ", size["hints"], size["bytes"]))


def put_facts(
    store: Store,
    cluster: str,
    node: str,
    members: Iterable[Member],
    partitions: int,
    n: int,
    *,
    votes: bool = True,
) -> None:
    """The facts of a disk that is confirmed; ``n`` is that of the default bucket."""
    store.put(b"mlayout", b"1")
    store.put(b"mdisk", b"5eed" * 8)
    store.put(b"mcluster", cluster.encode())
    store.put(b"mnode", node.encode())
    store.put(b"mmembers", members_digest_of_layout_1(members, partitions, n))
    store.put(b"msettled", b"yes")
    store.put(b"mvotes", b"yes" if votes else b"no")
