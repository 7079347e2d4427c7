"""False positives with slow members: Lifeguard against plain SWIM (Lifeguard section V).

Some members are slow: for a time, all that they send and receive waits, while their timers go
on.  So they miss acks and refutations, and declare healthy members dead.  A false positive
is one member's event that a healthy member is dead (a slow member that is declared dead is not
counted, because nothing came from it for that long).  "At healthy": where the observer is not
slow itself.

Every combination of the number of slow members, the length of a delay and the time between two
delays is run; in each run some healthy members crash, and the time to their first detection (the
first member that declares them dead) is taken.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from toystore.core.protocol.settings import SwimSettings
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.plan import Plan, Slowness, without_lifeguard
from toystore.sim.membership.swim_run import Run
from toystore.sim.membership.tables import Cell

CRASHES_AT = (1 / 4, 1 / 2)
"""When healthy members crash, as parts of the time of a run."""

PAPER: dict[str, tuple[int, int, float]] = {
    "plain SWIM": (339_002, 1_326, 12.44),
    "Lifeguard": (5_193, 25, 12.45),
}
"""False positives at all and at healthy members, and the median first detection in seconds."""


@dataclasses.dataclass(slots=True)
class _Tally:
    everywhere: int = 0
    at_healthy: int = 0
    firsts_s: list[float] = dataclasses.field(default_factory=list)

    def add(self, run: Run) -> None:
        count = run.verdicts.count
        self.everywhere += count("dead", slow_subject=False)
        self.at_healthy += count("dead", slow_subject=False, slow_observer=False)
        self.firsts_s += [min(one.dead_s.values()) for one in run.detections() if one.dead_s]


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
        Plan(
            members,
            seconds,
            seed,
            settings,
            crashes_at=tuple(part * seconds for part in CRASHES_AT),
            slow=count,
            slowness=Slowness(delayed, normal),
        )
        for count in slow
        for delayed in delayed_s
        for normal in normal_s
    ]
    tallies = {name: _tally(plans, each) for name, each in variants(settings).items()}
    plain = tallies["plain SWIM"]
    rows: list[Sequence[Cell]] = []
    for name, tally in tallies.items():
        everywhere, at_healthy, median_s = PAPER.get(name, (None, None, None))
        cut = f"{plain.everywhere / max(1, tally.everywhere):.0f}-fold"
        ours_s = statistics.median(tally.firsts_s)
        rows.append(
            (
                name,
                everywhere,
                tally.everywhere,
                cut,
                at_healthy,
                tally.at_healthy,
                median_s,
                ours_s,
            )
        )
    return Finding(
        "False positives with slow members",
        f"{members} members for {seconds:g} s, {len(plans)} runs of each protocol; seed {seed}",
        (
            "",
            "paper, all",
            "ours, all",
            "cut",
            "paper, healthy",
            "ours, healthy",
            "paper, first s",
            "ours, first s",
        ),
        rows,
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


def _tally(plans: Sequence[Plan], settings: SwimSettings) -> _Tally:
    tally = _Tally()
    for plan in plans:
        tally.add(Run(dataclasses.replace(plan, settings=settings)))
    return tally
