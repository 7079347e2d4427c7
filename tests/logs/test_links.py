"""What the runner did to links: which accusations it explains, and how it is told."""

import pytest

from toystore.logs.casebook import Casebook
from toystore.logs.entry import parse
from toystore.logs.steps import steps
from toystore.logs.story import story

from .scene import disturbs, line, restores, sees, started, told

NODES = tuple(started(0, name) for name in ("n1", "n2", "n3", "n4"))
WATCHED = tuple(
    line(0, "run_cluster", "process.started", member=name, pid=7)
    for name in ("n1", "n2", "n3", "n4")
)
SPLIT = ("n1 > n2 n3 n4", "n2 n3 n4 > n1")
FROM_N4 = ("n4 > n1 n2 n3",)


def false(report):
    return [(each.by, each.member, each.note) for each in report.false]


def test_a_node_whose_links_are_cut_is_cut_off_from_that_moment_and_nobody_accuses_falsely(
    tmp_path,
):
    report = told(
        tmp_path,
        *WATCHED,
        *NODES,
        disturbs(5, "cut", *SPLIT),
        sees(5.5, "n2", "n1", "suspect", "missed ping"),
        sees(5.6, "n3", "n1", "suspect", "told by n2"),
        sees(5.7, "n1", "n3", "suspect", "missed ping"),
        sees(7.0, "n2", "n1", "dead", "suspicion timed out"),
        sees(7.1, "n3", "n1", "dead", "told by n2"),
        sees(7.2, "n4", "n1", "dead", "told by n2"),
        sees(7.2, "n1", "n3", "dead", "suspicion timed out"),
        restores(10, "cut", *SPLIT),
        sees(10.1, "n2", "n3", "dead", "told by n1"),
        sees(10.2, "n2", "n3", "alive", "refuted", 1),
        sees(10.2, "n1", "n3", "alive", "refuted", 1),
        *(sees(10.3, name, "n1", "alive", "refuted", 1) for name in ("n2", "n3", "n4")),
    )

    (failure,) = report.failures
    assert (failure.member, failure.kind, failure.known_from) == ("n1", "split", "run_cluster")
    assert failure.sides == (("n1",), ("n2", "n3", "n4"))
    assert failure.back_at - failure.at == pytest.approx(5)
    assert failure.noticed[0].at - failure.at == pytest.approx(0.5)
    assert failure.unaware == []
    assert [(each.member, each.dead is not None) for each in failure.in_turn] == [("n3", True)]
    assert false(report) == []


def test_a_node_that_only_cannot_send_is_cut_off_as_well(tmp_path):
    report = told(
        tmp_path,
        *WATCHED,
        *NODES,
        disturbs(5, "cut", *FROM_N4),
        *(sees(5.5, name, "n4", "suspect", "missed ping") for name in ("n1", "n2", "n3")),
        sees(5.6, "n4", "n2", "suspect", "missed ping"),
        restores(10, "cut", *FROM_N4),
        *(sees(10.2, name, "n4", "alive", "refuted", 1) for name in ("n1", "n2", "n3")),
        sees(10.2, "n4", "n2", "alive", "acked", 1),
    )

    (failure,) = report.failures
    assert (failure.member, failure.how) == ("n4", "links cut: n4 → all")
    assert false(report) == []


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        (disturbs(5, "cut", "n4 > n1"), "cut link: n4 → n1"),
        (
            disturbs(5, "delay", "n1 n2 n3 > n4", "n4 > n1 n2 n3", delay_s=0.3, jitter_s=0.1),
            "slow link: n1, n2, n3 ↔ n4, 300 to 400 ms later",
        ),
        (disturbs(5, "loss", "n1 > n4", share=0.4), "lossy link: n1 → n4, 40% lost"),
        (
            disturbs(5, "reset", "n4 > n1 n2 n3", "n1 n2 n3 > n4", for_s=None),
            "reset link: n4 ↔ all",
        ),
    ],
)
def test_a_suspicion_of_a_node_that_can_be_reached_is_false_and_the_link_is_its_reason(
    tmp_path, fault, note
):
    report = told(
        tmp_path,
        *WATCHED,
        *NODES,
        fault,
        sees(5.5, "n1", "n4", "suspect", "missed ping"),
        sees(5.6, "n2", "n4", "suspect", "told by n1"),
        sees(5.7, "n3", "n4", "suspect", "told by n2"),
        *(sees(5.9, name, "n4", "alive", "refuted", 1) for name in ("n1", "n2", "n3")),
    )

    assert len(report.failures) == 0
    assert false(report) == [("n1", "n4", note), ("n2", "n4", note), ("n3", "n4", note)]
    assert {each.reason for each in report.false} == {note.partition(":")[0]}
    total = "0 failures; nobody wrongly called dead; 3 false suspicions, all by faulty links"
    assert list(story(report))[1] == total


def test_a_suspicion_long_after_a_fault_or_of_another_link_has_no_reason(tmp_path):
    report = told(
        tmp_path,
        *WATCHED,
        *NODES,
        disturbs(5, "loss", "n1 > n4", share=0.4),
        sees(5.5, "n2", "n3", "suspect", "missed ping"),
        sees(5.9, "n2", "n3", "alive", "refuted", 1),
        restores(10, "loss", "n1 > n4"),
        sees(15, "n1", "n4", "suspect", "missed ping"),
        sees(16, "n1", "n4", "alive", "refuted", 1),
    )

    assert false(report) == [("n2", "n3", ""), ("n1", "n4", "")]


def test_the_story_begins_with_what_was_done_to_links(tmp_path):
    report = told(
        tmp_path,
        *WATCHED,
        *NODES,
        disturbs(5, "cut", "n1 n2 > n3 n4", "n3 n4 > n1 n2", reset=True),
        restores(7, "cut", "n1 n2 > n3 n4", "n3 n4 > n1 n2"),
        disturbs(8, "loss", "n1 n2 n4 > n3", share=0.25),
    )

    lines = list(story(report))
    assert lines[4:7] == [
        "done to links (run_cluster's record):",
        "    12:00:05.000  n1, n2 ↔ n3, n4: cut, by resets, for 2.00 s",
        "    12:00:08.000  all → n3: 25% lost, to the end",
    ]


def test_a_follower_is_told_when_links_change():
    book = Casebook()
    lines = [
        *NODES,
        line(5, "run_cluster", "scenario.step", at_s=5, do="cut", member=None, for_s=2),
        disturbs(5, "cut", "n1 > n4"),
        restores(7, "cut", "n1 > n4"),
    ]

    found = []
    for each in lines:
        entry = parse(each.encode())
        book.learn(entry)
        found += [(step.member, step.what) for step in steps(entry, book)]

    assert found[-2:] == [("links", "n1 → n4: cut"), ("links", "n1 → n4: cut: over")]
    assert len([member for member, _ in found if member == "run_cluster"]) == 0


def test_a_fault_of_which_the_log_says_nonsense_explains_nothing(tmp_path):
    nonsense = (None, "n1", [1], [{"from": "n1", "to": [2, None]}], [{}])
    report = told(
        tmp_path,
        *NODES,
        *(line(5, "run_cluster", "link.fault", kind=each, links=each) for each in nonsense),
        *(line(6, "run_cluster", "link.restored", kind=each, links=each) for each in nonsense),
        sees(7, "n1", "n4", "suspect", "missed ping"),
        sees(7.5, "n1", "n4", "alive", "refuted", 1),
    )

    assert false(report) == [("n1", "n4", "")]
    assert all(len(each) <= 80 for each in story(report))
