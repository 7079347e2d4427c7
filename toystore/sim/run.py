"""One run of a scenario, from the first node's start to the verdict.

    trouble    the nodes start, the clients ask, the faults strike
    healing    every fault is over; membership must agree, hints must drain, nodes must be rebuilt,
               and replicas must be equal though no client reads
    reading    an auditor reads every key, of R owners and then of as many as it can
    writing    it overwrites or deletes every key, and writes new ones; replicas must be equal
    reaping    if tombstones are removed in the run, all that there are so far must be
    idleness   no client sends a request, and the nodes may send little
    absence    one node is killed, paused, split off or stopped; all other nodes must declare it
               dead, or left, and serve requests in the meantime; it returns, and all stabilises
    reading    as above

The whole history is checked against the promises.  The run ends after a phase that fails.  It
ends at once if a machine does what it must never do, such as raise.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from toystore.check import promises
from toystore.check.history import DELETE, GET, PUT, Row
from toystore.check.promises import Violation
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.sim import audit, ring_audit
from toystore.sim.actor import BrokenMachineError
from toystore.sim.client import Ask, Load, SimClient
from toystore.sim.cluster import AUDITOR, NEWCOMER, SimCluster
from toystore.sim.faults import KINDS
from toystore.sim.reaping_audit import reaped_everywhere
from toystore.sim.scenario import Fault, Scenario
from toystore.sim.world import BEGIN_S, Tell

MACHINES = "machines_never_fail"
"""The promise that a machine breaks when it raises."""
HEALS_S = 60.0
"""How long a cluster may take to heal; it usually takes a few seconds."""
LOOK_S = 0.1
AUDIT_S = 60.0
CONNECTS_S = 1.0
"""How long the auditor may take to find the nodes."""
IDLE_S = 5.0
LAST_FAULTS = (("kill", "at once"), ("pause", ""), ("split", "both ways"), ("leave", ""))
"""The fault that one node meets at the end, while there is no other fault."""
TIMEOUT_MAX_S = 2.0
LATE_S = 0.05
"""How late a client's answer may be, because its own alarm may be late."""


@dataclass
class Report:
    """The result of a run."""

    scenario: Scenario
    violations: list[Violation] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    digest: str = ""
    """The digest of the trace: the same scenario always has the same one."""
    seconds: float = 0.0
    """How much virtual time has passed."""
    messages: int = 0
    faults: int = 0
    """How many faults there were."""

    @property
    def promises(self) -> set[str]:
        """The names of the broken promises."""
        return {violation.promise for violation in self.violations}


def run(scenario: Scenario, tell: Tell | None = None) -> Report:
    """Run a scenario to its end.  ``tell`` gets the trace, line by line."""
    report = Report(scenario)
    collects = gc.isenabled()
    gc.disable()  # a run makes little garbage that is in cycles, and looking for it takes time
    cluster = SimCluster(scenario, tell)
    try:
        _Run(cluster, report).through()
    except BrokenMachineError as error:
        report.violations.append(Violation(MACHINES, str(error)))
    except Exception:
        report.violations.append(Violation(MACHINES, traceback.format_exc()))
    finally:
        if collects:
            gc.enable()
    report.digest = cluster.world.digest()
    report.seconds = cluster.world.now - BEGIN_S
    report.messages = cluster.said.total()
    return report


class _Run:
    """The phases of one run."""

    def __init__(self, cluster: SimCluster, report: Report) -> None:
        self._cluster = cluster
        self._report = report
        self._healed_s = float("inf")
        self._mended = False
        self._auditor = SimClient(cluster, AUDITOR, report.rows)

    def through(self) -> None:
        """Run all phases, or up to the first that fails."""
        for phase in (
            self._trouble,
            self._healing,
            self._reading,
            self._writing,
            self._reaping,
            self._idleness,
            self._absence,
            self._reading,
        ):
            if not self._report.violations and not self._cluster.violations:
                phase()
        self._judge()

    def _trouble(self) -> None:
        cluster = self._cluster
        load = Load(cluster, self._report.rows)
        cluster.start()
        for fault in cluster.scenario.faults:
            cluster.world.at(BEGIN_S + fault.at_s, partial(self._begin, fault))
        limit_s = cluster.scenario.duration_s + TIMEOUT_MAX_S + 1.0
        ended = cluster.world.run_until(lambda: bool(load.over or cluster.violations), limit_s)
        if not ended:
            self._broken("nothing_hangs", "an operation has not ended after its timeout")

    def _begin(self, fault: Fault) -> None:
        if self._mended:
            return
        self._report.faults += 1
        self._cluster.world.note("fault", f"begins: {fault}")
        KINDS[fault.kind].begin(self._cluster, fault)
        self._cluster.world.after(fault.for_s, partial(self._end, fault))

    def _end(self, fault: Fault) -> None:
        if not self._mended:
            self._cluster.world.note("fault", f"ends: {fault}")
            KINDS[fault.kind].end(self._cluster, fault)

    def _healing(self) -> None:
        cluster = self._cluster
        self._mended = True
        cluster.world.note("fault", "everything is mended")
        cluster.mend()
        self._wait_until_well("every fault is over")
        cluster.dismiss_newcomers()
        self._check_copies()
        self._healed_s = cluster.world.now
        cluster.are_whole()

    def _reading(self) -> None:
        cluster = self._cluster
        cluster.world.run(CONNECTS_S)
        asks = []
        for everyone in (False, True):
            for bucket, key in self._keys():
                settings = cluster.coordinator_settings.buckets[bucket]
                can = max(1, audit.sound_owners(cluster, bucket, key))
                r = can if everyone else min(settings.r, can)
                asks.append(Ask(GET, bucket, key, quorum=r))
        self._ask(self._auditor, asks)
        self._wait_until_well("the audit has read all keys")

    def _writing(self) -> None:
        cluster, scenario = self._cluster, self._cluster.scenario
        asks = [Ask(PUT, "default", f"audit{at}", "new") for at in range(scenario.partitions)]
        for at, place in enumerate(self._keys()):
            write = Ask(DELETE, *place) if at % 2 else Ask(PUT, *place, "the last")
            asks += [write, Ask(GET, *place)]
        self._ask(self._auditor, asks)
        self._wait_until_well("the audit has written all keys")
        self._check_copies()
        self._report.violations += audit.everything_in_its_place(cluster)
        self._report.violations += audit.lists_distinct(cluster.ring, scenario.n)

    def _reaping(self) -> None:
        """Let time pass until the tombstones that there are have been removed."""
        cluster = self._cluster
        if not cluster.scenario.reaps:
            return
        now_us = cluster.clocks[AUDITOR].now().wall_us
        if not _look_now_and_then(cluster, lambda: not reaped_everywhere(cluster, now_us)):
            self._report.violations += reaped_everywhere(cluster, now_us)
        self._wait_until_well("all tombstones are removed")
        self._report.violations += reaped_everywhere(cluster)
        self._check_copies()

    def _keys(self) -> list[tuple[str, str]]:
        """Bucket and key of all requests."""
        return sorted({row.place for row in self._report.rows})

    def _absence(self) -> None:
        cluster = self._cluster
        chance = cluster.world.chance("absence")
        name = chance.choice([node.name for node in cluster.members])
        what, how = chance.choice(LAST_FAULTS)
        fault, kind = Fault(what, 0.0, 0.0, (name,), how=how), KINDS[what]
        cluster.world.note("fault", f"begins: {fault}")
        kind.begin(cluster, fault)
        if audit.can_lose_one(cluster):
            self._serve_newcomer()
        status = MemberStatus.LEFT if what == "leave" else MemberStatus.DEAD
        if not _look_now_and_then(cluster, lambda: audit.is_called(cluster, name, status)):
            self._broken("the_dead_are_found", f"{fault}, and not called {status.name}")
            return
        if status == MemberStatus.DEAD:
            self._report.violations += audit.news_travels(cluster, name)
        if what == "split" and not _look_now_and_then(
            cluster, lambda: audit.calls_all_dead(cluster, name)
        ):
            self._broken("the_dead_are_found", f"{name} is cut off, and does not see it")
        cluster.world.note("fault", f"ends: {fault}")
        kind.end(cluster, fault)
        self._wait_until_well(f"{fault} is over")
        self._check_copies()

    def _wait_until_well(self, since: str) -> None:
        """Let time pass until the cluster is well; after a limit, tell what is not."""
        cluster = self._cluster
        if _look_now_and_then(cluster, lambda: audit.is_well(cluster)):
            return
        for check in audit.HEALED:
            self._report.violations += check(cluster)
        if not self._report.violations:
            self._broken("all_work_ends", f"not {HEALS_S:g} s after {since}")

    def _check_copies(self) -> None:
        """Check what the nodes store."""
        cluster = self._cluster
        self._report.violations += audit.copies_complete(cluster, self._report.rows)
        self._report.violations += audit.replicas_equal(cluster)
        self._report.violations += audit.trees_are_true(cluster)

    def _serve_newcomer(self) -> None:
        """Let a new client put and get keys of all partitions."""
        keys = [f"new{at}" for at in range(self._cluster.scenario.partitions)]
        puts = [Ask(PUT, "default", key, "new") for key in keys]
        gets = [Ask(GET, "default", key) for key in keys]
        self._ask(SimClient(self._cluster, NEWCOMER, self._report.rows), puts + gets)

    def _ask(self, client: SimClient, asks: list[Ask]) -> None:
        """Let a client send one request after another."""
        left = asks[::-1]

        def go_on(_: Row | None = None) -> None:
            if left:
                client.ask(left.pop(), go_on)

        go_on()
        if not self._cluster.world.run_until(lambda: not left and not client.busy, AUDIT_S):
            self._broken("nothing_hangs", "the audit has not come to its end")

    def _idleness(self) -> None:
        cluster = self._cluster
        said, logged = cluster.said.copy(), cluster.logged.copy()
        cluster.world.run(IDLE_S)
        self._report.violations += audit.idle_is_quiet(
            cluster, cluster.said - said, cluster.logged - logged, IDLE_S
        )
        self._report.violations += audit.hints_drained(cluster)

    def _judge(self) -> None:
        """Check the whole history against the promises."""
        rows, losses = list(self._cluster.floors.complete(self._report.rows)), self._cluster.losses
        found = self._report.violations
        found += self._cluster.violations + self._cluster.rings.violations
        for check in promises.ALWAYS:
            found += check(rows)
        found += promises.quorums_overlap(rows, losses)
        found += promises.writes_follow(self._report.rows, self._cluster.minters)
        found += promises.nothing_hangs(rows, TIMEOUT_MAX_S, LATE_S)
        found += promises.nothing_lost(
            (row for row in rows if row.process != NEWCOMER), self._healed_s, losses, equal=True
        )
        found += promises.everything_is_served(rows, self._healed_s)
        found += ring_audit.served_throughout(self._report.scenario, rows)

    def _broken(self, promise: str, text: str) -> None:
        self._report.violations.append(Violation(promise, text))


def _look_now_and_then(cluster: SimCluster, holds: Callable[[], bool]) -> bool:
    """Let time pass until ``holds`` is true, which is checked at intervals."""
    end = cluster.world.now + HEALS_S
    while not holds():
        if cluster.world.now >= end:
            return False
        cluster.world.run(LOOK_S)
    return True
