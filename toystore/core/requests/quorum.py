"""Counting votes: the quorum question has three answers.

After etcd's ``raft/quorum``: with so many yes, so many no and so many still to come,
is the quorum met, is it still pending, or has it become impossible?  An impossible
one is answered at once; nobody waits for a timeout to learn what is already known.
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
