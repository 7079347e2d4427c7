"""The storage actor: group commit around the storage machine.

Each drained batch is one transaction: begin, feed every message, commit, and only then
flush the answers.  The mailbox is the node's peer port as well, so that a local and a
remote coordinator differ only in the address they connect to.

If a batch cannot be committed, nothing the machine wrote leaves.  The map was full: it
grows, and the batch is fed again.  The disk is full: its writes are answered `REFUSED`
and the rest is fed again.  The machine raised: the message that did it is answered
`Internal` and the rest is fed again, to a fresh machine.

Foreground requests go before hand-off and repair, of which a bounded share is served in
each turn and a bounded number waits.
"""

from __future__ import annotations

import time
from collections import deque

from actors import log
from actors.actor import Actor
from actors.sockets import Delivery, Mailbox
from actors.surroundings import Surroundings, inproc, tcp
from toystore.core.machine import STORAGE, Address, Now
from toystore.core.messages import (
    ROUTE_OF,
    DeliverHints,
    Message,
    Priority,
    RepairReplica,
    WriteReplica,
    internal_reply,
)
from toystore.core.storage import WRITES, Storage, refuse_write
from toystore.core.store import StoreFullError
from toystore.engines import Engine, EngineError, MapFullError

BACKGROUND_BESIDE_FOREGROUND = 16
"""Background messages served in a turn that has foreground requests too."""
BACKGROUND_ALONE = 256
"""Background messages served in a turn that has none."""
BACKGROUND_MAX = 4096
"""Background messages that wait; more are dropped, and their senders try again."""

BACKGROUND_BYTES_MAX = 16 * 1024 * 1024
"""And the bytes of their records."""
ROOMY = (WriteReplica, DeliverHints)
"""What needs room on the disk: once one of these is committed, there is some again."""


class PoisonedError(Exception):
    """The machine failed over one message of a batch."""

    def __init__(self, error: Exception, message: Message, sender: Address) -> None:
        super().__init__(str(error))
        self.error = error
        self.delivery: Delivery = (message, sender)


class StorageActor(Actor):
    """Feeds whole batches to the storage machine inside one transaction."""

    role = STORAGE

    def __init__(self, surroundings: Surroundings, engine: Engine) -> None:
        """``engine``: opened by the node; from here on only this thread touches it."""
        super().__init__(surroundings)
        self.engine = engine
        self._background: deque[Delivery] = deque()
        self._background_bytes = 0
        self._full = False

    def open(self) -> None:
        """One mailbox with two endpoints: inproc, and the peer port."""
        peers = tcp(self.surroundings.me.bind, self.surroundings.me.peer_port)
        self.mailbox = Mailbox(self.surroundings, STORAGE, inproc(STORAGE), peers)
        self.add(self.mailbox)

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
        """No wait while background messages are left over; else until the next sync."""
        if self._background:
            return 0.0
        due = self.engine.sync_due_s()
        return None if due is None else due - time.monotonic()

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """One turn: choose the batch, commit it, answer."""
        batch = self._choose(inbox)
        if batch:
            self._commit(batch, at)
        self.flush(at)
        due = self.engine.sync_due_s()
        if due is not None and due <= at.monotonic:
            self.engine.sync()

    def _choose(self, inbox: list[Delivery]) -> list[Delivery]:
        """All foreground requests, then a bounded share of the background ones."""
        batch: list[Delivery] = []
        for delivery in inbox:
            if ROUTE_OF[type(delivery[0])].priority is Priority.FOREGROUND:
                batch.append(delivery)
            else:
                self._put_off(delivery)
        share = BACKGROUND_BESIDE_FOREGROUND if batch else BACKGROUND_ALONE
        for _ in range(min(share, len(self._background))):
            delivery = self._background.popleft()
            self._background_bytes -= _size(delivery[0])
            batch.append(delivery)
        return batch

    def _put_off(self, delivery: Delivery) -> None:
        """Let a background message wait, if there is room; else its sender tries again."""
        size = _size(delivery[0])
        if (
            len(self._background) < BACKGROUND_MAX
            and self._background_bytes + size <= BACKGROUND_BYTES_MAX
        ):
            self._background.append(delivery)
            self._background_bytes += size

    def _commit(self, batch: list[Delivery], at: Now) -> None:
        """Feed a batch until it is committed, each time without what stood in the way."""
        answers: list[tuple[Address, Message]] = []
        while batch:
            try:
                self._attempt(batch, at)
                break
            except MapFullError:
                self._give_up()
                if not self._grow():
                    batch = self._without_writes(batch, answers)
            except StoreFullError:
                self._give_up()
                batch = self._without_writes(batch, answers)
            except PoisonedError as poisoned:
                self._give_up()
                batch = self._set_aside(poisoned, batch, answers, at)
        for sender, reply in answers:
            self.outbox.send(sender, reply)

    def _attempt(self, batch: list[Delivery], at: Now) -> None:
        """Begin, feed, commit."""
        self.engine.begin()
        receive = self.machine.receive
        for message, sender in batch:
            try:
                receive(message, sender, at)
            except (MapFullError, StoreFullError, EngineError):
                raise
            except Exception as error:
                raise PoisonedError(error, message, sender) from error
        self.engine.commit()
        if self._full and any(type(message) in ROOMY for message, _ in batch):
            self._full = False
            log.event(STORAGE, "disk.writable")

    def _give_up(self) -> None:
        """What was written to the outbox rested on a batch that is not on disk."""
        self.engine.abort()
        self.outbox.clear()

    def _grow(self) -> bool:
        """Double the map; False if the disk has no room for that."""
        try:
            log.event(STORAGE, "disk.grown", bytes=self.engine.grow())
        except StoreFullError:
            return False
        return True

    def _without_writes(
        self, batch: list[Delivery], answers: list[tuple[Address, Message]]
    ) -> list[Delivery]:
        """Refuse what may write; the rest of the batch goes on."""
        writes = [delivery for delivery in batch if type(delivery[0]) in WRITES]
        answers += [(sender, reply) for m, sender in writes if (reply := refuse_write(m))]
        if not self._full:
            self._full = True
            log.event(STORAGE, "disk.full", refused=len(writes))
        return [delivery for delivery in batch if type(delivery[0]) not in WRITES]

    def _set_aside(
        self,
        poisoned: PoisonedError,
        batch: list[Delivery],
        answers: list[tuple[Address, Message]],
        at: Now,
    ) -> list[Delivery]:
        """Answer the poisoned message `Internal`; the batch goes on without it."""
        message, sender = poisoned.delivery
        self.log_failure(poisoned.error, message)
        if not self.may_restart(at):
            raise poisoned.error
        self.machine = self.make_machine()
        reply = internal_reply(message, f"{type(poisoned.error).__name__} in storage")
        if reply is not None:
            answers.append((sender, reply))
        return [delivery for delivery in batch if delivery[0] is not message]


def _size(message: Message) -> int:
    """The bytes of the records that a background message carries."""
    match message:
        case RepairReplica():
            return len(message.record)
        case DeliverHints():
            return sum(len(record) for _, record in message.hints)
        case _:
            return 0
