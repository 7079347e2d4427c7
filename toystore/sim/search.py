"""Runs many seeds, on all processors, and reports those that break a promise."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from toystore.sim.run import run
from toystore.sim.swarm import draw

BATCH = 64
"""How many seeds a process gets at a time."""
RINGS_EVERY = 4
"""In the run of every fourth seed the ring changes, unless it is to change in all or in none."""


@dataclass
class Tally:
    """The counts of a search so far."""

    seeds: int = 0
    operations: int = 0
    faults: int = 0
    messages: int = 0
    virtual_s: float = 0.0
    broken: int = 0
    """How many seeds broke a promise."""
    began_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.operations += outcome.operations
        self.faults += outcome.faults
        self.messages += outcome.messages
        self.virtual_s += outcome.virtual_s
        self.broken += bool(outcome.violations)

    def __str__(self) -> str:
        minutes = max(time.monotonic() - self.began_s, 1e-9) / 60
        return (
            f"{self.seeds:,} seeds, {self.broken} broke a promise; {self.operations:,} operations, "
            f"{self.faults:,} faults, {self.messages:,} messages in {self.virtual_s / 3600:.1f} h "
            f"of virtual time; a minute: {self.seeds / minutes:,.0f} seeds, "
            f"{self.operations / minutes:,.0f} operations, {self.faults / minutes:,.0f} faults"
        )


@dataclass
class Outcome:
    """The result of one seed, without its large parts."""

    seed: int
    rings: bool
    """Whether the ring changes in its run."""
    violations: list[str]
    operations: int
    faults: int
    messages: int
    virtual_s: float


def search(
    first: int,
    count: int | None,
    jobs: int | None = None,
    *,
    rings: bool | None = None,
    reaping: bool = False,
) -> Iterator[tuple[Outcome, Tally]]:
    """Run ``count`` seeds from ``first`` on, or without end, and yield the outcome of each.

    ``jobs``: how many run at once; None means one for each processor.  ``rings``: whether the ring
    changes in each run, or in none; None means in some (`changes_ring`).  ``reaping``: whether
    tombstones are removed in each run.
    """
    seeds = itertools.count(first) if count is None else iter(range(first, first + count))
    tally = Tally(began_s=time.monotonic())
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(jobs or os.cpu_count(), _leave_interrupts_to_the_parent) as pool:
        while batch := list(itertools.islice(seeds, BATCH)):
            run_one = partial(outcome_of, rings=rings, reaping=reaping)
            for outcome in pool.imap_unordered(run_one, batch):
                tally.add(outcome)
                yield outcome, tally


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def changes_ring(seed: int, rings: bool | None) -> bool:
    """Whether the ring changes in the run of a seed; ``rings``: see `search`."""
    return seed % RINGS_EVERY == 0 if rings is None else rings


def outcome_of(seed: int, *, rings: bool | None = None, reaping: bool = False) -> Outcome:
    """Run one seed."""
    rings = changes_ring(seed, rings)
    report = run(draw(seed, rings=rings, reaping=reaping))
    return Outcome(
        seed,
        rings,
        list(map(str, report.violations)),
        len(report.rows),
        report.faults,
        report.messages,
        report.seconds,
    )
