"""How two owners exchange records, against a model of two dictionaries; and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_disk import FOREVER, Disk, N, digest, flipped, leaf_of, range_of, record

from toystore.core.data.record import newer, pack_record, stamp_of
from toystore.core.data.row import HASH_BYTES, ROW_BYTES, rank_of, row_of, split_rows
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.messages.antientropy import (
    CompareStretches,
    FetchRecords,
    ListStretches,
    QuestionFailedReply,
    StoreRecords,
    StoreRecordsReply,
)
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.ring.ranges import Leaf
from toystore.core.storage import stretches

OK, SUPERSEDED, INTERNAL = ReplicaStatus.OK, ReplicaStatus.SUPERSEDED, ReplicaStatus.INTERNAL
MOVED = ReplicaStatus.MOVED

RANGE = range_of(b"0")
KEYS = [key for key in map(b"%d".__mod__, range(300)) if range_of(key) == RANGE][:20]
KEYS.sort(key=digest)
RANGES = Disk().ranges
START = RANGES.first_of(RANGES.leaves(RANGE)[0])
END = RANGES.end_of(RANGES.leaves(RANGE)[-1])
WHOLE = ((START, END, b""),)
"""The whole range, of which the asker has nothing."""

versions = st.tuples(st.integers(1, 3), st.sampled_from([b"x", b"y"]))
contents = st.dictionaries(st.sampled_from(KEYS), versions)
sizes = st.integers(1, 300)


def disk_with(content, rotten=()):
    disk = Disk()
    for key, (time_us, value) in content.items():
        data = record(key, time_us, value)
        disk.plant(key, flipped(data) if key in rotten else data)
    return disk


def records_of(disk):
    return {key: disk.stored(key) for key in KEYS if disk.stored(key) is not None}


def exchange(asker, owner, rows_max, bytes_max, until_us=FOREVER):
    """What the anti-entropy machine asks to make two owners equal in a range; the bytes moved."""
    start, moved = START, 0
    while start < END:
        [reply] = asker.ask(ListStretches(1, ((start, END),), rows_max, until_us))
        [(_, end, rows)] = reply.listed
        while start < end:
            question = CompareStretches(2, ((start, end, rows),), until_us, bytes_max)
            [compared] = owner.ask(question)
            [(to, number)] = compared.compared
            assert number == len(compared.records)
            moved += send(asker, compared.records)
            hashes = compared.wanted
            while hashes:
                [fetched] = asker.ask(FetchRecords(3, N, hashes, bytes_max))
                moved += send(owner, fetched.records)
                assert fetched.served
                hashes = hashes[HASH_BYTES * fetched.served :]
            assert start < to <= end
            start = to
            rows = b"".join(row for row in split_rows(rows) if row[:HASH_BYTES] >= start[1:])
    return moved


def send(to, records):
    if records:
        [stored] = to.ask(StoreRecords(4, N, records))
        assert set(stored.statuses) <= {OK, SUPERSEDED}
    return sum(map(len, records))


@given(contents, contents, sizes, sizes)
def test_two_owners_become_equal_in_batches_of_any_size(one, other, rows_max, bytes_max):
    a, b = disk_with(one), disk_with(other)
    before = records_of(a), records_of(b)
    merged = dict(before[0])
    for key, data in before[1].items():
        merged[key] = newer(data, merged.get(key, data))

    moved = exchange(a, b, rows_max, bytes_max)

    assert records_of(a) == records_of(b) == merged
    unequal = [key for key in merged if before[0].get(key) != before[1].get(key)]
    assert moved == sum(len(merged[key]) for key in unequal)
    assert exchange(a, b, rows_max, bytes_max) == 0


@given(contents, contents, st.sets(st.sampled_from(KEYS)), sizes, sizes)
def test_a_sound_copy_replaces_a_corrupt_one_on_either_side(one, other, rotten, rows, size):
    for a, b in (disk_with(one, rotten), disk_with(other)), (disk_with(other), disk_with(one)):
        exchange(a, b, rows, size)
        sound = {key for key in one if key not in rotten} | set(other)
        assert all(a.stored(key) == b.stored(key) for key in sound & set(records_of(b)))
        assert set(other) <= set(records_of(a))
    a, b = disk_with(other), disk_with(one, rotten)
    exchange(a, b, rows, size)
    assert all(b.stored(key) == a.stored(key) for key in other)


@given(contents, contents, sizes)
def test_the_young_are_left_to_their_writers(one, other, rows_max):
    a, b = disk_with(one), disk_with(other)
    before = records_of(a), records_of(b)

    exchange(a, b, rows_max, 1000, until_us=2)

    for disk, content, own in ((a, other, before[0]), (b, one, before[1])):
        young = {key for key, (time_us, _) in content.items() if time_us > 2}
        for key in young:
            assert disk.stored(key) == own.get(key)
    old = [key for key in KEYS if max(one.get(key, (0,))[0], other.get(key, (0,))[0]) <= 2]
    assert all(a.stored(key) == b.stored(key) for key in old)


def test_a_question_reads_a_bounded_number_of_records(monkeypatch):
    monkeypatch.setattr(stretches, "RECORDS_MAX", 3)
    monkeypatch.setattr(stretches, "BATCH_MAX", 3)
    full = disk_with(dict.fromkeys(KEYS, (1, b"x")))
    empty = disk_with({})

    [compared] = full.ask(CompareStretches(1, WHOLE, FOREVER, 10**9))
    [fetched] = full.ask(FetchRecords(1, N, b"".join(digest(k)[1:] for k in KEYS), 10**9))

    assert len(compared.records) == 3
    assert compared.compared == ((digest(KEYS[3]), 3),)
    assert [len(fetched.records), fetched.served] == [3, 3]
    exchange(empty, full, 1000, 10**9)
    assert records_of(empty) == records_of(full)


@pytest.mark.parametrize("size", [1, 10, 10**9])
def test_at_least_one_record_is_sent_however_few_bytes_are_allowed(size):
    full = disk_with(dict.fromkeys(KEYS, (1, b"x")))
    hashes = b"".join(digest(key)[1:] for key in KEYS)

    [compared] = full.ask(CompareStretches(1, WHOLE, FOREVER, size))
    [fetched] = full.ask(FetchRecords(1, N, hashes, size))

    sent = 1 if size < 10**9 else len(KEYS)
    assert len(compared.records) == len(fetched.records) == fetched.served == sent
    assert compared.compared == ((END if sent > 1 else digest(KEYS[1]), sent),)


def test_a_list_is_cut_off_after_so_many_rows():
    full = disk_with(dict.fromkeys(KEYS, (1, b"x")))

    [reply] = full.ask(ListStretches(1, ((START, END),), 4, FOREVER))

    [(start, end, rows)] = reply.listed
    assert [row[:HASH_BYTES] for row in split_rows(rows)] == [digest(key)[1:] for key in KEYS[:4]]
    assert (start, end) == (START, digest(KEYS[4]))
    [reply] = full.ask(ListStretches(1, ((end, END),), 100, FOREVER))
    [(start, end, rows)] = reply.listed
    assert (start, end, len(rows)) == (digest(KEYS[4]), END, ROW_BYTES * (len(KEYS) - 4))


LEAVES = tuple((RANGES.first_of(leaf), RANGES.end_of(leaf)) for leaf in RANGES.leaves(RANGE))


def test_many_stretches_are_listed_and_compared_in_one_question():
    full, empty = disk_with(dict.fromkeys(KEYS, (1, b"x"))), disk_with({})

    [listed] = full.ask(ListStretches(1, LEAVES, 1000, FOREVER))
    [compared] = empty.ask(CompareStretches(2, listed.listed, FOREVER, 1000))
    [other] = full.ask(CompareStretches(3, tuple((*leaf, b"") for leaf in LEAVES), FOREVER, 10**6))

    assert [(start, end) for start, end, _ in listed.listed] == list(LEAVES)
    hashes = b"".join(digest(key)[1:] for key in KEYS)
    assert (
        b"".join(row[:HASH_BYTES] for _, _, rows in listed.listed for row in split_rows(rows))
        == hashes
    )
    assert (compared.records, compared.wanted) == ((), hashes)
    assert compared.compared == tuple((end, 0) for _, end in LEAVES)
    assert other.records == tuple(full.stored(key) for key in KEYS)
    assert [to for to, _ in other.compared] == [end for _, end in LEAVES]
    assert sum(number for _, number in other.compared) == len(KEYS)


def test_a_bounded_number_of_stretches_is_looked_at(monkeypatch):
    monkeypatch.setattr(stretches, "STRETCHES_MAX", 3)
    disk = disk_with({})

    [listed] = disk.ask(ListStretches(1, LEAVES, 1000, FOREVER))
    [compared] = disk.ask(CompareStretches(1, tuple((*at, b"") for at in LEAVES), FOREVER, 1000))

    assert len(listed.listed) == len(compared.compared) == 3


def test_records_that_are_gone_or_corrupt_are_looked_up_and_not_sent():
    disk = disk_with(dict.fromkeys(KEYS[:3], (1, b"x")), rotten=KEYS[1:2])
    hashes = b"".join(digest(key)[1:] for key in KEYS[:5])

    [fetched] = disk.ask(FetchRecords(1, N, hashes, 10**6))

    assert fetched.records == (disk.stored(KEYS[0]), disk.stored(KEYS[2]))
    assert fetched.served == 5
    assert disk.events() == ["record.corrupt"]


# --- records that are stored ------------------------------------------------------------


def test_each_record_is_stored_under_its_own_key_or_refused():
    disk = Disk()
    key = KEYS[0]
    disk.plant(key, record(key, 5))
    new, old, rotten = record(KEYS[1]), record(key, 4), flipped(record(KEYS[2]))
    of_five, unknown = record(KEYS[3], bucket="five"), record(KEYS[3], bucket="new here")

    replies = disk.ask(StoreRecords(1, N, (new, old, rotten, b"", of_five, unknown)))

    assert replies == [StoreRecordsReply(1, (OK, SUPERSEDED, INTERNAL, INTERNAL, INTERNAL, OK))]
    assert disk.stored(KEYS[1]) == new
    assert disk.stored(key) == record(key, 5)


def test_a_record_of_a_range_that_is_not_owned_has_moved():
    disk = Disk(members=("n1", "n2", "n3", "n4", "n5"))
    keys = [b"%d" % number for number in range(50)]

    [reply] = disk.ask(StoreRecords(1, N, tuple(map(record, keys))))

    owned = [range_of(key) in disk.ranges.owned for key in keys]
    assert list(reply.statuses) == [OK if own else MOVED for own in owned]
    assert set(owned) == {True, False}


# --- questions that make no sense -------------------------------------------------------

ROW = row_of(digest(KEYS[0]), record(KEYS[0]))
LATER = row_of(digest(KEYS[1]), record(KEYS[1]))
OUTSIDE = row_of(b"\x03" + bytes(16), record(KEYS[0])) if RANGE.partition else b"\xff" * ROW_BYTES
IN_FOUR = b"\x04" + START[1:]


def listing(start, end):
    return ListStretches(1, ((start, end),), 9, 9)


def comparing(start, end, rows):
    return CompareStretches(1, ((start, end, rows),), 9, 9)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (listing(b"", END), "no stretch"),
        (listing(START, b""), "no stretch"),
        (listing(END, START), "no stretch"),
        (listing(START, START), "no stretch"),
        (listing(START, b"\xff" * 17), "more than one range"),
        (listing(IN_FOUR, b"\xff" * 17), "does not own partition 6 of n=4"),
        (listing(b"\xff" * 16 + b"\xfe", b"\xff" * 17), "does not own"),
        (comparing(START, START + b"\0", b""), "no stretch"),
        (comparing(START, END, b"x"), "1 bytes are no number of rows"),
        (comparing(START, END, LATER + ROW), "in order"),
        (comparing(START, END, ROW + ROW), "in order"),
        (comparing(START, digest(KEYS[0]), ROW), "in order"),
        (comparing(digest(KEYS[1]), END, ROW), "in order"),
        (comparing(START, END, OUTSIDE), "in order"),
        (FetchRecords(1, N, b"x", 9), "no number of hashes"),
        (FetchRecords(1, 4, b"", 9), "no bucket with n=4"),
        (FetchRecords(1, -1, b"", 9), "no bucket with n=-1"),
        (StoreRecords(1, 2**70, ()), "no bucket with n="),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_what_is_wrong(question, says):
    disk = disk_with(dict.fromkeys(KEYS, (1, b"x")))

    [reply] = disk.ask(question)

    assert isinstance(reply, QuestionFailedReply)
    assert says in reply.text


@pytest.mark.parametrize("number", [-(2**70), -1, 0, 2**70])
def test_no_number_makes_a_question_fail(number):
    disk = disk_with(dict.fromkeys(KEYS, (1, b"x")))
    hashes = digest(KEYS[0])[1:]

    for question in (
        ListStretches(1, ((START, END),), number, number),
        CompareStretches(1, WHOLE, number, number),
        FetchRecords(1, N, hashes, number),
    ):
        [reply] = disk.ask(question)
        assert not isinstance(reply, QuestionFailedReply)


# --- rows -------------------------------------------------------------------------------

records = st.builds(
    lambda time_us, value, dead: pack_record(
        pack_stamp(time_us, 0, b"minter-1"), "default", b"k", value, tombstone=dead
    ),
    st.integers(1, 3),
    st.binary(max_size=2),
    st.booleans(),
)


@given(records, records)
def test_rows_are_ranked_as_records_are(one, other):
    ranks = [rank_of(row_of(digest(b"k"), data)) for data in (one, other)]

    assert (ranks[0] > ranks[1]) == (one != other and newer(one, other) == one)
    assert (ranks[0] == ranks[1]) == (one == other)


def test_a_leaf_of_the_test_is_where_its_keys_are():
    disk = disk_with({KEYS[0]: (1, b"x")})
    leaf = Leaf(N, leaf_of(KEYS[0]))
    start, end = disk.ranges.first_of(leaf), disk.ranges.end_of(leaf)

    [reply] = disk.ask(ListStretches(1, ((start, end),), 100, FOREVER))

    [(_, _, rows)] = reply.listed
    [row] = split_rows(rows)
    assert row == row_of(digest(KEYS[0]), record(KEYS[0], 1, b"x"))
    assert stamp_of(record(KEYS[0])) in row
