"""The one loop that every actor runs.

    poll       wait for a message, or for the machine's next deadline
    drain      receive the messages that wait, up to a bound
    serve      pass them to the machine, then log and send what the machine wrote

An actor owns its thread, its sockets and its machine.  It shares only the process's ZeroMQ
context.  Its parts:

    Actor      this file: the thread, the poller, receiving and sending
     |- Turn   the machine and its outbox, and what to do when it fails; it does no I/O, and
     |         simulated actors use it, too (toystore/core/protocol/turn.py)
     '- doors  encode messages to frames on sockets, and decode them (doors/)

Each role is a subclass.  It opens what is not in its row of `ROLES`
(toystore/core/protocol/roles.py).
A machine that fails is replaced behind the same sockets, because a bound inproc ROUTER that
is closed is dead to its peers.  If that happens too often, the exception ends the actor.

The supervisor (node.py) has a PAIR to each actor: it sends a `Command` and receives a `Report`.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import traceback
from enum import StrEnum
from typing import Any

import zmq

from actors import log
from actors.doors.connecting import ConnectingDoor
from actors.doors.door import Door
from actors.doors.link import Link
from actors.doors.mailbox import Mailbox
from actors.surroundings import Surroundings, inproc, now
from toystore.core.assembly import make_machine
from toystore.core.protocol.address import RING, Address, Peer
from toystore.core.protocol.machine import Event, Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.local import Leave, LinkLost, SendFailed
from toystore.core.protocol.messages.ring import RingChanged, RingForked, RingSeen
from toystore.core.protocol.newer_records import NewerRecords
from toystore.core.protocol.roles import ROLE_OF, local_links
from toystore.core.protocol.routes import ROUTE_OF
from toystore.core.protocol.turn import Turn
from toystore.core.ring.record import unpack_ring
from toystore.net import listening
from toystore.net.connection import Connection


class Command(StrEnum):
    """What the supervisor sends."""

    STOP = "stop"
    LEAVE = "leave"


class Report(StrEnum):
    """What an actor sends to its supervisor."""

    READY = "ready"
    """Its sockets are open."""
    IDLE = "idle"
    """It has received `Leave`, and `Actor.idle` is true."""
    STOPPED = "stopped"
    FAILED = "failed"
    """It raised; the text names the error."""
    REMOVED = "removed"
    """The node is no longer a member."""
    DEPARTED = "departed"
    """The node is no longer a member, and no member needs it; the text says why it is none."""


class Actor(threading.Thread):
    """A thread, its doors and its turns; see the module's docstring."""

    role: str
    turn: Turn[Any]

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(name=self.role, daemon=True)
        self.surroundings = surroundings
        self.me = surroundings.me.name
        self.poller = zmq.Poller()
        self._doors: dict[zmq.Socket[bytes] | int, Door] = {}
        """The doors, by their sockets and other file descriptors that are polled."""
        self._outlets: dict[Address, Door] = {}
        self._connections: list[tuple[Connection, ConnectingDoor]] = []
        self._running = True
        self._leaving = False
        self._bound: set[str] = set()
        """The addresses that were bound before this node's address changed."""
        self._newer = NewerRecords()

    # --- parts that a subclass supplies -------------------------------------------------

    def open(self) -> None:
        """Make the sockets.  Runs in the actor's own thread."""
        self.add_mailbox()
        self.add_links()

    def make_machine(self, outbox: Outbox) -> Machine:
        """A machine in its first state."""
        around = self.surroundings
        return make_machine(self.role, around.blueprint, outbox, around.chance())

    def make_turn(self) -> Turn[Any]:
        """The turns of this actor's machines."""
        return Turn(Peer(self.me, self.role), self.make_machine, self)

    def listeners(self) -> dict[str, zmq.Socket[bytes]]:
        """The sockets at which others reach this actor, by the names of their ports."""
        return {}

    def idle(self) -> bool:
        """Whether no open work is left that a clean stop waits for."""
        return True

    def patience_s(self) -> float | None:
        """The longest wait of the next poll; the machine's deadline may end it earlier."""
        return None

    def after_turn(self) -> None:
        """Work of a subclass at the end of each turn."""

    # --- the loop -----------------------------------------------------------------------

    def run(self) -> None:
        """The thread: open, take turns until the supervisor sends stop, close."""
        self.control = self.surroundings.context.socket(zmq.PAIR)
        self.control.linger = 1000
        self.control.connect(inproc(f"{self.role}.control"))
        self.poller.register(self.control, zmq.POLLIN)
        try:
            self.turn = self.make_turn()
            self.open()
            self.report(Report.READY)
            while self._running:
                self.take_turn()
            self.report(Report.STOPPED)
        except Exception as error:
            self.report(Report.FAILED, f"{type(error).__name__}: {error}")
        finally:
            for door in set(self._doors.values()):
                door.close()
            self.control.close()

    def take_turn(self) -> None:
        """Poll, drain, serve."""
        inbox: list[Delivery] = []
        doors: list[Door] = []
        for socket, _ in self.poller.poll(self._patience_ms()):
            if socket is self.control:
                inbox += self._obey()
            elif (door := self._doors[socket]) not in doors:
                doors.append(door)
                inbox.extend(door.drain())
        at = now()
        self.serve(inbox, at)
        self._tend(at)
        self.after_turn()
        if self._leaving and self.idle():
            self._leaving = False
            self.report(Report.IDLE)

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Pass the messages to the machine and call it if due, then log and send what it wrote."""
        self.turn.serve(inbox, at)

    # --- the `Shell` of the turns -------------------------------------------------------

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Send through the right door; return the messages about it for the machine.

        A reply to an actor without a link goes back by the mailbox, as its question came.
        """
        door = self._outlets.get(to)
        if door is not None:
            return door.send(to, messages)
        assert isinstance(to, Peer)
        replies = [message for message in messages if ROUTE_OF[type(message)].is_reply]
        if replies:
            self.mailbox.send(to, replies)
        return [
            (SendFailed(*to, message, False), to)
            for message in messages
            if not ROUTE_OF[type(message)].is_reply
        ]

    def write(self, events: list[Event], at: Now) -> None:
        """Log the events of the machine; they happened at ``at``."""
        log.write(events, self.role, at)

    def log_failure(self, error: Exception, over: Message | None, restarts: int) -> None:
        """Log one line with the traceback and the type of the message."""
        log.event(
            self.role,
            "actor.failed",
            error=f"{type(error).__name__}: {error}",
            traceback="".join(traceback.format_exception(error)),
            message=type(over).__name__,
            restarts=restarts,
        )

    def follow(self, changed: RingChanged) -> list[Delivery]:
        """Sign frames with the new record, link to its members, and make new machines from it."""
        before = self.surroundings
        self.surroundings = before.following(unpack_ring(changed.record))
        self._newer.clear()
        for door in dict.fromkeys(self._doors.values()):
            door.follow(self.surroundings)
        self._listen_also(before)
        lost = self._close_links(before)
        self._open_links()
        self._collect_connections()
        return [(LinkLost(link.to.node), link.to) for link in lost if link.watched and link.up]

    def disown(self, forked: RingForked) -> None:
        """Refuse the frames of nodes that have a record of another founding."""
        self.surroundings = self.surroundings.disowning(forked.digest)
        for door in dict.fromkeys(self._doors.values()):
            door.follow(self.surroundings)

    def _listen_also(self, before: Surroundings) -> None:
        """Listen at a new address of this node, too, if it is one of this host."""
        around = self.surroundings
        for port, socket in self.listeners().items():
            try:
                self._bound |= {*before.own(getattr(before.me, port))}
                new = {*around.own(getattr(around.me, port))} - self._bound
                for address in sorted(new):
                    listening.bind(socket, address)
                self._bound |= new
            except (listening.ListenError, zmq.ZMQError) as error:
                log.event(self.role, "port.unbound", port=port, error=str(error))

    def linked_nodes(self) -> set[str]:
        """The nodes whose watched link is up."""
        links = (door for door in self._doors.values() if isinstance(door, Link))
        return {link.to.node for link in links if link.watched and link.up}

    # --- doors --------------------------------------------------------------------------

    def adopt(self, lineage: bytes) -> None:
        """From now on every frame has an older lineage, which another node has."""
        self.surroundings = dataclasses.replace(self.surroundings, lineage=lineage)
        for door in set(self._doors.values()):
            door.adopt(lineage)

    def note_newer(self, node: str, epoch: int) -> None:
        """A node has a newer ring record: let the actor `ring` know.

        An actor without a link to it need not: others hear of that node, too.
        """
        if self._newer.is_news(node, epoch, now().monotonic):
            self.tell_ring(RingSeen(node, epoch))

    def tell_ring(self, seen: RingSeen) -> None:
        """Send to the actor `ring` of this node, if this actor has a link to it."""
        to = Peer(self.me, RING)
        if to in self._outlets:
            self.deliver(to, [seen])

    def add(self, door: Door, *outlets: Address) -> None:
        """Poll a door, and send to these addresses through it."""
        door.on_older = self.adopt
        door.on_newer = self.note_newer
        for socket in door.sockets():
            self._doors[socket] = door
            self.poller.register(socket, zmq.POLLIN)
        for outlet in outlets:
            self._outlets[outlet] = door
        self._collect_connections()

    def remove(self, door: Door) -> None:
        """Close a door, and send nothing more through it."""
        for socket in door.sockets():
            del self._doors[socket]
            self.poller.unregister(socket)
        self._outlets = {to: one for to, one in self._outlets.items() if one is not door}
        door.close()

    def _collect_connections(self) -> None:
        """Note the connections of all doors: a door that follows the ring has others."""
        doors = dict.fromkeys(self._doors.values())
        self._connections = [
            (connection, door)
            for door in doors
            if isinstance(door, ConnectingDoor)
            for connection in door.connections.values()
        ]

    def wake_by(self, descriptor: int, door: Door) -> None:
        """Take a turn, and drain the door, also when this file descriptor is readable."""
        self._doors[descriptor] = door
        self.poller.register(descriptor, zmq.POLLIN)

    def _tend(self, at: Now) -> None:
        """Make and replace the connections of the doors that are due."""
        for connection, door in self._connections:
            if connection.due is not None and connection.due <= at.monotonic:
                door.tend(at.monotonic)

    def add_mailbox(self, *addresses: str) -> None:
        """Add a mailbox for the actors of this node; other nodes reach it at ``addresses``."""
        self.mailbox = Mailbox(self.surroundings, self.role, inproc(self.role), *addresses)
        self.add(self.mailbox)

    def add_links(self) -> None:
        """Add the links of this actor's row in `ROLES`."""
        for actor in local_links(self.role):
            to = Peer(self.me, actor)
            self.add(Link(self.surroundings, self.role, to, inproc(actor)), to)
        self._open_links()

    def _open_links(self) -> None:
        """Open a link to each actor of another node that this one has none to."""
        for to, watched in self._links_in(self.surroundings).items():
            if to not in self._outlets:
                self.add(self.link(to, watched=watched), to)

    def _close_links(self, before: Surroundings) -> list[Link]:
        """Close the links to nodes that are no longer listed, or have another address now."""
        now = self._links_in(self.surroundings)
        closed: list[Link] = []
        for to in self._links_in(before):
            moved = to in now and before.address(to) != self.surroundings.address(to)
            link = self._outlets.get(to)
            if isinstance(link, Link) and (moved or to not in now):
                closed.append(link)
                self.remove(link)
        return closed

    def _links_in(self, around: Surroundings) -> dict[Peer, bool]:
        """The actors of other nodes that this one links to, and whether that is watched."""
        links = ROLE_OF[self.role].links
        return {
            Peer(node.name, link.actor): link.watched for node in around.others() for link in links
        }

    def link(self, to: Peer, *, watched: bool) -> Link:
        """A link to an actor of another node; if ``watched``, the machine receives its changes."""
        return Link(self.surroundings, self.role, to, self.surroundings.address(to), watch=watched)

    # --- the supervisor -----------------------------------------------------------------

    def _obey(self) -> list[Delivery]:
        """Obey the supervisor's commands; return the messages about them for the machine."""
        command = self.control.recv_string()
        if command == Command.LEAVE:
            self._leaving = True
            return [(Leave(), Peer(self.me, self.role))]
        self._running = command != Command.STOP
        return []

    def report(self, report: Report, text: str = "") -> None:
        """Send a report to the supervisor."""
        self.control.send_string(f"{report} {text}".strip())

    def _patience_ms(self) -> int | None:
        """The time until the nearest deadline, rounded up so that the poll ends after it."""
        if self.turn.unfinished:
            return 0
        waits = [wait for wait in (self.patience_s(),) if wait is not None]
        deadlines = [link.due for link, _ in self._connections if link.due is not None]
        deadline = self.turn.machine.next_deadline()
        if deadline is not None:
            deadlines.append(deadline)
        if deadlines:
            waits.append(min(deadlines) - now().monotonic)
        return max(0, math.ceil(min(waits) * 1000)) if waits else None
