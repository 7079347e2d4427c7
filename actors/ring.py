"""The ring actor: follows and changes who the members of the cluster are."""

from __future__ import annotations

from actors import log
from actors.actor import Actor, Report
from actors.surroundings import now
from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Delivery
from toystore.core.protocol.messages.ring import RingChanged, RingSeen
from toystore.core.protocol.turn import Turn
from toystore.core.reconfiguration.reconfiguration import Reconfiguration
from toystore.core.ring.record import RingRecord


class RingActor(Actor):
    """Runs the reconfiguration machine, which hears of a new record before all others do."""

    role = RING
    turn: Turn[Reconfiguration]
    _epoch = 0
    """Of the record whose members this actor has links to."""

    def open(self) -> None:
        """Open the mailbox and the links."""
        self._seen: list[Delivery] = []
        """What this actor has seen itself, for the machine."""
        super().open()
        self._epoch = self.surroundings.blueprint.record.epoch

    def tell_ring(self, seen: RingSeen) -> None:
        """This is the actor `ring`."""
        self._seen.append((seen, Peer(self.me, RING)))

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Serve what this actor has seen itself, too."""
        seen, self._seen = self._seen, []
        super().serve(inbox + seen, at)

    def after_turn(self) -> None:
        """Follow a record that the machine has heard of in this turn."""
        record = self.turn.machine.record
        if record.epoch > self._epoch:
            self._epoch = record.epoch
            self.turn.serve(self.follow(RingChanged(record.packed)), now())
            self._look_for_removal(record)

    def _look_for_removal(self, record: RingRecord) -> None:
        """Report to the supervisor that this node is no longer a member, if that is so."""
        reason = record.removal(self.me, self.surroundings.disk)
        if reason is not None:
            log.event(self.role, "ring.removed", epoch=record.epoch, reason=reason)
            self.report(Report.REMOVED, reason)
