"""The story of recorded logs, word by word, and the same story by clocks that are off."""

import json
from functools import partial

import pytest

from toystore.core.protocol.events import EVENTS
from toystore.localcluster.node import ROOT
from toystore.logs.document import document
from toystore.logs.entry import TOLD as EVENTS_TOLD
from toystore.logs.report import investigate
from toystore.logs.story import WIDTH, story

from .scene import BEGAN, GOLDEN, RECORDED, all_lines, line, loses_link, sees, shifted, told, write

SHIFTS = (
    {"n1": 3.2},
    {"n1": -4.0, "n2": 2.5},
    {"n1": 0.4, "n2": -0.7, "n3": 6.0, "n4": -3.1, "n5": 1.9},
    dict.fromkeys(("n1", "n2", "n3", "n4", "n5"), 4.0),
)
SCENARIOS = sorted((ROOT / "configs" / "scenarios").glob("*.yaml"))
NEARLY_S = 0.02
"""The recorded logs tell the difference of clocks within so much."""


def in_words(name: str) -> str:
    return "\n".join(story(investigate([str(RECORDED / name)]))) + "\n"


def in_json(name: str) -> str:
    report = json.loads("".join(document(investigate([str(RECORDED / name)]))))
    return json.dumps(report, indent=1) + "\n"


TOLD = {
    "demo.txt": partial(in_words, "demo"),
    "demo.json": partial(in_json, "demo"),
    "split.txt": partial(in_words, "split"),
    "split.json": partial(in_json, "split"),
    **{f"{path.stem}.txt": partial(in_words, path.stem) for path in SCENARIOS},
}


@pytest.mark.parametrize("name", TOLD)
def test_the_story_of_recorded_logs_is_the_one_that_was_kept(name):
    assert TOLD[name]() == (GOLDEN / name).read_text()


def test_every_line_of_a_story_fits_a_terminal():
    for path in GOLDEN.glob("*.txt"):
        assert max(map(len, path.read_text().splitlines())) <= WIDTH


@pytest.mark.parametrize("ahead_s", SHIFTS)
@pytest.mark.parametrize(
    ("name", "runner"),
    [
        *(("demo", True), ("demo", False), ("split", False)),
        *(("split_and_heal", True), ("one_way_link", True)),
    ],
)
def test_clocks_that_are_off_by_seconds_do_not_change_the_story(tmp_path, name, runner, ahead_s):
    lines = [each for each in all_lines(RECORDED / name) if runner or "run_cluster" not in each]
    true = document_of(write(tmp_path / "true", lines))

    found = document_of(write(tmp_path / "shifted", shifted(lines, ahead_s)))

    assert len(found["failures"]) == len(true["failures"]) > 0
    for one, other in zip(found["failures"], true["failures"], strict=True):
        assert nearly(one["all_knew_after_s"], other["all_knew_after_s"], runner, ahead_s)
        assert nearly(one["first"]["after_s"], other["first"]["after_s"], runner, ahead_s)
        for same in ("member", "kind", "suspected_by", "observers", "never_knew", "sides"):
            assert one[same] == other[same]
        assert one["hints"]["delivered"] == other["hints"]["delivered"]
    assert found["false_accusations"] == true["false_accusations"] == []


def document_of(folder):
    return json.loads("".join(document(investigate([str(folder)]))))


def nearly(one, other, runner, ahead_s):
    """The runner's clock is tied to the nodes' by their starts and ends alone."""
    patience_s = 0.4 if runner and len(set(ahead_s.values())) in (1, 5) else NEARLY_S
    return abs(one - other) < patience_s


@pytest.mark.parametrize("ahead_s", SHIFTS[:3])
def test_how_far_clocks_are_off_is_told_with_an_error_that_holds(tmp_path, ahead_s):
    lines = [each for each in all_lines(RECORDED / "demo") if "run_cluster" not in each]

    report = investigate([str(write(tmp_path, shifted(lines, ahead_s)))])

    reference = ahead_s.get(report.clocks.reference, 0.0)
    for clock in report.clocks.offsets:
        off = ahead_s.get(clock.node, 0.0) - reference
        assert abs(clock.ahead_s - off) <= clock.error_s + 1e-5
        assert clock.error_s < 0.1
    text = "\n".join(story(report))
    assert "all times below are corrected" in text.replace("\n    ", " ")


def test_the_story_of_one_failure_by_hand(tmp_path):
    report = told(
        tmp_path,
        sees(-9, "n1", "n3", "dead"),
        line(5, "run_cluster", "process.signalled", member="n3", pid=7, signal="SIGKILL"),
        loses_link(5.002, "n1", "n3"),
        sees(5.2, "n1", "n3", "suspect", "lost link"),
        sees(6.71, "n1", "n3", "dead", "suspicion timed out"),
        loses_link(5.001, "n2", "n3"),
        line(5.01, "n2", "hint.stored", owner="n3", hints=1, bytes=70),
        sees(5.3, "n2", "n3", "suspect", "told by n1"),
        line(8.4, "n3", "node.started", before="killed or crashed, last seen at 5", pid=8),
        line(8.4, "n3", "member.joined", members=3, cause="n1"),
        sees(8.5, "n1", "n3", "alive", "refuted", 1),
        line(8.6, "n2", "handoff.started", owner="n3", hints=1200, bytes=9),
        line(8.7, "n2", "handoff.finished", owner="n3", hints=1200, took_s=0.1),
        sees(9, "n1", "n2", "suspect", "missed ping"),
        sees(9.5, "n1", "n2", "alive", "refuted", 1),
        begins_at=BEGAN.timestamp(),
    )

    assert list(story(report))[2:] == [
        "clocks: nothing tells how the 3 compare",
        "",
        "#1  n3  CRASHED 12:00:05.000            back after 3.40 s, at 12:00:08.400",
        "    cause         SIGKILL (run_cluster's record)",
        "    first sign    +1 ms     n2  link lost",
        "    first suspect +200 ms   n1  own evidence: lost link",
        "    last suspect  +300 ms   n2  told by n1",
        "    first dead    +1.71 s   n1  own evidence: suspicion timed out",
        "    1 of 2 knew   +1.71 s   last n1; 1 by own evidence; never: n2",
        "    writes        1,200 hints on 1 node, first +10 ms; all home 300 ms after",
        "                  return",
        "    restart       +3.40 s   the same disk, joined through n1; missed 1,200",
        "                  writes",
        "",
        "false accusations:",
        "    12:00:09.000  n2 called suspect by n1: missed ping; taken back after 500 ms",
    ]


def test_every_event_that_the_story_is_made_of_is_in_the_vocabulary():
    assert set(EVENTS) >= EVENTS_TOLD
