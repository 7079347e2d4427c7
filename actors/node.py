"""One node: opens the disk, starts the six actors, watches over them, stops them.

    start    storage first, because every actor asks it; gossip last, because it announces
             this node to other nodes
    watch    signals, the parent's pipe and the actors' reports, all in one poll
    stop     gossip announces that the node leaves, the coordinator completes its requests,
             storage ends last
    depart   a node that is removed stops at once, but for storage and the actor `ring`: these
             stay until no member needs them

The order is that of `ROLES` (toystore/core/protocol/roles.py).

If an actor ends with an error, the node ends: exit code 1.  An error before the node runs is
a `StartupError`: exit code 2 and one clear line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import Any

import zmq

from actors import log
from actors.actor import Actor, Command, Report
from actors.antientropy import AntientropyActor
from actors.coordinator import CoordinatorActor
from actors.disk import WHAT_NOW, NodeFailedError, OwnDisk, RemovedError, StartupError, say
from actors.folder import Folder
from actors.gossip import GossipActor
from actors.handoff import HandoffActor
from actors.life import BEAT_MS
from actors.ring import RingActor
from actors.storage import StorageActor
from actors.surroundings import Surroundings, inproc
from actors.transaction import transaction
from toystore import __version__
from toystore.config import ClusterConfig, MemberConfig
from toystore.core.protocol.address import COORDINATOR
from toystore.core.protocol.roles import GOODBYE_S, ROLES, STOP_ORDER, Role
from toystore.core.ring.ranges import Ranges
from toystore.core.storage.disk_facts import begin_run
from toystore.engines import Engine, EngineError, StoreFullError
from toystore.net import listening
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver

START_S = 30.0
"""How long an actor may take to open its sockets."""
NAMES_S = 1.0
"""How long a start waits for the addresses of the other nodes' hosts."""
HOST_CHARS_MAX = 64
"""How much of the host's name is in the id of a run."""
STOP_S = 5.0
"""How long an actor may take to stop."""
SOCKETS_MAX = 16_384
MARK_AGAIN_MS = 1000
"""How soon a node whose folder had no room for its pid tries again to write it."""


class Node:
    """A node from start to stop; `run` returns once it has stopped cleanly."""

    def __init__(self, config: ClusterConfig, me: MemberConfig, folder: Folder) -> None:
        """``config``: lists the members of the ring record with which the node starts.

        ``me``: this node, if it is not among them; ``folder``: its folder, which it has locked.
        """
        self.config = config
        self.me = next((one for one in config.members if one.name == me.name), me)
        self.folder = folder
        self.context: zmq.Context[Any] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self.poller = zmq.Poller()
        self.actors: dict[str, Actor] = {}
        self.controls: dict[str, zmq.Socket[bytes]] = {}
        self._running: list[Role] = []
        """The actors that were started and not stopped, in the order of their stop."""

    def run(self, engine: Engine, disk: OwnDisk, watched: list[int]) -> None:
        """Start, run until a signal or until one of the file descriptors ends, stop.

        Raises:
            StartupError: before anything was served.
            NodeFailedError: an actor ended with an error later.
            RemovedError: the node was removed from its cluster.
        """
        with WakeUp() as wake_up:
            try:
                removed = disk.record.removal(self.me.name, disk.id)
                self._start(engine, disk, [role for role in ROLES if role.stays or not removed])
                before = self.folder.life.begin()
                if removed is None:
                    self._announce(disk, before)
                self._stop(self._watch([wake_up.fileno(), *watched]))
            finally:
                self._end()

    # --- start --------------------------------------------------------------------------

    def _start(self, engine: Engine, disk: OwnDisk, roles: list[Role]) -> None:
        """Start each of these actors and wait until its sockets are open."""
        resolver = Resolver(_tell_of_name)
        self._find_hosts(resolver)
        around = Surroundings(
            config=self.config,
            me=self.me,
            context=self.context,
            boot=f"{socket.gethostname()[:HOST_CHARS_MAX]}:{os.getpid()}:{os.urandom(4).hex()}",
            lineage=disk.lineage,
            disk=disk.id,
            record=disk.record,
            history=disk.history,
            resolver=resolver,
        )
        _follow_ranges(engine, around.blueprint.ranges)
        made = (
            StorageActor(around, engine),
            CoordinatorActor(around),
            HandoffActor(around),
            AntientropyActor(around),
            RingActor(around),
            GossipActor(around),
        )
        by_role: dict[str, Actor] = {actor.role: actor for actor in made}
        for role in roles:
            self._start_actor(by_role[role.name])
        self._running = [role for role in STOP_ORDER if role in roles]

    def _start_actor(self, actor: Actor) -> None:
        """Start an actor and wait until its sockets are open."""
        control = self.context.socket(zmq.PAIR)
        control.bind(inproc(f"{actor.role}.control"))
        self.actors[actor.role] = actor
        self.controls[actor.role] = control
        self.poller.register(control, zmq.POLLIN)
        actor.start()
        try:
            ready = self._await(actor.role, Report.READY, START_S)
        except NodeFailedError as error:
            raise StartupError(str(error)) from None
        if not ready:
            raise StartupError(f"{actor.role} has not opened its sockets in {START_S:g} s")

    def _find_hosts(self, resolver: Resolver) -> None:
        """Wait for this host's address, and for a limited time for those of other hosts.

        A node whose host is not found in time is connected to later.
        """
        try:
            listening.hosts(self.me.bind, resolver)
        except listening.ListenError as error:
            raise StartupError(str(error)) from None
        end = time.monotonic() + NAMES_S
        hosts = [member.reached_at("client_port").host for member in self.config.members]
        for host in hosts:
            resolver.find(host)  # all at once
        for host in hosts:
            resolver.wait(host, max(0.0, end - time.monotonic()))

    def _announce(self, disk: OwnDisk, before: str) -> None:
        """Log and print that the node runs; ``before``: how the last run has ended."""
        log.event(
            "node",
            "node.started",
            version=__version__,
            before=before,
            pid=os.getpid(),
            disk=disk.id,
            client_port=self.me.client_port,
            members=len(self.config.members),
        )
        self._warn()
        say(self._where())

    def _warn(self) -> None:
        """Log a warning if another connection may take a port of this node while it is down."""
        warning = listening.ephemeral(self.me.ports.values())
        if warning is not None:
            log.event("node", "ports.ephemeral", warning=warning)

    def _where(self) -> str:
        """The addresses of this node and the paths of its files, in one line."""
        me, folder = self.me, self.folder
        data = "in memory" if self.config.durability == "memory" else folder.data
        return (
            f"{me.name} of {self.config.cluster}: clients at {Endpoint(me.host, me.client_port)}, "
            f"ports {me.peer_port} for peers, {me.gossip_port} for gossip and "
            f"{me.exchange_port} for exchange, bound at {me.bind}; "
            f"data {data}, log {folder.log}, pid {os.getpid()}"
        )

    # --- watch --------------------------------------------------------------------------

    def _watch(self, descriptors: list[int]) -> str:
        """Wait for a reason to stop: a signal, or the end of a watched descriptor.

        Raises `NodeFailedError` if an actor ends with an error first, `RemovedError` if the node
        was removed and no member needs it.
        """
        for descriptor in descriptors:
            self.poller.register(descriptor, zmq.POLLIN)
        while True:
            self.folder.life.beat()
            for ready, _ in self.poller.poll(BEAT_MS if self.folder.marked else MARK_AGAIN_MS):
                if isinstance(ready, zmq.Socket):
                    if self._hear(ready) is Report.REMOVED:
                        self._retire()
                elif ready == descriptors[0]:
                    number = signal.Signals(os.read(ready, 1)[0])
                    if number != signal.SIGHUP:
                        return number.name
                    log.reopen(number.name)
                elif not os.read(ready, 4096):
                    return "parent gone"
            if not self.folder.marked:
                self.folder.mark()

    def _hear(self, control: zmq.Socket[bytes]) -> Report:
        """Receive one report; a failure ends the node, and so does the end of its departure."""
        report, _, text = control.recv_string().partition(" ")
        if report == Report.FAILED:
            role = next(role for role, other in self.controls.items() if other is control)
            raise NodeFailedError(f"{role}: {text}")
        if report == Report.DEPARTED:
            raise RemovedError(f"{text}; {WHAT_NOW}")
        return Report(report)

    def _await(self, role: str, wanted: Report, patience_s: float) -> bool:
        """Wait for an actor's report; False if it does not come in time."""
        end = time.monotonic() + patience_s
        control = self.controls[role]
        while control.poll(max(0, int((end - time.monotonic()) * 1000))):
            if self._hear(control) is wanted:
                return True
        return False

    # --- stop ---------------------------------------------------------------------------

    def _stop(self, reason: str) -> None:
        """Announce that the node leaves, complete requests, then stop one actor after another."""
        began = time.monotonic()
        log.event("node", "node.stopping", reason=reason)
        self._stop_actors([role for role in self._running if role.leaves], self._running)
        log.event("node", "node.stopped", took_s=round(time.monotonic() - began, 3))

    def _retire(self) -> None:
        """The node was removed: stop the actors that are not needed any more.

        The coordinator completes its requests.  Gossip does not: the members do not listen to it.
        """
        leaving = [role for role in self._running if role.name == COORDINATOR]
        self._stop_actors(leaving, [role for role in self._running if not role.stays])
        self._running = [role for role in self._running if role.stays]

    def _stop_actors(self, leaving: list[Role], stopping: list[Role]) -> None:
        """Let some actors complete what they have begun; then stop some."""
        for role in leaving:
            self.controls[role.name].send_string(Command.LEAVE)
            self._await(role.name, Report.IDLE, GOODBYE_S)
        for role in stopping:
            self.controls[role.name].send_string(Command.STOP)
            self._await(role.name, Report.STOPPED, STOP_S)

    def _end(self) -> None:
        """Release every actor, even one that failed, and the context."""
        for role, actor in self.actors.items():
            if actor.is_alive():
                with contextlib.suppress(zmq.Again):  # the actor has closed its end: it is stopping
                    self.controls[role].send_string(Command.STOP, zmq.NOBLOCK)
                actor.join(STOP_S)
        for control in self.controls.values():
            control.close(linger=0)
        if not any(actor.is_alive() for actor in self.actors.values()):
            self.context.term()


def _tell_of_name(host: str, cause: str) -> None:
    """Log that a host has no address for now."""
    log.event("node", "name.unresolved", host=host, cause=cause)


def _follow_ranges(engine: Engine, ranges: Ranges) -> None:
    """Compare the owned ranges with those of the last run, in a transaction of their own."""
    try:
        transaction(engine, lambda: begin_run(engine, ranges))
    except (EngineError, StoreFullError) as error:
        raise StartupError(str(error)) from None


class WakeUp:
    """Signals as bytes on a socket, so that a poll can wait for them too."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __enter__(self) -> WakeUp:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno())
        for number in self.SIGNALS:
            signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._read.close()
        self._write.close()

    def fileno(self) -> int:
        """What to poll."""
        return self._read.fileno()
