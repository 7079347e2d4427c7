"""N of a bucket is kept on disk; it cannot change once the bucket has data."""

from __future__ import annotations

import pytest

from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.storage.bucket_facts import compare_buckets
from toystore.core.storage.disk_identity import ForeignDataError
from toystore.core.storage.layout import BUCKET, RECORD, hint_key
from toystore.engines import open_engine

STAMP = pack_stamp(1, 0, b"minter-1")


@pytest.fixture(params=["memory", "async"])
def store(request, tmp_path):
    """A store in which the buckets "carts" and "wide" have been noted."""
    engine = open_engine(request.param, tmp_path / "data")
    engine.begin()
    compare_buckets(engine, {"carts": 2, "wide": 3})
    yield engine
    engine.close()


def put(store, bucket, n, *, owner=None, key=b"key"):
    record, digest = pack_record(STAMP, bucket, key, b"value"), digest_of(bucket, key, n)
    if owner is None:
        store.put(RECORD + digest, record)
    else:
        store.put(hint_key(owner, digest), bytes(8) + record)


def noted(store, bucket):
    return store.get(BUCKET + bucket.encode())


def test_each_new_bucket_is_noted_and_a_start_with_the_same_is_no_change(store):
    put(store, "carts", 2)

    compare_buckets(store, {"carts": 2, "wide": 3})

    assert (noted(store, "carts"), noted(store, "wide")) == (b"2", b"3")


@pytest.mark.parametrize("owner", [None, "n9"], ids=["record", "hint"])
def test_a_bucket_with_data_keeps_its_n(store, owner):
    put(store, "wide", 3)
    put(store, "carts", 2, owner=owner)

    with pytest.raises(ForeignDataError) as refused:
        compare_buckets(store, {"carts": 3, "wide": 3})

    for part in ("'carts' has n=3 in", "stored with n=2", "give it n=2 again", "a new bucket"):
        assert part in str(refused.value)


@pytest.mark.parametrize("owner", [None, "n9"], ids=["record", "hint"])
def test_the_default_bucket_keeps_its_n_if_any_bucket_has_data(store, owner):
    compare_buckets(store, {"default": 3})
    put(store, "carts", 2, owner=owner)

    with pytest.raises(ForeignDataError, match=r"'default' has n=2 .* were placed with n=3"):
        compare_buckets(store, {"default": 2, "carts": 2})


def test_without_any_data_the_default_bucket_gets_another_n(store):
    compare_buckets(store, {"default": 3})

    compare_buckets(store, {"default": 2})

    assert noted(store, "default") == b"2"


def test_a_bucket_without_data_gets_another_n(store):
    put(store, "other", 2)

    compare_buckets(store, {"carts": 3})

    assert noted(store, "carts") == b"3"


def test_a_bucket_that_is_not_listed_any_more_keeps_its_n(store):
    put(store, "carts", 2)

    compare_buckets(store, {"wide": 3})

    assert noted(store, "carts") == b"2"
    with pytest.raises(ForeignDataError, match="n=2"):
        compare_buckets(store, {"carts": 1, "wide": 3})


@pytest.mark.parametrize("rotten", [b"", b"2x", b"999", b"\xff"])
def test_a_corrupt_note_is_written_again_from_what_the_records_say(store, rotten):
    put(store, "carts", 2)
    store.put(BUCKET + b"carts", rotten)

    with pytest.raises(ForeignDataError, match="stored with n=2"):
        compare_buckets(store, {"carts": 3})
    compare_buckets(store, {"carts": 2})

    assert noted(store, "carts") == b"2"
