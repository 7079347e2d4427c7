"""Group commit: whole batches of messages into one transaction each.

    put off  the background messages, hand-off and repair; a bounded number waits
    choose   all foreground requests, and a bounded share of those that wait
    commit   begin, feed each message to the storage machine, commit

Only after that may anything leave that the machine wrote to its outbox.  If a batch cannot
be committed, nothing leaves, and it is fed again without what stood in the way.  The map
was full: it grows.  The disk is full: what may write is answered `REFUSED`.  The machine
raised: the message that did it is answered `Internal`, and a fresh machine has the rest.

There is no socket, thread or clock in here: an actor runs it, and so does the simulator.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from toystore.core.protocol.address import Address
from toystore.core.protocol.failures import internal_reply, refuse_write
from toystore.core.protocol.machine import Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.hints import DeliverHints
from toystore.core.protocol.messages.replica import RepairReplica
from toystore.core.protocol.routes import ROUTE_OF, DiskUse, Priority
from toystore.core.storage.store import StoreFullError
from toystore.engines.base import Engine, EngineError, MapFullError

BACKGROUND_BESIDE_FOREGROUND = 16
"""Background messages served in a turn that has foreground requests too."""
BACKGROUND_ALONE = 256
"""Background messages served in a turn that has none."""
BACKGROUND_MAX = 4096
"""Background messages that wait; more are dropped, and their senders try again."""
BACKGROUND_BYTES_MAX = 16 * 1024 * 1024
"""And the bytes of their records; one that has more waits alone."""

Renew = Callable[[Exception, Message, Now], Machine]
"""A fresh machine for one that failed over a message; raises the error if once too often."""


class PoisonedError(Exception):
    """The machine failed over one message of a batch."""

    def __init__(self, error: Exception, message: Message, sender: Address) -> None:
        super().__init__(str(error))
        self.error = error
        self.delivery: Delivery = (message, sender)


class GroupCommit:
    """Feeds a storage machine in transactions; see the module's docstring."""

    def __init__(self, engine: Engine, outbox: Outbox, renew: Renew) -> None:
        """``outbox``: the machine's; it may be flushed whenever `serve` has returned."""
        self._engine = engine
        self._outbox = outbox
        self._renew = renew
        self._background: deque[Delivery] = deque()
        self._background_bytes = 0
        self._full = False

    @property
    def waiting(self) -> int:
        """How many background messages are left for another turn."""
        return len(self._background)

    def serve(self, machine: Machine, inbox: list[Delivery], at: Now) -> bool:
        """One turn: choose a batch and commit it.  Returns whether there was one.

        Raises:
            EngineError: nothing here can be trusted any more.
        """
        batch = self._choose(inbox)
        if batch:
            self._commit(machine, batch, at)
        return bool(batch)

    # --- what is served -----------------------------------------------------------------

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
        before = self._background_bytes
        if len(self._background) < BACKGROUND_MAX and (
            not before or before + size <= BACKGROUND_BYTES_MAX
        ):
            self._background.append(delivery)
            self._background_bytes += size

    # --- how it is committed ------------------------------------------------------------

    def _commit(self, machine: Machine, batch: list[Delivery], at: Now) -> None:
        """Feed a batch until it is committed, each time without what stood in the way."""
        aside = Outbox()  # what is said of messages that are not in the batch any more
        while batch:
            try:
                self._attempt(machine, batch, at)
                break
            except MapFullError:
                self._give_up()
                if not self._grow(aside):
                    batch = self._without_writes(batch, aside)
            except StoreFullError:
                self._give_up()
                batch = self._without_writes(batch, aside)
            except PoisonedError as poisoned:
                self._give_up()
                message, sender = poisoned.delivery
                machine = self._renew(poisoned.error, message, at)
                reply = internal_reply(message, f"{type(poisoned.error).__name__} in storage")
                if reply is not None:
                    aside.send(sender, reply)
                batch = [delivery for delivery in batch if delivery[0] is not message]
        self._outbox.events[:0] = aside.events
        for sender, replies in aside.sends.items():
            for reply in replies:
                self._outbox.send(sender, reply)

    def _attempt(self, machine: Machine, batch: list[Delivery], at: Now) -> None:
        """Begin, feed, commit."""
        self._engine.begin()
        receive = machine.receive
        for message, sender in batch:
            try:
                receive(message, sender, at)
            except (MapFullError, StoreFullError, EngineError):
                raise
            except Exception as error:
                raise PoisonedError(error, message, sender) from error
        self._engine.commit()
        if self._full and any(_disk(message) is DiskUse.GROWS for message, _ in batch):
            self._full = False
            self._outbox.log("disk.writable")

    def _give_up(self) -> None:
        """What was written to the outbox rested on a batch that is not on disk."""
        self._engine.abort()
        self._outbox.clear()

    def _grow(self, aside: Outbox) -> bool:
        """Double the map; False if the disk has no room for that."""
        try:
            aside.log("disk.grown", bytes=self._engine.grow())
        except StoreFullError:
            return False
        return True

    def _without_writes(self, batch: list[Delivery], aside: Outbox) -> list[Delivery]:
        """Refuse what may write; the rest of the batch goes on."""
        writes = [delivery for delivery in batch if _disk(delivery[0]) is not DiskUse.READS]
        for message, sender in writes:
            refusal = refuse_write(message)
            if refusal is not None:
                aside.send(sender, refusal)
        if not self._full:
            self._full = True
            aside.log("disk.full", refused=len(writes))
        return [delivery for delivery in batch if _disk(delivery[0]) is DiskUse.READS]


def _disk(message: Message) -> DiskUse:
    """What it does to the disk."""
    return ROUTE_OF[type(message)].disk


def _size(message: Message) -> int:
    """The bytes of the records that a background message carries."""
    match message:
        case RepairReplica():
            return len(message.record)
        case DeliverHints():
            return sum(len(record) for _, record in message.hints)
        case _:
            return 0
