"""Whole clusters under simulated faults: some seeds, each the same in every process."""

import json
import os
import subprocess
import sys

import pytest

from toystore.sim.run import run
from toystore.sim.scenario import Scenario, draw
from toystore.sim.trouble import KINDS

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_keeps_every_promise(seed):
    assert not run(draw(seed)).violations


def test_the_seeds_meet_every_kind_of_fault():
    met = {fault.kind for seed in SEEDS for fault in draw(seed).faults}

    assert met == set(KINDS)


def digest_in_a_process(seed: int, hash_seed: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "toystore.cli", "sim", "run", "--seed", str(seed), "--json"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(told.stdout)["digest"]


@pytest.mark.parametrize("seed", [3, 7])
def test_a_seed_leaves_the_same_trace_in_every_process(seed):
    digests = {digest_in_a_process(seed, hash_seed) for hash_seed in ("1", "2")}

    assert digests == {run(draw(seed)).digest}


def test_other_seeds_leave_other_traces():
    assert len({run(draw(seed)).digest for seed in range(5)}) == 5


def test_a_scenario_that_was_written_down_is_the_same_scenario():
    for seed in SEEDS:
        assert Scenario.from_json(draw(seed).to_json()) == draw(seed)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rates": 1, "faults": []}', '{"faults": 7}'])
def test_what_is_no_scenario_is_said_to_be_none(text):
    with pytest.raises(ValueError, match=r"."):
        Scenario.from_json(text)
