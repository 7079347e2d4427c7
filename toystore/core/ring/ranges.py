"""Ranges: what replicas have in common, and what is compared and rebuilt as a whole.

A range is the keys of one partition whose buckets have the same N: they have the same owners.  A
*leaf* is a sixteenth of a range, by the next bits of the digest.  The digests of a range, and of
a leaf, are one stretch of all digests in order:

    digest    03 | B7 21 5E ...
              N    10 bits: the partition (if Q is 1024), 4 more: the leaf, numbered
                   partition * 16 + 0..15
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from toystore.core.ring.record import RingRecord
from toystore.core.ring.view import RingView, Slot

LEAVES = 16
"""The leaves of a range."""

_HASH_BYTES = 16  # of a digest, after N


class Range(NamedTuple):
    """The keys of one partition with one number of owners."""

    n: int
    partition: int


class Leaf(NamedTuple):
    """A sixteenth of a range."""

    n: int
    number: int
    """``partition * LEAVES`` and its place in the range."""

    @property
    def range(self) -> Range:
        """The range that it is a part of."""
        return Range(self.n, self.number // LEAVES)


class Ranges:
    """The ranges of a ring, and those that one node owns."""

    __slots__ = ("_leaf_shift", "copies", "node", "owned", "ring")

    def __init__(self, ring: RingView, node: str, copies: Iterable[int]) -> None:
        """``copies``: the N of each bucket."""
        self.ring = ring
        """The ring of which these are the ranges."""
        self.node = node
        """The node that is meant by "owned" and "others"."""
        self.copies = frozenset(copies)
        """The N of which the node has buckets."""
        self._leaf_shift = 8 * _HASH_BYTES - (ring.partitions * LEAVES).bit_length() + 1
        self.owned = frozenset(
            Range(n, partition) for n in self.copies for partition in ring.owned_by(node, n)
        )
        """The ranges that the node owns; while ranges move, also those that move away from it."""

    def follow(self, record: RingRecord) -> Ranges:
        """The node's ranges by another ring record."""
        return Ranges(self.ring.follow(record), self.node, self.copies)

    def owners(self, of: Range) -> tuple[str, ...]:
        """The owners of a range: the old ones and the new ones while it moves."""
        return self.ring.nodes(of.partition, of.n)

    def slots(self, of: Range) -> tuple[Slot, ...]:
        """The slots of a range."""
        return self.ring.slots(of.partition, of.n)

    def slot(self, of: Range) -> Slot | None:
        """The slot of a range that the node is in; None if it owns the range neither way."""
        return next((slot for slot in self.slots(of) if self.node in slot), None)

    def loses(self, of: Range) -> bool:
        """Whether the node will not own a range, or does not now."""
        return self.node not in self.ring.owners(of.partition, of.n)

    def others(self, of: Range) -> list[str]:
        """The owners of a range but the node, in the same order."""
        return [name for name in self.owners(of) if name != self.node]

    def leaf_of(self, digest: bytes) -> Leaf:
        """The leaf of a digest."""
        return Leaf(digest[0], int.from_bytes(digest[1:], "big") >> self._leaf_shift)

    def index_of(self, digest: bytes) -> int:
        """The place of a digest's leaf among all leaves of all N, in the order of digests.

        It costs half of what `leaf_of` does.  Of the leaves of a range it is ``LEAVES`` in a row.
        """
        return int.from_bytes(digest, "big") >> self._leaf_shift

    def number_of(self, of: Range) -> int:
        """The place of a range among all ranges of all N: ``index_of(digest) // LEAVES``."""
        return of.n * self.ring.partitions + of.partition

    def range_of(self, digest: bytes) -> Range:
        """The range of a digest."""
        return self.leaf_of(digest).range

    def first_of(self, leaf: Leaf) -> bytes:
        """The lowest digest that a leaf may have; the end of the stretch of the leaf before."""
        first = (leaf.n << 8 * _HASH_BYTES) + (leaf.number << self._leaf_shift)
        return first.to_bytes(1 + _HASH_BYTES, "big")

    def end_of(self, leaf: Leaf) -> bytes:
        """The first digest after a leaf."""
        return self.first_of(leaf._replace(number=leaf.number + 1))

    def stretch_at(self, index: int) -> tuple[bytes, bytes]:
        """The first digest of the leaf with this index (`index_of`), and that of the next leaf."""
        first, end = index << self._leaf_shift, (index + 1) << self._leaf_shift
        return first.to_bytes(1 + _HASH_BYTES, "big"), end.to_bytes(1 + _HASH_BYTES, "big")

    @staticmethod
    def leaves(of: Range) -> tuple[Leaf, ...]:
        """The leaves of a range, in the order of their digests."""
        first = of.partition * LEAVES
        return tuple(Leaf(of.n, number) for number in range(first, first + LEAVES))
