"""The ring actor: follows and changes who the members of the cluster are."""

from __future__ import annotations

from actors.actor import Actor, Report
from actors.surroundings import now
from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Delivery
from toystore.core.protocol.messages.ring import RingChanged, RingForked, RingSeen
from toystore.core.protocol.turn import Turn
from toystore.core.reconfiguration.reconfiguration import Reconfiguration


class RingActor(Actor):
    """Runs the reconfiguration machine, which receives a new record before all others do."""

    role = RING
    turn: Turn[Reconfiguration]
    _epoch = 0
    """Of the record whose members this actor has links to."""
    _reported: Report | None = None
    """That this node is no longer a member, as reported last."""

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
        """Follow a record that the machine has received in this turn; report a removal."""
        machine = self.turn.machine
        for digest in machine.foreign - self.surroundings.history.foreign:
            self.disown(RingForked(digest))
        record = machine.record
        if record.epoch > self._epoch:
            self._epoch = record.epoch
            self.turn.serve(self.follow(RingChanged(record.packed)), now())
        self._report_removal()

    def _report_removal(self) -> None:
        """Report to the supervisor that this node is no longer a member, and that it may end."""
        machine = self.turn.machine
        if machine.removed is None:
            return
        report = Report.DEPARTED if machine.departed else Report.REMOVED
        if report is not self._reported:
            self._reported = report
            self.report(report, machine.removed)
