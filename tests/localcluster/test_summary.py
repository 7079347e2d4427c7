"""What is told in the end: who noticed what when, and who was accused without cause."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.config import Step, parse
from toystore.localcluster import cluster as cluster_module
from toystore.localcluster.load import Tally
from toystore.localcluster.notices import Notice, read_logs
from toystore.localcluster.scenario import Played
from toystore.localcluster.summary import summary

from .stand_ins import NAMES


@given(st.lists(st.integers(1, 999), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_the_least_latency_that_the_share_did_not_exceed(latencies_ms, share):
    tally = Tally()
    for ms in latencies_ms:
        tally.add("get", ms / 1000)

    found = tally.percentile_ms(share)

    in_order = sorted(latencies_ms)
    oracle = next(ms for at, ms in enumerate(in_order, start=1) if at >= share * len(latencies_ms))
    assert found == oracle


def test_a_tally_without_requests_has_a_percentile_all_the_same():
    assert Tally().percentile_ms(0.99) == 0.0


BEGAN = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


def log_line(seconds: float, node: str, event: str, **fields: object) -> str:
    when = (BEGAN + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return json.dumps({"timestamp": when, "event": event, "node": node, **fields}) + "\n"


NO_LOG_LINES = (
    b'"a text"',
    b"7",
    b'["a", "list"]',
    b"{}",
    b'{"event":"member.dead","node":"n2","timestamp":5}',
    b'{"event":"member.dead","node":"n2","timestamp":"2024-05-01T12:00:00"}',
    b'{"level":"error"}',
    b"\xff\xfe",
    b"[" * 5000,
)


def test_what_is_no_line_of_a_log_is_passed_over(tmp_path):
    member = parse({"cluster": "log", "members": list(NAMES)}).member("n1")
    node = cluster_module.Node(member, tmp_path / "n1")
    node.folder.mkdir()
    (node.folder / "log.jsonl").write_bytes(b"\n".join(NO_LOG_LINES))

    notices = read_logs(tmp_path, ["n1"], since=BEGAN)

    assert list(summary([], notices, {}))[1:] == ["accused without cause: nobody"]
    assert node.last_words() == ""


def test_the_summary_tells_for_each_step_who_noticed_what_first_and_last(tmp_path):
    logs = {
        "n1": log_line(-9, "n1", "member.dead", member="n3")
        + log_line(5.002, "n1", "link.lost", member="n3")
        + log_line(5.2, "n1", "member.suspect", member="n3", cause="lost link")
        + log_line(6.71, "n1", "member.dead", member="n3", cause="suspicion timed out")
        + log_line(8.5, "n1", "member.alive", member="n3", cause="refuted")
        + log_line(8.7, "n1", "handoff.finished", owner="n3", hints=1200)
        + log_line(9, "n1", "member.suspect", member="n2", cause="missed ping"),
        "n2": log_line(5.001, "n2", "link.lost", member="n3")
        + log_line(5.01, "n2", "hint.stored", owner="n3", hints=1)
        + log_line(5.3, "n2", "member.suspect", member="n3", cause="told by n1")
        + '{"timestamp":"2024-05-',
        "n3": log_line(8.4, "n3", "member.joined", members=3, cause="n1")
        + log_line(8.4, "n3", "member.alive", member="n3"),
    }
    for name, lines in logs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(lines)
    played = [
        Played(Step(at=5, do="kill", node="n3"), BEGAN + timedelta(seconds=5)),
        Played(Step(at=8, do="restart", node="n3"), BEGAN + timedelta(seconds=8)),
    ]

    told = "\n".join(summary(played, read_logs(tmp_path, NAMES, since=BEGAN), {}))

    assert told == (
        "what was noticed              by   first           last            why the first did\n"
        "   5 s  kill n3\n"
        "        link.lost              2   n2       1 ms   n1       2 ms\n"
        "        member.suspect         2   n1     200 ms   n2     300 ms   lost link\n"
        "        member.dead            1   n1     1.71 s   n1     1.71 s   suspicion timed out\n"
        "        hint.stored            1   n2      10 ms   n2      10 ms\n"
        "   8 s  restart n3\n"
        "        member.joined          1   n3     400 ms   n3     400 ms   n1\n"
        "        member.alive           1   n1     500 ms   n1     500 ms   refuted\n"
        "        handoff.finished       1   n1     700 ms   n1     700 ms   1,200 hints delivered\n"
        "accused without cause: suspect n2 by 1"
    )


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def step(seconds: float, do: str, node: str, **more: float) -> Played:
    return Played(Step.model_validate({"at": seconds, "do": do, "node": node} | more), at(seconds))


def noticed(seconds: float, kind: str, by: str, about: str) -> Notice:
    return Notice(at(seconds), f"member.{kind}", by, about, "", 0)


KILLED = (step(5, "kill", "n3"), step(8, "restart", "n3"))
PAUSED = (step(5, "pause", "n3", **{"for": 3}),)
BACK = (noticed(8.4, "joined", "n3", "n3"),)
SEEN = (*BACK, noticed(8.5, "alive", "n1", "n3"))


@pytest.mark.parametrize(
    ("played", "others", "suspected_at", "has_cause"),
    [
        (KILLED, BACK, 4.9, False),
        (KILLED, BACK, 5.2, True),
        (KILLED, (), 60, True),  # it never came back
        (KILLED[:1], (), 60, True),
        (KILLED, SEEN, 8.45, True),
        (KILLED, SEEN, 8.6, False),  # n1 knew
        (KILLED, BACK, 9.3, True),  # n1 may not have heard yet
        (KILLED, BACK, 9.5, False),
        (KILLED[1:], SEEN, 8.2, True),  # a restart stops who runs
        (KILLED[1:], SEEN, 9.83, False),
        ((step(5, "stop", "n3"), step(8, "restart", "n3")), SEEN, 9.83, False),
        (PAUSED, (), 7, True),
        (PAUSED, (), 8.9, True),
        (PAUSED, (), 9.1, False),
        ((*PAUSED, step(6, "resume", "n3")), (), 7.5, False),
        ((*KILLED, step(20, "kill", "n3")), SEEN, 15, False),
        ((*KILLED, step(20, "kill", "n3")), SEEN, 21, True),
        ((step(5, "kill", "n2"),), (), 6, False),  # another was killed
        ((*KILLED, step(5, "pause", "n1", **{"for": 7})), BACK, 12.5, True),  # n1 was away too
        ((*KILLED, step(5, "pause", "n1", **{"for": 7})), BACK, 13.5, False),
    ],
)
def test_an_accusation_is_excused_only_while_the_scenario_gives_cause(
    played, others, suspected_at, has_cause
):
    notices = sorted([*others, noticed(suspected_at, "suspect", "n1", "n3")])

    *_, told = summary(played, notices, {})

    accused = "nobody" if has_cause else "suspect n3 by 1"
    assert told == f"accused without cause: {accused}"


def test_who_came_back_has_no_more_cause_to_accuse_than_others_have():
    notices = [*SEEN, noticed(9, "suspect", "n3", "n1")]

    assert [*summary(KILLED, notices, {})][-1] == "accused without cause: suspect n1 by 1"


def test_a_node_that_died_by_itself_is_accused_with_cause():
    notices = [noticed(4, "suspect", "n1", "n3"), noticed(5.2, "dead", "n1", "n3")]

    assert [*summary([], notices, {"n3": at(5)})][-1] == "accused without cause: suspect n3 by 1"
