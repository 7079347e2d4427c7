"""This node's own place in the ring record: is its disk the one that is listed?

A member whose disk was replaced has the new one listed, once it has rebuilt what it lacks: before
that, its new disk does not vote on records.
"""

from __future__ import annotations

from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.ring import DescribeMoves, DescribeMovesReply
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.automatic import Wish
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.questions import NEVER, Questions
from toystore.core.reconfiguration.successors import reseated


class Seat:
    """See the module's docstring."""

    def __init__(
        self, disk: str, following: Following, questions: Questions, settings: RingSettings
    ) -> None:
        """``disk``: the id of this node's."""
        self._disk = disk
        self._following = following
        self._questions = questions
        self._poll_s = settings.poll_s
        self._is_whole = False
        """Whether the own storage lacks nothing, as it has reported last."""
        self._ask_at = 0.0
        self.on_changed()

    def on_changed(self) -> None:
        """There is a newer record."""
        self._ask_at = 0.0
        record, node = self._following.record, self._questions.node
        listed = record.all.get(node)
        self._is_listed = listed is None or listed.disk in ("", self._disk)

    def go_on(self, now: Now) -> None:
        """Ask the own storage whether it lacks anything, while its disk is not listed."""
        if not self._is_listed and self._ask_at <= now.monotonic:
            self._ask_at = now.monotonic + self._poll_s
            epoch = self._following.record.epoch
            self._questions.ask_storage(
                self._questions.node,
                lambda number: DescribeMoves(number, epoch),
                self._on_described,
                now,
            )

    def next_deadline(self) -> float:
        """When storage is asked."""
        return NEVER if self._is_listed else self._ask_at

    def wish(self, _now: Now) -> Wish | None:
        """List the disk of this node, once it lacks nothing."""
        record, node = self._following.record, self._questions.node
        if self._is_listed or record.moving or not self._is_whole:
            return None
        return Wish(f"reseat {node}: its disk was replaced", reseated(record, node, self._disk))

    def _on_described(self, reply: DescribeMovesReply | None, _now: Now) -> None:
        self._is_whole = reply is not None and reply.votes
