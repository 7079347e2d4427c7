"""The simulator finds bugs: every planted fault is caught by the seed that is kept for it."""

import json

import pytest

from toystore.sim.minimise import minimise
from toystore.sim.run import MACHINES

from .plant import KEPT, run_with
from .planted import PLANTED

SEEDS = json.loads(KEPT.read_text())


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_caught(fault):
    assert run_with(fault, SEEDS[fault]).promises - {MACHINES}


def test_what_catches_a_fault_is_made_small():
    fault = "an_empty_new_disk_votes_not_found"
    report = run_with(fault, SEEDS[fault])

    with pytest.MonkeyPatch.context() as patch:
        PLANTED[fault](patch)
        smallest = minimise(report, runs_max=60)

    assert smallest.promises & report.promises
    assert len(smallest.scenario.faults) < len(report.scenario.faults)
    assert len(smallest.rows) < len(report.rows)
