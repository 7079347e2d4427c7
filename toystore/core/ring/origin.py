"""Is the folder of a node that starts of this cluster, or of another founding of the same file?

Both have the same name and lineage.  What the members answer is compared with what the folder has:

    both have a record of one epoch     it is the same record, or the foundings are two
    a member has later records          the first of them follows the folder's newest, or not
    a member has the founding only      its disk is the one that the folder's record lists, or not

One member that contradicts may itself be of another founding, or have another disk now.  So the
folder is that of another one only if a majority of the ring of those that contradict it do, and no
member agrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from toystore.core.ring.history import History
from toystore.core.ring.record import RingRecord


class Answer(NamedTuple):
    """What a member answers to a node that starts."""

    name: str
    disk: str
    """The id of its disk."""
    epoch: int
    """Of its newest record."""
    digest: bytes
    """Of its newest record."""
    voters: int
    """How many nodes decide the next record there."""
    records: Mapping[int, RingRecord]
    """Its records after the newest of the node that asks, by epoch."""


def agrees(answer: Answer, record: RingRecord, lineage: bytes, history: History) -> bool | None:
    """Whether a member is of the same founding as a folder; None if that cannot be seen.

    ``record``: the folder's newest; ``history``: of all its records.
    """
    if not record.epoch:
        return None
    if answer.epoch > record.epoch:
        following = answer.records.get(record.epoch + 1)
        return None if following is None else following.follows(record, lineage)
    if answer.epoch:
        known = history.own.get(answer.epoch)
        return None if known is None else known == answer.digest
    listed = record.all.get(answer.name)
    if listed is None or "" in (listed.disk, answer.disk):
        return None
    return listed.disk == answer.disk


def contradicting(
    answers: Iterable[Answer], record: RingRecord, lineage: bytes, history: History
) -> list[Answer]:
    """The members that are of another founding, as far as a folder can tell; none if any agrees."""
    judged = [(one, agrees(one, record, lineage, history)) for one in answers]
    if any(agreed for _, agreed in judged):
        return []
    return [one for one, agreed in judged if agreed is False]


def suffices(contradict: Iterable[Answer]) -> bool:
    """Whether those that contradict a folder are a majority of their ring."""
    voters = [one.voters for one in contradict]
    return bool(voters) and len(voters) > max(voters) // 2
