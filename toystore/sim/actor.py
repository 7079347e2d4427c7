"""One actor of a simulated node: its mailbox, its links, and its machine's turns.

Everything an actor's shell does is here, without sockets and threads (compare
``actors/actor.py``): a mailbox that fills, turns that drain it or a part of it, a flush that
sends one frame to each destination, and news of links and of sends that failed.  Frames
are those of ``toystore/wire.py``, byte by byte, and storage commits its batches as the real
one does, by `GroupCommit`.

A turn takes no time, but for storage: it is busy until its commit has reached the disk,
and only then do its answers leave.  A crash in between finds the batch committed or not.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from toystore.core.admission import no_room
from toystore.core.coordinator import Coordinator
from toystore.core.machine import (
    COORDINATOR,
    GOSSIP,
    HANDOFF,
    STORAGE,
    Address,
    Caller,
    Machine,
    Now,
    Outbox,
    Peer,
)
from toystore.core.messages import (
    Code,
    DeliverHints,
    Delivery,
    ErrorReply,
    Exchange,
    ExchangeReply,
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    Message,
    ReplicaStatus,
    SendFailed,
    WriteReplica,
    WriteReplicaReply,
    internal_reply,
    takes,
)
from toystore.core.record import stamp_of
from toystore.core.writing import Write
from toystore.engines import GroupCommit
from toystore.sim.network import Link
from toystore.wire import Header, decode, encode_bounded, request_numbers

if TYPE_CHECKING:
    from toystore.sim.node import SimNode

SYNC_S = 0.1
"""How long a settled batch waits for its sync, with durability "async"."""
PAUSED_S = 0.01
"""How soon a commit that ends in a pause is looked at again."""
OVERDUE_MAX = 10
"""In so many turns in a row a machine may still have something due after all that was."""


class PlannedError(Exception):
    """What a machine raises that was to fail; see the fault "failure" in trouble.py."""


class BrokenMachineError(Exception):
    """A machine raised, or did what no machine may do; the text says which and what."""


class _Letter(NamedTuple):
    """A frame in a mailbox."""

    frame: bytes
    sender: Address | None
    """None: it is in the frame's header."""
    link: Link | None
    """The way back."""


class SimActor:
    """One actor: its mailbox, its machine, its links, its turns."""

    def __init__(self, node: SimNode, role: str) -> None:
        self.node = node
        self.role = role
        self.outbox = Outbox()
        self.machine = node.make_machine(role, self.outbox)
        self.inbox: deque[_Letter | Delivery] = deque()
        self.links: dict[Peer, Link] = {}
        self.routes: dict[Peer, Link] = {}
        """By whose connection an actor that wrote to this one is answered."""
        self.chance: random.Random = node.chance
        self.fails = False
        """Whether the machine is to raise over the next message that has come from an actor."""
        self._members: MembersChanged | None = None
        self._leaves: Leave | None = None
        self._wake_at: float | None = None
        self._overdue = 0

    # --- links --------------------------------------------------------------------------

    def open(self) -> None:
        """Connect to whatever this actor sends to on other nodes."""
        for other in self.node.cluster.scenario.names:
            if other == self.node.name:
                continue
            if self.role in (COORDINATOR, HANDOFF):
                self._connect(Peer(other, STORAGE))
            if self.role == COORDINATOR:
                self._connect(Peer(other, COORDINATOR))
            if self.role == GOSSIP:
                self._connect(Peer(other, GOSSIP))

    def _connect(self, to: Peer) -> None:
        def on_change(up: bool) -> None:
            if _is_watched(to):
                self.tell(LinkUp(to.node) if up else LinkLost(to.node), to)

        def on_answer(frame: bytes) -> None:
            self.receive(frame, to)

        link = self.node.network.link(self.node.name, to.node, on_change, on_answer, wild=True)
        self.links[to] = link

    # --- in -----------------------------------------------------------------------------

    def tell(self, message: Message, sender: Address) -> None:
        """Something that the shell itself has to say."""
        self.inbox.append((message, sender))
        self.wake(self._sluggishness())

    def receive(
        self, frame: bytes, sender: Address | None = None, link: Link | None = None
    ) -> None:
        """A frame has come; ``sender`` of None is in its header, ``link`` leads an answer back."""
        self.node.world.note(self.node.name, f"{self.role} gets {len(frame)} bytes", frame)
        self.inbox.append(_Letter(frame, sender, link))
        self.wake(self._sluggishness())

    def opened(self, item: _Letter | Delivery) -> list[Delivery]:
        """The messages of what lay in the mailbox."""
        if not isinstance(item, _Letter):
            return [item]
        frame, sender = decode(item.frame), item.sender
        if sender is None:
            assert frame.header is not None
            sender = frame.header.sender
            if item.link is not None:
                self.routes[frame.header.sender] = item.link
        for message in frame.messages:
            if isinstance(sender, Peer) and not takes(self.role, type(message)):
                raise BrokenMachineError(f"{type(message).__name__} was sent to {self.role}")
        self.node.cluster.said.update(type(message).__name__ for message in frame.messages)
        return [(message, sender) for message in frame.messages]

    # --- turns --------------------------------------------------------------------------

    def wake(self, in_s: float) -> None:
        """Take a turn in a while, unless one is due before."""
        at = self.node.world.now + in_s
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self.node.world.at(at, partial(self._awake, at))

    def _awake(self, at: float) -> None:
        if self._wake_at != at:
            return
        self._wake_at = None
        if self.node.actors.get(self.role) is self and self.may_turn():
            self.turn()

    def may_turn(self) -> bool:
        """Whether nothing holds it up."""
        return not self.node.paused & {"", self.role}

    def turn(self) -> None:
        """Drain, feed, serve what is due, flush."""
        batch: list[Delivery] = []
        for _ in range(self._share()):
            batch += self.opened(self.inbox.popleft())
        self.serve(batch, self.node.now())
        self.wake_for_more()

    def serve(self, batch: list[Delivery], at: Now) -> None:
        """Feed the machine what came and what is due, then flush."""
        for message, sender in batch:
            self.feed(message, sender, at)
        due = self.machine.next_deadline()
        if due is not None and due <= at.monotonic:
            self._guarded(self.machine.on_deadline, at)
        self._count_overdue(at)
        self.flush(at)

    def feed(self, message: Message, sender: Address, at: Now) -> None:
        """Hand one message to the machine."""
        match message:
            case MembersChanged():
                self._members = message
            case Leave():
                self._leaves = message
            case LinkUp() | LinkLost() | SendFailed():
                pass
            case _ if self.fails:
                self._renew(message, sender, at)
                return
        self._guarded(self.machine.receive, message, sender, at)

    def _renew(self, message: Message, sender: Address, at: Now) -> None:
        """The machine has failed over a message: a fresh one is told what the old one knew."""
        self.note_failure(message)
        self._guarded(self.machine.on_failure, at)
        if (reply := internal_reply(message, "as planned")) is not None:
            self.outbox.send(sender, reply)
        self.machine = self.node.make_machine(self.role, self.outbox)
        me = Peer(self.node.name, self.role)
        for to, link in self.links.items():
            if link.up and _is_watched(to):
                self._guarded(self.machine.receive, LinkUp(to.node), to, at)
        for told in (self._members, self._leaves):
            if told is not None:
                self._guarded(self.machine.receive, told, me, at)

    def note_failure(self, message: Message) -> None:
        """Tell the trace of it."""
        self.fails = False
        self.node.world.note(self.node.name, f"{self.role} fails over {type(message).__name__}")

    def wake_for_more(self) -> None:
        """Come back for what is left, or for the machine's next deadline."""
        if self.inbox:
            self.wake(0.0001)
        due = self.machine.next_deadline()
        if due is not None:
            wait_s = math.ceil(max(0.0, due - self.node.now().monotonic) * 1000) / 1000
            self.wake(wait_s + self._sluggishness())

    def _share(self) -> int:
        """How much of what waits this turn takes in."""
        waiting = len(self.inbox)
        if waiting > 1 and self.chance.random() < self.node.network.rates.partial:
            return self.chance.randint(1, waiting)
        return waiting

    def _sluggishness(self) -> float:
        if self.chance.random() < self.node.network.rates.sluggish:
            return self.chance.uniform(0.0, 0.1)
        return self.chance.uniform(0.00001, 0.0003)

    def _count_overdue(self, at: Now) -> None:
        """A machine whose deadline stays in the past would have its actor turn without end."""
        due = self.machine.next_deadline()
        self._overdue = self._overdue + 1 if due is not None and due <= at.monotonic else 0
        if self._overdue > OVERDUE_MAX:
            raise BrokenMachineError(f"{self.role} of {self.node.name} turns without end")

    def _guarded(self, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:
            what = type(arguments[0]).__name__
            text = f"{self.role} of {self.node.name} failed over {what}: {error!r}"
            raise BrokenMachineError(text) from error

    # --- out ----------------------------------------------------------------------------

    def flush(self, at: Now) -> None:
        """Send what the machine wrote, until it has nothing more to say; keep what it logged."""
        self.outbox.flush(self.send, self.feed, at)
        if self.outbox.sends:
            self.wake(0.0)
        for event in self.outbox.events:
            self.node.cluster.log(self.node.name, self.role, event)
        self.outbox.events.clear()

    def send(self, address: Address, messages: list[Message]) -> list[Delivery]:
        """Send through the door that leads there; returns what the machine must hear of it."""
        node = self.node
        if isinstance(address, Caller):
            self._answer(node.callers.get(address), messages, None)
            return []
        header = node.header_of[self.role]
        if address.node == node.name:
            to = node.actors[address.actor]
            for frame in self._frames(messages, header):
                to.receive(frame)
            return []
        if self.role == STORAGE:
            self._answer(self.routes.get(address), messages, header)
            return []
        if self.role == GOSSIP:
            return self._gossip(address, messages, header)
        return self._link(address, messages, header)

    def _frames(self, messages: list[Message], header: Header | None) -> Iterable[bytes]:
        limit = self.node.cluster.scenario.frame_bytes_max
        return (frame for frame, _ in encode_bounded(messages, header, limit))

    def _link(self, to: Peer, messages: list[Message], header: Header) -> list[Delivery]:
        """Along a link; what cannot leave is unreachable if it is down, and overloaded if not."""
        link, cluster = self.links[to], self.node.cluster
        clogged = self.node.network.is_clogged(self.node.name, to.node) and link.full
        if not link.up or clogged:
            return [(SendFailed(*to, message, link.up), to) for message in messages]
        caller = Caller((f"{self.node.name}/{self.role}/{self.node.boots}".encode(),))
        for frame in self._frames(messages, header):
            link.send(frame, partial(cluster.arrive, to, caller, link))
        return []

    def _answer(self, link: Link | None, messages: list[Message], header: Header | None) -> None:
        """Back along the connection that the question came by; lost if there is none."""
        if link is not None:
            for frame in self._frames(messages, header):
                link.answer(frame)

    def _gossip(self, to: Peer, messages: list[Message], header: Header) -> list[Delivery]:
        """Exchanges and their answers by link, everything else as datagrams."""
        news: list[Delivery] = []
        for message in messages:
            if type(message) is Exchange:
                news += self._link(to, [message], header)
            elif type(message) is ExchangeReply:
                self._answer(self.routes.get(to), [message], header)
            elif not self.links[to].up:
                news.append((SendFailed(*to, message, False), to))
            else:
                for frame in self._frames([message], header):
                    arrive = partial(self.node.cluster.datagram, to, frame)
                    self.node.network.datagram(self.node.name, to.node, arrive)
        return news


def _is_watched(to: Peer) -> bool:
    """Whether a machine hears of a link; of those to coordinators it has no use for the news."""
    return to.actor != COORDINATOR


class SimCoordinator(SimActor):
    """The coordinator: clients for whom there is no room are turned away at the door."""

    machine: Coordinator

    def turn(self) -> None:
        """Look how much room there is, as the real one does once in a turn."""
        self._room = self.machine.room(self.node.now())
        super().turn()

    def opened(self, item: _Letter | Delivery) -> list[Delivery]:
        """The requests of a frame, unless there is no room for them."""
        deliveries = super().opened(item)
        if not (isinstance(item, _Letter) and isinstance(item.sender, Caller)):
            return deliveries
        if self._room <= 0 and (numbers := request_numbers(item.frame)):
            text = no_room(self.node.name)
            for number in numbers:
                refusal = ErrorReply(number, Code.OVERLOADED, text, True)
                self.outbox.send(item.sender, refusal)
            self.machine.turned_away(len(numbers), self.node.now())
            return []
        self._room -= len(deliveries)
        return deliveries

    def feed(self, message: Message, sender: Address, at: Now) -> None:
        """Remember what gossip says."""
        if type(message) is MembersChanged:
            self.node.members = message
        super().feed(message, sender, at)

    def send(self, address: Address, messages: list[Message]) -> list[Delivery]:
        """Note the last hints that are left with others: nobody hears whether they are kept."""
        if address != Peer(self.node.name, STORAGE):
            self.node.cluster.unkept |= _writes(m for m in messages if self.is_last_hint(m))
        return super().send(address, messages)

    def is_last_hint(self, message: Message) -> bool:
        """Whether nobody waits for the answer to a message that leaves a hint."""
        return (
            type(message) is WriteReplica
            and message.hint_owner is not None
            and message.request not in self.machine._desk.held
        )

    def unsettled(self) -> set[tuple[bytes, str]]:
        """The acknowledged writes on the desk."""
        held = self.machine._desk.held.values()
        writes = (one for one in held if isinstance(one, Write) and one.answered)
        return {(write._digest, write.stamp.hex()) for write in writes}


def _writes(messages: Iterable[Message]) -> set[tuple[bytes, str]]:
    """Digest and stamp of each write among messages to storage."""
    return {
        (message.digest, stamp_of(message.record).hex())
        for message in messages
        if type(message) is WriteReplica
    }


class SimStorage(SimActor):
    """Storage: it is busy while a commit is on its way to the disk."""

    def __init__(self, node: SimNode, role: str) -> None:
        super().__init__(node, role)
        self.group = GroupCommit(node.disk, self.outbox, self._failed)
        self._busy = False
        self._batch: list[Delivery] = []
        """What is on its way to the disk."""

    @property
    def idle(self) -> bool:
        """Whether everything that came is on the disk."""
        return not (self._busy or self.inbox or self.group.waiting)

    def unsettled(self) -> set[tuple[bytes, str]]:
        """The last hints of this node's own coordinator that are not on the disk yet."""
        waiting = list(self._batch)
        for item in self.inbox:
            waiting += super().opened(item)
        return self._last_hints(waiting)

    def _last_hints(self, deliveries: Iterable[Delivery]) -> set[tuple[bytes, str]]:
        own = self.node.actors[COORDINATOR]
        assert isinstance(own, SimCoordinator)
        sender = Peer(self.node.name, COORDINATOR)
        return _writes(m for m, by in deliveries if by == sender and own.is_last_hint(m))

    def may_turn(self) -> bool:
        """Not before the last commit has come to its end."""
        return not self._busy and super().may_turn()

    def serve(self, batch: list[Delivery], at: Now) -> None:
        """Commit a batch; the answers leave when it is on the disk."""
        node = self.node
        if node.crash_at == "at delivery" and any(type(m) is DeliverHints for m, _ in batch):
            node.crash()
            return
        machine = _Failing() if self.fails else self.machine
        if not self.group.serve(machine, batch, at):
            return
        self._busy, self._batch = True, batch
        self._note_refusals()
        if node.crash_at.endswith("commit"):
            node.crash()
            return
        node.world.after(self._commit_s(), self._committed)

    def _note_refusals(self) -> None:
        """A last hint for which there is no room is kept nowhere."""
        own = Peer(self.node.name, COORDINATOR)
        replies = (m for m in self.outbox.sends.get(own, ()) if type(m) is WriteReplicaReply)
        refused = {reply.request for reply in replies if reply.status == ReplicaStatus.REFUSED}
        self.node.cluster.unkept |= self._last_hints(
            (message, sender)
            for message, sender in self._batch
            if type(message) is WriteReplica and message.request in refused
        )

    def _committed(self) -> None:
        node = self.node
        if node.actors.get(self.role) is not self:
            return
        if not super().may_turn():
            node.world.after(PAUSED_S, self._committed)
            return
        self._busy, self._batch = False, []
        node.disk.settle()
        if node.disk.wants_sync:
            node.world.after(SYNC_S, self._sync)
        self.flush(node.now())
        self.wake_for_more()

    def _sync(self) -> None:
        if self.node.actors.get(self.role) is self:
            self.node.disk.sync()

    def wake_for_more(self) -> None:
        """Background messages may be left over."""
        if not self._busy:
            super().wake_for_more()
            if self.group.waiting:
                self.wake(0.0001)

    def _commit_s(self) -> float:
        """How long a commit takes."""
        usual_s = self.chance.uniform(0.0003, 0.001)
        if self.chance.random() < self.node.network.rates.slow_commit:
            usual_s = self.chance.uniform(0.001, 0.1)
        return max(usual_s, self.node.commit_s)

    def _failed(self, error: Exception, message: Message, _at: Now) -> Machine:
        if not isinstance(error, PlannedError):
            what = type(message).__name__
            raise BrokenMachineError(f"storage of {self.node.name} failed over {what}: {error!r}")
        self.note_failure(message)
        # It is shown to nobody else, for it might break them as well (sloppy_quorum.py).
        self.node.cluster.unkept |= _writes([message])
        self.machine = self.node.make_machine(STORAGE, self.outbox)
        return self.machine


class _Failing:
    """In the place of a storage machine: it raises over the first message."""

    def receive(self, message: Message, _sender: Address, _now: Now) -> None:
        raise PlannedError(type(message).__name__)

    def on_deadline(self, now: Now) -> None:
        """Storage has none."""

    def next_deadline(self) -> float | None:
        return None

    def on_failure(self, now: Now) -> None:
        """Storage holds nothing."""
