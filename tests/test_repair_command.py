"""`toystore repair`, and what `toystore status` says of a rebuild, against fake nodes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import toystore
from toystore import BadRequest, Timeout
from toystore.cli import follow, rebuild, repair, status
from toystore.cli.commands import commands

NAMES = ("n1", "n2", "n3")


def endpoint_of(name):
    return f"tcp://{name}:7400"


def progress(done, ranges=8, *, finished=None, **figures):
    told = {"job": 1, "queued": False, "ranges": ranges, "scrubbed": ranges, "done": done}
    told |= {"compared": 2 * done, "records": 10 * done}
    rest = {"bytes": 1024 * done, "rotten": 0, "repaired": 0, "waits_for": []}
    return told | rest | {"finished": done == ranges if finished is None else finished} | figures


def status_of(name, behind=0, *, votes=None, **antientropy):
    return {
        "node": name,
        "cluster": "demo",
        "joined": True,
        "members": [
            {"name": each, "status": "alive", "incarnation": 0, "endpoint": endpoint_of(each)}
            for each in NAMES
        ],
        "hints": {},
        "requests": {"held": 0},
        "storage": {
            "votes": not behind if votes is None else votes,
            "ranges": 8,
            "ranges_behind": behind,
        },
        "antientropy": {"bytes_in": 0, "waits_for": []} | antientropy,
    }


class FakeNode:
    """A node that answers with one after the other of what a test has set, and then the last."""

    def __init__(self, name):
        self.statuses = [status_of(name)]
        self.repairs = [progress(8)]
        self.asked = []

    def next_of(self, answers):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def nodes(monkeypatch):
    """The fake nodes by name; no other endpoint answers."""
    monkeypatch.delenv("TOYSTORE_ENDPOINTS", raising=False)
    monkeypatch.setattr(follow, "POLL_S", 0.001)
    monkeypatch.setattr(status, "PACE_S", 0.001)
    by_name = {name: FakeNode(name) for name in NAMES}

    def at(endpoint):
        if endpoint not in map(endpoint_of, by_name):
            raise Timeout("nobody there")
        return by_name[endpoint.removeprefix("tcp://").removesuffix(":7400")]

    class FakeAsyncClient:
        def __init__(self, endpoints, *, timeout, learn_members):
            self.endpoints = endpoints

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

        async def status(self, endpoint):
            node = at(endpoint)
            return node.next_of(node.statuses)

        async def repair(self, job, endpoint, *, bucket, partition):
            assert endpoint in self.endpoints
            node = at(endpoint)
            node.asked.append((job, bucket, partition))
            return node.next_of(node.repairs)

    class FakeClient:
        def __init__(self, endpoints, *, timeout, bucket, learn_members):
            self.endpoint = endpoints[0]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def status(self):
            node = at(self.endpoint)
            return node.next_of(node.statuses)

    monkeypatch.setattr(toystore, "AsyncClient", FakeAsyncClient)
    monkeypatch.setattr(toystore, "Client", FakeClient)
    return by_name


def run(*arguments):
    return CliRunner().invoke(commands, [*arguments, "-e", endpoint_of("n2")])


def rows_of(text):
    return [line.split() for line in text.splitlines()]


# --- repair -----------------------------------------------------------------------------


def test_every_member_repairs_its_ranges_in_one_job(nodes):
    nodes["n3"].repairs = [progress(0), Timeout("too busy"), progress(5), progress(8)]

    repaired = run("repair")

    assert repaired.exit_code == 0
    rows = rows_of(repaired.stdout)
    for name in NAMES:
        assert [name, "8", "8", "16", "80", "8", "KiB", "0", "0"] in rows
    assert ["total", "24", "24", "48", "240", "24", "KiB", "0", "0"] in rows
    [(_, bucket, partition)] = {asked for node in nodes.values() for asked in node.asked}
    assert (bucket, partition) == (None, None)


def test_only_the_named_bucket_partition_and_nodes_are_repaired(nodes):
    repaired = run("repair", "--bucket", "carts", "--partition", "7", "--node", "n3")

    assert repaired.exit_code == 0
    assert {asked[1:] for asked in nodes["n3"].asked} == {("carts", 7)}
    assert nodes["n1"].asked == nodes["n2"].asked == []


def test_the_bucket_may_stand_before_the_command(nodes):
    CliRunner().invoke(commands, ["--bucket", "carts", "repair", "-e", endpoint_of("n1")])

    assert {asked[1] for asked in nodes["n1"].asked} == {"carts"}


def test_an_unknown_node_is_bad_use_and_the_members_are_named(nodes):
    refused = run("repair", "--node", "n9")

    assert refused.exit_code == 2
    assert "there are n1, n2, n3" in refused.stderr
    assert nodes["n1"].asked == []


def test_what_a_node_refuses_is_bad_use(nodes):
    nodes["n3"].repairs = [BadRequest("no partition 99; there are 0 to 7")]

    refused = run("repair", "--partition", "99")

    assert refused.exit_code == 2
    assert "there are 0 to 7" in refused.stderr


def test_a_node_that_waits_for_another_is_named_and_the_exit_code_says_so(nodes):
    nodes["n1"].repairs = [progress(2), progress(6, waits_for=["n3"])]
    nodes["n3"].repairs = [Timeout("nobody there")]

    repaired = run("repair", "--stop-after", "0.05")

    assert repaired.exit_code == 3
    assert "n1 waits for n3 (6 of 8 ranges)" in repaired.stdout
    assert "n3 does not answer: nobody there" in repaired.stdout


def test_a_member_that_does_not_answer_from_the_beginning_is_named(nodes):
    del nodes["n3"]

    repaired = run("repair", "--stop-after", "0.05")

    assert repaired.exit_code == 3
    assert "n3 does not answer: nobody there" in repaired.stdout
    assert ["n1", "8", "8", "16", "80", "8", "KiB", "0", "0"] in rows_of(repaired.stdout)


def test_a_node_is_first_seen_to_scrub_then_to_compare(nodes):
    nodes["n1"].repairs = [progress(0, scrubbed=5), progress(8)]
    nodes["n3"].repairs = [progress(0, queued=True, scrubbed=0), progress(8)]

    shown = run("repair").stdout.splitlines()

    assert "n1: 5 of 8 ranges scrubbed" in shown
    assert "n1: 8 of 8 ranges compared, 80 records, 8 KiB moved" in shown
    assert "n3: 0 of 8 ranges scrubbed, waits for an earlier repair" in shown


def test_a_node_that_owns_none_of_the_ranges_says_so(nodes):
    nodes["n1"].repairs = [progress(0, 0)]

    repaired = run("repair", "--partition", "7")

    assert repaired.exit_code == 0
    assert "n1: owns no such range" in repaired.stdout


def test_as_long_as_any_node_makes_progress_the_others_are_watched_too(nodes):
    nodes["n1"].repairs = [progress(0, 200, records=at) for at in range(200)] + [progress(200, 200)]
    nodes["n3"].repairs = [Timeout("restarts")] * 100 + [progress(8)]

    repaired = run("repair", "--stop-after", "5")

    assert repaired.exit_code == 0


def test_corrupt_records_without_a_sound_copy_are_not_passed_over(nodes):
    nodes["n1"].repairs = [progress(8, rotten=3, repaired=2)]

    repaired = run("repair")

    assert repaired.exit_code == 3
    assert "1 corrupt records are not replaced" in repaired.stdout


def test_a_failure_of_anti_entropy_is_told(nodes):
    nodes["n1"].repairs = [{"error": "KeyError: 7"}]

    repaired = run("repair", "--stop-after", "0.05")

    assert repaired.exit_code == 3
    assert "n1 has failed: KeyError: 7" in repaired.stdout


def test_a_repair_in_json_is_one_object(nodes):
    nodes["n1"].repairs = [progress(1), progress(6, waits_for=["n3"])]
    nodes["n3"].repairs = [Timeout("nobody there")]

    told = json.loads(run("repair", "--stop-after", "0.05", "--json").stdout)

    assert told["all_repaired"] is False
    assert told["nodes"].keys() == {"n1", "n2"}
    assert told["nodes"]["n1"]["waits_for"] == ["n3"]
    assert told["trouble"] == {"n3": "does not answer: nobody there"}
    assert told["total"]["ranges"] == 16
    assert told["job"] == nodes["n1"].asked[0][0]


def test_an_interruption_ends_only_the_watching_and_says_so(nodes):
    nodes["n1"].repairs = [progress(1), KeyboardInterrupt()]

    interrupted = run("repair")

    assert interrupted.exit_code == 130
    assert "the nodes go on with the repair" in interrupted.stderr


@pytest.mark.parametrize(
    ("command", "shown"),
    [(("repair",), "8/8 ranges compared, 80 records"), (("status", "--watch"), "8/8")],
)
def test_on_a_terminal_a_bar_is_drawn_for_each_node(nodes, monkeypatch, command, shown):
    for module in (repair, rebuild):
        monkeypatch.setattr(module, "make_view", follow.Bars)
    nodes["n2"].repairs = [progress(3), progress(8)]
    nodes["n2"].statuses = [status_of("n2"), status_of("n2", 3), status_of("n2")]

    drawn = run(*command)

    assert drawn.exit_code == 0
    assert any(line.startswith("n2 ") and shown in line for line in drawn.stdout.splitlines())


# --- rebuilding -------------------------------------------------------------------------


def test_a_status_tells_how_far_a_rebuild_is_how_fast_and_for_whom_it_waits(nodes):
    nodes["n2"].statuses = [
        status_of("n2", 6),
        status_of("n2", 4, bytes_in=2**30, waits_for=["n3"]),
    ]

    told = run("status")

    assert told.exit_code == 0
    line = told.stdout.splitlines()[1]
    assert line.startswith("rebuilding: 4 of 8 ranges, ")
    assert "/s, about 0 s left, waits for n3" in line
    assert ["waits_for", "n3"] not in rows_of(told.stdout)


def test_a_status_of_a_whole_node_says_nothing_of_rebuilding(nodes):
    assert "rebuilding" not in run("status").stdout


def test_a_node_that_makes_no_progress_has_no_estimate(nodes):
    nodes["n2"].statuses = [status_of("n2", 6)]

    assert run("status").stdout.splitlines()[1] == "rebuilding: 2 of 8 ranges"


def test_all_nodes_are_shown_with_the_share_of_their_whole_ranges(nodes):
    nodes["n1"].statuses = [status_of("n1", 1)]

    rows = rows_of(run("status", "--all").stdout)

    assert ["n1", "?", "87%", "0"] in rows
    assert ["n2", "?", "100%", "0"] in rows


def test_a_watch_ends_once_the_node_has_all_ranges_and_votes(nodes):
    nodes["n2"].statuses = [
        Timeout("starts again"),
        status_of("n2", votes=False),
        status_of("n2", 8),
        status_of("n2", 3),
        status_of("n2"),
    ]

    watched = run("status", "--watch")

    assert watched.exit_code == 0
    assert watched.stdout.splitlines()[-1] == "n2: 8 of 8 ranges, whole"
    assert len(nodes["n2"].statuses) == 1


def test_a_watch_of_all_waits_for_every_node(nodes):
    nodes["n1"].statuses = [status_of("n1", left) for left in (8, 8, 5, 2, 0)]

    watched = run("status", "--watch", "--all")

    assert watched.exit_code == 0
    assert "n1: 8 of 8 ranges, whole" in watched.stdout
    assert "n3: 8 of 8 ranges, whole" in watched.stdout


def test_a_watch_in_vain_exits_with_3_and_says_how_far_the_node_is(nodes):
    nodes["n2"].statuses = [status_of("n2", 3, waits_for=["n3"])]

    watched = run("status", "--watch", "--wait", "0.05")

    assert watched.exit_code == 3
    assert "n2: 5 of 8 ranges, waits for n3" in watched.stderr


def test_a_watch_in_json_is_an_object_for_each_step(nodes):
    nodes["n2"].statuses = [status_of("n2", left) for left in (8, 3, 3, 0)]

    steps = [json.loads(line) for line in run("status", "--watch", "--json").stdout.splitlines()]

    assert [(step["node"], step["ranges_behind"]) for step in steps[:2]] == [("n2", 8), ("n2", 3)]
    assert steps[-1]["whole"] is True
    assert steps[0] == {
        "node": "n2",
        "whole": False,
        "ranges": 8,
        "ranges_behind": 8,
        "bytes_per_s": 0,
        "left_s": None,
        "waits_for": [],
    }
