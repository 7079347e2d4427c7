"""Ranges and leaves: each digest is in one, and each is one stretch."""

from hypothesis import given
from hypothesis import strategies as st

from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring

NAMES = ("n1", "n2", "n3", "n4", "n5")


def ranges(partitions: int = 8, node: str = "n1", copies: tuple[int, ...] = (1, 3)) -> Ranges:
    return Ranges(fixed_ring(map(Member, NAMES), partitions, 3), node, copies)


def test_each_range_is_owned_by_its_first_n_members():
    by_node = {name: ranges(node=name) for name in NAMES}
    for partition in range(8):
        for n in (1, 3):
            of = Range(n, partition)
            owners = by_node["n1"].owners(of)
            assert len(owners) == n
            assert {name for name in NAMES if of in by_node[name].owned} == set(owners)


@given(st.integers(0, 12), st.binary(min_size=16, max_size=16))
def test_a_digest_is_in_the_leaf_of_its_partition(bits, hashed):
    ring = fixed_ring([Member("n1")], 2**bits, 1)
    digest = b"\x03" + hashed
    leaf = Ranges(ring, "n1", (3,)).leaf_of(digest)
    assert leaf.range == Range(3, ring.partition_of(digest))
    assert leaf in Ranges.leaves(leaf.range)


@given(st.binary(min_size=16, max_size=16))
def test_a_leaf_is_the_stretch_from_its_first_digest_to_that_of_the_next(hashed):
    digest, all_ranges = b"\x03" + hashed, ranges()
    leaf = all_ranges.leaf_of(digest)
    assert all_ranges.first_of(leaf) <= digest < all_ranges.end_of(leaf)
    assert all_ranges.leaf_of(all_ranges.first_of(leaf)) == leaf
