"""The hand-off actor: takes hints from its own storage and carries them to their owners'."""

from __future__ import annotations

from actors.actor import Actor
from toystore.core.protocol.address import HANDOFF
from toystore.core.protocol.machine import Outbox
from toystore.core.repair.handoff import Handoff


class HandoffActor(Actor):
    """Runs the hand-off machine."""

    role = HANDOFF

    def make_machine(self, outbox: Outbox) -> Handoff:
        """A hand-off machine that knows of no hints yet."""
        return Handoff(
            node=self.me,
            settings=self.surroundings.config.handoff_settings(),
            outbox=outbox,
            chance=self.surroundings.chance(),
        )
