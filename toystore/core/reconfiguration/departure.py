"""The departure of a node that is no member any more: it ends once the others do not need it.

It may be the only node that has the record without it, and the voters of the record before may have
no majority without it.  So it stays, and offers its newest record to the voters of that record,
until a majority of them has adopted it.  Then every majority of these voters has a node with the
record, from which the others fetch it; and without a majority of them nothing is decided anyway.
A majority of the voters *before* would not do: all of them may leave.
"""

from __future__ import annotations

from functools import partial

from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.ring import OfferRings, OfferRingsReply
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.questions import NEVER, Questions

AGAIN_S = 0.5
"""How soon the record is offered again to a voter that has not adopted it."""
PATIENCE = 4
"""How often it is offered in vain before it is logged that this node stays."""


class Departure:
    """Why this node is no member any more, and which voters have adopted that."""

    def __init__(
        self, disk: str, following: Following, questions: Questions, outbox: Outbox
    ) -> None:
        """``disk``: the id of this node's."""
        self.reason: str | None = None
        """Why this node is no member any more; None if it is one."""
        self._disk = disk
        self._following = following
        self._questions = questions
        self._out = outbox
        self._adopted: set[str] = set()
        """The voters that have the newest record, or a later one."""
        self._offer_at = NEVER
        self._offers = 0
        self.on_changed()

    def on_changed(self) -> None:
        """There is a newer record, or this machine is new."""
        record, before = self._following.record, self.reason
        self.reason = record.removal(self._questions.node, self._disk) if record.epoch else None
        self._adopted.clear()
        self._offer_at = NEVER if self.reason is None else 0.0
        if self.reason is not None and before is None:
            self._out.log("ring.removed", epoch=record.epoch, reason=self.reason)

    @property
    def over(self) -> bool:
        """Whether this process should end."""
        if self.reason is None:
            return False
        return len(self._adopted) >= self._needed()

    def _needed(self) -> int:
        """How many voters have to adopt it."""
        most = len(self._following.record.voters) // 2 + 1
        return min(most, len(self._voters()))

    def go_on(self, now: Now) -> None:
        """Offer the record to the voters that have not adopted it, if that is due."""
        if self._offer_at > now.monotonic:
            return
        if self.over:
            self._offer_at = NEVER
            return
        self._offer_at = now.monotonic + AGAIN_S
        record = self._following.record
        lacking = [name for name in self._voters() if name not in self._adopted]
        self._offers += 1
        if self._offers == PATIENCE:
            self._out.log(
                "ring.stays", epoch=record.epoch, members=lacking, text=self._until(len(lacking))
            )
        for name in lacking:
            self._questions.ask_storage(
                name,
                lambda number: OfferRings(number, (record.packed,)),
                partial(self._on_offered, name, record.epoch),
                now,
            )

    def _until(self, lacking: int) -> str:
        """When this process ends, for an operator; ``lacking``: how many voters are asked."""
        needed = self._needed() - len(self._adopted)
        return (
            f"this process ends once {needed} of these {lacking} have the ring record without it; "
            "if they never come back, stop it"
        )

    def next_deadline(self) -> float:
        """When the record is offered."""
        return self._offer_at

    def _on_offered(self, name: str, epoch: int, reply: OfferRingsReply | None, now: Now) -> None:
        if reply is None or epoch != self._following.record.epoch:
            return
        if reply.epoch >= epoch:
            self._adopted.add(name)
        else:
            self._following.bring_up_to_date(name, reply.epoch, now)

    def _voters(self) -> list[str]:
        """The names of those that decide the next record; another disk of this node is no other."""
        voters = self._following.record.voters
        return [one.name for one in voters if one.name != self._questions.node]
