"""Group commit: one transaction for each batch of messages.

    queue    background messages (hand-off and repair); the queue is bounded
    choose   all foreground requests, and a bounded number of background messages
    commit   begin, feed each message to the storage machine, commit; tell the machine

The machine's outbox is sent only after the commit.  If a batch cannot be committed, nothing
is sent, the cause is removed, and the batch is fed again:

    the map is full      the map grows
    the disk is full     messages that need more room are answered `REFUSED` and removed; if the
                         rest has no room either, so are those that may write
    the machine raised   the message is answered `Internal` and removed; a new machine
                         receives the rest

This is the `Turn` of storage, real or simulated: there is no socket, thread or clock here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.failures import refuse_write
from toystore.core.protocol.machine import Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.antientropy import StoreRecords, WatchRanges
from toystore.core.protocol.messages.hints import DeliverHints
from toystore.core.protocol.messages.replica import RepairReplica
from toystore.core.protocol.messages.ring import RingChanged, RingForked
from toystore.core.protocol.routes import ROUTE_OF, DiskUse, Priority
from toystore.core.protocol.turn import Shell, Turn
from toystore.core.storage.store import StoreFullError
from toystore.engines.base import Engine, EngineError, MapFullError

BACKGROUND_BESIDE_FOREGROUND = 16
"""The most background messages in a turn with foreground requests."""
BACKGROUND_ALONE = 256
"""The most background messages in a turn without foreground requests."""
BACKGROUND_MAX = 4096
"""The most background messages that wait; more are dropped, and their senders try again.

`WatchRanges` is never dropped: its sender waits for ever, and has one question open at most."""
BACKGROUND_BYTES_MAX = 16 * 1024 * 1024
"""The most bytes of records in them; a larger message waits alone."""


class PoisonedError(Exception):
    """The machine failed over this message of a batch."""

    def __init__(self, error: Exception, message: Message, sender: Address) -> None:
        super().__init__(str(error))
        self.error = error
        self.delivery: Delivery = (message, sender)


class CommittedMachine(Machine, Protocol):
    """A machine whose data is in the engine, and some of its state is not."""

    def on_commit(self) -> None:
        """The batch is committed."""

    def on_abort(self) -> None:
        """The batch is undone; it, or a part of it, may be fed again."""


class GroupCommit(Turn[CommittedMachine]):
    """The turns of storage, a transaction to each; see the module's docstring."""

    def __init__(
        self,
        engine: Engine,
        me: Peer,
        make_machine: Callable[[Outbox], CommittedMachine],
        shell: Shell,
    ) -> None:
        """``engine``: what the machines have for a store."""
        super().__init__(me, make_machine, shell)
        self._engine = engine
        self._background: deque[Delivery] = deque()
        self._background_bytes = 0
        self._full = False

    @property
    def waiting(self) -> int:
        """The number of background messages that wait."""
        return len(self._background)

    def process(self, inbox: list[Delivery], at: Now) -> None:
        """Choose a batch and commit it.

        Raises:
            EngineError: the engine cannot be trusted any more.
        """
        for message, _ in inbox:
            if type(message) is RingChanged:
                self._shell.follow(message)
            elif type(message) is RingForked:
                self._shell.disown(message)
        self.commit(self.choose(inbox), at)

    # --- what is served -----------------------------------------------------------------

    def choose(self, inbox: list[Delivery]) -> list[Delivery]:
        """All foreground requests, then a bounded number of background messages."""
        batch: list[Delivery] = []
        for delivery in inbox:
            if ROUTE_OF[type(delivery[0])].priority is Priority.FOREGROUND:
                batch.append(delivery)
            else:
                self._queue(delivery)
        limit = BACKGROUND_BESIDE_FOREGROUND if batch else BACKGROUND_ALONE
        for _ in range(min(limit, len(self._background))):
            delivery = self._background.popleft()
            self._background_bytes -= _size(delivery[0])
            batch.append(delivery)
        return batch

    def _queue(self, delivery: Delivery) -> None:
        """Queue a background message, or drop it if there is no room: its sender tries again."""
        size = _size(delivery[0])
        before = self._background_bytes
        has_room = len(self._background) < BACKGROUND_MAX and (
            not before or before + size <= BACKGROUND_BYTES_MAX
        )
        if has_room or type(delivery[0]) is WatchRanges:
            self._background.append(delivery)
            self._background_bytes += size

    # --- how it is committed ------------------------------------------------------------

    def commit(self, batch: list[Delivery], at: Now) -> None:
        """Feed a batch until it is committed; after each failure, remove the cause first."""
        aside = Outbox()  # the events and the answers for messages that were removed
        while batch:
            try:
                self._attempt(batch, at)
                break
            except MapFullError:
                self._abort()
                if not self._grow(aside):
                    batch = self._without_writes(batch, aside)
            except StoreFullError:
                self._abort()
                batch = self._without_writes(batch, aside)
            except PoisonedError as poisoned:
                self._abort()
                self.replace(poisoned.error, poisoned.delivery, at)
                self.outbox.move_to(aside)
                message = poisoned.delivery[0]
                batch = [delivery for delivery in batch if delivery[0] is not message]
        self.outbox.events[:0] = aside.events
        aside.events = []
        aside.move_to(self.outbox)

    def _attempt(self, batch: list[Delivery], at: Now) -> None:
        """Begin, feed, commit."""
        self._engine.begin()
        receive = self.machine.receive
        for message, sender in batch:
            try:
                receive(message, sender, at)
            except (MapFullError, StoreFullError, EngineError):
                raise
            except Exception as error:
                raise PoisonedError(error, message, sender) from error
        self._engine.commit()
        self.machine.on_commit()
        if self._full and any(_disk(message) is DiskUse.GROWS for message, _ in batch):
            self._full = False
            self.outbox.log("disk.writable")

    def _abort(self) -> None:
        """Undo the batch, and clear the outbox: it is about writes that are not on the disk."""
        self._engine.abort()
        self.machine.on_abort()
        self.outbox.clear()

    def _grow(self, aside: Outbox) -> bool:
        """Double the map; False if the disk has no room for that."""
        try:
            aside.log("disk.grown", bytes=self._engine.grow())
        except StoreFullError:
            return False
        return True

    def _without_writes(self, batch: list[Delivery], aside: Outbox) -> list[Delivery]:
        """Refuse the messages that need more room, or if none does, those that may write.

        Returns the rest of the batch.
        """
        uses = {_disk(message) for message, _ in batch}
        refused = DiskUse.GROWS if DiskUse.GROWS in uses else DiskUse.WRITES
        writes = [delivery for delivery in batch if _disk(delivery[0]) is refused]
        for message, sender in writes:
            refusal = refuse_write(message)
            if refusal is not None:
                aside.send(sender, refusal)
        if not self._full:
            self._full = True
            aside.log("disk.full", refused=len(writes))
        return [delivery for delivery in batch if _disk(delivery[0]) is not refused]


def _disk(message: Message) -> DiskUse:
    """How a message uses the disk."""
    return ROUTE_OF[type(message)].disk


def _size(message: Message) -> int:
    """The bytes of the records that a background message carries."""
    match message:
        case RepairReplica():
            return len(message.record)
        case DeliverHints():
            return sum(len(record) for _, record in message.hints)
        case StoreRecords():
            return sum(map(len, message.records))
        case _:
            return 0
