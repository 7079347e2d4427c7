"""What the node that makes a plan knows of the cluster, beside the newest record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from toystore.core.ring.record import Listed


class Totals(NamedTuple):
    """How much a member has stored (`DescribeMovesReply`), or about how much a range has."""

    keys: float
    bytes: float


@dataclass(frozen=True)
class Known:
    """See the module's docstring."""

    lineage: bytes
    """Of the cluster."""
    n: int
    """N of the default bucket."""
    copies: frozenset[int]
    """Every N that a bucket has."""
    waiting: Mapping[str, Listed]
    """The nodes that wait to join, by name."""
    totals: Mapping[str, Totals]
    """What each member has stored; without those that did not answer."""
    alive: frozenset[str]
    """The members that answer, this node too."""
