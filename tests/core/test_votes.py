"""The vote of a slot: a write and a later read of the same slot share a node that has the write.

Every state that a slot can be in is enumerated: which replies its nodes have given to a write, how
far the move was then, how far it is when the slot is read, and which of its nodes answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from toystore.core.requests.slot import (
    BEHIND,
    CLOSED,
    FALLBACK,
    MOVED,
    OPEN,
    OWNER,
    SILENT,
    STALE,
    Side,
)
from toystore.core.requests.votes import Vote, count, vote_for_read, vote_for_write

STEPS = ("before", "behind", "whole", "retired", "after")
"""How far a replica has moved: before the ring changed; the new node is behind; it is whole; the
old node has given its replica away; only the new node is left."""
NO_ANSWER = (OPEN, SILENT, CLOSED, STALE)


class Replica(NamedTuple):
    """A slot that was written at one step and is read at the same step or a later one."""

    write: tuple[Side, ...]
    """The sides of the write: the new node and the old one, or one node alone."""
    read: tuple[Side, ...]
    answers: tuple[bool, ...]
    """For each node that votes for the read: whether it has the write."""


def written(step: str) -> Iterator[dict[str, Side]]:
    """What the nodes of a slot may have answered to a write, if the slot was moving or not."""
    old = {"retired": (MOVED, *NO_ANSWER, FALLBACK)}.get(step, (OWNER, *NO_ANSWER, FALLBACK))
    sides = {"before": ("old",), "after": ("new",)}.get(step, ("new", "old"))
    if step == "before":
        # The coordinator may have kept the old node's vote when it followed the new ring.
        yield from ({"new": new, "old": OWNER} for new in (OWNER, FALLBACK, *NO_ANSWER))
    for states in product(*((OWNER, *NO_ANSWER, FALLBACK) if n == "new" else old for n in sides)):
        yield dict(zip(sides, states, strict=True))


def stored(write: dict[str, Side], wrote: str, step: str) -> set[str]:
    """Which nodes have the write at ``step``, if none but the walk has brought it elsewhere."""
    nodes = {node for node, state in write.items() if state == OWNER}
    if wrote == "before" and "old" in nodes and step not in ("before", "behind"):
        nodes.add("new")
    return nodes


def read(step: str) -> Iterator[dict[str, Side]]:
    """What the nodes of a slot may answer to a read."""
    new = {"behind": BEHIND}.get(step, OWNER)
    old = {"retired": MOVED}.get(step, OWNER)
    sides = {"before": {"old": old}, "after": {"new": new}}.get(step, {"new": new, "old": old})
    for states in product(*((state, *NO_ANSWER, FALLBACK) for state in sides.values())):
        yield dict(zip(sides, states, strict=True))


def replicas() -> Iterator[Replica]:
    for at, wrote in enumerate(STEPS):
        for step in STEPS[at:]:
            for write, seen in product(written(wrote), read(step)):
                having = stored(write, wrote, step)
                voters = [node for node, state in seen.items() if state == OWNER]
                answers = tuple(node in having for node in voters)
                yield Replica(tuple(write.values()), tuple(seen.values()), answers)


REPLICAS = sorted(set(replicas()))


def test_a_slot_that_voted_for_a_write_votes_for_a_later_read_only_with_the_write() -> None:
    both = [
        replica
        for replica in REPLICAS
        if vote_for_write(replica.write) is Vote.OWNERS
        and vote_for_read(replica.read) is Vote.OWNERS
    ]

    assert len(both) > 20
    assert [replica for replica in both if not all(replica.answers)] == []


@given(st.lists(st.sampled_from(REPLICAS), min_size=1, max_size=5), st.data())
def test_a_write_quorum_and_a_later_read_quorum_share_a_node(
    slots: list[Replica], data: st.DataObject
) -> None:
    w = data.draw(st.integers(1, len(slots)))
    r = len(slots) + 1 - w
    writes = count(vote_for_write, *flat([slot.write for slot in slots]))
    reads = count(vote_for_read, *flat([slot.read for slot in slots]))

    if writes.owners >= w and reads.owners >= r:
        assert any(any(slot.answers) for slot in slots)


def flat(slots: Sequence[tuple[Side, ...]]) -> tuple[list[Side], list[list[int]]]:
    """The sides of all slots in a row, and those of each slot."""
    sides = [side for slot in slots for side in slot]
    ends = [sum(map(len, slots[: at + 1])) for at in range(len(slots))]
    return sides, [list(range(end - len(slot), end)) for slot, end in zip(slots, ends, strict=True)]


@given(st.lists(st.sampled_from(Side), max_size=2))
def test_a_slot_without_a_copy_or_a_hint_has_no_vote_for_a_write(sides: list[Side]) -> None:
    if not {OWNER, FALLBACK} & set(sides):
        assert vote_for_write(sides) in (Vote.PENDING, Vote.NONE)


def test_a_slot_whose_nodes_are_lost_has_no_vote() -> None:
    assert vote_for_write([]) is Vote.NONE
    assert vote_for_read([]) is Vote.NONE


def test_a_slot_without_votes_is_pending_while_any_node_may_answer() -> None:
    assert vote_for_write([OPEN, OWNER]) is Vote.PENDING
    assert vote_for_write([OPEN, CLOSED]) is Vote.NONE
    assert vote_for_write([STALE, MOVED]) is Vote.PENDING
    assert vote_for_write([MOVED]) is Vote.NONE
    assert vote_for_read([OPEN, CLOSED]) is Vote.PENDING
    assert vote_for_read([BEHIND, MOVED]) is Vote.NONE
