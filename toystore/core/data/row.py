"""Rows: what two owners compare of a record, so that they need not send it.

    offset  size  field
    0       16    the digest of its key without N
    16      1     the record's flags
    17      4     the record's checksum
    21      20    the record's stamp

The last 25 bytes are bytes 1 to 25 of the record.  They decide which of two records of a key is
newer, as `record.newer` does: the stamp, then the flags and the checksum.
"""

from __future__ import annotations

from collections.abc import Iterator

ROW_BYTES = 41
HASH_BYTES = 16

_HEADER = 26  # the bytes of a record up to the end of its stamp
_FLAGS_AT, _STAMP_AT = 1, 6
_TIME_END = 14


def row_of(digest: bytes, record: bytes) -> bytes:
    """The row of a sound record."""
    return digest[1:] + record[_FLAGS_AT:_HEADER]


def rank_of(row: bytes) -> tuple[bytes, bytes]:
    """Of two rows of one key, the higher rank is that of the newer record."""
    return row[HASH_BYTES + _STAMP_AT - _FLAGS_AT :], row[HASH_BYTES:]


def split_rows(rows: bytes) -> Iterator[bytes]:
    """One row after the other.  Raises ValueError if the last one is cut off."""
    if len(rows) % ROW_BYTES:
        raise ValueError(f"{len(rows)} bytes are no number of rows of {ROW_BYTES} bytes")
    return (rows[at : at + ROW_BYTES] for at in range(0, len(rows), ROW_BYTES))


def time_us_of(record: bytes) -> int:
    """The time in the stamp of a sound record, in microseconds since 1970."""
    return int.from_bytes(record[_STAMP_AT:_TIME_END], "big")
