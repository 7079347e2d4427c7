"""First detection of a crash (SWIM sections 3.1 and 4.3).

The paper counts protocol periods from a crash until some member picks the crashed one as its
ping target.  In each period, each of the others picks it with probability 1/(N-1); so at least one
does with probability 1 - (1 - 1/(N-1))^(N-1), which is close to 1 - 1/e, and the expected number of
periods, the last one included, is e/(e-1) = 1.58.  Here a period is counted from the crash on: a
crash that is first pinged after 0.3 periods took 1 period, after 1.3 periods it took 2.

Members probe round-robin over a shuffled list, so each pings each other at least once in 2N-1
periods (section 4.3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.gossip import Ping
from toystore.core.protocol.settings import SwimSettings
from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.group import Group, Host, Observer
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.plan import Plan
from toystore.sim.membership.verdicts import Verdicts
from toystore.sim.world import World

EXPECTED = math.e / (math.e - 1)
ROUNDS = 4
"""For how many rounds of N periods the longest wait between two pings is looked for."""
CHARTED_MAX = 8


def first_detection(settings: SwimSettings, *, members: int, trials: int, seed: int) -> Finding:
    """Crash one member in each of ``trials`` groups of ``members``, and count the periods."""
    waits = [_wait(settings, members, seed * trials + trial) for trial in range(trials)]
    periods = [math.ceil(wait) for wait in waits]
    mean = sum(periods) / trials
    longest = _longest_wait(settings, members, seed)
    return Finding(
        "First detection of a crash",
        f"{trials:,} groups of {members:,} members, one crash in each; seed {seed}",
        ("", "paper", "toystore", "difference"),
        [
            ("periods until a member pings it, mean", EXPECTED, mean, _percent(mean / EXPECTED)),
            ("the same as a time, in periods, mean", None, sum(waits) / trials, None),
            ("between two pings of one member, at most", 2 * members - 1, longest, None),
        ],
        charts=[_chart(Counter(periods), trials)],
    )


def _wait(settings: SwimSettings, members: int, seed: int) -> float:
    """How long after the crash the first ping was sent, in periods."""
    period_s = settings.probe_period_s
    crash_at = World(seed).chance("crash").uniform(1, 2) * period_s
    plan = Plan(
        members=members,
        seconds=2 * (members + 1) * period_s,
        seed=seed,
        settings=settings,
        crashes_at=(crash_at,),
    )
    group = Group(plan)
    verdicts = Verdicts(group)
    group.watch(verdicts)
    (detection,) = verdicts.detections.values()
    group.run_until(lambda: detection.pinged_s is not None, plan.seconds)
    assert detection.pinged_s is not None, "round-robin probing has left a member out"
    return detection.pinged_s / period_s


class _Pings(Observer):
    """The longest time between two pings from one member to another."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._last: dict[tuple[str, str], float] = {}

    def sent(self, at: float, host: Host, to: str, frame: Sequence[Message]) -> None:
        if isinstance(frame[0], Ping):
            before = self._last.get((host.name, to))
            if before is not None:
                self.longest_s = max(self.longest_s, at - before)
            self._last[host.name, to] = at


def _longest_wait(settings: SwimSettings, members: int, seed: int) -> int:
    """The longest wait between two pings of one member to another, in periods."""
    seconds = ROUNDS * members * settings.probe_period_s
    group = Group(Plan(members, seconds, seed, settings))
    pings = _Pings()
    group.watch(pings)
    group.run()
    return round(pings.longest_s / settings.probe_period_s)


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}"


def _chart(counts: Counter[int], trials: int) -> Chart:
    """In which period crashes were detected, beside the paper's geometric distribution."""
    numbers = range(1, CHARTED_MAX + 1)
    model = [(float(k), 100 * (1 - 1 / math.e) * math.exp(1 - k)) for k in numbers]
    ours = [(float(k), 100 * counts[k] / trials) for k in numbers]
    return Chart(
        "First detection of a crash",
        "periods since the crash",
        "% of the crashes",
        [Line("toystore", ours), Line("SWIM 3.1", model, dashed=True)],
    )
