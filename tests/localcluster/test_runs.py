"""Whole clusters, run by run_cluster.py."""

import os
import re
import signal
import subprocess
import sys
from datetime import datetime

import pytest

from tests.harness.configs import change_config, client_endpoint
from tests.harness.programs import ClusterRun, is_alive, state_of
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore.client import Client
from toystore.config import load
from toystore.localcluster import preflight
from toystore.localcluster.node import ROOT
from toystore.logs.story import span

from .stand_ins import NAMES


def pair(config_path):
    """The configuration with two nodes only: for what does not need a third."""
    return change_config(
        config_path, members=["n1", "n2"], buckets={"default": {"n": 2, "r": 1, "w": 1}}
    )


@pytest.mark.cluster
def test_a_cluster_starts_serves_keeps_its_files_and_stops_cleanly(config_path, tmp_path):
    folder = tmp_path / "data"
    with ClusterRun(config_path, folder) as run:
        run.until_ready()
        nodes = [run.pid(name) for name in NAMES]
        with Client([client_endpoint(config_path)], timeout=PATIENCE_S) as store:
            store.put("cart:7", b"apples")
            found = store.get("cart:7")

        with ClusterRun(config_path, folder) as second:
            assert second.end() == 2

        assert found is not None
        assert found.value == b"apples"
        assert f"in use by another run_cluster.py (pid {run.process.pid})" in second.lines[-1]
        for name in NAMES:
            assert (folder / name / "data").exists()
            assert (folder / name / "log.jsonl").stat().st_size

        for _ in range(3):  # somebody is impatient
            run.process.send_signal(signal.SIGINT)
        assert run.end() == 0

    assert not any(map(is_alive, nodes))
    assert not [line for line in run.lines if "did not stop" in line or "died" in line]


@pytest.mark.cluster
def test_a_node_that_dies_is_told_and_the_others_go_on(config_path, tmp_path):
    with ClusterRun(config_path, tmp_path / "data") as run:
        run.until_ready()
        os.kill(run.pid("n2"), signal.SIGKILL)

        run.until(r"^n2 died \(killed by SIGKILL")
        run.until("^n2 is seen not alive by all 2 others that run$")
        others = [run.pid("n1"), run.pid("n3")]

        assert all(map(is_alive, others))
        run.process.send_signal(signal.SIGHUP)
        assert run.end() == 1

    [died] = run.logged("process.died")
    assert (died["level"], died["member"], died["exit_code"]) == ("error", "n2", None)
    assert died["signal"] == "SIGKILL"
    *_, stopping, stopped = [line for line in run.logged() if line["event"].startswith("run.")]
    assert (stopping["reason"], stopped["died"]) == ("SIGHUP", ["n2"])
    assert not [line for line in run.lines if "process.died" in line]  # it is told in words


@pytest.mark.cluster
def test_no_node_outlives_a_run_cluster_that_is_killed_not_even_a_paused_one(config_path, tmp_path):
    with ClusterRun(pair(config_path), tmp_path / "data") as run:
        run.until_ready()
        nodes = [run.pid("n1"), run.pid("n2")]
        os.kill(nodes[1], signal.SIGSTOP)
        wait_until(lambda: state_of(nodes[1]).startswith("T"))

        run.process.kill()

        wait_until(lambda: not any(map(is_alive, nodes)))


@pytest.mark.cluster
def test_a_node_that_fails_at_its_start_leaves_nothing_running(config_path, tmp_path):
    folder = tmp_path / "data"
    with ClusterRun(pair(config_path), folder, "--duration", "0") as run:
        assert run.end() == 0
    change_config(config_path, cluster="other")

    with ClusterRun(config_path, folder) as run:
        assert run.end() == 2

    assert re.search(r"^n\d could not start \(exit 2: .*'three'", "\n".join(run.lines), re.M)
    preflight.check(load(config_path), folder)  # every port is free again

    with ClusterRun(config_path, folder, "--fresh", "--duration", "0") as run:
        assert run.end() == 0
    ends = [x.get("reason") or x["event"] for x in run.logged("run.stopping", "run.failed")]
    assert ends == ["the duration is over", "run.failed", "the duration is over"]  # all in one


@pytest.mark.cluster
def test_a_scenario_under_load_ends_by_itself_with_a_summary(config_path, tmp_path):
    change_config(
        config_path,
        scenario=[
            {"at": 0.5, "do": "kill", "node": "n3"},
            {"at": 1.5, "do": "restart", "node": "n3"},
        ],
        load={"ops_per_s": 100, "keys": 20},
    )

    with ClusterRun(config_path, tmp_path / "data") as run:
        code = run.end()

    told = "\n".join(run.lines)
    assert code == 0
    assert re.search(r"^requests +\d+ in \d+\.\d s: \d+ ok, 0 failed; p50 ", told, re.M), told
    assert re.search(r"^read back \d+ keys: no acknowledged write is missing$", told, re.M), told
    assert re.search(r"^three: 3 nodes, \d+ lines, ", told, re.M), told
    assert re.search(r"^1 failure, all noticed by all; nobody wrongly called dead; 0 ", told, re.M)
    assert re.search(r"^#1  n3  CRASHED [\d:.]+ +back after ", told, re.M), told
    assert re.search(r"^ +first sign +\+\d+ ms +n[12]  link lost$", told, re.M), told
    assert re.search(r"^ +writes +\d+ hints on \d nodes?, first .* home", told, re.M), told
    assert [what_was_done(line) for line in run.logged()] == [
        "run.started",
        *(f"process.started {name}" for name in NAMES),
        "run.ready",
        "scenario.step n3 kill",
        "process.signalled n3 SIGKILL",
        "process.ended n3 SIGKILL",
        "scenario.step n3 restart",
        "process.started n3",
        "run.stopping",
        *(f"process.signalled {name} SIGTERM" for name in NAMES),
        *(f"process.ended {name}" for name in NAMES),
        "run.stopped",
    ]
    [noticed, *_] = sorted(
        entry["timestamp"] for name in ("n1", "n2") for entry in run.events(name, "link.lost")
    )
    assert noticed > run.logged("scenario.step")[0]["timestamp"]
    starts = [entry["before"].split(", ")[0] for entry in run.events("n3", "node.started")]
    assert starts == ["first start", "killed or crashed"]


@pytest.mark.cluster
def test_a_split_of_a_scenario_is_told_from_the_moment_of_the_cut_with_its_sides(
    config_path, tmp_path
):
    change_config(
        config_path,
        scenario=[{"at": 0.5, "do": "split", "groups": ["n3"], "for": 3}],
        load={"ops_per_s": 50, "keys": 20},
    )

    with ClusterRun(config_path, tmp_path / "data") as run:
        code = run.end()

    told = "\n".join(run.lines)
    assert code == 0
    assert re.search(r"^scenario at 0.5 s: split n3 \| the others for 3 s$", told, re.M), told
    assert re.search(r"^read back \d+ keys: no acknowledged write is missing$", told, re.M), told
    assert re.search(r"^ +sides +n3 \| n1, n2$", told, re.M), told
    [begun], [ended] = run.logged("link.fault"), run.logged("link.restored")
    cut_at, healed_at = (datetime.fromisoformat(each["timestamp"]) for each in (begun, ended))
    lasted = re.escape(span((healed_at - cut_at).total_seconds()))
    assert re.search(rf"^ +[\d:.]+  n3 ↔ all: cut, for {lasted}$", told, re.M), told
    assert re.search(rf"^#1  n3  WAS CUT OFF [\d:.]+ +back after {lasted}", told, re.M), told
    assert (
        begun["links"]
        == ended["links"]
        == [
            {"from": ["n3"], "to": ["n1", "n2"]},
            {"from": ["n1", "n2"], "to": ["n3"]},
        ]
    )
    assert not [line for line in run.lines if "WENT SILENT" in line or "CRASHED" in line]


def what_was_done(line: dict) -> str:
    words = (line["event"], *(line.get(field) for field in ("member", "do", "signal")))
    return " ".join(filter(None, words))


@pytest.mark.cluster
@pytest.mark.parametrize("after", ["^starting", "^ready"])
def test_a_cluster_of_which_nobody_reads_any_more_is_stopped(config_path, tmp_path, after):
    folder = tmp_path / "data"
    with ClusterRun(pair(config_path), folder, stderr=subprocess.PIPE) as run:
        run.until(after)
        pids = [run.pid("n1"), run.pid("n2")] if after == "^ready" else []

        run.process.stdout.close()
        _, complaint = run.process.communicate()

    assert (run.process.returncode, complaint) == (-signal.SIGPIPE, "")
    assert not any(map(is_alive, pids))
    preflight.check(load(config_path), folder)  # every port is free again


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("{config} > /dev/full", 3, "standard output cannot be written: No space left on device"),
        ("{config} >&-", 3, "standard output cannot be written: Bad file descriptor"),
        ("--help > /dev/full", 3, "standard output cannot be written: No space left on device"),
        ("nowhere.yaml <&- >&- 2>&-", 2, ""),
        ("--bogus 2> /dev/full", 2, ""),
    ],
)
def test_a_cluster_that_cannot_tell_anything_ends_with_a_code_that_says_so(
    config_path, tmp_path, arguments, code, told
):
    command = f"exec {sys.executable} {ROOT}/run_cluster.py --data-dir data "
    command += arguments.format(config=config_path)
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr.strip()) == (code, told)
    preflight.check(load(config_path), tmp_path)  # every port is free again


def test_a_bad_file_starts_nothing_and_every_fault_is_told(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("cluster: 5\nmembers: [n1]\nbogus: 1\n")

    with ClusterRun(path, tmp_path / "data") as run:
        assert run.end() == 2

    assert [line.split(":")[0] for line in run.lines] == ["cluster", "buckets.default.n", "bogus"]
    assert not (tmp_path / "data").exists()
