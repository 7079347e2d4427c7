"""How evenly toystore's own ring is loaded, and what moves when a member joins or leaves."""

from __future__ import annotations

import random
from typing import NamedTuple

from toystore.core.ring.ring import Member, Ring
from toystore.sim.placement.strategies import efficiency

_NAME_BITS = 48


class Placed(NamedTuple):
    """What was measured of one set of names."""

    efficiency: float
    """The mean share of a member over the largest."""
    join: float
    """Replicas that a join moves, over those that it has to move."""
    leave: float
    """The same of a leave."""


def place(nodes: int, partitions: int, n: int, chance: random.Random) -> Placed:
    """Place the partitions on nodes with random names, let one join, and another leave."""
    members = [Member(f"n{chance.getrandbits(_NAME_BITS):x}") for _ in range(nodes + 1)]
    *first, newcomer = members
    ring, joined, left = (Ring(some, partitions, n) for some in (first, members, first[1:]))
    fair = n * partitions / len(members)
    return Placed(
        efficiency([owned for owned, _ in ring.shares().values()]),
        _moved(ring, joined) / min(fair, joined.shares()[newcomer.name][0]),
        _moved(ring, left) / ring.shares()[first[0].name][0],
    )


def ring_efficiency(nodes: int, partitions: int, n: int, chance: random.Random) -> float:
    """The efficiency of a ring of nodes with random names."""
    members = [Member(f"n{chance.getrandbits(_NAME_BITS):x}") for _ in range(nodes)]
    return efficiency([owned for owned, _ in Ring(members, partitions, n).shares().values()])


def _moved(before: Ring, after: Ring) -> int:
    """How many replicas have another owner."""
    return sum(
        len(set(after.order(partition)[: after.n]) - set(before.order(partition)[: before.n]))
        for partition in range(before.partitions)
    )
