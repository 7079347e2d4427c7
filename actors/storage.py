"""The storage actor: group commit behind a mailbox.

The mailbox is also the node's peer port, so that a local and a remote coordinator differ only
in the address that they connect to.  Each drained batch is one transaction, and the machine's
messages are sent after its commit (`toystore/engines/group_commit.py`).
"""

from __future__ import annotations

import time
from typing import Any

import zmq

from actors.actor import Actor
from actors.surroundings import Surroundings
from toystore.core.assembly import make_machine
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.engines import Engine, GroupCommit


class StorageActor(Actor):
    """Passes each batch to the storage machine inside one transaction."""

    role = STORAGE
    turn: GroupCommit

    def __init__(self, surroundings: Surroundings, engine: Engine) -> None:
        """``engine``: opened by the node; from now on only this thread uses it."""
        super().__init__(surroundings)
        self.engine = engine

    def open(self) -> None:
        """Open one mailbox with two endpoints: inproc, and the peer port."""
        self.add_mailbox(*self.surroundings.own(self.surroundings.me.peer_port))

    def listeners(self) -> dict[str, zmq.Socket[bytes]]:
        """The peer port."""
        return {"peer_port": self.mailbox.socket}

    def make_turn(self) -> GroupCommit:
        """Each turn is a transaction."""
        return GroupCommit(self.engine, Peer(self.me, STORAGE), self.make_machine, self)

    def make_machine(self, outbox: Outbox) -> Any:
        """A storage machine; all that it must not lose is in the engine."""
        around = self.surroundings
        return make_machine(STORAGE, around.blueprint, outbox, around.chance(), self.engine)

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Send answers: storage sends nothing else."""
        return self.mailbox.send(to, messages)

    def patience_s(self) -> float | None:
        """No wait while background messages are left; otherwise until the engine is due."""
        if self.turn.waiting:
            return 0.0
        due = self.engine.due_s()
        return None if due is None else due - time.monotonic()

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Commit a batch and answer it; then do the engine's work that is due."""
        super().serve(inbox, at)
        due = self.engine.due_s()
        if due is not None and due <= at.monotonic:
            self.write(self.engine.tend(), at)
