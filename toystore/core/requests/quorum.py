"""Counting votes: the quorum question has three answers.

After etcd's ``raft/quorum``: a quorum is met, still pending, or impossible.  An impossible
quorum is answered at once, because a timeout would tell the caller nothing more.
"""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """The three answers."""

    PENDING = "pending"
    MET = "met"
    IMPOSSIBLE = "impossible"


def verdict(needed: int, yes: int, pending: int) -> Verdict:
    """Whether ``yes`` votes of ``needed`` are enough, given how many may still come."""
    if yes >= needed:
        return Verdict.MET
    if yes + pending >= needed:
        return Verdict.PENDING
    return Verdict.IMPOSSIBLE
