"""Dynamo's three strategies for partitioning and placement (SOSP 2007, section 6.2, figure 7).

Each places a key space of size 1 on S nodes, N owners to each range, and is told how many entries
of metadata a node may keep:

    strategy   ranges                    owners: the first N nodes met        entries of a node
    1          between random tokens,    from the range's last token on       S T tokens
               T to a node
    2          Q equal partitions        from the partition's end on, among   S T tokens,
                                         random tokens, T to a node           Q partitions
    3          Q equal partitions, Q/S   from the partition on, each being    Q partitions
               to each node, at random   its node's token

The paper gives no unit for metadata; in here an entry is a token or a partition.  Of strategy 2 it
says that Q is much larger than S T: here it is `PARTITIONS_PER_TOKEN` times as large.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

PARTITIONS_PER_TOKEN = 8

Strategy = Callable[[int, int, int, random.Random], list[float]]
"""From nodes, N, entries and chance to the load of each node: its part of the key space."""


def random_tokens(nodes: int, n: int, entries: int, chance: random.Random) -> list[float]:
    """Strategy 1: T random tokens per node, partitioned by the tokens."""
    tokens = _tokens(nodes, entries // nodes, chance)
    loads = [0.0] * nodes
    before = tokens[-1][0] - 1
    for at, owners in enumerate(_owners([node for _, node in tokens], n)):
        position = tokens[at][0]
        for node in owners:
            loads[node] += position - before
        before = position
    return loads


def random_tokens_equal_partitions(
    nodes: int, n: int, entries: int, chance: random.Random
) -> list[float]:
    """Strategy 2: T random tokens per node and equal-sized partitions."""
    each = entries // (nodes * (1 + PARTITIONS_PER_TOKEN))
    tokens = _tokens(nodes, each, chance)
    owners = list(_owners([node for _, node in tokens], n))
    partitions = PARTITIONS_PER_TOKEN * nodes * each
    loads = [0.0] * nodes
    token = 0
    for partition in range(partitions):
        end = (partition + 1) / partitions
        while token < len(tokens) and tokens[token][0] < end:
            token += 1
        for node in owners[token % len(tokens)]:
            loads[node] += 1 / partitions
    return loads


def equal_partitions(nodes: int, n: int, entries: int, chance: random.Random) -> list[float]:
    """Strategy 3: Q/S tokens per node and equal-sized partitions."""
    tokens = [node for node in range(nodes) for _ in range(entries // nodes)]
    chance.shuffle(tokens)
    loads = [0.0] * nodes
    for owners in _owners(tokens, n):
        for node in owners:
            loads[node] += 1 / len(tokens)
    return loads


STRATEGIES: tuple[Strategy, ...] = (
    random_tokens,
    random_tokens_equal_partitions,
    equal_partitions,
)


def efficiency(loads: Sequence[float]) -> float:
    """The load-balancing efficiency: the mean load over the largest."""
    return sum(loads) / len(loads) / max(loads)


def _tokens(nodes: int, each: int, chance: random.Random) -> list[tuple[float, int]]:
    """The position and the node of each token, in the order of the ring."""
    return sorted((chance.random(), node) for node in range(nodes) for _ in range(each))


def _owners(ring: Sequence[int], n: int) -> Iterator[list[int]]:
    """For each token of a ring, the first ``n`` distinct nodes from it on.  All nodes have one."""
    for start in range(len(ring)):
        owners: list[int] = []
        at = start
        while len(owners) < n:
            node = ring[at % len(ring)]
            if node not in owners:
                owners.append(node)
            at += 1
        yield owners
