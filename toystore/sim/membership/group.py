"""A simulated group: many `Swim` machines, the messages between them, and virtual time.

    World                 one queue of future events, by their time       (toystore/sim/world.py)
     |- a message arrives at a host        Swim.receive
     '- a host's next deadline has come    Swim.on_deadline

The machine is the one that the gossip actor runs, unchanged.  A host calls it directly and empties
its outbox: a `Turn` for each of 10,000 members would cost more than the machines do, and its
purpose (to replace a machine that raises, to log, to ask sockets for their state) has no use here.

As in the real shell, the messages of one turn to one member are one frame; frames of datagrams
can be lost, exchanges cannot.  A host answers its machine for storage, and drops what the machine
sends to the node's other actors.  The members begin joined, and know each other.
"""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from toystore.core.membership.members import MemberList
from toystore.core.membership.swim import Swim
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.machine import Event, Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import LoadDisks, LoadDisksReply
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import LinkLost, LinkRefused, SendFailed
from toystore.core.protocol.routes import Carrier, carried_by
from toystore.sim.membership.plan import Plan
from toystore.sim.world import BEGIN_S, World

_DATAGRAMS = carried_by(Carrier.DATAGRAM, GOSSIP)


class Observer:
    """Sees what happens in a group; times are in seconds since its beginning."""

    def logged(self, at: float, host: Host, event: Event) -> None:
        """The machine of ``host`` has logged an event."""

    def sent(self, at: float, host: Host, to: str, frame: Sequence[Message]) -> None:
        """``host`` has sent a frame, which may be lost."""

    def crashed(self, at: float, host: Host) -> None:
        """``host`` has crashed."""


class Host:
    """A member: its machine, and what the simulator keeps for it."""

    __slots__ = (
        "has_disk",
        "lost",
        "machine",
        "name",
        "outbox",
        "peer",
        "runs",
        "slow",
        "wakes_at",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.peer = Peer(name, GOSSIP)
        self.outbox = Outbox()
        self.machine: Swim
        self.lost: set[str] = set()
        """The members whose link is lost: what is sent to them comes back."""
        self.has_disk = False
        """Whether its storage has answered which disk it has."""
        self.runs = True
        self.slow = False
        self.wakes_at = math.inf
        """When the machine is called next; other calls that are queued are out of date."""


class Group:
    """The hosts of one run, and the network between them."""

    def __init__(self, plan: Plan) -> None:
        """Every member has joined; no time has passed yet."""
        self.plan = plan
        self.world = World(plan.seed)
        self.hosts = {name: Host(name) for name in names(plan.members)}
        self._observers: list[Observer] = []
        self._chance = self.world.chance("network")
        self._latency_s = (plan.latency_s / 2, plan.latency_s)
        """The least that a message takes, and by how much it can take longer."""
        self.passes: Callable[[Host, Host], bool] = lambda _sender, _receiver: True
        """Whether a message gets from one host to another at all."""
        order = list(self.hosts.values())
        self.world.chance("roles").shuffle(order)
        for host in order[: plan.slow]:
            host.slow = True
        self.victims = order[::-1][: len(plan.crashes_at)]
        """The members that will crash, or have crashed."""
        for at, host in zip(plan.crashes_at, self.victims, strict=True):
            self.world.at(BEGIN_S + at, partial(self.crash, host))
        with _without_collection():
            self._make_machines()

    def watch(self, observer: Observer) -> None:
        """Report to ``observer`` what happens from now on."""
        self._observers.append(observer)

    @property
    def elapsed_s(self) -> float:
        """The time since the beginning, in seconds."""
        return self.world.now - BEGIN_S

    def running(self) -> Iterator[Host]:
        """The hosts that have not crashed."""
        return (host for host in self.hosts.values() if host.runs)

    # --- time ---------------------------------------------------------------------------

    def run(self, seconds: float | None = None) -> None:
        """Let time pass; by default to the end of the plan."""
        left_s = self.plan.seconds - self.elapsed_s
        with _without_collection():
            self.world.run(left_s if seconds is None else seconds)

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until ``condition`` is true or the limit; whether it is true."""
        with _without_collection():
            return self.world.run_until(condition, limit_s)

    def crash(self, host: Host) -> None:
        """End a member without a message; what is on the way to it is lost."""
        host.runs = False
        for observer in self._observers:
            observer.crashed(self.elapsed_s, host)
        if self.plan.links:
            for other in self.running():
                self._report_link(other, host)

    def _report_link(self, host: Host, crashed: Host) -> None:
        """The process at the other end of a link has ended; soon its port refuses a new one."""
        lost_in_s = self._delay_s()
        refused_in_s = lost_in_s + self._delay_s()
        self.world.after(lost_in_s, partial(host.lost.add, crashed.name))
        for after_s, news in (
            (lost_in_s, LinkLost(crashed.name)),
            (refused_in_s, LinkRefused(crashed.name)),
        ):
            self.world.after(after_s, partial(self._arrive, host, (news,), crashed.peer))

    # --- hosts --------------------------------------------------------------------------

    def _make_machines(self) -> None:
        """Make the machines, which share the member list and the rows that all know."""
        listed = MemberList(self.hosts)
        # A machine asks as often as this whether its disk has saved what it knows: never, here.
        settings = replace(self.plan.settings, join_retry_s=math.inf)
        everyone = tuple(
            MemberState(name, MemberStatus.ALIVE, 0, disk_of(name)) for name in self.hosts
        )
        for host in self.hosts.values():
            host.machine = Swim(
                node=host.name,
                boot=host.name,
                members=listed,
                seeds=[host.name],  # It joins alone, at once.
                settings=settings,
                shared={},
                outbox=host.outbox,
                chance=self.world.chance(host.name),
                known=everyone,
            )
            self._wake(host, host.wakes_at)

    def _wake(self, host: Host, planned_at: float) -> None:
        """Call the machine because its deadline has come, unless it has set another."""
        if host.runs and host.wakes_at == planned_at:
            host.wakes_at = math.inf
            host.machine.on_deadline(self._now())
            self._flush(host)

    def _arrive(self, host: Host, frame: Sequence[Message], sender: Peer) -> None:
        """Give the machine the messages of a frame."""
        if not host.runs:
            return
        now = self._now()
        for message in frame:
            host.machine.receive(message, sender, now)
        self._flush(host)

    def _flush(self, host: Host) -> None:
        """Send what the machine has written, report its events, plan its next deadline."""
        outbox = host.outbox
        if outbox.events:
            events, outbox.events = outbox.events, []
            for event in events:
                for observer in self._observers:
                    observer.logged(self.elapsed_s, host, event)
        if outbox.sends:
            sends, outbox.sends = outbox.sends, {}
            for to, messages in sends.items():
                assert isinstance(to, Peer)
                if to.node != host.name:
                    self.send(host, to.node, messages)
                elif to.actor == STORAGE:
                    self._answer_for_storage(host, messages)
        due = host.machine.next_deadline()
        if due is not None and due < host.wakes_at:
            host.wakes_at = due
            self.world.at(due, partial(self._wake, host, due))

    def _answer_for_storage(self, host: Host, messages: list[Message]) -> None:
        """Answer the first question; later ones are about what a disk has saved: there is none."""
        if not host.has_disk and any(isinstance(message, LoadDisks) for message in messages):
            host.has_disk = True
            reply = LoadDisksReply(disk_of(host.name), True, False, ())
            self._arrive(host, (reply,), Peer(host.name, STORAGE))

    # --- the network --------------------------------------------------------------------

    def send(self, host: Host, to: str, messages: list[Message]) -> None:
        """Send messages as datagrams or exchanges, each by its way; datagrams can be lost."""
        datagrams = [message for message in messages if type(message) in _DATAGRAMS]
        if datagrams:
            lost = self._chance.random() < self.plan.loss
            self._send_frame(host, to, datagrams, lost=lost)
        if len(datagrams) < len(messages):
            for message in messages:
                if type(message) not in _DATAGRAMS:
                    self._send_frame(host, to, (message,), lost=False)

    def _send_frame(self, host: Host, to: str, frame: Sequence[Message], *, lost: bool) -> None:
        now = self.world.now
        if to in host.lost:
            back = [SendFailed(to, GOSSIP, message, False) for message in frame]
            self.world.at(now, partial(self._arrive, host, back, Peer(to, GOSSIP)))
            return
        for observer in self._observers:
            observer.sent(now - BEGIN_S, host, to, frame)
        receiver = self.hosts[to]
        if lost or not receiver.runs or not self.passes(host, receiver):
            return
        leaves = self._delayed(now) if host.slow else now
        arrives = leaves + self._delay_s()
        if receiver.slow:
            arrives = self._delayed(arrives)
        self.world.at(arrives, partial(self._arrive, receiver, frame, host.peer))

    def _delay_s(self) -> float:
        least_s, more_s = self._latency_s
        return least_s + more_s * self._chance.random()

    def _delayed(self, at: float) -> float:
        """When a message of this time leaves, or enters, a slow host."""
        return self.plan.slowness.until(at - BEGIN_S) + BEGIN_S

    def _now(self) -> Now:
        return Now(self.world.now, int(self.world.now * 1e6))


def names(members: int) -> list[str]:
    """The names of the members of a group."""
    return [f"n{number}" for number in range(1, members + 1)]


def disk_of(name: str) -> str:
    """The id of a member's disk: as long as a real one, so that rows have their real size."""
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Do not search millions of objects for cycles: the machines make none that are garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
