"""The ring of one epoch: the owners of each range, and who owned it before while ranges move.

A replica that moves is one *slot* with two nodes, its old owner and its new one (`Slot`).  In each
range there are always N slots.  A node that stays an owner has a slot of its own; the other old
owners and the other new ones are paired in the order of their preference lists:

    old owners   n4 n9 n2
    new owners   n4 n7 n2        slots  n4   n9 -> n7   n2
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.ring.ring import Member, Ring

RINGS_KEPT = 8
"""How many a process keeps: the actors of a node all need the same one or two."""


class Slot(NamedTuple):
    """One of the N replicas of a range.  A member that is lost has no place in it."""

    old: str | None
    """Its owner before, or None if there was none: the range has more owners now, or that is lost.
    """
    new: str | None
    """Its owner afterwards; None only if that is lost."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of the slot: the new one first."""
        both = (self.new,) if self.old == self.new else (self.new, self.old)
        return tuple(node for node in both if node is not None)

    @property
    def moves(self) -> bool:
        """Whether the replica is on its way, or has to be made again."""
        return self.old != self.new


class RingView:
    """What one record means; the same on every node."""

    def __init__(self, record: RingRecord, n: int) -> None:
        """``n``: the N of the default bucket, which decides the order of all partitions."""
        self.record = record
        self._n = n
        self.ring = _ring(record.members, record.partitions, n)
        """The ring of the members: the owners, once nothing moves any more."""
        self.before = _ring(record.old, record.partitions, n) if record.moving else self.ring
        """The ring from which ranges move; the same while nothing moves."""
        self._lost = frozenset(record.lost)
        self._remember()

    def _remember(self) -> None:
        """Find each answer once."""
        self.slots = functools.cache(self._slots)
        """``slots(partition, n)``: the slots of a range."""
        self.nodes = functools.cache(self._nodes)
        """``nodes(partition, n)``: all nodes of all slots of a range."""
        # Many ranges have the same owners: their slots are paired once.
        self._paired = functools.cache(self._pair)
        self._nodes_of = functools.cache(_nodes_of)

    def follow(self, record: RingRecord) -> RingView:
        """The ring of another record of the same cluster."""
        return ring_view(record, self._n)

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return self.ring.partitions

    def partition_of(self, digest: bytes) -> int:
        """The partition of a key's digest."""
        return self.ring.partition_of(digest)

    def shares(self) -> dict[str, tuple[int, int]]:
        """For each member: how many partitions it owns, and of how many it is first owner."""
        return self.ring.shares()

    @property
    def epoch(self) -> int:
        """The number of the record."""
        return self.record.epoch

    @property
    def members(self) -> dict[str, Listed]:
        """Every node that takes part, old or new, without the lost."""
        return self.record.all

    def order(self, partition: int) -> tuple[str, ...]:
        """Every member once: the owners-to-be in the order of the preference list, then the rest.

        A member that leaves is not among them, unless it is still an owner (`slots`).
        """
        return self.ring.order(partition)

    def owners(self, partition: int, n: int) -> tuple[str, ...]:
        """The owners of a range, once nothing moves any more; without the lost."""
        return tuple(name for name in self.ring.order(partition)[:n] if name not in self._lost)

    def owned_by(self, node: str, n: int) -> list[int]:
        """The partitions in whose ranges with this N a node has a replica, the old owners too."""
        if node in self._lost:
            return []
        before, after = self.before.orders, self.ring.orders
        return [
            partition
            for partition in range(self.partitions)
            if node in after[partition][:n] or node in before[partition][:n]
        ]

    def fallbacks(self, partition: int, n: int) -> tuple[str, ...]:
        """The members that take the place of an owner of a range, in the order of asking."""
        nodes = self.nodes(partition, n)
        order = self.ring.order(partition)
        return tuple(name for name in order if name not in nodes and name not in self._lost)

    def changes(self, partition: int, n: int) -> bool:
        """Whether a replica of a range moves."""
        return any(slot.moves for slot in self.slots(partition, n))

    def _nodes(self, partition: int, n: int) -> tuple[str, ...]:
        return self._nodes_of(self.slots(partition, n))

    def _slots(self, partition: int, n: int) -> tuple[Slot, ...]:
        return self._paired(self.before.order(partition)[:n], self.ring.order(partition)[:n])

    def _pair(self, old: tuple[str, ...], new: tuple[str, ...]) -> tuple[Slot, ...]:
        """The slots of a range with these owners, before and afterwards."""
        if not self._lost and (new == old or not self.record.moving):
            return tuple(Slot(name, name) for name in new)
        leaving = iter([name for name in old if name not in new])
        slots = [Slot(name if name in old else next(leaving, None), name) for name in new]
        slots += [Slot(name, None) for name in leaving]
        return tuple(map(self._without_lost, slots)) if self._lost else tuple(slots)

    def _without_lost(self, slot: Slot) -> Slot:
        return Slot(*(None if name in self._lost else name for name in slot))


def _nodes_of(slots: Iterable[Slot]) -> tuple[str, ...]:
    return tuple(node for slot in slots for node in slot.nodes)


@functools.lru_cache(maxsize=RINGS_KEPT)
def ring_view(record: RingRecord, n: int) -> RingView:
    """What a record means, shared by the actors of a node: each slot is found once."""
    return RingView(record, n)


def fixed_ring(members: Iterable[Member], partitions: int, n: int) -> RingView:
    """The ring of a founding without addresses."""
    listed = [
        Listed(one.name, one.seat or one.name, "", one.weight, one.zone, "", ()) for one in members
    ]
    return RingView(founding("", partitions, listed), n)


@functools.lru_cache(maxsize=RINGS_KEPT)
def _ring_of(members: tuple[Member, ...], partitions: int, n: int) -> Ring:
    return Ring(members, partitions, n)


def _ring(members: tuple[Listed, ...], partitions: int, n: int) -> Ring:
    return _ring_of(tuple(sorted(one.placed for one in members)), partitions, n)
