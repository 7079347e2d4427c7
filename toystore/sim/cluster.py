"""A simulated cluster: its nodes, clients, clocks and network, in one world.

The faults in `faults/` act on it, `run.py` runs it from its start to its end, and
the checks of `audit.py` look into it once it has healed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from toystore import __version__
from toystore.check.history import Row
from toystore.check.promises import Loss, Violation
from toystore.core.assembly import Blueprint
from toystore.core.protocol.address import COORDINATOR, STORAGE, Caller, Peer
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Event, Now
from toystore.core.protocol.settings import (
    AntientropySettings,
    BucketSettings,
    CoordinatorSettings,
    HandoffSettings,
    LimitSettings,
    SwimSettings,
)
from toystore.core.ring.cluster_id import cluster_id
from toystore.core.ring.digest import members_digest
from toystore.core.ring.ranges import Range
from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.ring.ring import Member
from toystore.core.ring.view import RingView
from toystore.core.storage.storage import Storage
from toystore.sim.actor import BrokenMachineError
from toystore.sim.floors import Floors
from toystore.sim.network import Link, Network
from toystore.sim.node import SimNode
from toystore.sim.operators import Change, Operator
from toystore.sim.ring_checks import RingChecks
from toystore.sim.rings import Rings
from toystore.sim.scenario import CALM, Scenario
from toystore.sim.world import BEGIN_S, Tell, World

WALL_US = 1_700_000_000_000_000
"""What correct clocks show when a run begins."""
SEEDS = 3
"""How many seeds there are if all of the scenario have left."""
REMOVES_S = 2.0
"""How soon operators look again for members that are lost."""
PAUSE_FACTOR = 1.0
"""Scrubs are short (`Comparing.scrub_s`), and would not end with longer pauses."""
AUDITOR = "auditor"
"""The client that reads every key at the end."""
NEWCOMER = "newcomer"
"""The client that starts when a node has just become unreachable."""


class SimClock:
    """A host's two clocks: the monotonic clock, and the wall clock, which may be wrong."""

    def __init__(self, world: World, monotonic_offset_s: float) -> None:
        self._world = world
        self._offset_s = monotonic_offset_s
        self._ahead_s = 0.0
        self._rate = 0.0
        self._since = world.now
        self._read_at: float | None = None
        """The time of the last reading, which is still true then."""
        self._reading = Now(0.0, 0)

    def now(self) -> Now:
        """Both readings."""
        now = self._world.now
        if now != self._read_at:
            ahead_s = self._ahead_s + self._rate * (now - self._since)
            wall_us = WALL_US + int((now - BEGIN_S + ahead_s) * 1e6)
            self._read_at, self._reading = now, Now(now + self._offset_s, wall_us)
        return self._reading

    def jump(self, by_s: float) -> None:
        """Set the wall clock."""
        self._read_at = None
        self._ahead_s += by_s

    def drift(self, rate: float) -> None:
        """Change how fast the wall clock runs; 0.1 is a tenth too fast."""
        now = self._world.now
        self._read_at = None
        self._ahead_s += self._rate * (now - self._since)
        self._since = now
        self._rate += rate

    def set_right(self) -> None:
        """Let the wall clock be correct."""
        self._ahead_s = self._rate = 0.0


class SimCluster:
    """The nodes, clients and network of a scenario; `start` starts the nodes."""

    def __init__(self, scenario: Scenario, tell: Tell | None = None) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed, tell)
        self.network = Network(self.world, scenario.rates)
        self.seeds = scenario.names[: scenario.seeds]
        members = list(map(Member, scenario.names))
        record = founding(
            "sim",
            scenario.partitions,
            (Listed(name, name, "", 1, "", name, ()) for name in scenario.names),
        )
        self.members_digest = members_digest(members, scenario.partitions)
        self.losses: list[Loss] = []
        """The times at which nodes lost what they had acknowledged."""
        self.wiped: set[str] = set()
        """The nodes that have a new disk, and do not know it."""
        self.disk_lost_s: dict[str, float] = {}
        """When a node last lost its disk."""
        self.violations: list[Violation] = []
        """The promises that were found broken while the cluster ran."""
        self.said: Counter[str] = Counter()
        """How many messages of each type actors have received."""
        self.minters: dict[str, str] = {}
        """The minter of every client's clock, as hex."""
        self.logged: Counter[str] = Counter()
        self.called_dead: dict[tuple[str, str], float] = {}
        """When a node last declared another dead."""
        offsets = self.world.chance("monotonic clocks")
        self.hosts = scenario.names + scenario.spares + scenario.client_names
        self.clocks = {
            host: SimClock(self.world, offsets.uniform(0.0, 1e5))
            for host in (*self.hosts, AUDITOR, NEWCOMER, *scenario.spares)
        }
        self.swim_settings = SwimSettings(
            probe_period_s=scenario.probe_period_s,
            probe_timeout_s=scenario.probe_period_s * 0.4,
            exchange_period_s=scenario.exchange_periods * scenario.probe_period_s,
        )
        self.coordinator_settings = CoordinatorSettings(
            buckets={
                "default": BucketSettings(scenario.n, scenario.r, scenario.w),
                "single": BucketSettings(1, 1, 1),
            },
            limits=LimitSettings(
                requests_max=scenario.requests_max,
                hint_bytes_max=scenario.hint_bytes_max,
                frame_bytes_max=scenario.frame_bytes_max,
            ),
            reap_after_s=scenario.comparing.reap_after_s,
        )
        copies = {name: bucket.n for name, bucket in self.coordinator_settings.buckets.items()}
        self.lineage = cluster_id(record, None, copies).lineage
        self.rings = Rings(record, self.lineage, scenario.n)
        self.handoff_settings = HandoffSettings(
            batch_bytes=scenario.batch_bytes, reply_timeout_s=1.0, retry_s=scenario.retry_s
        )
        self.antientropy_settings = AntientropySettings(
            **scenario.comparing._asdict(), reply_timeout_s=1.0, pause_factor=PAUSE_FACTOR
        )
        self.nodes = {name: SimNode(self, name) for name in scenario.names}
        """Every node that has ever started, by name."""
        self.operators: list[Operator] = []
        self.floors = Floors(lambda: {node.name: node.disk for node in self.members}, self.range_of)
        self.checks = RingChecks(
            scenario,
            self.rings,
            copies,
            lambda: {name: node.disk for name, node in self.nodes.items()},
            lambda: self.losses,
            self.floors.removed_at,
            self.violations,
        )

    @property
    def lossy(self) -> set[str]:
        """The nodes that have lost something."""
        return {loss.node for loss in self.losses}

    @property
    def ring(self) -> RingView:
        """The newest ring that any node has adopted."""
        return self.rings.view

    @property
    def members(self) -> list[SimNode]:
        """The nodes of that ring: without those that left or were removed."""
        return [self.nodes[name] for name in self.rings.newest.all]

    @property
    def reachable(self) -> list[str]:
        """The nodes that a client that starts knows: the members, and those that may come."""
        members = list(self.rings.newest.all)
        spares = self.scenario.spares if self.scenario.changes_ring else ()
        return members + [name for name in spares if name not in members]

    def blueprint(
        self, node: str, boots: int, started_s: float, record: RingRecord, disk: str
    ) -> Blueprint:
        """The settings from which the machines of a node are made, in its run ``boots``.

        ``record``: the newest on its disk.  ``disk``: the id of that.
        """
        plan = Blueprint(
            node=node,
            boot=f"{node}:{boots}",
            cluster="sim",
            version=__version__,
            started_s=started_s,
            record=record,
            lineage=self.lineage,
            seeds=self.seeds,
            shared={"swim.probe_period_s": self.swim_settings.probe_period_s},
            swim=self.swim_settings,
            coordinator=self.coordinator_settings,
            handoff=self.handoff_settings,
            antientropy=self.antientropy_settings,
            disk=disk,
        )
        return self.by_record(plan, record)

    def by_record(self, plan: Blueprint, record: RingRecord) -> Blueprint:
        """The settings with a newer record: its lineage, and seeds that are members of it."""
        seeds = [name for name in self.seeds if name in record.all] or list(record.all)[:SEEDS]
        lineage = record.lineage or plan.lineage
        return replace(plan, record=record, lineage=lineage, seeds=seeds)

    def range_of(self, digest: bytes) -> Range:
        """The range of a digest."""
        return Range(digest[0], self.ring.partition_of(digest))

    def start(self) -> None:
        """Start every node, one soon after the other."""
        chance = self.world.chance("start")
        for node in self.nodes.values():
            self.world.after(chance.uniform(0.0, 0.5), node.start)

    # --- changes of the ring ------------------------------------------------------------

    def node(self, name: str) -> SimNode:
        """A node, also if its host has never started."""
        return self.nodes.get(name) or self.nodes.setdefault(name, SimNode(self, name))

    def operate(self, changes: list[Change] | None, via: Sequence[str]) -> None:
        """Let an operator make changes, or with None abort what is under way."""
        if via:
            name = f"operator{len(self.operators) + 1}"
            self.operators.append(Operator(self, name, via, changes))

    def can_decide_without(self, name: str) -> bool:
        """Whether the ring can still change if a node loses its disk, too.

        A new disk has forgotten what it voted, so it has no vote until a record lists it.
        """
        if not self.scenario.changes_ring:
            return True
        newest = self.rings.newest
        lists = [
            [one for one in listed if one.name not in newest.lost]
            for listed in (newest.old, newest.members)
        ]
        return all(
            2 * sum(one.name != name and self.node(one.name).votes(one.disk) for one in voters)
            > len(voters)
            for voters in lists
            if voters
        )

    def _remove_gone(self) -> None:
        """Let operators remove the members that are lost for ever, one after another."""
        lost = [node.name for node in self.members if node.gone]
        if not lost:
            return
        if all(operator.ended for operator in self.operators):
            via = [node.name for node in self.members if node.running]
            if self.rings.newest.moving and self._must_abort(lost[0]):
                self.operate(None, via)
            else:
                self.operate(self._removal(lost[0]), via)
        self.world.after(REMOVES_S, self._remove_gone)

    def _must_abort(self, name: str) -> bool:
        """Whether a member that is lost cannot be removed before the move that is under way ends.

        It is a new one, or too few would remain.
        """
        newest = self.rings.newest
        remain = {one.name for one in newest.members} - {name, *newest.lost}
        return name not in {one.name for one in newest.old} or len(remain) < self.scenario.n

    def _removal(self, name: str) -> list[Change]:
        """The changes that remove a node, and let another take its place if it has to."""
        newest = self.rings.newest
        changes: list[Change] = [["remove", name]]
        if not newest.moving and len(newest.members) <= self.scenario.n:
            spare = next(one for one in self.scenario.spares if one not in newest.all)
            self.node(spare).join()
            changes.append(["join", spare])
        return changes

    def dismiss_newcomers(self) -> None:
        """End the processes of nodes that are no members."""
        listed = self.ring.members
        for node in self.nodes.values():
            if node.name not in listed:
                node.kill("at once")

    # --- what arrives -------------------------------------------------------------------

    def arrive(self, to: Peer, caller: Caller, link: Link, frame: bytes) -> None:
        """Pass a frame to a node's port; ``caller`` is its sender if that is a client port."""
        node = self.nodes[to.node]
        if to.actor not in node.actors:
            link.break_()  # a node that was removed: the port is closed
        elif to.actor == COORDINATOR:
            node.callers[caller] = link
            node.actors[to.actor].receive(frame, caller)
        else:
            node.actors[to.actor].receive(frame, None, link)

    def datagram(self, to: Peer, frame: bytes) -> None:
        """Pass a datagram to a host, where no process may run."""
        node = self.nodes[to.node]
        if to.actor in node.actors:
            node.actors[to.actor].receive(frame)

    def answered(self, row: Row) -> None:
        """A client has the answer to a request, or has waited for too long."""
        self.floors.answered(row)
        self.checks.answered(row)

    def check_floors(self, node: SimNode) -> None:
        """Check the floors of a node whose storage has committed a batch."""
        if self.scenario.reaps:
            storage = node.actors[STORAGE].machine
            assert isinstance(storage, Storage)
            self.violations += self.floors.committed(
                node.name, storage.ranges, node.disk, self.world.now
            )

    # --- what is logged -----------------------------------------------------------------

    def log(self, node: str, actor: str, event: Event) -> None:
        """Log an event of a machine, and check it against the vocabulary."""
        kind = EVENTS.get(event.name)
        if kind is None or set(kind.fields) != set(event.fields):
            raise BrokenMachineError(f"{actor} of {node} logged {event.name} {event.fields}")
        fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
        self.world.note(node, f"{actor} {event.name} {fields}")
        self.logged[event.name] += 1
        match event.name:
            case "member.dead":
                self.called_dead[node, event.fields["member"]] = self.world.now
            case "member.joined" if event.fields["cause"] in {node, *self.wiped}:
                self._joins_unaware(node)
            case "disk.replaced":
                self.wiped.discard(node)
            case "rebuild.finished":
                self._is_whole(node, until_s=self.disk_lost_s.get(node, 0.0))

    def _joins_unaware(self, node: str) -> None:
        """A node that joins alone, or through one without memory, does not know its loss."""
        if node in self.wiped:
            mine = [loss for loss in self.losses if loss.node == node]
            self.losses += [loss._replace(knowing=False) for loss in mine]

    def _is_whole(self, node: str, until_s: float) -> None:
        """A node has again what it had lost until then, or what is left of it."""
        self.losses = [
            loss._replace(whole_s=self.world.now)
            if loss.node == node and loss.whole_s is None and (loss.at_s or 0.0) <= until_s
            else loss
            for loss in self.losses
        ]

    def are_whole(self) -> None:
        """All replicas are equal: every node has what is left of what it had lost."""
        for name in self.nodes:
            self._is_whole(name, until_s=self.world.now)

    # --- healing ------------------------------------------------------------------------

    def mend(self) -> None:
        """End every fault, and let the network work without mishaps."""
        self.network.rates = CALM
        self.network.mend()
        for operator in self.operators:
            operator.end("goes home")
        self._remove_gone()
        if self.scenario.reaps:  # by clocks that are right
            for clock in self.clocks.values():
                clock.set_right()
        for node in self.nodes.values():
            node.commit_s = 0.0
            node.disk.full = False
            node.disk.map_full_rate = 0.0
            node.crash_at = ""
            node.at_sweep = None
            for actor in node.actors.values():
                actor.fails = False
            for role in sorted(node.paused):
                node.resume(role)
            node.start()
