"""Whole clusters under simulated faults: some seeds, each the same in every process."""

import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from toystore.sim.faults import KINDS, REAPING, RINGS
from toystore.sim.run import Report, run
from toystore.sim.swarm import draw, read_scenario

SEEDS = range(60)
COMPARED = (1, 7)
"""Seeds with short runs, whose traces are compared."""
RING_SEEDS = (5, 42, 58)


@functools.cache
def ran(seed: int) -> Report:
    """What a seed comes to; it is run once for all tests."""
    return run(draw(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_keeps_every_promise(seed):
    assert not ran(seed).violations


def test_the_seeds_meet_every_kind_of_fault():
    met = {fault.kind for seed in SEEDS for fault in draw(seed).faults}

    assert met == set(KINDS) - set(RINGS + REAPING)


@pytest.mark.parametrize("seed", RING_SEEDS)
def test_a_seed_in_which_the_ring_changes_keeps_every_promise(seed):
    assert not run(draw(seed, rings=True)).violations


def digest_in_a_process(seed: int, hash_seed: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "toystore", "sim", "run", "--seed", str(seed), "--json"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(told.stdout)["digest"]


@pytest.mark.parametrize("seed", COMPARED)
def test_a_seed_leaves_the_same_trace_in_every_process(seed):
    with ThreadPoolExecutor() as both:
        digests = set(both.map(digest_in_a_process, (seed, seed), ("1", "2")))

    assert digests == {ran(seed).digest}


def test_other_seeds_leave_other_traces():
    assert len({ran(seed).digest for seed in COMPARED}) == len(COMPARED)


def test_a_scenario_that_was_written_down_is_the_same_scenario():
    for seed in SEEDS:
        assert read_scenario(draw(seed).to_json()) == draw(seed)


@pytest.mark.parametrize(
    ("what", "value", "told"),
    [
        ("nodes", "three", "nodes: Input should be a valid integer"),
        ("probe_period_s", 0, "probe_period_s: Input should be greater than 0"),
        ("r", 9, "R and W are at most N"),
        ("faults", 7, "faults: Input should be"),
        ("faults", [["fire", 1.0, 1.0, ["n1"], 0.0, ""]], "there is no fault 'fire'"),
        ("faults", [["kill", 1.0, 1.0, ["n99"], 0.0, ""]], "'n99' is none of c1"),
    ],
)
def test_what_is_wrong_in_a_scenario_is_named(what, value, told):
    text = json.dumps(json.loads(draw(7).to_json()) | {what: value})

    with pytest.raises(ValueError, match=told):
        read_scenario(text)
