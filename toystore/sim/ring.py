"""The actor `ring` of a simulated node: it follows a new record before the others hear of it."""

from __future__ import annotations

from functools import partial

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Delivery
from toystore.core.protocol.messages.ring import RingChanged, RingForked, RingSeen
from toystore.core.reconfiguration.reconfiguration import Reconfiguration
from toystore.sim.actor import SimActor
from toystore.sim.moments import is_message


class SimRing(SimActor):
    """The actor `ring`; it is known here that its node was removed, and that it may end."""

    @property
    def machine(self) -> Reconfiguration:
        """The reconfiguration machine."""
        machine = super().machine
        assert isinstance(machine, Reconfiguration)
        return machine

    def tell_ring(self, seen: RingSeen) -> None:
        """This is the actor `ring`."""
        self.tell(seen, Peer(self.node.name, self.role))

    def serve(self, batch: list[Delivery], at: Now) -> None:
        """Serve; then follow the record that the machine has heard of."""
        if is_message(self.node.crash_at, (message for message, _ in batch)):
            self.node.crash()
            return
        super().serve(batch, at)
        for digest in sorted(self.machine.foreign - self.history.foreign):
            self.disown(RingForked(digest))
        record = self.machine.record
        if record.epoch > self.plan.record.epoch:
            super().serve(self.follow(RingChanged(record.packed)), at)
            self.node.cluster.checks.adopted(self.node.name, record)
        if self.machine.departed:
            self.node.world.after(0.0, partial(self.node.depart, self))
        elif self.machine.removed is not None:
            self.node.world.after(0.0, partial(self.node.retire, self))
