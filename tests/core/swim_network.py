"""Swim machines on an in-memory network: one virtual clock, one seed, no sockets, and a ring.

Datagrams take 1 to 5 ms and may be lost; exchanges are not lost, but do not cross a
split.  As in the real shell, a message for one's own node arrives at once, links that
are lost and come up again are reported, a paused node's messages wait for it, and what is sent to a
node that is linked late comes back.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from toystore.core.membership.members import MemberList
from toystore.core.membership.swim import Swim
from toystore.core.protocol.address import COORDINATOR, GOSSIP, RING, STORAGE, Peer
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import LoadDisks, LoadDisksReply, SaveDisk, SettleDisk
from toystore.core.protocol.messages.gossip import (
    ClaimReply,
    CompareSettings,
    DescribeNode,
    DescribeNodeReply,
    Exchange,
    ExchangeReply,
    MemberState,
    NameTaken,
)
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkRefused,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.settings import SwimSettings
from toystore.core.ring.record import Gone, Listed, RingRecord, founding

ALIVE, SUSPECT, DEAD, LEFT = MemberStatus
OVER_A_LINK = (
    Exchange,
    ExchangeReply,
    CompareSettings,
    DescribeNode,
    DescribeNodeReply,
    ClaimReply,
    NameTaken,
)


class Logged(NamedTuple):
    """An event, and who logged it when."""

    at: float
    node: str
    name: str
    fields: dict[str, Any]


class Disk:
    """What a node's storage knows for gossip; it survives the node."""

    def __init__(self, disk: str) -> None:
        self.disk = disk
        self.known: dict[str, str] = {}
        self.saved: list[SaveDisk] = []
        self.confirmed = False
        self.votes: bool | None = None
        self.full = False


class Host:
    """A running node: its machine and what the network keeps for it."""

    def __init__(self, node: str, machine: Swim, outbox: Outbox) -> None:
        self.node = node
        self.machine = machine
        self.outbox = outbox
        self.paused = False
        self.waiting: list[tuple[Any, Peer]] = []
        self.joined = False
        self.listed: set[str] = set()
        """The members of the record that it has."""
        self.table: dict[str, MemberState] = {}
        """What the node's other actors were sent."""
        self.announcements = 0


class Network:
    """Starts, crashes, pauses and splits nodes, and lets virtual time pass."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 1,
        seeds: tuple[str, ...] = ("n1",),
        loss: float = 0.0,
        settings: SwimSettings | None = None,
        links: bool = True,
    ) -> None:
        self.names = [f"n{number}" for number in range(1, count + 1)]
        self.seeds = seeds
        self.loss = loss
        self.settings = settings or SwimSettings()
        self.links = links
        self.shared: dict[str, dict[str, Any]] = {}
        """What each node has set, of what should be the same on all."""
        self.chance = random.Random(seed)
        self.now = 100.0
        self.hosts: dict[str, Host] = {}
        self.disks = {name: Disk(f"disk-of-{name}") for name in self.names}
        self.record = founding("toys", 8, self._listed(self.names))
        self.log: list[Logged] = []
        self.sent: Counter[str] = Counter()
        self.updates_sent: Counter[tuple[str, MemberState]] = Counter()
        self.traffic: list[tuple[float, str, str, Any]] = []
        self._side: dict[str, int] = defaultdict(int)
        self._lost: set[tuple[str, str]] = set()
        """From whom to whom the link is lost, as the first one knows."""
        self._linked_at: dict[tuple[str, str], float] = {}
        self._flight: list[tuple[float, int, str, Any, Peer]] = []
        self._number = 0

    # --- what is done to nodes ---

    def start(self, *names: str, linked_in_s: float = 0.0) -> None:
        """``linked_in_s``: how long it takes the others, at most, to be linked to them."""
        for name in names or self.names:
            self._host(name, name)
            self._lost = {way for way in self._lost if way[0] != name}
            for other in self.hosts:
                late_s = self.chance.uniform(0, linked_in_s) if linked_in_s else 0.0
                self._link(name, other, LinkUp, late_s)

    def change(self, *members: str, why: str = "", rejoins: Sequence[str] = ()) -> RingRecord:
        """The next record: these are the members.  Those without a disk on it are gone.

        ``rejoins``: these were removed, and have another disk now.
        """
        before = self.record
        epoch = before.epoch + 1
        for name in members:
            if name not in self.disks or name in rejoins:
                self.disks[name] = Disk(f"disk-of-{name}-{epoch}")
        left = [one for one in before.members if one.name not in members or one.name in rejoins]
        self.record = before.next(
            before.lineage or before.digest,
            members=self._listed(members),
            gone=(*before.gone, *(Gone(one.name, one.disk, epoch) for one in left)),
            why=why,
        )
        return self.record

    def follow(self, *names: str) -> None:
        """These nodes follow the newest record, and close and make their links as a shell does."""
        for name in names or list(self.hosts):
            host = self.hosts[name]
            before, host.listed = host.listed, set(self.record.all)
            for other in sorted(before - host.listed - {name}):
                self._receive(name, LinkLost(other), Peer(other, GOSSIP))
            packed = RingChanged(self.record.packed)
            self._receive(name, packed, Peer(name, RING))
            for other in sorted(host.listed - before - {name}):
                if other in self.hosts and self._side[name] == self._side[other]:
                    self._report_link(name, LinkUp(other))

    def _listed(self, names: Iterable[str]) -> tuple[Listed, ...]:
        disks = self.disks
        return tuple(Listed(name, name, disks[name].disk, 1, "", "", ()) for name in names)

    def crash(self, name: str) -> None:
        del self.hosts[name]
        for other in self.hosts:
            self._report_link(other, LinkLost(name))
            if self.links:
                self._put(self.now + 0.002, other, LinkRefused(name), Peer(name, GOSSIP))

    def reset(self, name: str) -> None:
        """Break every link of a node; they are made again at once."""
        for other in self.hosts:
            if other != name:
                self._report_link(other, LinkLost(name))
                self._report_link(name, LinkLost(other))
                self._report_link(other, LinkUp(name), 0.1)
                self._report_link(name, LinkUp(other), 0.1)

    def pause(self, name: str) -> None:
        self.hosts[name].paused = True

    def resume(self, name: str, *, deadline_first: bool = False) -> None:
        host = self.hosts[name]
        host.paused = False
        if deadline_first:
            self._serve(name, host)
        waiting, host.waiting = host.waiting, []
        for message, sender in waiting:
            self._receive(name, message, sender)

    def split(self, *away: str) -> None:
        """Cut ``away`` off from all others."""
        self._cross(set(away), LinkLost)
        self._side.update(dict.fromkeys(away, 1))

    def heal(self) -> None:
        away = {name for name, side in self._side.items() if side}
        self._side.clear()
        self._cross(away, LinkUp)

    def leave(self, name: str) -> None:
        self._receive(name, Leave(), Peer(name, COORDINATOR))

    def hand(self, to: str, message: Any, sender: str) -> None:
        """Hand a node a message as if ``sender`` had sent it."""
        self._receive(to, message, Peer(sender, GOSSIP))

    # --- time ---

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> float:
        """Let time pass until ``condition`` is true or the limit; returns how long it took."""
        began, end = self.now, self.now + limit_s
        while not condition():
            at = self._next_moment()
            if at > end:
                self.now = end
                break
            self.now = max(self.now, at)
            self._step()
        return self.now - began

    # --- what is seen ---

    def status(self, seer: str, member: str) -> int | None:
        table = self.hosts[seer].table
        return int(table[member].status) if member in table else None

    def state(self, seer: str, member: str) -> MemberState:
        return self.hosts[seer].table[member]

    def joined(self, name: str) -> bool:
        return self.hosts[name].joined

    def all_see(self, member: str, status: int) -> bool:
        return all(
            self.status(seer, member) == status
            for seer in self.hosts
            if seer != member and not self.hosts[seer].paused
        )

    def converged(self) -> bool:
        """Each running node has joined and sees each running node alive."""
        return all(map(self.joined, self.hosts)) and all(
            self.all_see(member, ALIVE) for member in self.hosts
        )

    def events(self, name: str, **fields: Any) -> list[Logged]:
        return [
            event
            for event in self.log
            if event.name == name and all(event.fields[key] == fields[key] for key in fields)
        ]

    # --- inside ---

    def _host(self, name: str, node: str) -> None:
        """A process that runs on host ``name`` as ``node``."""
        outbox = Outbox()
        machine = Swim(
            node=node,
            boot=f"{name}:{self.chance.random()}",
            members=MemberList(self.record.all),
            seeds=self.seeds,
            settings=self.settings,
            shared=self.shared.get(node, {}),
            outbox=outbox,
            chance=random.Random(self.chance.random()),
            record=self.record,
        )
        self.hosts[name] = Host(node, machine, outbox)
        self.hosts[name].listed = set(self.record.all)

    def _next_moment(self) -> float:
        due = [
            at
            for host in self.hosts.values()
            if not host.paused and (at := host.machine.next_deadline()) is not None
        ]
        if self._flight:
            due.append(self._flight[0][0])
        return min(due, default=float("inf"))

    def _step(self) -> None:
        while self._flight and self._flight[0][0] <= self.now:
            _, _, to, message, sender = heapq.heappop(self._flight)
            host = self.hosts.get(to)
            if host is not None and host.paused:
                host.waiting.append((message, sender))
            elif host is not None:
                self._receive(to, message, sender)
        for name, host in list(self.hosts.items()):
            if not host.paused:
                self._serve(name, host)

    def _clock(self) -> Now:
        return Now(self.now, int(self.now * 1e6))

    def _serve(self, name: str, host: Host) -> None:
        due = host.machine.next_deadline()
        if due is not None and due <= self.now:
            host.machine.on_deadline(self._clock())
            self._flush(name, host)

    def _receive(self, name: str, message: Any, sender: Peer) -> None:
        host = self.hosts[name]
        if isinstance(message, LinkLost):
            self._lost.add((name, message.node))
        elif isinstance(message, LinkUp):
            self._lost.discard((name, message.node))
        host.machine.receive(message, sender, self._clock())
        self._flush(name, host)

    def _flush(self, name: str, host: Host) -> None:
        sends = dict(host.outbox.sends)
        for event in host.outbox.events:
            assert set(event.fields) == set(EVENTS[event.name].fields)
            self.log.append(Logged(self.now, name, event.name, event.fields))
        host.outbox.clear()
        for to, messages in sends.items():
            assert isinstance(to, Peer)
            for message in messages:
                if to.node == host.node:
                    self._to_own_node(name, host, to.actor, message)
                else:
                    assert to.actor == GOSSIP
                    self._send(name, to.node, message)

    def _to_own_node(self, name: str, host: Host, actor: str, message: Any) -> None:
        disk = self.disks[name]
        match message:
            case LoadDisks():
                reply = LoadDisksReply(
                    disk.disk, disk.confirmed, disk.votes is False, tuple(disk.known.items())
                )
                self._receive(name, reply, Peer(name, STORAGE))
            case SaveDisk() | SettleDisk() if disk.full:
                pass
            case SaveDisk():
                disk.saved.append(message)
                disk.known[message.member] = message.disk
            case SettleDisk():
                disk.votes = message.votes
                disk.confirmed = True
            case MembersChanged():
                if actor == COORDINATOR:
                    host.joined = message.joined
                    for member in message.removed:
                        host.table.pop(member, None)
                    host.table.update((state.name, state) for state in message.members)
                    host.announcements += 1
            case _:
                raise AssertionError(f"{message} to {actor}")

    def _send(self, sender: str, to: str, message: Any) -> None:
        self.traffic.append((self.now, sender, to, message))
        reliable = isinstance(message, OVER_A_LINK)
        linked_at = self._linked_at.get((sender, to), 0.0)
        if not reliable and (linked_at > self.now or (sender, to) in self._lost):
            failed = SendFailed(to, GOSSIP, message, False)
            self._put(self.now, sender, failed, Peer(to, GOSSIP))
            return
        if not reliable:
            self.sent[sender] += 1
            self.updates_sent.update((sender, update) for update in message.updates)
        lost = not reliable and self.chance.random() < self.loss
        if to in self.hosts and self._side[sender] == self._side[to] and not lost:
            at = self.now + self.chance.uniform(0.001, 0.005)
            self._put(at, to, message, Peer(sender, GOSSIP))

    def _put(self, at: float, to: str, message: Any, sender: Peer) -> None:
        self._number += 1
        heapq.heappush(self._flight, (at, self._number, to, message, sender))

    def _cross(self, away: set[str], news: type[LinkUp] | type[LinkLost]) -> None:
        for one in sorted(away & set(self.hosts)):
            for other in self.hosts:
                if other not in away:
                    self._link(one, other, news)

    def _link(
        self, one: str, other: str, news: type[LinkUp] | type[LinkLost], late_s: float = 0.0
    ) -> None:
        """Both ways; that from ``other``, which waits for a port to open, may be ``late_s``."""
        if one != other:
            self._linked_at[other, one] = self.now + late_s
            self._report_link(one, news(other))
            self._report_link(other, news(one), late_s)

    def _report_link(self, to: str, news: LinkUp | LinkLost, late_s: float = 0.0) -> None:
        if self.links:
            self._put(self.now + late_s + 0.001, to, news, Peer(news.node, GOSSIP))
