"""What is made of what nodes logged: failures of each kind, accusations without cause."""

import pytest

from toystore.logs.story import story

from .scene import joined, line, loses_link, sees, signal, started, told

KILLED = (signal(5, "n3", "SIGKILL"),)
RESTARTED = (signal(8, "n3", "SIGTERM"),)
STOPPED = (signal(5, "n3", "SIGTERM"),)
PAUSED = (signal(5, "n3", "SIGSTOP"), signal(8, "n3", "SIGCONT"))
PAUSED_SHORT = (signal(5, "n3", "SIGSTOP"), signal(6, "n3", "SIGCONT"))
BACK = (joined(8.4, "n3"),)
SEEN = (*BACK, sees(8.5, "n1", "n3", "alive", "refuted", 1))
N1_AWAY = (signal(5, "n1", "SIGSTOP"), signal(12, "n1", "SIGCONT"))


def accusations(report):
    return [(each.by, each.member, each.dead_at is not None) for each in report.false]


@pytest.mark.parametrize(
    ("lines", "suspected_at", "has_cause"),
    [
        ((*KILLED, *BACK), 4.9, False),
        ((*KILLED, *BACK), 5.2, True),
        (KILLED, 60, True),  # it never came back
        ((*KILLED, *SEEN), 8.45, True),
        ((*KILLED, *SEEN), 8.6, False),  # n1 knew
        ((*KILLED, *BACK), 9.3, True),  # n1 may not have heard yet
        ((*KILLED, *BACK), 9.5, False),
        ((*RESTARTED, *SEEN), 8.2, True),  # a restart stops who runs
        ((*RESTARTED, *SEEN), 9.83, False),
        ((*STOPPED, *SEEN), 9.83, False),
        (PAUSED, 7, True),
        (PAUSED, 8.9, True),
        (PAUSED, 9.1, False),
        (PAUSED_SHORT, 7.5, False),
        ((*KILLED, *SEEN, signal(20, "n3", "SIGKILL")), 15, False),
        ((*KILLED, *SEEN, signal(20, "n3", "SIGKILL")), 21, True),
        ((signal(5, "n2", "SIGKILL"),), 6, False),  # another was killed
        ((*KILLED, *BACK, *N1_AWAY), 12.5, True),  # n1 was away too
        ((*KILLED, *BACK, *N1_AWAY), 13.5, False),
    ],
)
def test_an_accusation_has_cause_only_while_the_member_is_known_to_be_away(
    tmp_path, lines, suspected_at, has_cause
):
    suspicion = sees(suspected_at, "n1", "n3", "suspect")
    taken_back = sees(suspected_at + 0.01, "n1", "n3", "alive", "refuted", 2)
    alive = line(suspected_at + 0.005, "n3", "member.refuted", incarnation=2, cause="")

    report = told(tmp_path, *lines, suspicion, *(() if has_cause else (alive, taken_back)))

    assert accusations(report) == ([] if has_cause else [("n1", "n3", False)])


def test_who_came_back_has_no_more_cause_to_accuse_than_others_have(tmp_path):
    report = told(
        tmp_path,
        *KILLED,
        *SEEN,
        sees(9, "n3", "n1", "suspect", "missed ping"),
        line(9.1, "n1", "member.refuted", incarnation=1, cause="suspect, told by n3"),
        sees(9.2, "n3", "n1", "alive", "refuted", 1),
    )

    (false,) = report.false
    assert (false.by, false.member, false.note) == ("n3", "n1", "it had been away itself")


def test_a_node_that_died_by_itself_is_called_dead_with_cause_and_was_suspected_without(tmp_path):
    report = told(
        tmp_path,
        sees(4, "n1", "n3", "suspect"),
        line(5, "run_cluster", "process.died", member="n3", pid=7, exit_code=1, last_words="no"),
        sees(5.2, "n1", "n3", "dead"),
    )

    (failure,) = report.failures
    assert (failure.kind, failure.how) == ("crash", "exit code 1")
    assert [sight.node for sight in failure.deaths] == ["n1"]
    assert accusations(report) == [("n1", "n3", False)]


def test_a_death_that_is_called_long_after_a_pause_is_a_wrong_one(tmp_path):
    report = told(
        tmp_path,
        signal(5, "n3", "SIGSTOP"),
        sees(5.8, "n1", "n3", "suspect", "missed ping"),
        signal(6, "n3", "SIGCONT"),
        line(6.5, "n3", "link.up", member="n1"),
        sees(8, "n1", "n3", "dead", "suspicion timed out"),
        sees(9, "n1", "n3", "alive", "refuted", 1),
    )

    (failure,) = report.failures
    assert failure.kind == "pause"
    assert [sight.node for sight in failure.suspicions] == ["n1"]
    assert not failure.deaths
    assert accusations(report) == [("n1", "n3", True)]
    assert report.wrongly_dead == {"n3": 1}


def test_a_crash_is_known_from_the_next_life_if_there_is_no_runner(tmp_path):
    report = told(
        tmp_path,
        started(0, "n3"),
        loses_link(5, "n1", "n3"),
        sees(5.2, "n1", "n3", "suspect", "lost link"),
        started(8, "n3", "killed or crashed, last seen at 2026-01-31T12:00:04Z"),
        joined(8.4, "n3"),
        sees(8.5, "n1", "n3", "alive", "refuted", 1),
    )

    (failure,) = report.failures
    assert (failure.kind, failure.known_from) == ("crash", "its own log")
    assert failure.back_at - failure.at == pytest.approx(3.4)
    assert not report.false


def test_a_node_whose_first_actors_log_before_its_start_is_back_all_the_same(tmp_path):
    report = told(
        tmp_path,
        started(0, "n3"),
        sees(5.2, "n1", "n3", "suspect", "lost link"),
        joined(8.39, "n3"),
        started(8.4, "n3", "killed or crashed, last seen at 2026-01-31T12:00:04Z"),
        sees(8.5, "n1", "n3", "alive", "refuted", 1),
    )

    (failure,) = report.failures
    assert failure.kind == "crash"
    assert failure.back_at - failure.at == pytest.approx(3.19)
    assert failure.restart.through == "n1"


def test_what_the_runner_told_of_a_crash_is_not_told_again_by_the_next_process(tmp_path):
    report = told(
        tmp_path,
        started(0, "n3"),
        signal(5, "n3", "SIGKILL"),
        joined(8.39, "n3"),
        started(8.4, "n3", "killed or crashed, last seen at 2026-01-31T12:00:04Z"),
    )

    (failure,) = report.failures
    assert failure.how == "SIGKILL"
    assert failure.restart.joined_at == failure.back_at


def test_a_restart_that_nobody_noticed_is_a_failure_that_nobody_noticed(tmp_path):
    report = told(
        tmp_path,
        started(0, "n1"),
        started(0, "n3"),
        started(8, "n3", "killed or crashed, last seen at 2026-01-31T12:00:04Z"),
        joined(8.4, "n3"),
    )

    (failure,) = report.failures
    assert (failure.kind, failure.unaware) == ("crash", ["n1"])
    assert report.unnoticed == 1


def test_a_member_that_stood_still_by_its_own_word_was_paused(tmp_path):
    report = told(
        tmp_path,
        sees(6, "n1", "n3", "suspect", "missed ping"),
        line(8, "n3", "actor.stalled", late_s=2.9),
        line(8.1, "n3", "actor.stalled", late_s=2.2),
        line(8.1, "n3", "member.refuted", incarnation=1, cause="suspect, told by n1"),
        sees(8.2, "n1", "n3", "alive", "refuted", 1),
    )

    (failure,) = report.failures
    assert (failure.kind, failure.known_from, failure.how) == ("pause", "its own log", "")
    assert failure.back_at - failure.at == pytest.approx(3.0)
    assert not report.false


def test_a_member_that_stood_still_and_that_nobody_suspected_did_not_fail(tmp_path):
    report = told(tmp_path, line(8, "n3", "actor.stalled", late_s=0.6))

    assert len(report.failures) == len(report.false) == 0


def test_a_member_that_logs_on_while_it_is_accused_was_wrongly_called_dead(tmp_path):
    report = told(
        tmp_path,
        sees(5, "n1", "n3", "suspect", "missed ping"),
        sees(5.1, "n2", "n3", "suspect", "told by n1"),
        sees(6.5, "n1", "n3", "dead", "suspicion timed out"),
        line(7, "n3", "member.refuted", incarnation=1, cause="dead, told by n1"),
        sees(7.1, "n1", "n3", "alive", "refuted", 1),
        sees(7.2, "n2", "n3", "alive", "told by n1", 1),
    )

    assert len(report.failures) == 0
    assert accusations(report) == [("n1", "n3", True), ("n2", "n3", False)]


def test_a_member_without_a_log_crashed_if_its_links_broke(tmp_path):
    report = told(
        tmp_path,
        loses_link(5, "n1", "n3"),
        loses_link(5.01, "n2", "n3"),
        sees(5.2, "n1", "n3", "suspect", "lost link"),
        sees(5.2, "n2", "n3", "suspect", "told by n1"),
        sees(6.7, "n1", "n3", "dead", "suspicion timed out"),
        sees(6.8, "n2", "n3", "dead", "told by n1"),
    )

    (failure,) = report.failures
    assert (failure.kind, failure.known_from) == ("crash", "the first sign")
    assert failure.back_at is None
    assert failure.all_knew_at - failure.at == pytest.approx(1.8)


def test_a_member_that_only_went_silent_is_a_failure_of_an_unknown_kind(tmp_path):
    report = told(
        tmp_path,
        sees(5, "n1", "n3", "suspect", "missed ping"),
        sees(6.5, "n1", "n3", "dead", "suspicion timed out"),
        sees(30, "n1", "n3", "alive", "refuted", 1),
    )

    (failure,) = report.failures
    assert failure.kind == "unknown"
    assert failure.back_at - failure.at == pytest.approx(25)


def test_a_refuted_suspicion_of_a_member_without_a_log_is_a_false_one(tmp_path):
    report = told(
        tmp_path,
        sees(5, "n1", "n3", "suspect", "missed ping"),
        sees(5.3, "n1", "n3", "alive", "refuted", 1),
    )

    assert len(report.failures) == 0
    assert accusations(report) == [("n1", "n3", False)]


def test_links_that_are_lost_and_lead_to_no_suspicion_are_counted(tmp_path):
    report = told(
        tmp_path,
        started(0, "n2"),
        started(0, "n3"),
        loses_link(5, "n1", "n3"),
        loses_link(5.1, "n2", "n3"),
        loses_link(60, "n1", "n2"),
    )

    assert len(report.failures) == len(report.false) == 0
    assert report.links_lost == 3


def test_each_side_of_a_split_accuses_the_other_and_the_smaller_was_cut_off(tmp_path):
    few, many = ("n1", "n2"), ("n3", "n4", "n5")
    pairs = [(by, of) for by in few for of in many] + [(by, of) for by in many for of in few]

    report = told(
        tmp_path,
        *(started(0, name) for name in few + many),
        line(4, "run_cluster", "scenario.step", at_s=4, do="unplug", member="n2", for_s=16),
        *(sees(5, by, of, "suspect", "missed ping") for by, of in pairs),
        *(sees(6, by, of, "dead", "suspicion timed out") for by, of in pairs),
        # As soon as they hear of each other, each hears what the other side believes.
        sees(19.9, "n3", "n4", "suspect", "told by n1"),
        sees(19.95, "n3", "n4", "alive", "refuted", 1),
        *(sees(20, by, of, "alive", "refuted", 1) for by, of in pairs),
    )

    assert [(each.member, each.kind) for each in report.failures] == [
        ("n1", "split"),
        ("n2", "split"),
    ]
    assert {each.sides for each in report.failures} == {(few, many)}
    assert {each.how for each in report.failures} == {"scenario: unplug n2"}
    assert not report.false


def test_a_node_that_alone_accuses_everybody_is_the_one_that_is_wrong(tmp_path):
    others = ("n1", "n2", "n3")

    report = told(
        tmp_path,
        *(sees(5, "n4", name, "suspect", "missed ping") for name in others),
        *(line(6, name, "member.refuted", incarnation=1, cause="") for name in others),
        *(sees(6.1, "n4", name, "alive", "refuted", 1) for name in others),
    )

    assert len(report.failures) == 0
    assert accusations(report) == [("n4", name, False) for name in others]


def test_members_that_are_stopped_together_are_no_failures(tmp_path):
    names = ("n1", "n2", "n3")
    stopping = [
        line(5 + at, name, "node.stopping", reason="SIGTERM") for at, name in enumerate(names)
    ]
    goodbyes = [sees(5.5, "n3", name, "left", f"told by {name}") for name in names[:2]]

    report = told(tmp_path, *(started(0, name) for name in names), *stopping, *goodbyes)

    assert len(report.failures) == len(report.false) == 0


def test_members_that_are_restarted_one_after_the_other_failed_one_after_the_other(tmp_path):
    names = ("n1", "n2", "n3")
    lines = [started(0, name) for name in names]
    for at, name in enumerate(names):
        lines += [
            line(5 + 3 * at, name, "node.stopping", reason="SIGTERM"),
            started(6 + 3 * at, name, "clean stop"),
            joined(7 + 3 * at, name, names[at - 1]),
        ]

    report = told(tmp_path, *lines)

    assert [(each.member, each.kind) for each in report.failures] == [(n, "stop") for n in names]


def test_a_member_that_crashes_again_before_all_see_it_back_failed_twice(tmp_path):
    report = told(
        tmp_path,
        started(0, "n1"),
        started(0, "n2"),
        signal(5, "n3", "SIGKILL"),
        sees(6, "n1", "n3", "dead"),
        sees(6, "n2", "n3", "dead"),
        joined(8, "n3"),
        sees(8.1, "n1", "n3", "alive", "refuted", 1),
        signal(8.2, "n3", "SIGKILL"),
        sees(9, "n1", "n3", "dead", "lost link", 1),
        joined(11, "n3"),
    )

    first, second = report.failures
    assert (first.back_at - first.at, second.back_at - second.at) == pytest.approx((3.0, 2.8))
    assert second.observers == ("n1",)  # n2 had not seen it come back
    assert not report.false


def test_an_old_doubt_does_not_make_a_new_failure_begin_earlier(tmp_path):
    report = told(
        tmp_path,
        started(-20, "n1"),
        started(-20, "n2"),
        sees(-9, "n1", "n3", "dead"),
        signal(5, "n3", "SIGKILL"),
        sees(6, "n2", "n3", "suspect", "lost link"),
    )

    (failure,) = report.failures
    assert [sight.node for sight in failure.suspicions] == ["n2"]
    assert failure.observers == ("n2",)
    assert accusations(report) == [("n1", "n3", True)]


def test_hints_are_counted_for_the_failure_that_they_were_kept_in(tmp_path):
    report = told(
        tmp_path,
        *KILLED,
        line(5.1, "n1", "hint.stored", owner="n3", hints=1, bytes=9),
        line(5.2, "n2", "hint.stored", owner="n3", hints=1, bytes=9),
        *BACK,
        line(8.5, "n1", "handoff.started", owner="n3", hints=30, bytes=9),
        line(8.6, "n1", "handoff.paused", owner="n3", hints=10, cause="link lost"),
        signal(9, "n3", "SIGKILL"),
        line(12, "n1", "handoff.started", owner="n3", hints=25, bytes=9),
        line(12.1, "n1", "handoff.finished", owner="n3", hints=25, took_s=0.1),
    )

    first, second = report.failures
    held = {
        each.holder: (each.kept, each.delivered, each.home_at is not None) for each in first.held
    }
    assert held == {"n1": (35, 35, True), "n2": (1, 0, False)}
    assert first.home_at is None
    assert not second.held


def test_steps_of_a_scenario_that_are_not_known_stand_beside_false_accusations(tmp_path):
    report = told(
        tmp_path,
        line(4, "run_cluster", "scenario.step", at_s=4, do="flood", member="n3", for_s=5.0),
        sees(5, "n1", "n3", "suspect", "nack from n2"),
        sees(5.2, "n1", "n3", "alive", "refuted", 1),
    )

    (false,) = report.false
    assert (false.cause, false.note) == ("nack from n2", "scenario: flood n3")


def test_the_runners_end_is_no_failure_of_anybody(tmp_path):
    report = told(
        tmp_path,
        started(0, "n1"),
        line(5, "run_cluster", "run.stopping", reason="all is done"),
        signal(5.1, "n1", "SIGTERM"),
        line(5.2, "n1", "node.stopping", reason="SIGTERM"),
    )

    assert len(report.failures) == 0


def test_a_new_process_that_is_killed_before_it_has_joined_is_told_in_the_same_failure(tmp_path):
    report = told(
        tmp_path,
        *KILLED,
        signal(7, "n3", "SIGKILL"),
        started(9, "n3", "killed or crashed"),
        joined(9.5, "n3"),
    )

    (failure,) = report.failures
    assert [at - failure.at for at in failure.again] == pytest.approx([2.0])
    assert "    killed again  +2.00 s, before it had joined" in list(story(report))


def test_a_member_that_flaps_is_named_with_the_nodes_that_logged_it(tmp_path):
    flapping = {"member": "n3", "times": 3, "within_s": 60.0}
    report = told(
        tmp_path,
        *KILLED,
        *BACK,
        *(line(9 + at, "n1", "member.flapping", **flapping) for at in range(2)),
        line(9.1, "n2", "member.flapping", **flapping),
    )

    text = " ".join("\n".join(story(report)).split())
    assert "besides: n3 flaps, as logged by n1, n2, first at 12:00:09.000" in text


def test_a_node_that_finds_itself_slow_is_named_with_its_worst_health(tmp_path):
    report = told(
        tmp_path,
        started(0, "n1"),
        *(
            line(at, "n1", "health.changed", score=score, before=0, cause="n2 did not ack")
            for at, score in enumerate((1, 3, 2), start=1)
        ),
        line(5, "n2", "health.changed", score=1, before=0, cause="n3 did not ack"),
    )

    lines = list(story(report))
    assert "besides: slow by their own account, with the worst health score: n1 (3)" in lines


def test_nodes_that_the_runner_restarts_in_turn_have_each_stopped_even_if_it_takes_long(tmp_path):
    names = ("n1", "n2", "n3")
    report = told(
        tmp_path,
        *(started(0, name) for name in names),
        *(signal(5 + at, name, "SIGTERM") for at, name in enumerate(names)),
        *(joined(9 + at, name) for at, name in enumerate(names)),
    )

    assert [(each.member, each.kind) for each in report.failures] == [
        (name, "stop") for name in names
    ]
