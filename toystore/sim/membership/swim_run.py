"""One run of a group: what was measured, as an object for JSON, as text, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.group import Group
from toystore.sim.membership.plan import Plan
from toystore.sim.membership.tables import Cell, shown, table
from toystore.sim.membership.traffic import Traffic
from toystore.sim.membership.verdicts import Detection, Verdicts

CURVE_POINTS = 200
"""How many points the curve of a crash has at most."""


class Run:
    """A run that has ended."""

    def __init__(self, plan: Plan) -> None:
        """Run the plan from its beginning to its end."""
        group = Group(plan)
        self.plan = plan
        self.traffic = Traffic()
        self.verdicts = Verdicts(group)
        group.watch(self.traffic)
        group.watch(self.verdicts)
        group.run()
        self.observers = [host.name for host in group.running()]
        """The members that have not crashed."""

    def detections(self) -> list[Detection]:
        """One for each crash, in the order of their times."""
        return sorted(self.verdicts.detections.values(), key=lambda one: one.crashed_at or 0.0)

    def last(self, times: dict[str, float]) -> float | None:
        """When the last of the running members knew; None if one does not know."""
        if any(name not in times for name in self.observers):
            return None
        return max(times[name] for name in self.observers)

    def per_member_period(self, count: int) -> float:
        """A count, for each member and probe period."""
        periods = self.plan.seconds / self.plan.settings.probe_period_s
        return count / (self.plan.members * periods)


def summary(run: Run) -> dict[str, Any]:
    """What was measured, for JSON: times in seconds, loads per member and probe period."""
    plan, traffic, verdicts = run.plan, run.traffic, run.verdicts
    return {
        "members": plan.members,
        "seconds": plan.seconds,
        "seed": plan.seed,
        "loss": plan.loss,
        "latency_s": plan.latency_s,
        "slow": plan.slow,
        "crashes": [_crash(run, one) for one in run.detections()],
        "load": {
            "datagrams": run.per_member_period(traffic.datagrams.frames),
            "messages": run.per_member_period(traffic.datagrams.messages),
            "bytes": run.per_member_period(traffic.datagrams.bytes),
            "exchange_messages": run.per_member_period(traffic.exchanges.messages),
            "exchange_bytes": run.per_member_period(traffic.exchanges.bytes),
        },
        "false_positives": {
            verdict: {
                f"about_{subject}_at_{observer}": verdicts.count(
                    verdict, slow_subject=subject == "slow", slow_observer=observer == "slow"
                )
                for subject in ("healthy", "slow")
                for observer in ("healthy", "slow")
            }
            for verdict in ("raised", "suspected", "dead")
        },
        "digest": traffic.digest(),
    }


def _crash(run: Run, one: Detection) -> dict[str, Any]:
    return {
        "member": one.name,
        "at": one.crashed_at,
        "first_ping_s": one.pinged_s,
        "first_suspect_s": min(one.suspected_s.values(), default=None),
        "first_dead_s": min(one.dead_s.values(), default=None),
        "all_suspect_s": run.last(one.suspected_s),
        "all_dead_s": run.last(one.dead_s),
        "know_dead": sum(name in one.dead_s for name in run.observers),
    }


_TIMES = ("first_ping_s", "first_suspect_s", "all_suspect_s", "first_dead_s", "all_dead_s")


def text(run: Run, name: str) -> str:
    """The tables for people; ``name``: how the settings are called."""
    measured = summary(run)
    plan, crashes = run.plan, measured["crashes"]
    parts = [_heading(plan, name)]
    if crashes:
        parts.append(_crash_table(run, crashes))
    parts.append(_load_table(measured["load"]))
    parts.append(_false_table(run))
    parts.append(f"digest {measured['digest']}")
    return "\n\n".join(parts)


def _heading(plan: Plan, name: str) -> str:
    slow = ""
    if plan.slow:
        of = plan.slowness
        slow = f" (delayed {of.delayed_s:g} s, normal {of.normal_s:g} s)"
    return (
        f"{plan.members:,} members for {plan.seconds:g} s, {name}; seed {plan.seed}\n"
        f"loss {plan.loss:.0%}, latency {plan.latency_s * 1000:g} ms, "
        f"{len(plan.crashes_at)} crashes, {plan.slow} slow members{slow}"
    )


def _crash_table(run: Run, crashes: Iterable[dict[str, Any]]) -> str:
    rows: list[Sequence[Cell]] = [
        (
            f"{crash['member']} at {shown(crash['at'])} s",
            *(None if crash[time] is None else f"{crash[time]:.3f}" for time in _TIMES),
            f"{crash['know_dead'] / len(run.observers):.1%}",
        )
        for crash in crashes
    ]
    heading = (
        "seconds after\nthe crash of",
        "first\nping",
        "first\nsuspects",
        "all\nsuspect",
        "first\ndead",
        "all\ndead",
        "know at\nthe end",
    )
    return table(heading, rows)


def _load_table(load: dict[str, float]) -> str:
    rows: list[Sequence[Cell]] = [
        ("datagrams", load["datagrams"], load["messages"], load["bytes"]),
        ("exchanges", load["exchange_messages"], load["exchange_messages"], load["exchange_bytes"]),
    ]
    return table(("sent per member and period", "frames", "messages", "bytes"), rows)


def _false_table(run: Run) -> str:
    def row(label: str, verdict: str) -> Sequence[Cell]:
        cells = [
            run.verdicts.count(verdict, slow_subject=subject, slow_observer=observer)
            for subject in (False, True)
            for observer in (False, True)
        ]
        return (label, *cells)

    rows = [
        row("suspicions raised", "raised"),
        row("suspicions raised or learned", "suspected"),
        row("declared dead", "dead"),
    ]
    of = (
        "of healthy\nat healthy",
        "of healthy\nat slow",
        "of slow\nat healthy",
        "of slow\nat slow",
    )
    return table(("false positives", *of), rows)


def charts(run: Run) -> list[Chart]:
    """How the crashes became known, the load, and the false suspicions."""
    known = [line for one in run.detections() for line in _curves(run, one)]
    members, period_s = run.plan.members, run.plan.settings.probe_period_s
    # The last second is part of the run only if the run ends with it.
    load = [
        (float(second), frames / members * period_s)
        for second, frames in enumerate(run.traffic.per_second[: int(run.plan.seconds)])
    ]
    raised = [
        (float(second), float(run.verdicts.raised_per_second[second]))
        for second in range(max(1, math.floor(run.plan.seconds)))
    ]
    drawn = [
        Chart("Load", "seconds", "datagrams sent per member and period", [Line("datagrams", load)]),
        Chart("False suspicions", "seconds", "raised in each second", [Line("raised", raised)]),
    ]
    if known:
        share = "% of the members that know"
        drawn.insert(0, Chart("Crashes", "seconds after the crash", share, known))
    return drawn


def _curves(run: Run, one: Detection) -> Iterable[Line]:
    """The shares of members that suspect a crashed member, and that declare it dead."""
    for what, times in (("suspected", one.suspected_s), ("dead", one.dead_s)):
        at = sorted(times[name] for name in run.observers if name in times)
        step = max(1, len(at) // CURVE_POINTS)
        share = 100 / len(run.observers)
        points = [(at[i], (i + 1) * share) for i in [*range(0, len(at), step), len(at) - 1] if at]
        yield Line(f"{one.name} {what}", points, dashed=what == "suspected")
