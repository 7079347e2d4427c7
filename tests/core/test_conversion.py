"""The data of toystore 0.1.0 are converted to layout 2, and an interruption does no harm."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.old_data import old_digest, old_record, put_facts, put_hints, put_record
from toystore.core.data.record import digest_of
from toystore.core.protocol.machine import Outbox
from toystore.core.ring.digest import members_digest_of_layout_1
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage import conversion
from toystore.core.storage.conversion import Conversion, has_old_layout
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.disk_identity import ForeignDataError, identify_disk
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import LAYOUT, RECORD, state_key
from toystore.core.storage.own_ranges import OwnRanges
from toystore.engines import open_engine

MEMBERS = tuple(Member(f"n{number}") for number in range(1, 5))
PARTITIONS = 8
COPIES = {"default": 3, "pair": 2}
RANGES = Ranges(fixed_ring(MEMBERS, PARTITIONS, 3), "n1", COPIES.values())
OLD_MEMBERS = members_digest_of_layout_1(MEMBERS, PARTITIONS, 3)
NEW_MEMBERS = b"the new digest.."
OWN = next(
    key
    for key in (b"key %d" % at for at in range(10))
    if RANGES.range_of(digest_of("pair", key, 2)) in RANGES.owned
)
"""A key that n1 owns with N of 2, and so with N of 3."""
KEYS = [(bucket, b"key %d" % at) for bucket in COPIES for at in range(10)]


@pytest.fixture(params=["memory", "async"])
def store(request, tmp_path):
    """A store of layout 1, in a transaction."""
    engine = open_engine(request.param, tmp_path / "data")
    fill(engine)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr(conversion, "STEP_RECORDS", 3)


def fill(engine, *, votes=True):
    engine.begin()
    put_facts(engine, "toys", "n1", MEMBERS, PARTITIONS, 3, votes=votes)
    for bucket, key in KEYS:
        put_record(engine, old_record(bucket, key))
    put_hints(engine, "n2", [old_record("default", b"hint %d" % at) for at in range(7)])
    put_hints(engine, "n3", [old_record("pair", b"hint %d" % at) for at in range(2)])
    engine.commit()
    engine.begin()


def survey(engine, **changed):
    given = {"cluster": "toys", "node": "n1", "members_digest": OLD_MEMBERS}
    copies = changed.pop("copies", COPIES)
    return Conversion(engine, copies, RANGES, Outbox()).survey(**(given | changed))


def transactions(engine, out=None):
    """Each change of a conversion, to be committed one by one."""
    work = Conversion(engine, COPIES, RANGES, out or Outbox())
    yield work.prepare()
    while work.step():
        yield
    while work.tidy():
        yield
    yield work.finish(NEW_MEMBERS)


def convert(engine, out=None):
    """Convert all; how many transactions that took."""
    count = 0
    for _ in transactions(engine, out):
        engine.commit()
        engine.begin()
        count += 1
    return count


def content(engine):
    return dict(engine.scan(b""))


def converted(engine_name, folder, **facts):
    """What a conversion without an interruption makes of the same data."""
    engine = open_engine(engine_name, folder)
    fill(engine, **facts)
    convert(engine)
    try:
        return content(engine)
    finally:
        engine.close()


def test_records_are_found_under_their_digests_and_with_their_n(store):
    assert survey(store) == len(KEYS) + 9

    convert(store)

    for bucket, key in KEYS:
        digest = digest_of(bucket, key, COPIES[bucket])
        assert store.get(RECORD + digest) == old_record(bucket, key)
    assert not [key for key in content(store) if key[:1] in (b"r", b"h", b"q")]


def test_hints_keep_their_order_and_their_totals(store):
    before = Hints(store).totals()

    convert(store)

    hints = Hints(store)
    assert hints.totals() == before
    for owner, bucket, count in (("n2", "default", 7), ("n3", "pair", 2)):
        keys = [b"hint %d" % at for at in range(count)]
        expected = [
            (digest_of(bucket, key, COPIES[bucket]), old_record(bucket, key)) for key in keys
        ]
        assert hints.oldest(owner, 10**6) == (expected, [])


def own_of(store):
    own = OwnRanges(store, RANGES)
    own.read()
    return own


def facts_of(store):
    return DiskFacts(store, own_of(store))


def test_the_disk_is_the_same_and_votes_as_before(store):
    assert has_old_layout(store)

    convert(store)

    assert not has_old_layout(store)
    facts = facts_of(store)
    assert (facts.disk(), facts.votes(), own_of(store).behind()) == ("5eed" * 8, True, 0)


def test_a_disk_that_did_not_vote_is_rebuilt_range_by_range(tmp_path):
    engine = open_engine("memory", tmp_path)
    fill(engine, votes=False)

    convert(engine)

    facts = facts_of(engine)
    assert (facts.votes(), own_of(engine).behind()) == (False, len(RANGES.owned))


@pytest.mark.parametrize("votes", [True, False])
def test_an_interruption_of_any_transaction_changes_nothing_in_the_end(tmp_path, votes):
    undisturbed = converted("memory", tmp_path / "whole", votes=votes)
    for stop in itertools.count():
        engine = open_engine("memory", tmp_path / "data")
        fill(engine, votes=votes)
        for at, _ in enumerate(transactions(engine)):
            if at == stop:
                engine.abort()
                break
            engine.commit()
            engine.begin()
        else:
            break
        engine.begin()
        assert has_old_layout(engine)
        assert survey(engine) <= len(KEYS) + 9
        convert(engine)
        assert content(engine) == undisturbed
    assert stop > 10


def test_an_interrupted_conversion_is_refused_with_another_n(store):
    for _ in itertools.islice(transactions(store), 8):
        store.commit()
        store.begin()

    other = Conversion(store, {"default": 2, "pair": 2}, RANGES, Outbox())

    with pytest.raises(ForeignDataError, match="'default' has n=2"):
        other.prepare()


def test_an_interrupted_conversion_is_nothing_to_toystore_0_1_0(store):
    next(transactions(store))

    assert store.get(LAYOUT) == b"1 to 2"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"cluster": "bricks"}, "belongs to node n1 of cluster 'toys'"),
        ({"node": "n2"}, "belongs to node n1"),
        ({"members_digest": bytes(16)}, "another member list"),
        ({"copies": {"default": 3}}, "does not list: 'pair'. List each with the n that it had"),
    ],
    ids=["cluster", "node", "members", "bucket"],
)
def test_data_that_are_not_this_node_s_or_of_an_unlisted_bucket_are_refused(store, changed, says):
    before = content(store)

    with pytest.raises(ForeignDataError) as refused:
        survey(store, **changed)

    assert says in str(refused.value)
    assert content(store) == before


def test_a_bucket_that_only_a_hint_has_must_be_listed_too(store):
    put_hints(store, "n4", [old_record("carts", b"7")])

    with pytest.raises(ForeignDataError, match="'carts'"):
        survey(store)


# --- corrupt records --------------------------------------------------------------------


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_record_with_a_corrupt_value_is_moved_as_it_is(store):
    record = flipped(old_record("pair", b"key 1"), -1)
    store.put(b"r" + old_digest("pair", b"key 1"), record)

    convert(store)

    assert store.get(RECORD + digest_of("pair", b"key 1", 2)) == record
    assert facts_of(store).votes()


@pytest.mark.parametrize("rot", [lambda r: flipped(r, 43), lambda _: b"", lambda r: r[:20]])
def test_a_record_without_a_bucket_is_fetched_again_wherever_it_may_belong(store, rot):
    hashed, out = old_digest("pair", OWN), Outbox()
    store.put(b"r" + hashed, rot(old_record("pair", OWN)))
    maybe = {RANGES.range_of(bytes([n]) + hashed) for n in (2, 3)}

    assert survey(store) == len(KEYS) + 9
    convert(store, out)

    assert [event.fields["digest"] for event in out.events] == [hashed.hex()]
    facts = facts_of(store)
    behind = {of for of in RANGES.owned if store.get(state_key(of)) is not None}
    assert behind == maybe
    assert not facts.votes()
    assert {of for of in RANGES.owned if not facts.votes_in(of)} == behind
    assert store.get(RECORD + digest_of("pair", OWN, 2)) is None


def test_a_disk_that_is_not_confirmed_and_lost_a_record_is_rebuilt_whole(store):
    store.delete(b"msettled")
    store.delete(b"mvotes")
    store.put(b"r" + old_digest("pair", b"key 1"), b"")

    convert(store)

    assert own_of(store).behind() == len(RANGES.owned)


@pytest.mark.parametrize(
    "key", [b"r", b"rshort", b"r" + bytes(17), b"h", b"hn2", b"hn2x" + bytes(16)]
)
def test_a_corrupt_key_is_dropped(store, key):
    out = Outbox()
    store.put(key, old_record("pair", b"key 1"))

    survey(store)
    convert(store, out)

    assert [event.name for event in out.events] == ["record.corrupt"]
    assert own_of(store).behind() == (len(RANGES.owned) if key[:1] == b"r" else 0)


def test_a_corrupt_hint_costs_only_itself(store):
    first = old_digest("default", b"hint 0")
    store.put(b"hn2\0" + first, store.get(b"hn2\0" + first)[:8])

    convert(store)

    sound, corrupt = Hints(store).oldest("n2", 10**6)
    assert (len(sound), corrupt) == (6, [])


def test_a_place_without_a_hint_is_deleted(store):
    store.put(b"qn9\0" + bytes(24), b"")

    convert(store)

    assert not [key for key in content(store) if key[:1] in b"qQ" and b"n9" in key]


def test_a_large_record_is_moved_alone(store, monkeypatch):
    monkeypatch.setattr(conversion, "STEP_BYTES", 100)
    for bucket, key in KEYS:
        put_record(store, old_record(bucket, key, bytes(1000)))

    assert convert(store) >= len(KEYS)

    assert len(store.get(RECORD + digest_of("default", b"key 1", 3))) > 1000


def test_a_range_that_is_behind_is_one_that_the_node_owns():
    assert RANGES.owned < {Range(n, at) for n in (2, 3) for at in range(PARTITIONS)}


def test_the_disk_is_identified_as_the_node_s_afterwards(store):
    convert(store)

    facts = {"cluster": "toys", "node": "n1", "members_digest": NEW_MEMBERS, "digest": bytes(16)}
    assert identify_disk(store, **facts, chance=None).disk == "5eed" * 8


rows = st.tuples(
    st.sampled_from([b"r", b"h", b"q", b"hn2\0", b"qn2\0"]),
    st.sampled_from([old_digest("pair", b"key 1"), b"", b"\0", bytes(16), bytes(24)]),
    st.one_of(st.just(old_record("pair", b"key 1")), st.just(bytes(8)), st.binary(max_size=60)),
)


@given(st.lists(rows, max_size=8))
def test_any_rubbish_is_moved_or_dropped(some):
    engine = open_engine("memory", None)
    fill(engine)
    for kind, key, value in some:
        engine.put(kind + key, value)

    survey(engine)
    convert(engine)

    assert not [key for key in content(engine) if key[:1] in (b"r", b"h", b"q")]
    assert not has_old_layout(engine)
