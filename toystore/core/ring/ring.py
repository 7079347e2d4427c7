"""The ring: the owners and the fallbacks of each partition.

Dynamo's strategy 3 (SOSP 2007, section 6.2): the key space is divided into Q equal
partitions, and whole partitions move between members.  The owners are a pure function of
the member list, so nodes with the same list have the same ring and never negotiate.

    digest of a key    03 | B7 21 5E ...      after N: its top bits (10 if Q is 1024) ...
    partition          732                    ... are its partition
    order              n4 n9 n2 | n7 n1 ...   N owners | fallbacks

- **Rendezvous hashing** (Thaler & Ravishankar, 1998): each pair of a member and a
  partition has a score, and a partition ranks the members by their scores.  A member that
  joins or leaves changes only its own scores, so only its own partitions move.  Scores
  are exponentially distributed with the weight as their rate (Schindelhauer & Schomaker,
  2005): a member is first in proportion to its weight.
- **Bounded loads** (Mirrokni, Thorup & Zadimoghaddam, 2018): chance alone would give
  some member a tenth more than its fair share.  A member owns at most `SLACK` more than
  its fair share; then it is full, and a partition takes the next member in its ranking.
  The slack prevents a long chain of moves at each change.  The number of partitions of
  which a member is first owner is bounded in the same way: that is work, but no data.
- **Zones**: the owners of a partition are in distinct zones if there are enough zones; if
  there are fewer, every zone has an owner.  Zones come before bounds: if the rule leaves
  only full members, a full member is taken.

Measured at 10 members with Q=1024 and at 30 with Q=4096, N=3, over some hundreds of sets
of names: the mean share is 0.95 of the largest; a join or a leave moves 1.03 times what it
must, at worst 1.09; no member is first owner more than 1.07 times as often as the mean.
Chance weighs more if members own far fewer partitions: 1.4 times at 100 members with Q=4096.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

SLACK = 0.05
"""How far a member's share may be above its fair share."""

SCORES_KEPT = 128
"""The scores of so many members are kept: a ring that changes has most of those before."""
_PREFIX_BYTES = 4  # of a digest: enough to distinguish all partitions
_SCORE_BYTES = 8


class Member(NamedTuple):
    """A member of the ring."""

    name: str
    weight: int = 1
    """Its share of the partitions is in proportion to its weight."""
    zone: str = ""
    """Members that fail together, as in a rack, have one zone.  All may have the same."""
    seat: str = ""
    """What its scores are drawn from, if that is not its name: a member that has replaced another
    sits in its seat, and so owns what that owned."""


class Ring:
    """Owners and fallbacks of every partition, computed once."""

    __slots__ = ("_shift", "members", "n", "orders", "partitions")

    def __init__(self, members: Iterable[Member], partitions: int, n: int) -> None:
        """Place ``partitions`` (Q, a power of two) on ``members``, ``n`` owners to each.

        With fewer members than ``n``, every member owns every partition.  The order in which
        the members are listed does not matter.  Raises ValueError for impossible arguments.
        """
        listed = sorted(members, key=_seat)
        _check(listed, partitions, n)
        self.members = tuple(sorted(member.name for member in listed))
        self.partitions = partitions
        self.n = min(n, len(listed))
        self._shift = 8 * _PREFIX_BYTES - (partitions.bit_length() - 1)
        self.orders = tuple(_orders(listed, partitions, self.n))
        """The order of each partition (`order`)."""

    def partition_of(self, digest: bytes) -> int:
        """The partition of a key's digest (17 bytes): the top bits after its first byte, N."""
        return int.from_bytes(digest[1 : 1 + _PREFIX_BYTES], "big") >> self._shift

    def order(self, partition: int) -> tuple[str, ...]:
        """Every member once: the N owners (the preference list), then the fallbacks.

        If a bucket has its own N, its owners are the first N of this order.
        """
        return self.orders[partition]

    def shares(self) -> dict[str, tuple[int, int]]:
        """For each member: how many partitions it owns, and of how many it is first owner."""
        owned = Counter(name for order in self.orders for name in order[: self.n])
        first = Counter(order[0] for order in self.orders)
        return {name: (owned[name], first[name]) for name in self.members}


def _seat(member: Member) -> str:
    return member.seat or member.name


def _check(members: Sequence[Member], partitions: int, n: int) -> None:
    """Raise ValueError for impossible arguments of a ring."""
    if not members:
        raise ValueError("no members; a ring has at least one")
    names = Counter(member.name for member in members)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"members listed twice: {', '.join(twice)}; a name is given once")
    seats = Counter(map(_seat, members))
    if twice := [seat for seat, count in seats.items() if count > 1]:
        raise ValueError(f"two members in one seat: {', '.join(twice)}; a seat is given once")
    for member in members:
        if member.weight < 1:
            raise ValueError(f"the weight of {member.name} is {member.weight}, not 1 or more")
    if not (1 <= partitions <= 2 ** (8 * _PREFIX_BYTES) and partitions.bit_count() == 1):
        raise ValueError(f"{partitions} partitions; a power of two is wanted, such as 1024")
    if n < 1:
        raise ValueError(f"n is {n}; a partition has 1 owner or more")


def _orders(members: Sequence[Member], partitions: int, n: int) -> Iterator[tuple[str, ...]]:
    """The order of every partition.  In here a member is its index in ``members``."""
    shares = fair_shares(members, partitions, n)
    room = [_bound(share) for share in shares]
    first_room = [_bound(share / n) for share in shares]
    zones = [member.zone for member in members]
    names = [member.name for member in members]
    repeats = n - min(n, len(set(zones)))
    for ranking in _rankings(members, partitions):
        ranked = [at for at in ranking if room[at] > 0]
        if len(ranked) < len(ranking):  # full members come last
            ranked += [at for at in ranking if room[at] <= 0]
        owners = ranked[:n] if repeats == n - 1 else _in_zones(ranked, zones, n, repeats)
        first = owners[0]
        if first_room[first] <= 0:
            first = max(owners, key=lambda at: min(first_room[at], 1))
        first_room[first] -= 1
        for at in owners:
            room[at] -= 1
        order = dict.fromkeys((first, *owners, *ranking))
        yield tuple(map(names.__getitem__, order))


def _rankings(members: Sequence[Member], partitions: int) -> Iterator[list[int]]:
    """For each partition, the members in the order of their scores, lowest first."""
    scores = [_scores(_seat(member), member.weight, partitions) for member in members]
    for column in zip(*scores, strict=True):
        yield sorted(range(len(members)), key=column.__getitem__)


@functools.lru_cache(maxsize=SCORES_KEPT)
def _scores(seat: str, weight: int, partitions: int) -> array[float]:
    """A member's score in each partition, all drawn from one digest of its seat."""
    drawn = hashlib.shake_128(seat.encode()).digest(_SCORE_BYTES * partitions)
    return array(
        "d",
        [
            -math.log((number + 1) / 2 ** (8 * _SCORE_BYTES)) / weight
            for number in struct.unpack(f">{partitions}Q", drawn)
        ],
    )


def _in_zones(ranked: Sequence[int], zones: Sequence[str], n: int, repeats: int) -> list[int]:
    """The first ``n`` of a ranking that are in distinct zones, but for ``repeats`` of them."""
    owners: list[int] = []
    used: set[str] = set()
    for at in ranked:
        if zones[at] in used:
            if not repeats:
                continue
            repeats -= 1
        used.add(zones[at])
        owners.append(at)
        if len(owners) == n:
            break
    return owners


def _bound(share: float) -> int:
    """The most partitions that a member with this fair share may own."""
    return max(math.ceil(share), int(share * (1 + SLACK)))


def fair_shares(members: Sequence[Member], partitions: int, n: int) -> list[float]:
    """How many partitions each member should own, first by zone and then within the zone.

    ``n`` is at most the number of members.  In proportion to the weights, but none has more than
    one replica of a partition, and zones come first.
    """
    zones: dict[str, list[int]] = {}
    for at, member in enumerate(members):
        zones.setdefault(member.zone, []).append(at)
    owners_max = 1 + n - min(n, len(zones))
    by_zone = _split(
        n * partitions,
        [sum(members[at].weight for at in inside) for inside in zones.values()],
        [partitions * min(len(inside), owners_max) for inside in zones.values()],
    )
    shares: dict[int, float] = {}
    for total, inside in zip(by_zone, zones.values(), strict=True):
        weights = [members[at].weight for at in inside]
        shares.update(zip(inside, _split(total, weights, [partitions] * len(inside)), strict=True))
    return [shares[at] for at in range(len(members))]


def _split(total: float, weights: Sequence[int], ceilings: Sequence[int]) -> list[float]:
    """Divide ``total`` by weight, but give none more than its ceiling."""
    shares = [0.0] * len(weights)
    weight_left = sum(weights)
    # A member that reaches its ceiling first comes first: the others divide what it leaves.
    for at in sorted(range(len(weights)), key=lambda at: ceilings[at] / weights[at]):
        shares[at] = min(ceilings[at], total * weights[at] / weight_left)
        total -= shares[at]
        weight_left -= weights[at]
    return shares
