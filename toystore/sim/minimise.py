"""Makes a scenario that breaks a promise smaller, as long as it still breaks that promise.

These steps are repeated until none makes it smaller:

    fewer faults     halves of them, quarters, ... single ones (ddmin: Zeller & Hildebrandt,
                     *Simplifying and Isolating Failure-Inducing Input*, 2002)
    fewer mishaps    each rate to nothing
    smaller sizes    a shorter run, fewer clients, one key less, no large values

A smaller scenario draws from the same named random streams, but is another run: it may break
the promise in another way, which is accepted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from toystore.sim.run import Report, run
from toystore.sim.scenario import Scenario

RUNS_MAX = 300


def minimise(report: Report, runs_max: int = RUNS_MAX) -> Report:
    """The report of the smallest scenario found that breaks a promise broken in ``report``.

    ``runs_max``: how many runs it may cost.
    """
    return _Search(report, runs_max).smallest()


class _Search:
    def __init__(self, report: Report, runs_max: int) -> None:
        self._best = report
        self._wanted = report.promises
        self._runs_left = runs_max

    def smallest(self) -> Report:
        """Shrink until no step makes it smaller."""
        shrinks: tuple[Callable[[], bool], ...] = (self._faults, self._rates, self._sizes)
        while any(shrink() for shrink in shrinks) and self._runs_left > 0:
            pass
        return self._best

    def _try(self, scenario: Scenario) -> bool:
        """Whether a smaller scenario still breaks the promise; if so, it is the best so far."""
        if self._runs_left <= 0:
            return False
        self._runs_left -= 1
        report = run(scenario)
        if not report.promises & self._wanted:
            return False
        self._best = report
        return True

    def _faults(self) -> bool:
        """Leave out faults, in ever smaller groups."""
        helped = False
        size = len(self._best.scenario.faults)
        while size:
            at = 0
            while at < len(self._best.scenario.faults):
                faults = self._best.scenario.faults
                fewer = faults[:at] + faults[at + size :]
                if self._try(dataclasses.replace(self._best.scenario, faults=fewer)):
                    helped = True
                else:
                    at += size
            size //= 2
        return helped

    def _rates(self) -> bool:
        """Set the rate of each kind of mishap to zero."""
        helped = False
        for name in self._best.scenario.rates.occurring():
            scenario = self._best.scenario
            rates = scenario.rates._replace(**{name: 0.0})
            helped |= self._try(dataclasses.replace(scenario, rates=rates))
        return helped

    def _sizes(self) -> bool:
        """Shorten the run, and remove clients and keys."""
        helped = False
        for change in smaller(self._best.scenario):
            helped |= self._try(dataclasses.replace(self._best.scenario, **change))
        return helped


def smaller(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """The changes that make one size of a scenario smaller."""
    last_s = max((fault.at_s + fault.for_s for fault in scenario.faults), default=0.0)
    if scenario.duration_s > last_s + 1.0:
        yield {"duration_s": last_s + 0.5}
    yield {"duration_s": scenario.duration_s * 0.7}
    if scenario.clients > 1:
        gone = scenario.client_names[-1]
        faults = tuple(fault for fault in scenario.faults if gone not in fault.on)
        yield {"clients": scenario.clients - 1, "faults": faults}
    if scenario.keys > 1:
        yield {"keys": scenario.keys - 1}
    if scenario.value_bytes:
        yield {"value_bytes": 0}
