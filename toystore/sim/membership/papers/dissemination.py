"""Dissemination by piggyback against lambda * ln N (SWIM section 4.1).

The paper's model of an epidemic: with N members, of which one knows at first, and two contacts per
member and period (a ping and an ack), N / (1 + (N - 1) * e^(-2t)) know after t periods.  So after
lambda * ln N periods all but N^-(2*lambda - 2) members know.

Here the news is the suspicion of a crashed member; time is counted from the first suspicion on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from toystore.core.protocol.settings import SwimSettings
from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.plan import Plan
from toystore.sim.membership.swim_run import Run
from toystore.sim.membership.tables import Cell

LAMBDAS = (1.0, 1.5, 2.0)
CURVE_STEPS = 60
DETECTED_PERIODS = 12
"""A crash is suspected within this many periods, but for one in 100,000."""
CRASHES_SPACE = 100
"""A run has one crash for this many members, so that one hardly changes what another shows."""


def dissemination(
    settings: SwimSettings, *, sizes: Sequence[int], crashes: int, seed: int
) -> Finding:
    """Let members crash in groups of each size, and see how the suspicion spreads."""
    rows: list[Sequence[Cell]] = []
    curves: list[Line] = []
    for members in sizes:
        delays = _delays(settings, members, crashes, seed)
        rows.append(_row(members, delays))
        curves = _curves(members, delays)
    columns = [f"{by:g} ln N\n{who}" for by in LAMBDAS for who in ("paper", "ours")]
    return Finding(
        "Dissemination",
        f"{crashes} crashes in groups of each size; members that do not know yet "
        f"after lambda * ln N periods; seed {seed}",
        ("members", "ln N", *columns, "last\nknows"),
        rows,
        charts=[
            Chart(
                f"A suspicion spreads among {sizes[-1]:,} members",
                "periods since the first suspicion",
                "% of the members that know",
                curves,
            )
        ],
    )


def _delays(settings: SwimSettings, members: int, crashes: int, seed: int) -> list[list[float]]:
    """For each crash, when each member knew, in periods since the first suspicion."""
    at_once = max(1, min(crashes, members // CRASHES_SPACE))
    delays: list[list[float]] = []
    while len(delays) < crashes:
        delays += _run(settings, members, min(at_once, crashes - len(delays)), seed)
        seed += 1
    return delays


def _run(settings: SwimSettings, members: int, crashes: int, seed: int) -> list[list[float]]:
    period_s = settings.probe_period_s
    times = tuple((1 + 2 * number) * period_s for number in range(crashes))
    lasts_s = (DETECTED_PERIODS + 2 * math.log(members)) * period_s
    run = Run(Plan(members, times[-1] + lasts_s, seed, settings, crashes_at=times))
    delays = []
    for detection in run.detections():
        first_s = min(detection.suspected_s.values())
        waits = [detection.suspected_s.get(name, math.inf) - first_s for name in run.observers]
        delays.append(sorted(wait / period_s for wait in waits))
    return delays


def _row(members: int, delays: list[list[float]]) -> Sequence[Cell]:
    cells: list[Cell] = [members, math.log(members)]
    for by in LAMBDAS:
        after = by * math.log(members)
        late = sum(delay > after for crash in delays for delay in crash) / len(delays)
        cells += [f"{members ** -(2 * by - 2):.2g}", late]
    return (*cells, sum(crash[-1] for crash in delays) / len(delays))


def _curves(members: int, delays: list[list[float]]) -> list[Line]:
    """The share that knows, over the periods: the paper's model, and the mean of the crashes."""
    end = 2 * math.log(members)
    steps = [end * step / CURVE_STEPS for step in range(CURVE_STEPS + 1)]
    knowing = sum(map(len, delays))
    ours = [
        (at, 100 * sum(delay <= at for crash in delays for delay in crash) / knowing)
        for at in steps
    ]
    model = [(at, 100 / (1 + (members - 1) * math.exp(-2 * at))) for at in steps]
    return [Line("toystore", ours), Line("SWIM 4.1", model, dashed=True)]
