"""A simulated node: its clock, its disk, the machines of a real node, and its runs.

A process ends by a clean stop, by a kill at once or at a commit, or with its host.  disk.py
decides what its disk stores after that; actor.py takes the turns of the machines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from toystore.check.promises import Loss
from toystore.core.assembly import Blueprint, make_machine
from toystore.core.protocol.address import (
    COORDINATOR,
    GOSSIP,
    RING,
    STORAGE,
    Caller,
    Peer,
)
from toystore.core.protocol.machine import Machine, Now, Outbox
from toystore.core.protocol.messages.local import Leave, MembersChanged
from toystore.core.protocol.roles import GOODBYE_S, ROLES, STOP_ORDER
from toystore.core.storage.disk_facts import begin_run
from toystore.core.storage.disk_identity import identify_disk
from toystore.core.storage.layout import DISK, VOTES, YES
from toystore.core.storage.ring_at_start import newest_on_disk, record_at_start
from toystore.sim.actor import SimActor
from toystore.sim.coordinator import SimCoordinator
from toystore.sim.disk import SimDisk
from toystore.sim.gossip import SimGossip
from toystore.sim.joining import Joining
from toystore.sim.network import Link
from toystore.sim.ring import SimRing
from toystore.sim.storage import SimStorage

if TYPE_CHECKING:
    from toystore.sim.cluster import SimCluster

LOOK_S = 0.01
"""How often the node checks whether an actor that stops is idle."""


class SimNode:
    """One node: its disk and clock, and while it runs, its actors."""

    def __init__(self, cluster: SimCluster, name: str) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.network = cluster.network
        self.name = name
        self.plan: Blueprint
        """What the machines were made from when the process started."""
        self.commit_s = 0.0
        """The shortest time of a commit."""
        self.actors: dict[str, SimActor] = {}
        self.callers: dict[Caller, Link] = {}
        self.boots = 0
        self.started_s = 0.0
        self.machines = 0
        """How many machines the node has made."""
        self.crash_at: str = ""
        """The event at which the process dies; see `kill`."""
        self.rot_in_comparison = 0
        """How many records are to become corrupt in the next comparison."""
        self.at_sweep: Callable[[], None] | None = None
        """What is to happen when it is about to delete what it has given away."""
        self.chance = self.world.chance(f"{name}")
        self.disk = self._empty_disk()
        self.joins = name not in cluster.rings.founding.all
        """Whether it starts without a member list while its disk has no ring record."""
        self.gone = False
        """Whether its host is lost for ever, with its disk."""
        self._joining: Joining | None = None
        self.paused: set[str] = set()
        self._stopping = False
        self._starts_again = False
        """Whether it was started while it was stopping."""

    # --- its runs -----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return bool(self.actors)

    @property
    def members(self) -> MembersChanged | None:
        """The last one that the coordinator received from gossip."""
        coordinator = self.actors.get(COORDINATOR)
        return coordinator.turn.members if coordinator is not None else None

    def now(self) -> Now:
        """Both readings of this node's clock."""
        return self.cluster.clocks[self.name].now()

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self.gone or self._joining is not None:
            return
        if self.running:
            self._starts_again = self._stopping
            return
        if self.disk.full:
            self.world.after(1.0, self.start)  # the supervisor tries again
            return
        self.boots += 1
        self.started_s = self.now().monotonic
        self.world.note(self.name, "starts")
        with self.disk.with_map_space():
            plan = self._open_disk()
        if plan is None:
            return
        self.plan = plan
        self.cluster.floors.started(self.name, self.disk, self.world.now)
        removed = plan.record.removal(self.name, plan.disk) is not None
        self.callers = {}
        self.paused.clear()
        roles = [role.name for role in ROLES if role.stays or not removed]
        self.actors = {role: self._actor(role) for role in roles}
        self.network.host_up(self.name)
        for actor in self.actors.values():
            actor.open()
            actor.wake(0.0)

    def _open_disk(self) -> Blueprint | None:
        """What the machines are made from; None if the node has to wait to be a member."""
        self.disk.begin()
        disk, _ = identify_disk(
            self.disk,
            cluster="sim",
            node=self.name,
            members_digest=self.cluster.members_digest,
            digest=self.cluster.lineage,
            chance=self.world.chance(f"disk of {self.name}, boot {self.boots}"),
        )
        if self.joins and newest_on_disk(self.disk) is None:
            self._commit()
            self._joining = Joining(self, disk)
            return None
        record = record_at_start(self.disk, self.cluster.rings.founding)
        plan = self.cluster.blueprint(self.name, self.boots, self.started_s, record, disk)
        begin_run(self.disk, plan.ranges)
        self._commit()
        return plan

    def _commit(self) -> None:
        self.disk.commit()
        self.disk.end_commit()
        self.disk.sync()

    def admitted(self) -> None:
        """The node is a member, and its disk has the ring records: start its actors."""
        self._joining = None
        self.start()

    def join(self) -> None:
        """Wait to be a member, with an empty disk if it was one; a member goes on as it is."""
        if self.name not in self.cluster.ring.members and not self.gone:
            if newest_on_disk(self.disk) is not None:
                self._end(after_commit=True)
                self._wipe()
            self.joins = True
            self.start()

    def vanish(self) -> None:
        """The host is lost for ever, with its disk."""
        self._end(after_commit=True, power=True)
        self.gone = True
        self._wipe()
        self.loses(knowing=True)
        self.cluster.disk_lost_s[self.name] = self.world.now

    def stop(self) -> None:
        """Announce that the node leaves, complete its requests, end."""
        if self.running and not self._stopping:
            self.world.note(self.name, "stops")
            self._stopping = True
            leaving = [role.name for role in STOP_ORDER if role.leaves]
            self._say_goodbye([role for role in leaving if role in self.actors])

    def _say_goodbye(self, leaving: list[str]) -> None:
        """Let the actors leave one after another; then storage commits what it has received."""
        if not leaving:
            self._when_idle(self.actors[STORAGE], self._stopped)
            return
        role, *rest = leaving
        self.actors[role].tell(Leave(), Peer(self.name, role))
        self._when_idle(self.actors[role], partial(self._say_goodbye, rest))

    def _when_idle(self, actor: SimActor, then: Callable[[], None], waited_s: float = 0.0) -> None:
        """Call ``then`` once an actor is idle or its time is over, unless the process has ended."""
        if self.actors.get(actor.role) is not actor:
            return
        if actor.idle or waited_s >= GOODBYE_S:
            then()
        else:
            again = partial(self._when_idle, actor, then, waited_s + LOOK_S)
            self.world.after(LOOK_S, again)

    def _stopped(self) -> None:
        starts_again = self._starts_again
        self._end(after_commit=True)
        if starts_again:
            self.start()

    def kill(self, how: str) -> None:
        """Kill -9: "at once", at the next commit ("before commit", "after commit"), or at another
        moment (moments.py)."""
        if how == "at once":
            self._end(after_commit=self.chance.random() < 0.5)
        elif self.running:
            self.crash_at = how

    def power_cut(self, *, after_commit: bool) -> None:
        """Switch the host off; data that was not synced may be lost."""
        self._end(after_commit=after_commit, power=True)

    def crash(self) -> None:
        """End the process: the event at which it dies has come."""
        how = self.crash_at
        self._end(after_commit=how.startswith("after"), power=how.endswith("power"))

    def _end(self, *, after_commit: bool, power: bool = False) -> None:
        if self._joining is not None:
            self._joining.end()
            self._joining = None
        if not self.running:
            return
        self.world.note(self.name, "ends")
        if self.disk.crash(power=power, after_commit=after_commit):
            self.loses(knowing=False)
            self.cluster.floors.forget(self.name)
        self.actors = {}
        self.crash_at = ""
        self._stopping = self._starts_again = False
        self.network.host_down(self.name, silently=power)

    def retire(self, ring: SimActor) -> None:
        """The node is no longer a member: its other actors end, but for those that stay."""
        if self.actors.get(ring.role) is not ring:
            return
        for role in ROLES:
            if not role.stays and (actor := self.actors.pop(role.name, None)):
                actor.close()

    def depart(self, ring: SimActor) -> None:
        """The node is no longer a member, and the members do not need it: the process ends."""
        if self.actors.get(ring.role) is ring:
            self._end(after_commit=True)

    def votes(self, listed: str) -> bool:
        """Whether it votes on rings if it runs; ``listed``: its disk, by the ring, or ""."""
        if listed:
            return not self.gone and self.disk.get(DISK) == listed.encode()
        return self.name not in self.cluster.disk_lost_s or self.disk.get(VOTES) == YES

    def lose_disk(self) -> None:
        """Empty the disk; a node that knows the old disk reports that at the next start."""
        if not self.running and self.cluster.can_decide_without(self.name):
            self._wipe()
            self.loses(knowing=True)
            self.cluster.wiped.add(self.name)
            self.cluster.disk_lost_s[self.name] = self.world.now

    def _wipe(self) -> None:
        self.disk.wipe()
        self.cluster.floors.forget(self.name)

    def rot(self, records: int = 1) -> None:
        """Corrupt some records."""
        for _ in range(records):
            if self.disk.rot():
                self.loses(knowing=True)

    def rot_now(self) -> None:
        """The comparison has come in which records are to become corrupt."""
        self.rot(self.rot_in_comparison)
        self.rot_in_comparison = 0

    def loses(self, *, knowing: bool) -> None:
        """Record that its disk lost acknowledged data; ``knowing``: the node can detect that."""
        self.cluster.losses.append(Loss(self.name, self.world.now, knowing))

    def pause(self, role: str) -> None:
        """Pause one actor, or with "" the process."""
        if self.running:
            self.paused.add(role)

    def resume(self, role: str) -> None:
        """Resume one actor, or with "" the process."""
        if role in self.paused:
            self.paused.discard(role)
            for actor in self.actors.values():
                actor.wake(0.0)

    # --- its parts ----------------------------------------------------------------------

    def _empty_disk(self) -> SimDisk:
        scenario = self.cluster.scenario
        return SimDisk(
            self.world.chance(f"disk of {self.name}"),
            syncs=scenario.durability == "sync",
            map_full_rate=scenario.rates.map_full,
        )

    def _actor(self, role: str) -> SimActor:
        kinds: dict[str, type[SimActor]] = {
            STORAGE: SimStorage,
            COORDINATOR: SimCoordinator,
            GOSSIP: SimGossip,
            RING: SimRing,
        }
        return kinds.get(role, SimActor)(self, role)

    def make_machine(self, plan: Blueprint, role: str, outbox: Outbox) -> Machine:
        """A machine in its first state."""
        self.machines += 1
        chance = self.world.chance(f"{self.name}, machine {self.machines}")
        return make_machine(role, plan, outbox, chance, self.disk)
