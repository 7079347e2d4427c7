"""How far clocks are off, from messages whose times both sides logged."""

import random
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.logs.clocks import estimate
from toystore.logs.entry import RUNNER, parse
from toystore.logs.hearsay import Hearsay
from toystore.logs.report import investigate

from .scene import line, sees, shifted, started, told, write


def bounds_of(ahead_s, messages):
    """What is known of clocks from messages: who sent, who received, and how long it took."""
    bounds = {}
    for sender, receiver, took_s in messages:
        bound = ahead_s[receiver] + took_s - ahead_s[sender]
        bounds[receiver, sender] = min(bound, bounds.get((receiver, sender), bound))
    return bounds


NODES = [f"n{number}" for number in range(6)]


@given(
    st.fixed_dictionaries({node: st.sampled_from([0.0, 0.0, -3.5, 2.25, 40.0]) for node in NODES}),
    st.lists(
        st.tuples(st.sampled_from(NODES), st.sampled_from(NODES), st.floats(0.001, 0.5)).filter(
            lambda message: message[0] != message[1]
        ),
        max_size=60,
    ),
)
def test_a_clock_is_off_by_as_much_as_is_told_within_the_error(ahead_s, messages):
    bounds = bounds_of(ahead_s, messages)

    clocks = estimate(bounds, NODES)

    told_s = {each.node: each.ahead_s for each in clocks.offsets}
    for each in clocks.offsets:
        off = ahead_s[each.node] - ahead_s[clocks.reference]
        assert abs(off - each.ahead_s) <= each.error_s + 1e-4
    assert clocks.contradiction_s == 0
    if all(each.error_s < 1e9 for each in clocks.offsets):
        for (x, y), bound in bounds.items():  # no message arrives before it was sent
            assert told_s[x] - told_s[y] <= bound + 1e-4


def test_one_wrong_clock_does_not_set_the_time_for_the_others():
    ahead_s = dict.fromkeys(NODES, 0.0) | {"n0": 60.0}
    everyone = [(x, y, 0.01) for x in NODES for y in NODES if x != y]

    clocks = estimate(bounds_of(ahead_s, everyone), NODES)

    assert clocks.reference != "n0"
    assert {e.node: round(e.ahead_s, 3) for e in clocks.offsets if e.ahead_s} == {"n0": 60.0}


def test_the_story_is_told_by_the_runners_clock_where_there_is_one():
    ahead_s = dict.fromkeys(NODES, 5.0) | {RUNNER: 0.0}
    everyone = [(x, y, 0.01) for x in ahead_s for y in ahead_s if x != y]

    clocks = estimate(bounds_of(ahead_s, everyone), ahead_s)

    assert clocks.reference == RUNNER
    assert clocks.ahead_s("n1") == pytest.approx(5.0)


def test_a_clock_that_was_set_meanwhile_is_told_as_a_contradiction():
    before = bounds_of(dict.fromkeys(NODES, 0.0), [("n0", "n1", 0.01), ("n1", "n0", 0.01)])
    after = bounds_of(dict.fromkeys(NODES, 0.0) | {"n1": 5.0}, [("n1", "n0", 0.01)])

    clocks = estimate(before | after, NODES)

    assert clocks.contradiction_s == pytest.approx(4.98)
    assert all(each.ahead_s == 0.0 for each in clocks.offsets)


def test_clocks_of_which_nothing_is_known_are_left_as_they_are():
    clocks = estimate({}, NODES)

    assert [each.ahead_s for each in clocks.offsets] == [0.0] * len(NODES)
    assert {each.error_s for each in clocks.offsets if each.node != clocks.reference} == {inf}


# --- bounds -----------------------------------------------------------------------------


def learn(*lines):
    """The bounds in some lines, which are taken in by the times that they show."""
    heard = Hearsay()
    for entry in entries_of(lines):
        heard.learn(entry)
    return {pair: round(bound, 3) for pair, bound in heard.bounds.items()}


def entries_of(lines):
    return sorted(parse(each.encode()) for each in lines)


def test_who_is_told_knows_later_than_who_told():
    told_late = sees(12, "n2", "n4", "suspect", "told by n1")
    told_before_it_was_known = sees(9, "n3", "n4", "suspect", "told by n1")

    bounds = learn(
        sees(10, "n1", "n4", "suspect", "missed ping"), told_late, told_before_it_was_known
    )

    assert bounds == {("n2", "n1"): 2.0, ("n3", "n1"): -1.0}


def test_who_is_dead_to_one_is_told_to_others_as_suspect():
    bounds = learn(
        sees(10, "n1", "n4", "suspect", "missed ping"),
        sees(11, "n1", "n4", "dead", "suspicion timed out"),
        sees(9, "n2", "n4", "suspect", "told by n1"),
    )

    assert bounds == {("n2", "n1"): -1.0}  # of the two, it is the first that binds


def test_a_refutation_comes_after_the_doubt_and_before_it_is_believed():
    bounds = learn(
        sees(10, "n1", "n4", "dead", "suspicion timed out"),
        line(14, "n4", "member.refuted", incarnation=1, cause="dead, told by n1"),
        sees(15, "n1", "n4", "alive", "refuted", 1),
    )

    assert bounds == {("n4", "n1"): 4.0, ("n1", "n4"): 1.0}


def test_a_node_is_seen_alive_after_it_began_to_join_and_before_it_had():
    bounds = learn(
        sees(10.2, "n1", "n4", "alive", "joined"),
        line(10.5, "n4", "member.joined", members=2, took_s=0.4, cause="n1"),
    )

    assert bounds == {("n1", "n4"): 0.1, ("n4", "n1"): 0.3}


def test_a_process_starts_after_the_runner_began_it_and_stops_before_the_runner_sees_it():
    process = {"member": "n1", "pid": 7}

    bounds = learn(
        line(1, RUNNER, "process.started", **process),
        started(1.5, "n1"),
        line(5, RUNNER, "process.signalled", signal="SIGTERM", **process),
        line(5.25, "n1", "node.stopping", reason="SIGTERM"),
        line(6, "n1", "node.stopped", took_s=0.1),
        line(6.5, RUNNER, "process.ended", exit_code=0, **process),
    )

    assert bounds == {("n1", RUNNER): 0.25, (RUNNER, "n1"): 0.5}


def test_what_is_said_in_another_life_is_another_thing():
    said = sees(10, "n1", "n4", "suspect", "missed ping")
    again = sees(30, "n1", "n4", "suspect", "missed ping")

    bounds = learn(
        started(0, "n1"),
        said,
        started(20, "n1"),
        again,
        sees(30.5, "n2", "n4", "suspect", "told by n1"),
    )

    assert bounds == {("n2", "n1"): 0.5}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_a_story_is_that_of_the_corrected_times(tmp_path, seed):
    """A rumour runs through nodes whose clocks are off; each hears it after who told it."""
    chance = random.Random(seed)
    names = [f"n{number}" for number in range(1, 7)]
    ahead_s = {name: chance.choice([0, 0, chance.uniform(-9, 9)]) for name in names}
    lines = []
    for number, at in enumerate(range(0, 60, 10)):
        order = chance.sample(names, len(names))
        lines.append(sees(at, order[0], f"m{number}", "dead", "suspicion timed out"))
        for step, (teller, hearer) in enumerate(pairwise(order), 1):
            cause = f"told by {teller}"
            lines.append(sees(at + step * 0.01, hearer, f"m{number}", "dead", cause))

    report = investigate([str(write(tmp_path, shifted(lines, ahead_s)))])

    for failure in report.failures:
        at = {sight.node: sight.at for sight in failure.deaths}
        told_by = {sight.node: sight.teller for sight in failure.deaths if sight.teller}
        assert len(told_by) == len(names) - 1
        assert all(at[teller] <= at[hearer] + 1e-4 for hearer, teller in told_by.items())


def test_a_story_without_clocks_to_compare_is_told_all_the_same(tmp_path):
    report = told(tmp_path, sees(1, "n1", "n2", "dead", "suspicion timed out"))

    assert [failure.member for failure in report.failures] == ["n2"]
