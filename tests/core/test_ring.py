"""The ring: laws that hold for every member list, and the figures that it is held to."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.data.record import digest_of
from toystore.core.ring.ring import Member, Ring

MEMBERS = st.lists(
    st.builds(
        Member,
        st.text(max_size=6),
        st.integers(1, 5),
        st.sampled_from(["", "a", "b", "c"]),
        st.just(""),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda member: member.name,
)
PARTITIONS = st.integers(0, 5).map(lambda bits: 2**bits)


def members_named(count: int, **fields) -> list[Member]:
    return [Member(f"n{number}", **fields) for number in range(1, count + 1)]


def owners(ring: Ring) -> list[set[str]]:
    return [set(ring.order(partition)[: ring.n]) for partition in range(ring.partitions)]


def moves(before: Ring, after: Ring) -> int:
    """How many copies of a partition must be made to get from one ring to the other."""
    return sum(len(new - old) for old, new in zip(owners(before), owners(after), strict=True))


# --- laws -------------------------------------------------------------------------------


@given(MEMBERS, PARTITIONS, st.integers(1, 5))
def test_an_order_names_every_member_once(members, partitions, n):
    ring = Ring(members, partitions, n)

    for partition in range(partitions):
        assert sorted(ring.order(partition)) == sorted(member.name for member in members)


@given(MEMBERS, PARTITIONS, st.integers(1, 5))
def test_owners_lie_in_distinct_zones_while_there_are_enough(members, partitions, n):
    zone_of = {member.name: member.zone for member in members}
    enough = min(n, len(set(zone_of.values())))

    ring = Ring(members, partitions, n)

    assert all(len({zone_of[name] for name in names}) == enough for names in owners(ring))


@given(MEMBERS, PARTITIONS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_order_in_which_members_are_listed_does_not_matter(members, partitions, n, chance):
    ring = Ring(members, partitions, n)
    chance.shuffle(members)
    again = Ring(iter(members), partitions, n)

    assert ring.members == again.members
    assert all(ring.order(at) == again.order(at) for at in range(partitions))


@given(MEMBERS, PARTITIONS, st.integers(1, 5))
def test_the_load_counts_every_partition_for_its_owners(members, partitions, n):
    ring = Ring(members, partitions, n)

    owned = Counter(name for names in owners(ring) for name in names)
    first = Counter(ring.order(partition)[0] for partition in range(partitions))
    names = [member.name for member in members]
    assert ring.shares() == {name: (owned[name], first[name]) for name in names}


@given(st.binary(min_size=17, max_size=17), st.integers(0, 8))
def test_the_partition_of_a_digest_is_its_top_bits(digest, bits):
    ring = Ring([Member("n1")], 2**bits, 1)

    expected = int(f"{int.from_bytes(digest[1:], 'big'):0128b}"[:bits] or "0", 2)
    assert ring.partition_of(digest) == expected


def test_keys_fall_evenly_on_the_partitions():
    ring = Ring([Member("n1")], 8, 1)

    fallen = Counter(
        ring.partition_of(digest_of("default", b"key:%d" % at, 3)) for at in range(8000)
    )

    assert set(fallen) == set(range(8))
    assert max(fallen.values()) < 1.15 * 1000


def test_fewer_members_than_n_all_own_everything():
    ring = Ring(members_named(2), 16, 3)

    assert ring.shares() == {"n1": (16, 8), "n2": (16, 8)}


def test_the_ring_is_the_same_in_every_process_and_every_release():
    ring = Ring(members_named(5), 1024, 3)

    assert ring.order(0) == ("n5", "n4", "n3", "n1", "n2")
    assert ring.order(1023) == ("n1", "n3", "n5", "n4", "n2")


# --- what makes no ring -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "partitions", "n", "says"),
    [
        ([], 8, 3, "no members; a ring has at least one"),
        ([Member("n1"), Member("n2"), Member("n1", 2)], 8, 3, "listed twice: n1;"),
        ([Member("n1", 0)], 8, 3, "the weight of n1 is 0, not 1 or more"),
        ([Member("n1")], 1000, 3, "1000 partitions; a power of two"),
        ([Member("n1")], 0, 3, "0 partitions; a power of two"),
        ([Member("n1")], -4, 3, "-4 partitions; a power of two"),
        ([Member("n1")], 8, 0, "n is 0; a partition has 1 owner or more"),
    ],
)
def test_what_makes_no_ring_is_refused_with_what_would(members, partitions, n, says):
    with pytest.raises(ValueError, match=says):
        Ring(members, partitions, n)


# --- figures ----------------------------------------------------------------------------

SIZES = pytest.mark.parametrize(("count", "partitions"), [(10, 1024), (30, 4096)])


@SIZES
def test_load_efficiency_is_at_least_95_percent(count, partitions):
    load = Ring(members_named(count), partitions, 3).shares()

    owned = [owned for owned, _ in load.values()]
    assert sum(owned) == 3 * partitions
    assert sum(owned) / count / max(owned) >= 0.95


@SIZES
def test_first_ownership_is_spread_within_a_fifth_of_even(count, partitions):
    load = Ring(members_named(count), partitions, 3).shares()

    first = [first for _, first in load.values()]
    assert max(first) <= 1.1 * partitions / count
    assert min(first) >= 0.8 * partitions / count


@SIZES
def test_a_join_moves_at_most_a_tenth_more_than_it_must(count, partitions):
    before = Ring(members_named(count), partitions, 3)
    after = Ring(members_named(count + 1), partitions, 3)

    fair_share = 3 * partitions / (count + 1)
    must = min(fair_share, after.shares()[f"n{count + 1}"][0])
    assert must <= moves(before, after) <= 1.1 * must


@SIZES
def test_a_leave_moves_at_most_a_tenth_more_than_it_must(count, partitions):
    members = members_named(count)
    before = Ring(members, partitions, 3)

    for gone in members[:: count // 5]:
        after = Ring([member for member in members if member != gone], partitions, 3)
        must = before.shares()[gone.name][0]
        assert must <= moves(before, after) <= 1.1 * must


def test_members_own_in_proportion_to_their_weights():
    members = [Member(f"n{number}", weight=1 + number % 3) for number in range(10)]

    load = Ring(members, 1024, 3).shares()

    per_weight = [load[member.name][0] / member.weight for member in members]
    mean = 3 * 1024 / sum(member.weight for member in members)
    assert mean / max(per_weight) >= 0.95


def test_a_weight_too_heavy_for_the_ring_leaves_the_rest_balanced():
    load = Ring([*members_named(4), Member("giant", weight=1000)], 1024, 3).shares()

    assert load.pop("giant")[0] == 1024
    rest = [owned for owned, _ in load.values()]
    assert sum(rest) / 4 / max(rest) >= 0.95


def test_a_small_zone_carries_its_copies_and_leaves_the_rest_balanced():
    zones = {"n1": "a", "n2": "b", "n3": "b", "n4": "b", "n5": "c", "n6": "c", "n7": "c"}

    load = Ring([Member(name, zone=zone) for name, zone in zones.items()], 1024, 3).shares()

    assert load.pop("n1")[0] == 1024
    rest = [owned for owned, _ in load.values()]
    assert sum(rest) == 2 * 1024
    assert sum(rest) / 6 / max(rest) >= 0.95


def test_a_dead_members_work_falls_to_all_the_others():
    ring = Ring(members_named(10), 1024, 3)

    orders = [ring.order(partition) for partition in range(1024)]
    stands_in = Counter(order[3] for order in orders if "n1" in order[:3])

    assert len(stands_in) == 9
    assert max(stands_in.values()) <= 2 * sum(stands_in.values()) / 9


@pytest.mark.parametrize("prefix", ["", "node-", "host", "rack7/", "eu-west-1.", "ünit"])
def test_the_figures_do_not_hang_on_the_names(prefix):
    names = [f"{prefix}{number}" for number in range(11)]
    before = Ring(map(Member, names[:10]), 1024, 3)
    after = Ring(map(Member, names), 1024, 3)

    must = after.shares()[names[10]][0]
    assert 307.2 / max(owned for owned, _ in before.shares().values()) >= 0.95
    assert moves(before, after) <= 1.1 * must
