"""The hand-off actor: takes hints from its own storage and carries them to their owners'."""

from __future__ import annotations

from actors.actor import Actor
from actors.doors.link import Link
from actors.surroundings import tcp
from toystore.core.protocol.address import HANDOFF, STORAGE, Peer
from toystore.core.repair.handoff import Handoff


class HandoffActor(Actor):
    """Runs the hand-off machine."""

    role = HANDOFF

    def open(self) -> None:
        """The mailbox, and a link to every storage."""
        self.add_mailbox()
        self.add_local(STORAGE)
        for other in self.surroundings.others():
            storage = Peer(other.name, STORAGE)
            address = tcp(other.host, other.peer_port)
            self.add(Link(self.surroundings, self.role, storage, address), storage)

    def make_machine(self) -> Handoff:
        """A hand-off machine that knows of no hints yet."""
        return Handoff(
            node=self.me,
            settings=self.surroundings.config.handoff_settings(),
            outbox=self.outbox,
            chance=self.surroundings.chance(),
        )
