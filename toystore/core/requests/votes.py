"""How the sides of a slot make its vote, while replicas move.

    a slot votes for | when
    -----------------|-------------------------------------------------------------------------
    a write          | each of its nodes has stored it, or another node keeps it for that node, or
                     | the old node has given its replica away
    a read           | the first of its nodes that is whole has answered, or a fallback has

So a write is stored by the node that answers reads of the slot now, and by the one that will.
A slot counts as filled by its *owners* if no fallback was needed for its vote.

A vote is a copy on a node that no other vote is of: a node of the slot, or a fallback.  Beside this
copy, for the other node of the slot, any node may keep a hint (writing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from toystore.core.requests.slot import (
    DEFERRED,
    FALLBACK,
    MOVED,
    OPEN,
    OWNER,
    SILENT,
    STALE,
    Side,
)

_PENDING = frozenset((OPEN, SILENT, DEFERRED, STALE))


class Vote(Enum):
    """What a slot contributes to a quorum."""

    OWNERS = "a vote of its own nodes"
    FALLBACK = "a vote that needs a fallback"
    PENDING = "it may still get a vote"
    NONE = "no vote"


class Votes(NamedTuple):
    """How many slots have a vote, or may still get one."""

    owners: int
    fallbacks: int
    pending: int


def vote_for_write(states: Sequence[Side]) -> Vote:
    """The vote of a slot for a write, from the states of its sides."""
    kept = {state for state in states if state is not MOVED}
    if kept and kept <= {OWNER, FALLBACK}:
        return Vote.FALLBACK if FALLBACK in kept else Vote.OWNERS
    return Vote.PENDING if kept and kept <= _PENDING | {OWNER, FALLBACK} else Vote.NONE


def vote_for_read(states: Sequence[Side]) -> Vote:
    """The vote of a slot for a read, from the states of its sides."""
    if OWNER in states:
        return Vote.OWNERS
    if FALLBACK in states:
        return Vote.FALLBACK
    return Vote.NONE if _PENDING.isdisjoint(states) else Vote.PENDING


def count(
    vote: Callable[[Sequence[Side]], Vote], sides: Sequence[Side], slots: Iterable[Sequence[int]]
) -> Votes:
    """Count the votes of ``slots``, each given by the indices of its ``sides``."""
    votes = [vote([sides[side] for side in slot]) for slot in slots]
    return Votes(*(votes.count(kind) for kind in (Vote.OWNERS, Vote.FALLBACK, Vote.PENDING)))
