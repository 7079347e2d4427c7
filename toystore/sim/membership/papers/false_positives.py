"""False positives with slow members: Lifeguard against plain SWIM (Lifeguard section V).

Some members are slow: for a time, all that they send and receive waits, while their timers go
on.  So they miss acks and refutations, and declare healthy members dead.  A false positive
is one member's event that a healthy member is dead (a slow member that is declared dead is not
counted, because nothing came from it for that long).  "At healthy": where the observer is not
slow itself.

Every combination of the number of slow members, the length of a delay and the time between two
delays is run.

The time to the first detection of a crash, the first "dead" of any member, is taken from runs
without slow members: where many healthy members are declared dead, one that crashes may have
been declared dead before it did.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from toystore.core.protocol.settings import SwimSettings
from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.plan import Plan, Slowness, without_lifeguard
from toystore.sim.membership.swim_run import Run
from toystore.sim.membership.tables import Cell

CRASHES = 4
"""How many members crash in a run without slow members, at intervals of a period."""
CRASH_RUNS = 5

PAPER: dict[str, tuple[int, int, float]] = {
    "plain SWIM": (339_002, 1_326, 12.44),
    "Lifeguard": (5_193, 25, 12.45),
}
"""False positives at all and at healthy members, and the median first detection in seconds."""


def false_positives(
    settings: SwimSettings,
    *,
    members: int,
    seconds: float,
    slow: Sequence[int],
    delayed_s: Sequence[float],
    normal_s: Sequence[float],
    seed: int,
) -> Finding:
    """Run every combination with plain SWIM, with parts of Lifeguard, and with all of it.

    ``slow``: how many members are slow; ``delayed_s`` and ``normal_s``: see `Slowness`.
    """
    plans = [
        Plan(members, seconds, seed, settings, slow=count, slowness=Slowness(delayed, normal))
        for count in slow
        for delayed in delayed_s
        for normal in normal_s
    ]
    rows: list[Sequence[Cell]] = []
    lines: list[Line] = []
    plain: int | None = None
    for name, each in variants(settings).items():
        paper_all, paper_healthy, paper_s = PAPER.get(name, (None, None, None))
        everywhere, healthy, by_second = _false_positives(plans, each)
        plain = everywhere if plain is None else plain
        cut = f"{plain / everywhere:,.0f}-fold" if everywhere else "to none"
        first_s = _first_detection_s(Plan(members, seconds, seed, each))
        rows.append((name, paper_all, everywhere, cut, paper_healthy, healthy, paper_s, first_s))
        sums = accumulate(by_second[second] for second in range(int(seconds)))
        lines.append(Line(name, [(float(at), float(so_far)) for at, so_far in enumerate(sums, 1)]))
    return Finding(
        "False positives with slow members",
        f"{members} members for {seconds:g} s; runs of each protocol: {len(plans)}; seed {seed}",
        (
            "",
            "at all\npaper",
            "at all\ntoystore",
            "cut",
            "at healthy\npaper",
            "at healthy\ntoystore",
            "first dead\npaper, s",
            "first dead\ntoystore, s",
        ),
        rows,
        charts=[
            Chart("Healthy members declared dead", "seconds", "verdicts so far, all runs", lines)
        ],
    )


def variants(settings: SwimSettings) -> dict[str, SwimSettings]:
    """Lifeguard, and what is left of it without each of its parts."""
    replace = dataclasses.replace
    return {
        "plain SWIM": without_lifeguard(settings),
        "local health alone": replace(settings, suspicion_max_mult=1.0),
        "confirmations alone": replace(settings, local_health_max=0),
        "Lifeguard": settings,
    }


def _false_positives(
    plans: Sequence[Plan], settings: SwimSettings
) -> tuple[int, int, Counter[int]]:
    """How often healthy members were declared dead: by all, by the healthy ones, by the second."""
    everywhere = at_healthy = 0
    by_second: Counter[int] = Counter()
    for plan in plans:
        verdicts = Run(dataclasses.replace(plan, settings=settings)).verdicts
        everywhere += verdicts.count("dead", slow_subject=False)
        at_healthy += verdicts.count("dead", slow_subject=False, slow_observer=False)
        by_second += verdicts.dead_per_second
    return everywhere, at_healthy, by_second


def _first_detection_s(plan: Plan) -> float:
    """The median time from a crash to the first member that declares it dead, in seconds."""
    period_s = plan.settings.probe_period_s
    times = tuple((1 + number) * period_s for number in range(CRASHES))
    firsts_s: list[float] = []
    for run in range(CRASH_RUNS):
        crashing = dataclasses.replace(plan, seed=plan.seed + run, crashes_at=times)
        firsts_s += [min(one.dead_s.values()) for one in Run(crashing).detections()]
    return statistics.median(firsts_s)
