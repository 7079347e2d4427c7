"""Where a key belongs: the slots of its range, and the nodes that are asked for it.

A slot is one of the N replicas.  It has one node, or two while its replica moves from an old node
to a new one; each node is a *side* of its slot.  Sides are numbered over all slots:

    slots    n4    n9 -> n7    n2
    sides    0     1 n7, 2 n9  3

While nothing moves, the sides are the owners.
"""

from __future__ import annotations

import functools

from toystore.core.data.record import digest_of
from toystore.core.ring.view import RingView


class Layout:
    """The slots of one range in one epoch.  It is computed once, and requests share it."""

    __slots__ = (
        "epoch",
        "fallbacks",
        "leaving",
        "moves",
        "nodes",
        "order",
        "others",
        "replicas",
        "sides",
        "slots",
    )

    def __init__(self, ring: RingView, partition: int, n: int) -> None:
        self.epoch = ring.epoch
        self.replicas = ring.slots(partition, n)
        self.nodes = tuple(node for slot in self.replicas for node in slot.nodes)
        """The node of each side: all of them are asked."""
        self.sides = {node: side for side, node in enumerate(self.nodes)}
        self.fallbacks = ring.fallbacks(partition, n)
        self.order = self.nodes + self.fallbacks
        """Every member, in the order in which they are asked."""
        self.slots = [tuple(self.sides[node] for node in slot.nodes) for slot in self.replicas]
        """The sides of each slot; none if both of its nodes are lost."""
        pairs = [(slot[0], slot[1]) for slot in self.slots if len(slot) > 1]
        self.others = dict(pairs) | {old: new for new, old in pairs}
        """For each side of a slot that has two: the other one."""
        moving = [slot for slot in self.replicas if slot.moves]
        self.moves = bool(moving)
        self.leaving = frozenset(slot.old for slot in moving if slot.old is not None)
        """The nodes from which a replica moves."""


class Layouts:
    """The layouts of all ranges of one ring."""

    __slots__ = ("of", "ring")

    def __init__(self, ring: RingView) -> None:
        self.ring = ring
        self.of = functools.cache(functools.partial(Layout, ring))
        """``of(partition, n)``: the layout of a range."""

    def place(self, bucket: str, key: bytes, n: int) -> Place:
        """The place of a key, which has ``n`` replicas."""
        digest = digest_of(bucket, key, n)
        return Place(digest, self.of(self.ring.partition_of(digest), n))

    def again(self, place: Place) -> Place:
        """The place of the same key in this ring."""
        digest = place.digest
        return Place(digest, self.of(self.ring.partition_of(digest), digest[0]))


class Place:
    """The place of one key on the ring.  It is found once per request and ring."""

    __slots__ = ("digest", "layout")

    def __init__(self, digest: bytes, layout: Layout) -> None:
        self.digest = digest
        self.layout = layout
