"""A record: one write of one key, as it is sent, stored, hinted and compared.

The coordinator makes a record once.  It is sent to the replicas and stored on their
disks as the same bytes:

    offset  size  field
    0       1     format (1)
    1       1     flags: 1 = tombstone
    2       4     CRC-32 of everything after it
    6       20    stamp (see stamp.py)
    26      8     expiry, microseconds since 1970, 0 = never  (reserved for ttl)
    34      2     length of bucket
    36      2     length of key
    38      4     length of versions
    42      ...   bucket, key, versions (reserved for version vectors), value to the end

`newer` decides which of two records of a key wins: the one with the higher stamp or, if
the stamps are equal, the higher bytes.  So the choice is commutative, associative and
idempotent.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import NamedTuple

from toystore.core.data.stamp import STAMP_BYTES, TIME_BYTES

FORMAT = 1
TOMBSTONE = 1
DIGEST_BYTES = 17
_HASH_BYTES = 16

_HEADER = struct.Struct(">BBI20sQHHI")
HEADER_BYTES = _HEADER.size
"""The size of a record without its bucket, key, versions and value."""
_BODY_AT = 6  # the bytes that the checksum covers begin here
_STAMP = slice(_BODY_AT, _BODY_AT + STAMP_BYTES)
TIME = slice(_BODY_AT, _BODY_AT + TIME_BYTES)
"""The time of the stamp, in microseconds since 1970; times are in the order of their bytes."""
_LENGTHS = slice(34, 38)  # of bucket and key
_TAIL = struct.Struct(">20sQHHI")


class CorruptRecordError(Exception):
    """Bytes that are not a record as it was written: incomplete, corrupt or not a record."""


class Record(NamedTuple):
    """The fields of a record."""

    stamp: bytes
    tombstone: bool
    expiry_us: int
    bucket: str
    key: bytes
    versions: bytes
    value: bytes


def digest_of(bucket: str, key: bytes, n: int) -> bytes:
    """The 17 bytes under which (bucket, key) is placed on the ring and on disk.

    The first byte is ``n``, the number of owners of the bucket's keys: keys with another number of
    owners have other owners.  The others are 128 bits of BLAKE2b over the bucket and the key.
    """
    name = bucket.encode()
    hashed = hashlib.blake2b(b"%d:%b%b" % (len(name), name, key), digest_size=_HASH_BYTES)
    return n.to_bytes(1, "big") + hashed.digest()


def pack_record(
    stamp: bytes,
    bucket: str,
    key: bytes,
    value: bytes,
    *,
    tombstone: bool = False,
    expiry_us: int = 0,
    versions: bytes = b"",
) -> bytes:
    """The bytes of a record.  Raises ValueError if a part does not fit."""
    name = bucket.encode()
    if len(stamp) != STAMP_BYTES:
        raise ValueError(f"a stamp is {STAMP_BYTES} bytes, not {len(stamp)}")
    try:
        tail = _TAIL.pack(stamp, expiry_us, len(name), len(key), len(versions))
    except struct.error as error:
        raise ValueError(f"does not fit a record: {error}") from None
    body = b"".join((tail, name, key, versions, value))
    flags = TOMBSTONE if tombstone else 0
    return b"%c%c%b%b" % (FORMAT, flags, (zlib.crc32(body) ^ flags).to_bytes(4, "big"), body)


def check_record(data: bytes) -> bytes:
    """Check a record and return its stamp.  Raises `CorruptRecordError`."""
    if len(data) < _HEADER.size:
        raise CorruptRecordError(f"{len(data)} bytes are too few for a record")
    if data[0] != FORMAT:
        raise CorruptRecordError(f"record format {data[0]}, not {FORMAT}")
    if zlib.crc32(memoryview(data)[_BODY_AT:]) ^ data[1] != int.from_bytes(data[2:6], "big"):
        raise CorruptRecordError("checksum does not match")
    return data[_STAMP]


def stamp_of(data: bytes) -> bytes:
    """The stamp of a record that has been checked."""
    return data[_STAMP]


def is_tombstone(data: bytes) -> bool:
    """Whether a record that has been checked is a tombstone; its first bytes are enough."""
    return bool(data[1] & TOMBSTONE)


def same_key(a: bytes, b: bytes) -> bool:
    """Whether two records have the same bucket and key, and not only the same digest."""
    lengths = a[_LENGTHS]
    end = _HEADER.size + int.from_bytes(lengths[:2], "big") + int.from_bytes(lengths[2:], "big")
    return lengths == b[_LENGTHS] and a[_HEADER.size : end] == b[_HEADER.size : end]


def names_of(data: bytes) -> tuple[bytes, bytes]:
    """The bucket and the key of a record, as far as they can be read: it is not checked."""
    lengths = data[_LENGTHS]
    key_at = _HEADER.size + int.from_bytes(lengths[:2], "big")
    return data[_HEADER.size : key_at], data[key_at : key_at + int.from_bytes(lengths[2:], "big")]


def unpack_record(data: bytes) -> Record:
    """Check a record and unpack its fields.  Raises `CorruptRecordError`."""
    check_record(data)
    _, flags, _, stamp, expiry_us, names, keys, versions = _HEADER.unpack_from(data)
    key_at = _HEADER.size + names
    versions_at = key_at + keys
    value_at = versions_at + versions
    if value_at > len(data):
        raise CorruptRecordError("lengths run past the end")
    try:
        bucket = data[_HEADER.size : key_at].decode()
    except UnicodeDecodeError:
        raise CorruptRecordError("bucket is not UTF-8") from None
    return Record(
        stamp,
        bool(flags & TOMBSTONE),
        expiry_us,
        bucket,
        data[key_at:versions_at],
        data[versions_at:value_at],
        data[value_at:],
    )


def newer(a: bytes, b: bytes) -> bytes:
    """The winner of two checked records of one key (last write wins)."""
    return max(a, b, key=lambda data: (data[_STAMP], data))
