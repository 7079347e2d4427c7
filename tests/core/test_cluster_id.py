"""Whose frames a node accepts, and which lineage it adopts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.ring.cluster_id import ClusterId, cluster_id, is_fork, older_lineage, why_foreign
from toystore.core.ring.digest import bucket_table, other_copies
from toystore.core.ring.history import NO_HISTORY, History
from toystore.core.ring.record import founding

FOUNDED, MOVED, COPY = b"founded.........", b"moved...........", b"staging's copy.."
COPIES = {"default": 3, "sessions": 2}


def cluster(lineage: bytes, digest: bytes, copies: dict[str, int] = COPIES) -> ClusterId:
    return ClusterId("carts", lineage, 0, digest, bucket_table(copies))


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (cluster(FOUNDED, FOUNDED), cluster(FOUNDED, FOUNDED)),
        (cluster(FOUNDED, MOVED), cluster(FOUNDED, FOUNDED)),  # restarted with the new address
        (cluster(FOUNDED, MOVED), cluster(MOVED, MOVED)),  # an empty disk since then
        (cluster(FOUNDED, MOVED), cluster(FOUNDED, MOVED, {"default": 3, "new": 5})),
    ],
)
def test_nodes_of_one_lineage_or_one_digest_accept_each_other(own, other):
    assert why_foreign(own, other, COPIES, NO_HISTORY) is None
    assert why_foreign(other, own, {"default": 3}, NO_HISTORY) is None


def test_a_copy_with_an_address_left_over_is_refused_on_both_sides():
    production, staging = cluster(FOUNDED, MOVED), cluster(COPY, COPY)

    for own, other in itertools.permutations((production, staging)):
        assert "another lineage of cluster 'carts'" in str(
            why_foreign(own, other, COPIES, NO_HISTORY)
        )
        assert older_lineage(own, other) is None


def test_another_name_is_refused_even_with_the_same_digest():
    own = cluster(FOUNDED, FOUNDED)
    reason = why_foreign(own, own._replace(name="x" * 1000), COPIES, NO_HISTORY)

    assert reason == f"cluster {'x' * 64!r} is not 'carts'"


def test_a_bucket_with_another_n_is_refused_by_its_name():
    own, other = cluster(FOUNDED, FOUNDED), cluster(FOUNDED, FOUNDED, {"default": 3, "sessions": 5})

    reason = why_foreign(own, other, COPIES, NO_HISTORY)
    assert reason == "bucket 'sessions' has n=5 there and n=2 here; both must be the same"


@given(*[st.dictionaries(st.text(max_size=3), st.integers(1, 255), max_size=5)] * 2)
def test_the_tables_differ_where_the_buckets_that_both_have_differ(own, theirs):
    common = [name for name in own if own[name] != theirs.get(name, own[name])]

    found = other_copies(bucket_table(theirs), own)
    assert found == ((min(common), theirs[min(common)]) if common else None)


@given(st.binary(max_size=20))
def test_a_table_may_be_any_bytes(table):
    assert other_copies(table, COPIES) is None or len(table) >= 4


LINEAGES = st.sampled_from([FOUNDED, MOVED, COPY, b"another.........."])


@given(st.lists(LINEAGES, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_nodes_with_one_digest_agree_on_a_lineage_that_is_not_the_digest_if_there_is_one(
    lineages, chance
):
    nodes = [cluster(lineage, MOVED) for lineage in lineages]
    pairs = list(itertools.permutations(range(len(nodes)), 2))
    for _ in range(2):
        chance.shuffle(pairs)
        for at, other in pairs:
            adopted = older_lineage(nodes[at], nodes[other])
            if adopted is not None:
                nodes[at] = nodes[at]._replace(lineage=adopted)

    [agreed] = {node.lineage for node in nodes}
    assert agreed == min(set(lineages) - {MOVED}, default=MOVED)


def test_no_lineage_is_adopted_from_a_node_with_another_digest():
    assert older_lineage(cluster(MOVED, MOVED), cluster(FOUNDED, FOUNDED)) is None


# --- after the founding -----------------------------------------------------------------

LATER = cluster(FOUNDED, b"record of epoch5")._replace(epoch=5)


@pytest.mark.parametrize("other", [cluster(FOUNDED, FOUNDED), LATER._replace(epoch=9, digest=COPY)])
def test_another_epoch_of_the_same_lineage_is_accepted(other):
    assert why_foreign(LATER, other, COPIES, NO_HISTORY) is None
    assert why_foreign(other, LATER, COPIES, NO_HISTORY) is None
    assert not is_fork(LATER, other, NO_HISTORY)


def test_another_record_of_the_same_epoch_is_a_fork():
    other = LATER._replace(digest=COPY)

    assert is_fork(LATER, other, NO_HISTORY)
    assert "another ring record of epoch 5" in str(why_foreign(LATER, other, COPIES, NO_HISTORY))


@pytest.mark.parametrize("other", [LATER._replace(epoch=3), LATER._replace(epoch=9)])
def test_a_record_of_another_epoch_that_is_known_to_be_of_another_founding_is_a_fork(other):
    history = History({3: b"record of epoch3", 5: LATER.digest}).disowning(other.digest)

    assert not is_fork(LATER, other, NO_HISTORY)
    assert is_fork(LATER, other, history)
    assert is_fork(LATER, LATER._replace(epoch=3, digest=b"another"), history)
    assert not is_fork(LATER, LATER._replace(epoch=3, digest=b"record of epoch3"), history)
    assert not is_fork(LATER, LATER._replace(epoch=4, digest=b"not known"), history)
    assert not is_fork(LATER, cluster(FOUNDED, MOVED), history)


def test_a_history_follows_records():
    first = founding("toys", 8, []).next(FOUNDED)
    second = first.next(FOUNDED)

    history = NO_HISTORY.following(second)

    assert history.own == {1: first.digest, 2: second.digest}
    assert history.following(second.next(FOUNDED)).own.keys() == {1, 2, 3}


@pytest.mark.parametrize("epoch", [0, 5])
def test_an_equal_digest_is_no_longer_enough(epoch):
    other = LATER._replace(epoch=epoch, lineage=COPY)

    assert "another lineage" in str(why_foreign(LATER, other, COPIES, NO_HISTORY))
    assert older_lineage(other, LATER) is None
    assert older_lineage(LATER, other) is None


def test_a_later_record_names_its_lineage_itself():
    record = founding("toys", 8, []).next(FOUNDED)

    made = cluster_id(record, MOVED, COPIES)
    assert (made.lineage, made.epoch, made.digest) == (FOUNDED, 1, record.digest)
