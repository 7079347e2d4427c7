"""The simulator finds bugs: every planted fault is caught by the seed that is kept for it."""

import json

import pytest

from toystore.sim.minimise import minimise
from toystore.sim.run import MACHINES
from toystore.sim.swarm import draw

from .plant import KEPT, PLANTED, run_with
from .seams import GoneError, everywhere, replace

SEEDS = json.loads(KEPT.read_text())


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_caught(fault):
    report = run_with(fault, SEEDS[fault])

    assert report.promises - {MACHINES}, report.violations


class Machine:
    """Stands for a class of the product."""

    def work(self, number):
        return number


def test_a_fault_whose_place_in_the_product_is_gone_says_so(monkeypatch):
    replace(monkeypatch, Machine, "work", lambda true, self, number: true(self, number) + 1)
    with pytest.raises(GoneError, match=r"Machine has no rest any more; tests/sim/planted\.py"):
        replace(monkeypatch, Machine, "rest", lambda true, self: None)
    with pytest.raises(GoneError, match=r"nothing in toystore\.net uses draw any more"):
        everywhere(monkeypatch, draw, lambda true, seed: None, within="toystore.net")

    assert Machine().work(7) == 8


def test_what_catches_a_fault_is_made_small():
    fault = "a_newer_hint_does_not_replace_the_older"
    report = run_with(fault, SEEDS[fault])

    with pytest.MonkeyPatch.context() as patch:
        PLANTED[fault](patch)
        smallest = minimise(report, runs_max=60)

    assert smallest.promises & report.promises
    assert len(smallest.scenario.faults) < len(report.scenario.faults)
    assert len(smallest.rows) < len(report.rows)
