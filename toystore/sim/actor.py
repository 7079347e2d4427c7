"""One actor of a simulated node: its mailbox, its links and its machine's turns.

This is the shell of a `Turn` without sockets and threads (compare ``actors/actor.py``): it has
a mailbox, turns in virtual time that serve all or a part of the mailbox, and links that may be
down.  Frames are those of ``toystore/wire.py``, byte by byte.  A turn takes no time, except
that a turn of storage lasts until its commit (storage.py).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from toystore.core.protocol.address import GOSSIP, RING, Address, Caller, Peer
from toystore.core.protocol.machine import Event, Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkRefused,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.ring import RingChanged, RingForked, RingSeen
from toystore.core.protocol.newer_records import NewerRecords
from toystore.core.protocol.roles import ROLE_OF, local_links
from toystore.core.protocol.routes import ROUTE_OF, taken_by
from toystore.core.protocol.turn import Turn
from toystore.core.ring.cluster_id import is_newer
from toystore.core.ring.history import NO_HISTORY
from toystore.core.ring.record import unpack_ring
from toystore.sim.door import Door
from toystore.sim.network import Link
from toystore.wire import Header, decode, encode_bounded

if TYPE_CHECKING:
    from toystore.sim.node import SimNode

OVERDUE_MAX = 10
"""In how many turns in a row a machine may have a due deadline after `on_deadline`."""
NEWS = (LinkUp, LinkLost, LinkRefused, SendFailed, MembersChanged, Leave)
"""Messages from inside the node; no planned failure occurs on these."""


class PlannedError(Exception):
    """What a machine raises that was to fail; see the fault "failure" in faults/processes.py."""


class BrokenMachineError(Exception):
    """A machine raised, or did what no machine may do; the text names the machine and the cause."""


class Letter(NamedTuple):
    """A frame in a mailbox."""

    frame: bytes
    sender: Address | None
    """None: the sender is in the frame's header."""
    link: Link | None
    """The link for the answer."""


class Failing(NamedTuple):
    """A machine that raises on the next message from another actor or a client."""

    machine: Any

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Raise `PlannedError`."""
        if not isinstance(message, NEWS):
            raise PlannedError(type(message).__name__)
        self.machine.receive(message, sender, now)

    def on_deadline(self, now: Now) -> None:
        """Call the wrapped machine."""
        self.machine.on_deadline(now)

    def next_deadline(self) -> float | None:
        """Call the wrapped machine."""
        deadline: float | None = self.machine.next_deadline()
        return deadline

    def on_failure(self, now: Now) -> None:
        """Call the wrapped machine."""
        self.machine.on_failure(now)

    def on_commit(self) -> None:
        """Call the wrapped machine, which is storage's."""
        self.machine.on_commit()

    def on_abort(self) -> None:
        """Call the wrapped machine, which is storage's."""
        self.machine.on_abort()


class SimActor:
    """One actor: its mailbox, its links, its turns."""

    turn: Turn[Any]

    def __init__(self, node: SimNode, role: str) -> None:
        self.node = node
        self.role = role
        self._takes = taken_by(role)
        self._local = local_links(role)
        self.plan = node.plan
        """What its machines are made from, by the newest ring record that it knows."""
        self.history = NO_HISTORY
        """Which ring records are of this cluster."""
        self.door = Door(Peer(node.name, role), self.plan, self.history)
        self.turn = self.make_turn()
        self.inbox: deque[Letter | Delivery] = deque()
        self.links: dict[Peer, Link] = {}
        self.routes: dict[Peer, Link] = {}
        """The connection on which each actor that has sent to this one is answered."""
        self.chance: random.Random = node.chance
        self.fails = False
        """Whether the machine is to raise; see `Failing`."""
        self._newer = NewerRecords()
        self._wake_at: float | None = None
        self._overdue = 0

    def make_turn(self) -> Turn[Any]:
        """The turns of this actor's machines."""
        return Turn(Peer(self.node.name, self.role), self.make_machine, self)

    def make_machine(self, outbox: Outbox) -> Machine:
        """A machine in its first state."""
        return self.node.make_machine(self.plan, self.role, outbox)

    @property
    def machine(self) -> Machine:
        """The machine, even while it is made to fail."""
        machine: Machine = self.turn.machine
        return machine.machine if isinstance(machine, Failing) else machine

    def follow(self, changed: RingChanged) -> list[Delivery]:
        """Sign frames with the new record, link to its members, and make new machines from it."""
        record = unpack_ring(changed.record)
        if record.epoch <= self.plan.record.epoch:
            return []
        self.plan = self.node.cluster.by_record(self.plan, record)
        self.history = self.history.following(record)
        self.door = Door(Peer(self.node.name, self.role), self.plan, self.history)
        listed = record.all
        self.routes = {to: link for to, link in self.routes.items() if to.node in listed}
        closed = [to for to in self.links if to.node not in listed]
        lost = [to for to in closed if self.links[to].up and self._is_watched(to)]
        for to in closed:
            self.node.network.close(self.links.pop(to))
        self.open()
        return [(LinkLost(to.node), to) for to in lost]

    def disown(self, forked: RingForked) -> None:
        """Refuse the frames of nodes that have a record of another founding."""
        self.history = self.history.disowning(forked.digest)
        self.door = Door(Peer(self.node.name, self.role), self.plan, self.history)

    # --- links --------------------------------------------------------------------------

    def open(self) -> None:
        """Connect to the actors of other members in this actor's row of `ROLES`."""
        for other in self.plan.record.all:
            if other != self.node.name:
                for actor, watched in ROLE_OF[self.role].links:
                    if Peer(other, actor) not in self.links:
                        self._connect(Peer(other, actor), watched)

    def close(self) -> None:
        """Close the connections: the actor ends before its node."""
        for link in self.links.values():
            self.node.network.close(link)

    def _is_watched(self, to: Peer) -> bool:
        return any(link.actor == to.actor and link.watched for link in ROLE_OF[self.role].links)

    def _connect(self, to: Peer, watched: bool) -> None:
        def on_change(up: bool) -> None:
            if watched:
                self.tell(LinkUp(to.node) if up else LinkLost(to.node), to)

        def on_refused() -> None:
            self.tell(LinkRefused(to.node), to)

        def on_answer(frame: bytes) -> None:
            self.receive(frame, to)

        link = self.node.network.link(self.node.name, to.node, on_change, on_answer, wild=True)
        if self.role == GOSSIP:
            link.on_refused = on_refused
        self.links[to] = link

    # --- in -----------------------------------------------------------------------------

    def tell(self, message: Message, sender: Address) -> None:
        """Queue a message of the shell itself."""
        self.inbox.append((message, sender))
        self.wake(self._sluggishness())

    def receive(
        self, frame: bytes, sender: Address | None = None, link: Link | None = None
    ) -> None:
        """Queue a frame; if ``sender`` is None, the header has it; ``link`` carries the answer."""
        self.node.world.note(self.node.name, f"{self.role} gets {len(frame)} bytes", frame)
        self.inbox.append(Letter(frame, sender, link))
        self.wake(self._sluggishness())

    def opened(self, item: Letter | Delivery) -> list[Delivery]:
        """The messages of an item in the mailbox."""
        if not isinstance(item, Letter):
            return [item]
        frame, sender = decode(item.frame), item.sender
        messages = frame.messages
        if frame.header is not None:
            messages, refused = self.door.admit(frame, is_answer=isinstance(sender, Peer))
            if refused:
                self._answer(item.link, [Refused(refused)], self.door.header)
            self._look_for_newer(frame.header)
        if sender is None:
            assert frame.header is not None
            sender = frame.header.sender
            if item.link is not None:
                self.routes[sender] = item.link
        for message in messages:
            if isinstance(sender, Peer) and type(message) not in self._takes:
                raise BrokenMachineError(f"{type(message).__name__} was sent to {self.role}")
        said = self.node.cluster.said
        for message in messages:
            said[type(message).__name__] += 1
        return [(message, sender) for message in messages]

    def _look_for_newer(self, header: Header) -> None:
        """Let the actor `ring` know of a node with a newer ring record."""
        node, epoch = header.sender.node, header.cluster.epoch
        if not is_newer(self.door.header.cluster, header.cluster) or node == self.node.name:
            return
        if self._newer.is_news(node, epoch, self.node.world.now):
            self.tell_ring(RingSeen(node, epoch))

    def tell_ring(self, seen: RingSeen) -> None:
        """Send to the actor `ring` of this node, if this actor has a link to it."""
        if RING in self._local:
            self._send_local(Peer(self.node.name, RING), [seen], self.door.header)

    # --- turns --------------------------------------------------------------------------

    def wake(self, in_s: float) -> None:
        """Take a turn in ``in_s``, unless one is due earlier."""
        at = self.node.world.now + in_s
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self.node.world.at(at, partial(self._awake, at))

    def _awake(self, at: float) -> None:
        if self._wake_at != at:
            return
        self._wake_at = None
        if self.node.actors.get(self.role) is self and self.may_turn():
            self.take_turn()

    def may_turn(self) -> bool:
        """Whether the actor is not paused."""
        return not self.node.paused & {"", self.role}

    def take_turn(self) -> None:
        """Drain the mailbox or a part of it, serve."""
        batch: list[Delivery] = []
        for _ in range(self._share()):
            batch += self.opened(self.inbox.popleft())
        self.serve(batch, self.node.now())
        self.wake_for_more()

    def serve(self, batch: list[Delivery], at: Now) -> None:
        """Pass the messages to the machine and call it if due, then log and send what it wrote."""
        self.perhaps_failing(self.turn.serve, batch, at)
        self._count_overdue(at)

    def perhaps_failing(
        self, serve: Callable[[list[Delivery], Now], None], batch: list[Delivery], at: Now
    ) -> None:
        """Serve a batch; let the machine raise over it, if that is planned."""
        if not self.fails:
            serve(batch, at)
            return
        self.turn.machine = Failing(self.machine)
        serve(batch, at)
        self.turn.machine = self.machine

    def wake_for_more(self) -> None:
        """Wake for the messages that are left, or for the machine's next deadline."""
        if self.turn.unfinished:
            self.wake(0.0)
        if self.inbox:
            self.wake(0.0001)
        due = self.turn.machine.next_deadline()
        if due is not None:
            wait_s = math.ceil(max(0.0, due - self.node.now().monotonic) * 1000) / 1000
            self.wake(wait_s + self._sluggishness())

    def _share(self) -> int:
        """How many of the waiting items this turn receives."""
        waiting = len(self.inbox)
        if waiting > 1 and self.chance.random() < self.node.network.rates.partial:
            return self.chance.randint(1, waiting)
        return waiting

    def _sluggishness(self) -> float:
        if self.chance.random() < self.node.network.rates.sluggish:
            return self.chance.uniform(0.0, 0.1)
        return self.chance.uniform(0.00001, 0.0003)

    def _count_overdue(self, at: Now) -> None:
        """End the run if the machine's deadline stays in the past: its actor would never wait."""
        due = self.turn.machine.next_deadline()
        self._overdue = self._overdue + 1 if due is not None and due <= at.monotonic else 0
        if self._overdue > OVERDUE_MAX:
            raise BrokenMachineError(f"{self.role} of {self.node.name} turns without end")

    @property
    def idle(self) -> bool:
        """Whether the mailbox is empty, and no open work is left that a clean stop waits for."""
        return not self.inbox

    # --- what a turn needs (`Shell`) ----------------------------------------------------

    def write(self, events: list[Event], _at: Now) -> None:
        """Log the events of the machine."""
        for event in events:
            self.node.cluster.log(self.node.name, self.role, event)

    def log_failure(self, error: Exception, over: Message | None, _restarts: int) -> None:
        """Write a planned failure to the trace; any other failure ends the run."""
        what = "a deadline" if over is None else type(over).__name__
        if not isinstance(error, PlannedError):
            text = f"{self.role} of {self.node.name} failed over {what}: {error!r}"
            raise BrokenMachineError(text) from error
        self.fails = False
        self.node.world.note(self.node.name, f"{self.role} fails over {what}")

    def linked_nodes(self) -> set[str]:
        """The nodes whose watched link is up."""
        watched = {link.actor for link in ROLE_OF[self.role].links if link.watched}
        return {to.node for to, link in self.links.items() if link.up and to.actor in watched}

    def deliver(self, address: Address, messages: list[Message]) -> list[Delivery]:
        """Send to the address; return the messages about it that the machine must receive.

        A reply goes back on the connection of its question.
        """
        node = self.node
        if isinstance(address, Caller):
            self._answer(node.callers.get(address), messages, None)
            return []
        header = self.door.header
        if address.node == node.name:
            self._send_local(address, messages, header)
            return []
        replies = [message for message in messages if ROUTE_OF[type(message)].is_reply]
        if replies:
            self._answer(self.routes.get(address), replies, header)
        asks = [message for message in messages if not ROUTE_OF[type(message)].is_reply]
        return self.ask(address, asks, header) if asks else []

    def ask(self, to: Peer, messages: list[Message], header: Header) -> list[Delivery]:
        """Send over a link; `SendFailed` means unreachable if it is down, otherwise overloaded."""
        link, cluster = self.links.get(to), self.node.cluster
        if link is None:
            return [(SendFailed(*to, message, False), to) for message in messages]
        clogged = self.node.network.is_clogged(self.node.name, to.node) and link.full
        if not link.up or clogged:
            return [(SendFailed(*to, message, link.up), to) for message in messages]
        caller = Caller((f"{self.node.name}/{self.role}/{self.node.boots}".encode(),))
        for frame in self.frames(messages, header):
            link.send(frame, partial(cluster.arrive, to, caller, link))
        return []

    def frames(self, messages: list[Message], header: Header | None) -> Iterable[bytes]:
        """The frames that carry the messages."""
        limit = self.node.cluster.scenario.frame_bytes_max
        return (frame for frame, _ in encode_bounded(messages, header, limit))

    def _send_local(self, to: Peer, messages: list[Message], header: Header) -> None:
        """Send to another actor of this node over a link; replies need none."""
        asks = not all(ROUTE_OF[type(message)].is_reply for message in messages)
        if asks and to.actor not in self._local:
            raise BrokenMachineError(f"{self.role} has no link to {to.actor} of its own node")
        for frame in self.frames(messages, header):
            if to.actor in self.node.actors:
                self.node.actors[to.actor].receive(frame)

    def _answer(self, link: Link | None, messages: list[Message], header: Header | None) -> None:
        """Answer on the connection that the message came on; lost if it is broken."""
        if link is not None:
            for frame in self.frames(messages, header):
                link.answer(frame)
