"""Records come apart as they were made, and no corruption of one goes unnoticed."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.data.record import (
    CorruptRecordError,
    Record,
    check_record,
    digest_of,
    newer,
    pack_record,
    stamp_of,
    unpack_record,
)
from toystore.core.data.stamp import pack_stamp

STAMPS = st.binary(min_size=20, max_size=20)
RECORDS = st.builds(
    Record,
    stamp=STAMPS,
    tombstone=st.booleans(),
    expiry_us=st.integers(0, 2**64 - 1),
    bucket=st.text(max_size=8),
    key=st.binary(max_size=16),
    versions=st.binary(max_size=16),
    value=st.binary(max_size=32),
)
STAMP = pack_stamp(1_700_000_000_000_000, 3, b"minter 1")
SAMPLE = pack_record(STAMP, "carts", b"cart:7", b"two teddy bears", versions=b"v")


def packed(record: Record) -> bytes:
    return pack_record(
        record.stamp,
        record.bucket,
        record.key,
        record.value,
        tombstone=record.tombstone,
        expiry_us=record.expiry_us,
        versions=record.versions,
    )


def with_checksum(body: bytes) -> bytes:
    """A record of ``body`` whose checksum is right, whatever else is wrong with it."""
    return b"\x01\x00" + zlib.crc32(body).to_bytes(4, "big") + body


@given(RECORDS)
def test_a_record_comes_apart_into_what_it_was_made_of(record):
    data = packed(record)

    assert unpack_record(data) == record
    assert check_record(data) == stamp_of(data) == record.stamp


def test_every_change_of_a_single_byte_is_detected():
    for at in range(len(SAMPLE)):
        for flip in range(1, 256):
            damaged = bytearray(SAMPLE)
            damaged[at] ^= flip
            with pytest.raises(CorruptRecordError):
                unpack_record(bytes(damaged))


@given(RECORDS, st.data())
def test_a_changed_byte_of_any_record_is_detected(record, data):
    damaged = bytearray(packed(record))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(CorruptRecordError):
        unpack_record(bytes(damaged))


def test_a_torn_record_is_detected_wherever_it_is_torn():
    for length in range(len(SAMPLE)):
        with pytest.raises(CorruptRecordError):
            unpack_record(SAMPLE[:length])


@given(st.binary(max_size=80) | st.binary(max_size=80).map(with_checksum))
def test_foreign_bytes_raise_corrupt_record_and_nothing_else(data):
    with pytest.raises(CorruptRecordError):
        unpack_record(data)


def test_a_record_of_another_format_is_refused_by_its_number():
    with pytest.raises(CorruptRecordError, match="record format 2, not 1"):
        unpack_record(b"\x02" + SAMPLE[1:])


@pytest.mark.parametrize(
    ("lengths", "content", "says"),
    [
        ((4, 0, 0), b"abc", "lengths run past the end"),
        ((0, 0, 2**32 - 1), b"abc", "lengths run past the end"),
        ((1, 0, 0), b"\xff", "bucket is not UTF-8"),
    ],
)
def test_a_body_that_contradicts_itself_is_corrupt(lengths, content, says):
    body = struct.pack(">20sQHHI", STAMP, 0, *lengths) + content

    with pytest.raises(CorruptRecordError, match=says):
        unpack_record(with_checksum(body))


@pytest.mark.parametrize(
    "parts",
    [
        {"key": bytes(2**16)},
        {"bucket": "b" * 2**16},
        {"expiry_us": -1},
        {"expiry_us": 2**64},
    ],
)
def test_what_does_not_fit_a_record_is_refused(parts):
    whole = {"stamp": STAMP, "bucket": "", "key": b"", "value": b"", **parts}

    with pytest.raises(ValueError, match="does not fit a record"):
        pack_record(**whole)


# --- which record stands ----------------------------------------------------------------

PACKED = RECORDS.map(packed)
# Two writes with one stamp should not be, but must not split the replicas either.
TIED = st.builds(
    lambda record, values: [packed(record._replace(value=value)) for value in values],
    RECORDS,
    st.lists(st.binary(max_size=4), min_size=3, max_size=3),
)
THREE = st.lists(PACKED, min_size=3, max_size=3) | TIED


@given(THREE)
def test_newer_is_commutative_associative_and_idempotent(three):
    a, b, c = three

    assert newer(a, b) == newer(b, a)
    assert newer(newer(a, b), c) == newer(a, newer(b, c))
    assert newer(a, a) == a


@given(PACKED, PACKED)
def test_the_higher_stamp_stands(a, b):
    assert stamp_of(newer(a, b)) == max(stamp_of(a), stamp_of(b))


def test_a_tombstone_stands_against_an_older_value_and_falls_to_a_newer_one():
    old, deleted, anew = (
        pack_record(pack_stamp(time_us, 0, bytes(8)), "b", b"k", b"", tombstone=time_us == 2)
        for time_us in (1, 2, 3)
    )

    assert newer(old, deleted) == deleted
    assert newer(anew, deleted) == anew


# --- where it is placed -----------------------------------------------------------------


def test_the_digest_of_a_key_is_the_same_in_every_release():
    assert digest_of("default", b"cart:7", 3).hex() == "03b3efe3db79e4bccfe2e7658af41f7264"


@given(st.text(max_size=4), st.binary(max_size=4), st.text(max_size=4), st.binary(max_size=4))
def test_only_the_same_bucket_and_key_have_the_same_digest(bucket, key, other, other_key):
    same = (bucket, key) == (other, other_key)

    assert (digest_of(bucket, key, 3) == digest_of(other, other_key, 3)) == same


def test_bucket_and_key_do_not_run_together_in_a_digest():
    assert digest_of("ab", b"c", 3) != digest_of("a", b"bc", 3)
