"""A batch of hints on its way: which nodes have to have each hint, and which have it.

    the owner's slot does not move              the owner
    it moves                                    both nodes of the slot
    the owner has answered MOVED, or it is      every owner of the range, old and new
    no member any more

A node has a hint when it answers OK or SUPERSEDED.  MOVED of a node that gives the range away is
enough if the others have the hint: what it had was pushed to its successor.  MOVED of a node that
is to own the range is not: the two nodes follow different rings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from toystore.core.data.record import stamp_of
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.ring.view import RingView

Hint = tuple[bytes, bytes]
"""A digest and a record."""

_SAFE = (ReplicaStatus.OK, ReplicaStatus.SUPERSEDED)
"""Answers of a node that has the hint, or something newer."""


class Way(NamedTuple):
    """How a hint reaches a node that has to have it."""

    to: str
    """The node that is sent the hint."""
    hint_owner: str = ""
    """For which node it keeps the hint, because that cannot be reached; "" if it is that node."""


class Question(NamedTuple):
    """What is sent in one `DeliverHints`."""

    node: str
    """The node that has to have the hints."""
    way: Way
    hints: tuple[Hint, ...]


class Batch:
    """See the module's docstring."""

    __slots__ = ("_asked", "_hints", "_needed", "_ring", "_stored")

    def __init__(self, owner: str = "", hints: Iterable[Hint] = (), *, ring: RingView) -> None:
        """``owner``: the node for which all these hints are kept."""
        self._ring = ring
        self._hints = dict(hints)
        self._needed = {digest: list(self._nodes_for(owner, digest)) for digest in self._hints}
        """The nodes that have not answered that they have a hint."""
        self._asked: set[tuple[str, bytes]] = set()
        self._stored: set[bytes] = set()
        """The hints that at least one node has."""

    def __len__(self) -> int:
        """How many hints are left in it."""
        return len(self._hints)

    @property
    def last(self) -> bytes:
        """The digest of the last hint that is left."""
        return next(reversed(self._hints))

    @property
    def waits_for(self) -> list[str]:
        """The nodes that have to have a hint that is left, and have not answered that."""
        return sorted({node for digest in self._hints for node in self._needed[digest]})

    def ask(self, way: Callable[[str, bytes], Way | None]) -> list[Question]:
        """What has to be sent and was not: each hint to each node that has to have it.

        ``way``: how a hint with this digest reaches a node, or None if it cannot.
        """
        questions: dict[tuple[str, Way], list[Hint]] = {}
        for digest, record in self._hints.items():
            for node in self._needed[digest]:
                found = None if (node, digest) in self._asked else way(node, digest)
                if found is not None:
                    self._asked.add((node, digest))
                    questions.setdefault((node, found), []).append((digest, record))
        return [Question(*to, tuple(hints)) for to, hints in questions.items()]

    def learn(self, question: Question, statuses: Iterable[int]) -> None:
        """A node has answered; ``statuses``: one for each hint of the question, in order."""
        node, way, hints = question
        for (digest, _), status in zip(hints, statuses, strict=False):
            if status in _SAFE:
                self._stored.add(digest)
                self._needed[digest].remove(node)
            elif status == ReplicaStatus.MOVED and not way.hint_owner:
                self._learn_moved(digest, node)

    def safe(self) -> bool:
        """Whether every node that has to have it has at least one hint that is left."""
        return any(map(self._is_safe, self._hints))

    def take_safe(self) -> tuple[tuple[bytes, bytes], ...]:
        """Take the hints out that can be deleted; returns (digest, stamp) of each."""
        safe = [
            (digest, stamp_of(self._hints[digest])) for digest in filter(self._is_safe, self._hints)
        ]
        for digest, _ in safe:
            del self._hints[digest]
        return tuple(safe)

    def _is_safe(self, digest: bytes) -> bool:
        return digest in self._stored and not self._needed[digest]

    def _learn_moved(self, digest: bytes, node: str) -> None:
        """The range is no longer at ``node``: every owner has to have the hint."""
        place = self._ring.partition_of(digest), digest[0]
        needed = self._needed[digest]
        for owner in self._ring.nodes(*place):
            if owner not in needed and (owner, digest) not in self._asked:
                needed.append(owner)
        if node not in self._ring.owners(*place):
            needed.remove(node)

    def _nodes_for(self, owner: str, digest: bytes) -> tuple[str, ...]:
        place = self._ring.partition_of(digest), digest[0]
        if owner not in self._ring.members:
            return self._ring.nodes(*place)
        slots = (slot for slot in self._ring.slots(*place) if owner in slot)
        return next((slot.nodes for slot in slots), (owner,))
