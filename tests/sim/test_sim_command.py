"""``toystore sim`` at a shell's prompt."""

import json

import pytest
from click.testing import CliRunner

from toystore.check.history import write_rows
from toystore.cli.commands import commands
from toystore.sim.run import run
from toystore.sim.search import changes_ring
from toystore.sim.swarm import draw

from .plant import KEPT
from .planted import PLANTED

QUICK = 1
"""A seed of many faults and a short run."""


def sim(*arguments: object):
    return CliRunner().invoke(commands, ["sim", *map(str, arguments)])


def test_a_seed_that_keeps_every_promise_exits_with_0_and_says_so():
    told = sim("run", "--seed", QUICK)

    assert told.exit_code == 0
    assert f"seed {QUICK}:" in told.output
    assert "every promise was kept" in told.output


def test_a_run_can_be_told_as_json_and_traced():
    told = json.loads(sim("run", "--seed", QUICK, "--json").output)
    traced = sim("run", "--seed", QUICK, "--trace").output

    assert told["violations"] == []
    assert told["digest"] in traced
    assert "member.joined" in traced


@pytest.fixture
def broken(monkeypatch):
    """A product with a fault in it, and a seed that catches it."""
    fault = "delivered_hints_overwrite_what_is_newer"
    PLANTED[fault](monkeypatch)
    return json.loads(KEPT.read_text())[fault]


def test_a_broken_promise_exits_with_1_and_shows_the_operations(broken):
    told = sim("run", "--seed", broken)

    assert told.exit_code == 1
    assert "BROKEN" in told.output


def test_a_scenario_from_a_file_is_run_again(broken, tmp_path):
    file = tmp_path / "scenario.json"
    file.write_text(draw(broken).to_json())

    assert sim("run", "--scenario", file).output == sim("run", "--seed", broken).output


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000])
def test_a_file_that_is_no_scenario_is_bad_use(tmp_path, text):
    file = tmp_path / "scenario.json"
    file.write_text(text)

    told = sim("run", "--scenario", file)

    assert told.exit_code == 2
    assert str(file) in told.output


def test_a_seed_and_a_file_exclude_each_other(tmp_path):
    assert sim("run").exit_code == 2
    assert sim("run", "--seed", 1, "--scenario", __file__).exit_code == 2


def test_a_search_counts_what_it_ran():
    told = sim("search", "--first", 54, "--count", 3, "--jobs", 1, "--no-rings")

    assert told.exit_code == 0
    assert "seeds from 54 on" in told.output
    assert "3 seeds, 0 broke a promise" in told.output


def test_a_search_changes_the_ring_in_some_of_its_runs():
    share = [changes_ring(seed, None) for seed in range(100)]

    assert 0 < share.count(True) < share.count(False)
    assert changes_ring(1, True)
    assert not changes_ring(0, False)


def test_a_history_that_was_kept_is_checked(tmp_path):
    file = tmp_path / "history.jsonl"
    rows = run(draw(QUICK)).rows
    write_rows(file, rows)
    assert sim("check", file).exit_code == 0

    read = next(row for row in rows if row.operation == "get" and row.value is not None)
    write_rows(file, [*rows, read._replace(value="never put")])
    told = sim("check", file)

    assert told.exit_code == 1
    assert "nothing_invented" in told.output


def test_a_file_that_is_no_history_is_bad_use(tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_text("[]\n")

    assert sim("check", file).exit_code == 2
