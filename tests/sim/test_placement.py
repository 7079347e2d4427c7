"""`toystore ring --simulate`: Dynamo's strategies, and toystore's own placement."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import pytest
from click.testing import CliRunner

from toystore.cli.commands import commands
from toystore.core.ring.ring import Member, Ring
from toystore.sim.placement import report
from toystore.sim.placement.changes import place
from toystore.sim.placement.strategies import (
    PARTITIONS_PER_TOKEN,
    STRATEGIES,
    efficiency,
    equal_partitions,
    random_tokens,
    random_tokens_equal_partitions,
)

NODES, N, ENTRIES = 6, 3, 6 * 9 * 4


def tokens(each, seed):
    """The tokens that a strategy draws from this seed."""
    chance = random.Random(seed)
    drawn = [(chance.random(), node) for node in range(NODES) for _ in range(each)]
    return sorted(drawn)


def owners_from(ring, at):
    """The first N distinct nodes at or after a position: the paper's walk, step by step."""
    walk = [token for token in ring if token[0] >= at] + ring
    return list(dict.fromkeys(node for _, node in walk))[:N]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_key_has_n_replicas(strategy):
    loads = strategy(NODES, N, ENTRIES, random.Random(1))

    assert len(loads) == NODES
    assert sum(loads) == pytest.approx(N)


def test_strategy_1_gives_a_key_to_the_nodes_of_the_next_tokens():
    loads = random_tokens(NODES, N, ENTRIES, random.Random(7))

    ring = tokens(ENTRIES // NODES, 7)
    expected = dict.fromkeys(range(NODES), 0.0)
    edges = [0.0, *(position for position, _ in ring), 1.0]
    for start, end in itertools.pairwise(edges):
        for node in owners_from(ring, (start + end) / 2):
            expected[node] += end - start
    assert loads == pytest.approx([expected[node] for node in range(NODES)])


def test_strategy_2_gives_a_partition_to_the_nodes_of_the_tokens_after_its_end():
    loads = random_tokens_equal_partitions(NODES, N, ENTRIES, random.Random(7))

    each = ENTRIES // NODES // (1 + PARTITIONS_PER_TOKEN)
    ring, partitions = tokens(each, 7), PARTITIONS_PER_TOKEN * NODES * each
    expected = Counter(
        node for at in range(partitions) for node in owners_from(ring, (at + 1) / partitions)
    )
    assert loads == pytest.approx([expected[node] / partitions for node in range(NODES)])


def test_strategy_3_gives_each_node_as_many_partitions_as_first_owner():
    loads = equal_partitions(NODES, 1, ENTRIES, random.Random(7))

    assert efficiency(loads) == pytest.approx(1.0)


def test_with_the_same_metadata_strategy_3_is_best_and_2_is_worst_as_in_the_paper():
    first, second, third = (
        sum(efficiency(strategy(30, 3, 1080, random.Random(seed))) for seed in range(3))
        for strategy in STRATEGIES
    )

    assert second < first < third


def test_toystore_s_figures_are_those_of_its_ring():
    placed = place(10, 256, 3, random.Random(3))

    chance = random.Random(3)
    names = [f"n{chance.getrandbits(48):x}" for _ in range(11)]
    shares = Ring([Member(name) for name in names[:10]], 256, 3).shares()
    owned = [share for share, _ in shares.values()]
    assert placed.efficiency == pytest.approx(3 * 256 / 10 / max(owned))
    assert placed.join >= 1.0
    assert placed.leave >= 1.0


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(report, "PLACEMENTS", ((10, 64),))
    monkeypatch.setattr(report.compare, "__defaults__", ((270, 540), 2))


def run(*arguments):
    return CliRunner().invoke(commands, ["ring", "--simulate", *arguments])


@pytest.mark.usefixtures("small")
def test_the_figures_are_printed_and_drawn_and_the_same_seed_gives_the_same(tmp_path):
    first, again, other = (
        run("--svg", str(tmp_path / "ring.svg")),
        run("--seed", "1"),
        run("--seed", "2"),
    )

    assert first.exit_code == 0
    assert first.stdout == again.stdout != other.stdout
    assert "10 nodes, Q=64" in first.stdout
    picture = (tmp_path / "ring.svg").read_text()
    assert picture.startswith("<svg ")
    assert all(name in picture for name in report.NAMES)


@pytest.mark.usefixtures("small")
def test_the_figures_in_json_are_one_object():
    told = json.loads(run("--json", "--seed", "3").stdout)

    assert (told["nodes"], told["n"], told["seed"]) == (30, 3, 3)
    assert [point["entries"] for point in told["points"]] == [270, 540]
    assert told["points"][0].keys() == {"entries", *report.NAMES}
    [placement] = told["placements"]
    assert placement["runs"][0].keys() == {"efficiency", "join", "leave"}


@pytest.mark.parametrize("arguments", [["ring", "--seed", "1"], ["ring", "--simulate", "key"]])
def test_options_that_contradict_are_bad_use(arguments):
    assert CliRunner().invoke(commands, arguments).exit_code == 2


@pytest.mark.usefixtures("small")
def test_a_picture_that_cannot_be_written_is_bad_use(tmp_path):
    assert run("--svg", str(tmp_path / "no" / "ring.svg")).exit_code == 2
