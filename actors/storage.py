"""The storage actor: group commit behind a mailbox.

The mailbox is the node's peer port as well, so that a local and a remote coordinator differ
only in the address they connect to.  Each drained batch is one transaction, and what the
machine wrote leaves after its commit (`toystore/engines/group_commit.py`).
"""

from __future__ import annotations

import time

from actors.actor import Actor
from actors.surroundings import Surroundings
from toystore.core.protocol.address import STORAGE, Address
from toystore.core.protocol.machine import Machine, Now
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.storage.storage import Storage
from toystore.engines import Engine, GroupCommit


class StorageActor(Actor):
    """Feeds whole batches to the storage machine inside one transaction."""

    role = STORAGE

    def __init__(self, surroundings: Surroundings, engine: Engine) -> None:
        """``engine``: opened by the node; from here on only this thread touches it."""
        super().__init__(surroundings)
        self.engine = engine
        self.group = GroupCommit(engine, self.outbox, self._replace)

    def open(self) -> None:
        """One mailbox with two endpoints: inproc, and the peer port."""
        self.add_mailbox(*self.surroundings.own(self.surroundings.me.peer_port))

    def make_machine(self) -> Storage:
        """A storage machine keeps nothing outside its store."""
        return Storage(
            store=self.engine,
            node=self.me,
            hint_bytes_max=self.surroundings.config.limits.hint_bytes_max,
            outbox=self.outbox,
            chance=self.surroundings.chance(),
        )

    def deliver(self, address: Address, messages: list[Message]) -> list[Delivery]:
        """Storage only ever answers."""
        return self.mailbox.send(address, messages)

    def patience_s(self) -> float | None:
        """No wait while background messages are left over; else until something is due."""
        if self.group.waiting:
            return 0.0
        due = self.engine.due_s()
        return None if due is None else due - time.monotonic()

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """One turn: commit a batch, answer."""
        self.group.serve(self.machine, inbox, at)
        self.flush(at)
        due = self.engine.due_s()
        if due is not None and due <= at.monotonic:
            self.write(self.engine.tend(), at)

    def _replace(self, error: Exception, message: Message, at: Now) -> Machine:
        """A fresh machine for one that failed over ``message``, unless there were too many."""
        self.log_failure(error, message)
        if not self.may_restart(at):
            raise error
        self.machine = self.make_machine()
        return self.machine
