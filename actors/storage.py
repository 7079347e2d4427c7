"""The storage actor: group commit behind a mailbox.

The mailbox is the node's peer port as well, so that a local and a remote coordinator differ
only in the address they connect to.  Each drained batch is one transaction, and what the
machine wrote leaves after its commit (`toystore/engines/group_commit.py`).
"""

from __future__ import annotations

import time

from actors.actor import Actor
from actors.surroundings import Surroundings
from toystore.core.assembly import make_machine
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.engines import Engine, GroupCommit


class StorageActor(Actor):
    """Feeds whole batches to the storage machine inside one transaction."""

    role = STORAGE
    turn: GroupCommit

    def __init__(self, surroundings: Surroundings, engine: Engine) -> None:
        """``engine``: opened by the node; from here on only this thread touches it."""
        super().__init__(surroundings)
        self.engine = engine

    def open(self) -> None:
        """One mailbox with two endpoints: inproc, and the peer port."""
        self.add_mailbox(*self.surroundings.own(self.surroundings.me.peer_port))

    def make_turn(self) -> GroupCommit:
        """Each turn is a transaction."""
        return GroupCommit(self.engine, Peer(self.me, STORAGE), self.make_machine, self)

    def make_machine(self, outbox: Outbox) -> Machine:
        """A storage machine keeps nothing outside its store."""
        around = self.surroundings
        return make_machine(STORAGE, around.blueprint, outbox, around.chance(), self.engine)

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Storage only ever answers."""
        return self.mailbox.send(to, messages)

    def patience_s(self) -> float | None:
        """No wait while background messages are left over; else until something is due."""
        if self.turn.waiting:
            return 0.0
        due = self.engine.due_s()
        return None if due is None else due - time.monotonic()

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Commit a batch and answer; then do for the engine what is due."""
        super().serve(inbox, at)
        due = self.engine.due_s()
        if due is not None and due <= at.monotonic:
            self.write(self.engine.tend(), at)
