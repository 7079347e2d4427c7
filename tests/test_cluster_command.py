"""`toystore cluster`, against fake nodes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import toystore
from toystore import BadRequest, Conflict, Timeout, Unavailable
from toystore.cli import cluster, cluster_watch, follow
from toystore.cli.commands import commands

AT = "tcp://n1:7400"
PLAN = {
    "plan": 3,
    "changes": [["join", "n4"], ["leave", "n1"]],
    "base": 4,
    "base_digest": "00",
    "record": {"members": [{"name": "n4", "host": "h4", "ports": [7430, 7431, 7432, 7433]}]},
    "moves": [
        {"from": "n1", "to": "n4", "partitions": 60, "keys": 1200, "bytes": 2**20},
        {"from": None, "to": "n2", "partitions": 4, "keys": 80, "bytes": 2**12},
    ],
    "load": [{"name": "n1", "before": 64, "after": 0}, {"name": "n4", "before": 0, "after": 60}],
    "warnings": ["n2 is down"],
    "partitions": 64,
    "keys": 1280,
    "bytes": 2**20 + 2**12,
}


def member(name, behind=0, unreleased=0, *, status="alive", **figures):
    return {
        "name": name,
        "status": status,
        "weight": 1,
        "zone": "z1",
        "ranges": 64,
        "behind": behind,
        "unreleased": unreleased,
        "bytes_left": 1024 * (behind or 0),
        "keys_left": behind,
        "keys": 1000,
        "bytes": 2**20,
        "hints": 0,
        "disk": "ab",
        "host": name,
        "ports": [7400, 7401, 7402, 7403],
    } | figures


def state_of(epoch, *members, state="moving", **rest):
    usual = {"plan": None, "waiting": [], "gone": [], "lost": [], "lineage": "00"}
    usual |= {"moving_since_us": 0, "why": "join n4, leave n1"}
    return {"epoch": epoch, "state": state, "members": list(members)} | usual | rest


STABLE = state_of(6, member("n2"), member("n4"), state="stable")


class FakeCluster:
    """Answers commands with what a test has set: one after the other, then the last."""

    def __init__(self):
        self.answers = {
            "plan": [PLAN],
            "show": [PLAN],
            "commit": [{"epoch": 5, "state": "moving"}],
            "abort": [{"epoch": 6, "state": "moving"}],
            "status": [STABLE],
        }
        self.down = set()
        """The endpoints that do not answer."""
        self.asked = []
        """(endpoint, command, arguments), in order; an endpoint is None if any may answer."""

    def of(self, command):
        return [(at, arguments) for at, name, arguments in self.asked if name == command]

    def answer(self, endpoints, command, arguments, endpoint):
        self.asked.append((endpoint, command, arguments))
        if not set(endpoints if endpoint is None else [endpoint]) - self.down:
            raise Unavailable("cannot reach it", definite=True)
        answers = self.answers[command]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.delenv("TOYSTORE_ENDPOINTS", raising=False)
    monkeypatch.setattr(follow, "POLL_S", 0.001)
    fake = FakeCluster()

    class FakeClient:
        def __init__(self, endpoints, *, timeout, learn_members, bucket="default"):
            self.endpoints = endpoints

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def status(self, endpoint, *, timeout):
            if endpoint in fake.down:
                raise Unavailable("cannot reach it", definite=True)

        def cluster(self, command, arguments=None, endpoint=None, *, timeout=None):
            return fake.answer(self.endpoints, command, arguments or {}, endpoint)

    monkeypatch.setattr(toystore, "Client", FakeClient)
    return fake


def run(*arguments, said=""):
    return CliRunner().invoke(commands, ["cluster", *arguments, "-e", AT], input=said)


def rows_of(text):
    return [line.split() for line in text.splitlines()]


# --- plan and show ----------------------------------------------------------------------


def test_several_changes_are_planned_at_once(fake):
    words = "join n4 leave n1 replace n2 n5 reweigh n3 2 rezone n3 z2 remove n6"
    planned = run("plan", *words.split(), "readdress", "n3", "h:7400")

    assert planned.exit_code == 0
    [(at, arguments)] = fake.of("plan")
    assert at == AT
    assert arguments["changes"] == [
        ["join", "n4"],
        ["leave", "n1"],
        ["replace", "n2", "n5"],
        ["reweigh", "n3", 2],
        ["rezone", "n3", "z2"],
        ["remove", "n6"],
        ["readdress", "n3", "h:7400"],
    ]


@pytest.mark.parametrize("command", [("plan", "join", "n4", "leave", "n1"), ("show", "3")])
def test_a_plan_is_shown_with_what_moves_the_load_and_the_warnings(fake, command):
    fake.answers["status"] = [STABLE | {"epoch": 4}]
    shown = run(*command)

    assert shown.exit_code == 0
    assert "plan 3, for epoch 5: join n4 (tcp://h4:7430), leave n1" in shown.stdout
    rows = rows_of(shown.stdout)
    assert ["n1", "n4", "60", "1,200", "1", "MiB"] in rows
    assert ["the", "other", "owners", "n2", "4", "80", "4", "KiB"] in rows
    assert ["total", "64", "1,280", "1", "MiB"] in rows
    assert ["n4", "0", "60"] in rows
    assert "- n2 is down" in shown.stdout
    assert f"Commit it with: toystore cluster commit 3 -e {AT}" in shown.stdout


def test_a_plan_that_is_committed_is_not_shown_as_one_to_commit(fake):
    shown = run("show")

    assert "Commit it with" not in shown.stdout
    assert "It is based on epoch 4, and the newest is 6" in shown.stdout


def test_an_empty_zone_can_be_seen_and_no_line_ends_with_a_blank(fake):
    fake.answers["plan"] = [PLAN | {"changes": [["rezone", "n1", ""]]}]

    shown = run("plan", "rezone", "n1", "").stdout

    assert 'rezone n1 ""' in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())


def test_members_are_in_the_order_of_their_numbers(fake):
    fake.answers["status"] = [state_of(6, *map(member, ("n1", "n10", "n2")), state="stable")]

    shown = rows_of(run("status").stdout)

    assert [row[0] for row in shown if row[1:2] == ["alive"]] == ["n1", "n2", "n10"]


def test_a_plan_in_json_is_what_the_node_has_sent(fake):
    assert json.loads(run("plan", "join", "n4", "--json").stdout) == PLAN
    assert json.loads(run("show", "--json").stdout) == PLAN
    assert fake.of("show") == [(AT, {"plan": None})]


def test_a_plan_that_moves_nothing_says_so(fake):
    fake.answers["plan"] = [PLAN | {"moves": [], "warnings": []}]

    shown = run("plan", "readdress", "n3", "h:7400").stdout

    assert "nothing moves" in shown
    assert "warnings" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fly n1", "no change is called 'fly'; there are: join NEWCOMER; leave NAME; "),
        ("join n4 n5", "no change is called 'n5'"),
        ("leave n1 replace n3", "'replace n3' is not complete; it is: replace NAME NEWCOMER"),
        ("reweigh n1 much", "a weight is a whole number from 1 to 1000, not 'much'"),
    ],
)
def test_words_that_are_no_change_are_bad_use_and_the_text_says_what_is_right(fake, words, said):
    refused = run("plan", *words.split())

    assert refused.exit_code == 2
    assert said in refused.stderr
    assert fake.asked == []


def test_what_the_node_refuses_is_bad_use(fake):
    fake.answers["plan"] = [BadRequest("no node called 'n4' waits to join; none waits")]

    refused = run("plan", "join", "n4")

    assert refused.exit_code == 2
    assert "none waits" in refused.stderr


# --- commit and abort -------------------------------------------------------------------


def test_a_commit_shows_the_plan_and_asks_before_it_acts(fake):
    committed = run("commit", said="y\n")

    assert committed.exit_code == 0
    assert committed.stdout.index("- n2 is down") < committed.stdout.index("Commit plan 3?")
    assert fake.of("commit") == [(AT, {"plan": 3, "without": []})]
    assert "decided: epoch 5, moving" in committed.stdout
    assert "toystore cluster status --wait" in committed.stdout


@pytest.mark.parametrize("command", ["commit", "abort"])
@pytest.mark.parametrize(("said", "told"), [("n\n", "nothing was done"), ("", "see --yes")])
def test_without_a_yes_nothing_is_done(fake, command, said, told):
    declined = run(command, said=said)

    assert declined.exit_code == 130
    assert told in declined.stderr
    assert fake.of(command) == []


def test_yes_asks_nothing(fake):
    committed = run("commit", "3", "--yes")

    assert committed.exit_code == 0
    assert "?" not in committed.stdout
    assert [command for _, command, _ in fake.asked] == ["commit"]


def test_an_unsafe_commit_names_who_is_left_out_and_says_what_that_means(fake):
    committed = run("commit", "--unsafe-without", "n2,n4", said="y\n")

    assert "without n2, n4, which are refused permanently" in committed.stdout
    assert fake.of("commit")[0][1]["without"] == ["n2", "n4"]


def test_a_commit_that_lost_to_another_says_so_and_exits_with_3(fake):
    fake.answers["commit"] = [Conflict("the ring has changed: plan again", definite=True)]

    refused = run("commit", "--yes")

    assert refused.exit_code == 3
    assert "plan again (definite" in refused.stderr


def test_an_abort_asks_and_says_what_is_aborted(fake):
    fake.answers["status"] = [state_of(5, member("n4", 3))]

    aborted = run("abort", said="y\n")

    assert aborted.exit_code == 0
    assert "epoch 5, moving: join n4, leave n1" in aborted.stdout
    assert fake.of("abort") == [(AT, {})]


def test_a_commit_in_json_is_one_object(fake):
    committed = run("commit", "--yes", "--json")
    assert json.loads(committed.stdout) == {"epoch": 5, "state": "moving"}

    waited = run("commit", "--yes", "--wait", "--json")
    assert json.loads(waited.stdout) == {"epoch": 6, "state": "stable"}

    asked = run("commit", "--json", said="y\n")
    assert json.loads(asked.stdout) == {"epoch": 5, "state": "moving"}


def test_all_is_asked_of_the_first_endpoint_that_answers(fake):
    fake.down = {AT}

    committed = CliRunner().invoke(
        commands, ["cluster", "commit", "-e", AT, "-e", "tcp://n2:7400"], input="y\n"
    )

    assert committed.exit_code == 0
    assert {at for at, _, _ in fake.asked} == {"tcp://n2:7400"}


def test_if_no_node_answers_the_exit_code_says_so(fake):
    fake.down = {AT}

    assert run("plan", "join", "n4").exit_code == 3


# --- waiting ----------------------------------------------------------------------------


def test_a_wait_shows_how_far_each_member_is_until_the_ring_is_stable(fake):
    fake.answers["status"] = [
        state_of(4, member("n1"), member("n2"), state="stable"),
        state_of(5, member("n1", 0, 60), member("n2", 4), member("n4", 60), plan=PLAN),
        Timeout("busy"),
        state_of(5, member("n1", 0, 20), member("n2", 0), member("n4", 20), plan=PLAN),
        STABLE,
    ]

    waited = run("commit", "--yes", "--wait")

    assert waited.exit_code == 0
    lines = waited.stdout.splitlines()
    assert "n4: 60 of 60 ranges moved" in lines
    assert "n1: 60 of 60 ranges moved, no member any more" in lines
    assert len(fake.answers["status"]) == 1


def test_a_node_that_leaves_is_not_the_only_one_that_is_asked(fake):
    moving = state_of(5, member("n1", 0, 9), member("n2"))
    fake.answers["status"] = [moving, moving, STABLE]
    usual = fake.answer
    asked = []

    def answer(endpoints, command, arguments, endpoint):
        asked.append(endpoint)
        fake.down = {AT} if len(asked) == 3 else fake.down  # it leaves
        return usual(endpoints, command, arguments, endpoint)

    fake.answer = answer
    waited = run("status", "--wait")

    assert waited.exit_code == 0
    assert asked == [None, AT, AT, "tcp://n2:7400"]
    assert f"no answer from {AT}; trying others" in waited.stdout


def test_a_wait_says_which_member_it_waits_for_that_does_not_answer(fake, monkeypatch):
    monkeypatch.setattr(cluster_watch, "SAY_AFTER_S", 0.0)
    moving = state_of(5, member("n1"), member("n10", None, status="dead", bytes_left=None))
    fake.answers["status"] = [moving, moving, moving, STABLE]

    waited = run("abort", "--yes", "--wait")

    assert waited.exit_code == 0
    text = "waits for n10, which does not answer: start it; if it has failed permanently: "
    assert waited.stdout.count(f"{text}toystore cluster plan remove n10\n") == 1


def test_an_abort_that_waits_for_a_newcomer_says_what_for(fake):
    newcomer = member("n10", None, status="dead", bytes_left=None)
    fake.answers["status"] = [state_of(5, member("n1"), newcomer) | {"why": "abort: join n10"}]

    shown = run("status")

    text = "waits for n10, which does not answer and may have what moves back: start it;"
    assert text in shown.stdout
    assert "toystore cluster plan remove n10" in shown.stdout


def test_a_wait_for_a_ring_that_moves_nothing_says_only_that_it_is_stable(fake):
    fake.answers["commit"] = [{"epoch": 6, "state": "stable"}]
    silent = member("n3", None, bytes_left=None)
    moved = member("n4", status="left")  # to another address
    fake.answers["status"] = [state_of(6, member("n2"), silent, moved, state="stable")]

    waited = run("commit", "--yes", "--wait")

    assert waited.stdout.splitlines() == [
        "decided: epoch 6, stable",
        "epoch 6, stable",
    ]


def test_an_interrupted_wait_says_how_to_pick_it_up(fake):
    fake.answers["status"] = [state_of(5, member("n4", 9)), KeyboardInterrupt()]

    interrupted = run("commit", "--yes", "--wait")

    assert interrupted.exit_code == 130
    assert "the change goes on" in interrupted.stderr
    assert f"toystore cluster status --wait -e {AT}" in interrupted.stderr


def test_a_wait_ends_if_no_node_answers(fake, monkeypatch):
    monkeypatch.setattr(cluster_watch, "SILENT_S", 0.01)
    fake.answers["status"] = [state_of(5, member("n4", 9)), Timeout("nobody there")]

    waited = run("status", "--wait")

    assert waited.exit_code == 3
    assert "no node has answered for" in waited.stderr


def test_a_down_member_is_shown_as_such_with_what_it_told_last(fake, monkeypatch):
    down = member("n2", None, None, status="dead", bytes_left=None)
    fake.answers["status"] = [
        state_of(5, member("n2", 9)),
        state_of(5, member("n2", 9)),
        state_of(5, member("n2", 7)),
        state_of(5, down),
        state_of(5, down | {"status": "alive"}),
        STABLE,
    ]
    steps = []
    show = follow.Lines.show

    def note(view, shown):
        steps.append(str(shown["n2"]))
        show(view, shown)

    monkeypatch.setattr(follow.Lines, "show", note)
    waited = run("status", "--wait")

    assert waited.exit_code == 0
    assert "n2: 2 of 9 ranges moved, dead" in steps
    assert "n2: 2 of 9 ranges moved, does not report" in steps


def test_nothing_is_awaited_of_a_member_that_has_failed_permanently(fake):
    dead = member("n3", None, None, status="lost", bytes_left=None)
    moving = state_of(5, dead, member("n4", 9), lost=["n3"])
    fake.answers["status"] = [moving, moving, STABLE]

    waited = run("status", "--wait")

    assert waited.exit_code == 0
    assert "n4: 9 of 9 ranges moved" in waited.stdout
    assert "n3: " not in waited.stdout


def test_on_a_terminal_a_bar_is_drawn_for_each_member(fake, monkeypatch):
    monkeypatch.setattr(cluster_watch, "make_view", follow.Bars)
    fake.answers["status"] = [state_of(5, member("n2", 4), member("n4", 60)), STABLE]

    drawn = run("commit", "--yes", "--wait")

    assert drawn.exit_code == 0
    assert any(
        line.startswith("n4 ") and "60/60 ranges moved" in line
        for line in drawn.stdout.splitlines()
    )


def test_the_pace_is_what_has_come_in_the_last_seconds():
    progress = cluster_watch.Progress()
    progress.note(4 * 2**20, 100.0)
    progress.note(3 * 2**20, 101.0)

    assert progress.text() == "about 3 MiB to come, 1 MiB/s, about 3 s left"


# --- status -----------------------------------------------------------------------------


def test_the_status_shows_members_who_waits_and_the_plan(fake):
    waits = {"name": "n5", "host": "h5", "ports": [7440, 7441, 7442, 7443]}
    fake.answers["status"] = [
        state_of(
            4,
            member("n1", 5, 6),
            member("n2", None, None, status="dead", bytes=None, bytes_left=None),
            waiting=[waits],
            plan=PLAN,
            lost=["n8"],
            gone=[
                {"name": "n1", "disk": "01", "epoch": 1},
                {"name": "n9", "disk": "00", "epoch": 1},
                {"name": "n9", "disk": "02", "epoch": 2},
            ],
        )
    ]

    shown = run("status")

    assert shown.exit_code == 0
    assert "epoch 4, moving: join n4, leave n1" in shown.stdout
    rows = rows_of(shown.stdout)
    assert ["n1", "alive", "1", "z1", "64", "5", "6", "5", "KiB", "1", "MiB"] in rows
    assert ["n2", "dead", "1", "z1", "64", "?", "?", "?", "?"] in rows
    assert (
        f"n5 (tcp://h5:7440) waits to join: toystore cluster plan join n5 -e {AT}\n" in shown.stdout
    )
    assert "plan 3 is kept (join n4, leave n1): toystore cluster commit 3" in shown.stdout
    assert "failed permanently: n8" in shown.stdout
    assert "no members any more: n9 (since epoch 2)\n" in shown.stdout
    assert "toystore cluster abort" in shown.stdout
    assert "waits for n2, which does not answer: start it" in shown.stdout
    assert "toystore cluster plan remove n2" in shown.stdout


def test_a_plan_for_an_earlier_ring_is_named_as_such(fake):
    fake.answers["status"] = [STABLE | {"plan": PLAN, "why": "leave n7"}]

    assert "plan 3 (join n4, leave n1) is for an earlier ring" in run("status").stdout


def test_a_status_in_json_is_what_the_node_has_sent(fake):
    assert json.loads(run("status", "--json").stdout) == STABLE


def test_every_command_says_what_it_is_for():
    for name in cluster.cluster.commands:
        helped = CliRunner().invoke(commands, ["cluster", name, "--help"])
        assert helped.exit_code == 0
    assert "replace NAME NEWCOMER" in CliRunner().invoke(
        commands, ["cluster", "plan", "--help"]
    ).stdout.replace("\n", " ").replace("  ", " ")
