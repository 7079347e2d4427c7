"""A story: commands to a simulated cluster, and what its machines said to each other.

The machines are the real ones, on virtual time (toystore/sim).  Whatever the simulator draws
for the network and its hosts is the middle of what it may be, so that a frame always takes
as long as the last one: a transcript changes where the core does, and nowhere else.

A message is shown when it is sent, with what keeps it from arriving, if anything does.
What is left out is left out by rule (`Story.hear`):

- what a node's own actors tell each other of members, of disks, of how many hints there are, and
  of which records;
- what gossip tells a node that has been told it before, or has said it itself, and then the
  message, if nothing else is in it; but not a ping that is in vain, nor a relayed one;
- events of level debug;
- all that an actor says or is told whom the story leaves out (``leave out gossip``).

To add a command, enter it in `COMMANDS`.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from toystore.core.data.stamp import HybridLogicalClock
from toystore.core.protocol.address import COORDINATOR, RING, Address, Caller, Peer
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Event
from toystore.core.protocol.messages import (
    Delivery,
    Message,
    antientropy,
    client,
    disk,
    gossip,
    hints,
    local,
)
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import RECORD
from toystore.sim import audit
from toystore.sim.actor import SimActor
from toystore.sim.cluster import SimClock, SimCluster
from toystore.sim.scenario import CALM, Comparing, Scenario
from toystore.wire import decode, encode

from .words import Words

_AT = r" at (\w+)(?: as (\w+))?"
COMMANDS: dict[str, Callable[..., None]] = {
    r'put (\S+) "(.*)"' + _AT: lambda story, *put: story.ask(client.Put, *put),
    r"get (\S+)" + _AT: lambda story, key, *at: story.ask(client.Get, key, None, *at),
    r"delete (\S+)" + _AT: lambda story, key, *at: story.ask(client.Delete, key, None, *at),
    r"owners of (\S+)": lambda story, key: story.owners(key),
    r"copies of (\S+)": lambda story, key: story.copies(key),
    r"leave out (\w+)": lambda story, actor: story.left_out.add(actor),
    r"start (n\d+)": lambda story, node: story.nodes[node].start(),
    r"kill (\w+) (at once|before commit)": lambda story, node, how: story.nodes[node].kill(how),
    r"remove (\S+) from the disk of (n\d+)": lambda story, *what: story.remove(*what),
    r"replace the disk of (n\d+)": lambda story, node: story.nodes[node].lose_disk(),
    r"pause (\w+)": lambda story, node: story.nodes[node].pause(""),
    r"resume (\w+)": lambda story, node: story.nodes[node].resume(""),
    r"let commits of (\w+) take ([\d.]+) s": lambda story, node, s: story.slow(node, float(s)),
    r"move clock of (\w+) by (\S+) s": lambda story, who, s: story.clocks[who].jump(float(s)),
    r"wait ([\d.]+) s": lambda story, s: story.world.run(float(s)),
}
"""What a story can have happen, besides its first command: ``start 5 nodes``."""

CLIENTS = ("ann", "bob")
TIMEOUT_MS = 2000
"""Of every request."""
BEGINS_S = 60.0
"""A cluster has joined, linked and said all about that within this time."""
LIVES = ("starts", "stops", "ends")
"""What the simulator's trace says of a process."""
HOUSEKEEPING = (
    hints.CountHints,
    hints.CountHintsReply,
    disk.LoadDisks,
    disk.LoadDisksReply,
    local.MembersChanged,
    disk.SaveDisk,
    disk.SettleDisk,
    antientropy.WatchRanges,
    antientropy.WatchRangesReply,
    antientropy.ListStretches,
    antientropy.ListStretchesReply,
    antientropy.FetchRecords,
    antientropy.FetchRecordsReply,
    antientropy.ScrubLeaf,
    antientropy.ScrubLeafReply,
    antientropy.SetRange,
    antientropy.SetRangeReply,
)


def replay(text: str) -> str:
    """The text of a story, with the output of its commands as it is now.

    A paragraph that begins with ``> `` is a command and its output; all others are prose.
    """
    paragraphs = text.strip().split("\n\n")
    story: Story | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimActor, "deliver", _sent_aloud(SimActor.deliver))
        for at, paragraph in enumerate(paragraphs):
            if paragraph.startswith("> "):
                command, told = paragraph.splitlines()[0], []
                if begin := re.fullmatch(r"> start (\d+) nodes", command):
                    story = Story(int(begin[1]))
                elif story is None:
                    raise ValueError(f"a story begins with '> start 5 nodes', not {command!r}")
                else:
                    told = story.run(command[2:])
                paragraphs[at] = "\n".join((command, *told))
    return "\n\n".join(paragraphs) + "\n"


def _sent_aloud(deliver: Any) -> Any:
    """`SimActor.deliver`, so that the story hears of it."""

    def deliver_aloud(actor: SimActor, to: Address, sent: list[Message]) -> Any:
        failed = deliver(actor, to, sent)
        actor.node.cluster.hear(Peer(actor.node.name, actor.role), to, sent, failed)
        return failed

    return deliver_aloud


class Middle(random.Random):
    """Chance that always draws the middle."""

    def random(self) -> float:
        return 0.5


class Story(SimCluster):
    """A cluster, every word of which is written down; N=3, R=2, W=2."""

    def __init__(self, nodes: int) -> None:
        self.lines: list[str] = []
        self.words = Words()
        self.left_out = {RING}
        """Actors that this story is not about; no story changes the ring."""
        self._began = 0.0
        self._told: dict[str, set[tuple[str, int, int]]] = defaultdict(set)
        """What each node has been told of members, or has said."""
        super().__init__(replace(SCENARIO, nodes=nodes), self._note)
        for host in (self.network, *self.nodes.values()):
            host.chance = Middle()
        self.clients = {name: Client(self, name) for name in CLIENTS}
        self.start()
        self.world.run(BEGINS_S)
        assert audit.is_well(self)
        self._began = self.world.now
        self.words.wall_us = self.clocks[CLIENTS[0]].now().wall_us

    def run(self, command: str) -> list[str]:
        """Do what a command says; returns what was said meanwhile."""
        self.lines.clear()
        for pattern, do in COMMANDS.items():
            if match := re.fullmatch(pattern, command):
                do(self, *match.groups())
                return self.lines
        raise ValueError(f"there is no command {command!r}; there are {', '.join(COMMANDS)}")

    def ask(self, kind: Any, key: str, value: str | None, node: str, caller: str | None) -> None:
        """Have a client ask a node, and wait for the answer."""
        self.words.digest(key)
        one = self.clients[caller or CLIENTS[0]]
        given = (key.encode(),) if value is None else (key.encode(), value.encode())
        if not one.ask(node, kind, *given):
            self._say(f"{_name(one.caller)} hears nothing")

    def slow(self, node: str, commit_s: float) -> None:
        """From now on the disk of a node takes so long."""
        self.nodes[node].commit_s = commit_s

    def remove(self, key: str, node: str) -> None:
        """Delete a record from a disk, as a bug would."""
        disk = self.nodes[node].disk
        disk.begin()
        disk.delete(RECORD + self.words.digest(key))
        disk.commit()
        disk.end_commit()

    def owners(self, key: str) -> None:
        """Who owns a key, and who stands in."""
        partition = self.ring.partition_of(self.words.digest(key))
        order, n = self.ring.order(partition), self.scenario.n
        self.lines.append(f"  {' '.join(order[:n])}, then {' '.join(order[n:])}")

    def copies(self, key: str) -> None:
        """What each node has of a key, for itself and for others."""
        digest = self.words.digest(key)
        for name, node in self.nodes.items():
            if held := node.disk.get(RECORD + digest):
                self.lines.append(f"  {name} has {self.words.record(held)}")
            for owner in self.nodes:
                if hint := Hints(node.disk).find(owner, digest):
                    self.lines.append(f"  {name} keeps {self.words.record(hint)} for {owner}")

    # --- what is written down -----------------------------------------------------------

    def hear(
        self,
        sender: Address,
        to: Address,
        sent: list[Message],
        failed: list[Delivery],
    ) -> None:
        """Messages were sent, or could not be; write down those that matter."""
        unsent = {id(news.message) for news, _ in failed}
        for message in sent:
            fate = self._fate(sender, to, id(message) in unsent)
            shown = self._news(message, sender, to, fate)
            left_out = any(getattr(one, "actor", "") in self.left_out for one in (sender, to))
            if shown is not None and not left_out:
                self._say(f"{_name(sender)} -> {_name(to)}", self.words.message(shown) + fate)

    def log(self, node: str, actor: str, event: Event) -> None:
        """A machine logs something."""
        super().log(node, actor, event)
        if EVENTS[event.name].level != "debug" and actor not in self.left_out:
            self._say(f"{node} {actor} logs", self.words.event(event))

    def _note(self, line: str) -> None:
        """The simulator's trace has a line: when, who, what."""
        _, who, what = line.split(maxsplit=2)
        if what in LIVES:
            self._say(f"{who} {what}")
        if what == "starts":
            self._told[who].clear()

    def _say(self, who: str, what: str = "") -> None:
        self.lines.append(f"  {self.world.now - self._began:7.4f}  {who:<32}  {what}".rstrip())

    def _fate(self, sender: Address, to: Address, unsent: bool) -> str:
        """What keeps a message from arriving, if anything does."""
        if isinstance(to, Caller) or isinstance(sender, Caller):
            return ""
        node = self.nodes[to.node]
        if unsent:
            return "  (there is no link)"
        if not node.running:
            return f"  ({to.node} is dead)"
        return f"  ({to.node} hangs)" if node.paused else ""

    def _news(self, message: Any, sender: Address, to: Address, fate: str) -> Any:
        """A message without what its receiver knows; None if there is nothing left to tell."""
        if isinstance(message, HOUSEKEEPING):
            return None
        field = next((name for name in message._fields if name in ("updates", "members")), None)
        if field is None:
            return message
        states = {state[:3]: state for state in getattr(message, field)}
        fresh = tuple(states[one] for one in states if one not in self._told[to.node])
        for node in (sender.node, to.node):
            self._told[node].update(states)
        vain = isinstance(message, gossip.Ping) and fate
        relayed = sender.node != getattr(message, "target", sender.node)
        return message._replace(**{field: fresh}) if fresh or vain or relayed else None


class Client:
    """Asks one node one thing, and waits for the answer; it stamps what it writes."""

    def __init__(self, story: Story, name: str) -> None:
        self.caller = Caller((name.encode(),))
        self._story = story
        self._answered = False
        self._clock = HybridLogicalClock(name.encode().ljust(8, b"."))
        self._wall = story.clocks[name] = SimClock(story.world, 0.0)
        self._links = {
            node: story.network.link(name, node, lambda _up: None, self._hear, wild=False)
            for node in story.nodes
        }

    def ask(self, node: str, kind: Any, *given: bytes) -> bool:
        """Ask, and let time pass until the answer is there; whether it is."""
        message, to, link = self._message(kind, *given), Peer(node, COORDINATOR), self._links[node]
        self._story.hear(self.caller, to, [message], [])
        link.send(encode([message]), partial(self._story.arrive, to, self.caller, link))
        self._answered = False
        return self._story.world.run_until(lambda: self._answered, 1.1 * TIMEOUT_MS / 1000)

    def _message(self, kind: Any, *given: bytes) -> Any:
        if kind is client.Get:
            return client.Get(0, "default", *given, None, TIMEOUT_MS)
        stamp = self._clock.mint(self._wall.now().wall_us)
        return kind(0, "default", *given, stamp, b"", None, TIMEOUT_MS, False)

    def _hear(self, frame: bytes) -> None:
        (reply,) = decode(frame).messages
        self._answered = True
        if isinstance(reply, client.SupersededReply):
            self._clock.merge(reply.stamp)


def _name(address: Address) -> str:
    """An actor, or a client; of one that forwards, the actor."""
    if isinstance(address, Caller):
        return " ".join(address.envelope[0].decode().split("/")[:2])
    return f"{address.node} {address.actor}"


SCENARIO = Scenario(
    seed=1,
    nodes=5,  # or as many as a story says
    n=3,
    r=2,
    w=2,
    durability="sync",
    partitions=8,
    seeds=1,
    probe_period_s=1.0,
    exchange_periods=10,
    hint_bytes_max=2**20,
    requests_max=64,
    frame_bytes_max=2**20,
    batch_bytes=2**18,
    retry_s=2.0,
    clients=1,
    keys=1,
    own_quorums=0.0,
    think_s=1.0,
    beat_s=0.0,
    value_bytes=0,
    duration_s=1.0,
    rates=CALM,
    faults=(),
    comparing=Comparing(
        **{name: getattr(AntientropySettings(), name) for name in Comparing._fields}
    ),
)
