"""Whose frames an actor accepts, by the newest ring record that it knows.

It decides as the doors of real actors do (``actors/doors/door.py``), by the same functions.  A node
that is no member may only fetch ring records, which say that it was removed, and offer them.
"""

from __future__ import annotations

from toystore.core.assembly import Blueprint
from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.messages.ring import FetchRings, OfferRings
from toystore.core.ring.cluster_id import cluster_id, is_fork, is_newer, why_foreign, why_unlisted
from toystore.core.ring.history import History
from toystore.wire import Frame, Header


class Door:
    """The header of an actor's frames, and which frames it accepts."""

    def __init__(self, me: Peer, plan: Blueprint, history: History) -> None:
        """``plan``: of the node, with the newest record; ``history``: which records are its own."""
        self._copies = {name: one.n for name, one in plan.coordinator.buckets.items()}
        self.header = Header(me, cluster_id(plan.record, plan.lineage, self._copies))
        self._history = history
        self._listed = frozenset((me.node, *plan.record.all))

    def admit(self, frame: Frame, *, is_answer: bool) -> tuple[list[Message], str]:
        """The messages that are accepted, and why others are refused, or ""."""
        assert frame.header is not None
        own, other = self.header.cluster, frame.header.cluster
        if is_answer:
            if is_fork(own, other, self._history):
                return [], ""
            # A newer ring record says whether this node is a member.
            newer = is_newer(own, other)
            return [m for m in frame.messages if not (newer and type(m) is Refused)], ""
        refused = (other != own and why_foreign(own, other, self._copies, self._history)) or ""
        if refused:
            return [], refused
        unlisted = why_unlisted(own, other, frame.header.sender.node, self._listed)
        if unlisted is None:
            return frame.messages, ""
        kept: list[Message] = [m for m in frame.messages if type(m) in (FetchRings, OfferRings)]
        return kept, unlisted if len(kept) < len(frame.messages) else ""
