"""The one loop that every actor runs.

    poll       wait for a message, or for the machine's next deadline
    drain      take in all that waits, up to a bound
    feed       hand it to the machine, one message at a time
    flush      log what the machine wrote, and send it, one frame to each destination

An actor owns its thread, its sockets and its machine, and shares nothing but the
process's ZeroMQ context.  Its supervisor (``node.py``) speaks to it over a PAIR of its
own: ``stop`` and ``leave`` go in; ``ready``, ``idle``, ``stopped`` and ``failed`` come out.

If the machine raises, the message that did it is answered `Internal` and set aside, what
the machine held is answered with an error, and a fresh machine goes on behind the same
sockets, since a bound inproc ROUTER that is closed is dead to its peers for good.  Too
many failures in a row end the node: it can no longer be trusted.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections import deque
from enum import StrEnum

import zmq

from actors import log
from actors.doors.connecting import ConnectingDoor
from actors.doors.door import Door
from actors.doors.link import Link
from actors.doors.mailbox import Mailbox
from actors.surroundings import Surroundings, inproc, now
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.failures import internal_reply
from toystore.core.protocol.machine import Event, Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.local import Leave, LinkUp, MembersChanged, SendFailed
from toystore.core.protocol.roles import ROLE_OF, local_links
from toystore.net.connection import Connection

RESTARTS_MAX = 8
"""How many fresh machines an actor gets within `RESTARTS_WINDOW_S`."""
RESTARTS_WINDOW_S = 60.0


class Command(StrEnum):
    """What a supervisor says."""

    STOP = "stop"
    LEAVE = "leave"


class Report(StrEnum):
    """What an actor says to its supervisor."""

    READY = "ready"
    IDLE = "idle"
    STOPPED = "stopped"
    FAILED = "failed"


class Actor(threading.Thread):
    """A thread, its doors and a machine.  Subclasses open doors and make the machine."""

    role: str

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(name=self.role, daemon=True)
        self.surroundings = surroundings
        self.me = surroundings.me.name
        self.outbox = Outbox()
        self.poller = zmq.Poller()
        self._doors: dict[zmq.Socket[bytes], Door] = {}
        self._outlets: dict[Address, Door] = {}
        self._connections: list[tuple[Connection, ConnectingDoor]] = []
        self._restarts: deque[float] = deque()
        self._members: MembersChanged | None = None
        self._running = True
        self._left = False
        self._leaving = False

    # --- what an actor is made of: for subclasses ---------------------------------------

    def open(self) -> None:
        """Make the sockets.  Runs in the actor's own thread."""
        self.add_mailbox()
        self.add_links()

    def make_machine(self) -> Machine:
        """A machine in its first state."""
        raise NotImplementedError

    def idle(self) -> bool:
        """Whether nothing is held that a goodbye should wait for."""
        return True

    def patience_s(self) -> float | None:
        """How long the next poll may wait, beside the machine's own deadline."""
        return None

    def after_turn(self) -> None:
        """What a subclass does at the end of each turn."""

    def linked_nodes(self) -> set[str]:
        """The nodes to which the machine has been told a link is up."""
        links = (door for door in self._doors.values() if isinstance(door, Link))
        return {link.to.node for link in links if link.watched and link.up}

    # --- the loop -----------------------------------------------------------------------

    def run(self) -> None:
        """The thread: open, turn until told to stop, close."""
        self.control = self.surroundings.context.socket(zmq.PAIR)
        self.control.linger = 1000
        self.control.connect(inproc(f"{self.role}.control"))
        self.poller.register(self.control, zmq.POLLIN)
        try:
            self.machine = self.make_machine()
            self.open()
            self._report(Report.READY)
            while self._running:
                self.turn()
            self._report(Report.STOPPED)
        except Exception as error:
            self._report(Report.FAILED, f"{type(error).__name__}: {error}")
        finally:
            for door in set(self._doors.values()):
                door.close()
            self.control.close()

    def turn(self) -> None:
        """Poll, drain, feed, flush."""
        inbox: list[Delivery] = []
        doors: list[Door] = []
        for socket, _ in self.poller.poll(self._patience_ms()):
            if socket is self.control:
                self._obey()
            elif (door := self._doors[socket]) not in doors:
                doors.append(door)
                inbox.extend(door.drain())
        at = now()
        self.serve(inbox, at)
        self._tend(at)
        self.after_turn()
        if self._leaving and self.idle():
            self._leaving = False
            self._report(Report.IDLE)

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Feed the machine what arrived and what is due, then flush."""
        for message, sender in inbox:
            self.feed(message, sender, at)
        deadline = self.machine.next_deadline()
        if deadline is not None and deadline <= at.monotonic:
            try:
                self.machine.on_deadline(at)
            except Exception as error:
                self.renew(error, None, at)
        self.flush(at)

    def feed(self, message: Message, sender: Address, at: Now) -> None:
        """Hand one message to the machine; it may fail over it, but only once."""
        try:
            self.machine.receive(message, sender, at)
        except Exception as error:
            self.renew(error, (message, sender), at)
        else:
            if type(message) is MembersChanged:
                self._members = message

    def flush(self, at: Now) -> None:
        """Log and send what the machine wrote, until it has nothing more to say."""
        self.outbox.flush(self.deliver, self.feed, self.write, at)

    def write(self, events: list[Event], at: Now) -> None:
        """Log what the machine noted at ``at``."""
        log.write(events, self.role, at)

    def deliver(self, address: Address, messages: list[Message]) -> list[Delivery]:
        """Send ``messages`` through the right door; returns what the machine must hear of it."""
        door = self._outlets.get(address)
        if door is None:
            assert isinstance(address, Peer)
            return [(SendFailed(*address, message, False), address) for message in messages]
        return door.send(address, messages)

    # --- doors --------------------------------------------------------------------------

    def add(self, door: Door, *outlets: Address) -> None:
        """Poll a door, and send to these addresses through it."""
        for socket in door.sockets():
            self._doors[socket] = door
            self.poller.register(socket, zmq.POLLIN)
        for outlet in outlets:
            self._outlets[outlet] = door
        if isinstance(door, ConnectingDoor):
            self._connections += [(one, door) for one in door.connections.values()]

    def _tend(self, at: Now) -> None:
        """Have the doors make and replace the connections that are due."""
        for connection, door in self._connections:
            if connection.due is not None and connection.due <= at.monotonic:
                door.tend(at.monotonic)

    def add_mailbox(self, *addresses: str) -> None:
        """A mailbox for the other actors of this node; other nodes reach it at ``addresses``."""
        self.mailbox = Mailbox(self.surroundings, self.role, inproc(self.role), *addresses)
        self.add(self.mailbox)

    def add_links(self) -> None:
        """The links of this actor's row in `ROLES`."""
        around = self.surroundings
        for actor in local_links(self.role):
            to = Peer(self.me, actor)
            self.add(Link(around, self.role, to, inproc(actor)), to)
        for node in around.others():
            for link in ROLE_OF[self.role].links:
                to = Peer(node.name, link.actor)
                self.add(self.link(to, watched=link.watched), to)

    def link(self, to: Peer, *, watched: bool) -> Link:
        """A link to an actor of another node; its machine is told of it if it is ``watched``."""
        return Link(self.surroundings, self.role, to, self.surroundings.address(to), watch=watched)

    # --- failure ------------------------------------------------------------------------

    def renew(self, error: Exception, over: Delivery | None, at: Now) -> None:
        """Log why the machine failed, let it go politely, and put a fresh one in its place.

        ``over``: the message that it failed over, which is answered `Internal`.  Raises the
        error again when this happens too often; what was held is answered even so.
        """
        self.log_failure(error, over and over[0])
        try:
            self.machine.on_failure(at)
        except Exception as again:
            self.log_failure(again, None)
        if over is not None:
            message, sender = over
            reply = internal_reply(message, f"{type(error).__name__} in {self.role}")
            if reply is not None:
                self.outbox.send(sender, reply)
        if not self.may_restart(at):
            self.outbox.write_events(self.write, at)
            for address, messages in self.outbox.sends.items():
                self.deliver(address, messages)
            raise error
        self.machine = self.make_machine()
        self._remind(at)

    def may_restart(self, at: Now) -> bool:
        """Count a restart; False once there were too many."""
        self._restarts.append(at.monotonic)
        while self._restarts[0] < at.monotonic - RESTARTS_WINDOW_S:
            self._restarts.popleft()
        return len(self._restarts) <= RESTARTS_MAX

    def log_failure(self, error: Exception, message: Message | None) -> None:
        """One line with the traceback and the type of the message that did it."""
        log.event(
            self.role,
            "actor.failed",
            error=f"{type(error).__name__}: {error}",
            traceback="".join(traceback.format_exception(error)),
            message=type(message).__name__,
            restarts=len(self._restarts),
        )

    def _remind(self, at: Now) -> None:
        """Tell a fresh machine what only the old one was told: who is there, and what is linked."""
        for node in self.linked_nodes():
            self.machine.receive(LinkUp(node), Peer(node, self.role), at)
        me = Peer(self.me, self.role)
        if self._members is not None:
            self.machine.receive(self._members, me, at)
        if self._left:
            self.machine.receive(Leave(), me, at)

    # --- the supervisor -----------------------------------------------------------------

    def _obey(self) -> None:
        command = self.control.recv_string()
        if command == Command.STOP:
            self._running = False
        elif command == Command.LEAVE:
            self._left = self._leaving = True
            self.feed(Leave(), Peer(self.me, self.role), now())

    def _report(self, report: Report, text: str = "") -> None:
        self.control.send_string(f"{report} {text}".strip())

    def _patience_ms(self) -> int | None:
        """Until the nearest deadline, rounded up so that it has come when the poll ends."""
        if self.outbox.sends:
            return 0
        waits = [wait for wait in (self.patience_s(),) if wait is not None]
        deadlines = [link.due for link, _ in self._connections if link.due is not None]
        deadline = self.machine.next_deadline()
        if deadline is not None:
            deadlines.append(deadline)
        if deadlines:
            waits.append(min(deadlines) - now().monotonic)
        return max(0, math.ceil(min(waits) * 1000)) if waits else None
