"""Plants each fault of planted.py, planted_rings.py and planted_reaping.py, and searches for a seed
that catches it.

python -m tests.sim.plant            from a random seed on; fails if one is not caught
python -m tests.sim.plant --keep     from 0 on, and keep the seeds for the tests
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pytest

from toystore.sim.run import MACHINES, Report, run
from toystore.sim.swarm import draw

from . import planted, planted_reaping, planted_rings

WITH_RINGS = {**planted_rings.PLANTED, **planted_reaping.PLANTED}
"""The faults in runs in which the ring changes, by name."""
PLANTED = {**planted.PLANTED, **WITH_RINGS}
"""Every fault, by name."""
KEPT = Path(__file__).with_name("kept_seeds.json")
SEEDS_MAX = 400
"""A fault that is not caught in so many seeds counts as not found."""


def run_with(fault: str, seed: int) -> Report:
    """What a seed comes to with a fault planted."""
    with pytest.MonkeyPatch.context() as patch:
        PLANTED[fault](patch)
        reaping = fault in planted_reaping.PLANTED
        return run(draw(seed, rings=fault in WITH_RINGS, reaping=reaping))


def first_seed(fault: str, first: int) -> tuple[str, int | None, str]:
    """The first seed from ``first`` on that catches a fault, and the promise it breaks."""
    for seed in range(first, first + SEEDS_MAX):
        report = run_with(fault, seed)
        if report.promises - {MACHINES}:  # a fault that only makes something raise is no find
            return fault, seed, report.violations[0].promise
    return fault, None, ""


def keep(seeds: dict[str, int]) -> None:
    """Write down the seeds of the faults that there are."""
    known = {fault: seeds[fault] for fault in PLANTED if fault in seeds}
    KEPT.write_text(json.dumps(known, indent=2) + "\n")


def main() -> int:
    """Search for all of them, on all processors."""
    parser = argparse.ArgumentParser(description="Search for seeds that catch the planted bugs.")
    parser.add_argument("--first", type=int, help="the first seed; default: random")
    parser.add_argument(
        "--keep", action="store_true", help="start at seed 0, and keep the seeds found"
    )
    parser.add_argument("faults", nargs="*", help="the bugs to search for; default: all")
    options = parser.parse_args()
    first = options.first
    if first is None:
        first = 0 if options.keep else random.SystemRandom().randrange(2**31)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    faults = options.faults or list(PLANTED)
    began = time.monotonic()
    missed = 0
    print(f"{len(faults)} planted faults, seeds from {first} on")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        searches = [pool.submit(first_seed, fault, first) for fault in faults]
        for fault, seed, promise in (search.result() for search in as_completed(searches)):
            if seed is None:
                missed += 1
                print(f"{fault:<60} NOT CAUGHT in {SEEDS_MAX} seeds", flush=True)
            else:
                print(f"{fault:<60} {seed - first + 1:5} seeds  {promise}", flush=True)
                kept[fault] = seed
                if options.keep:
                    keep(kept)
    print(f"{len(faults) - missed} caught, {missed} not; {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
