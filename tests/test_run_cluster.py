"""run_cluster.py: its checks, its parts, and whole clusters of three real nodes."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from toystore.client import Client
from toystore.config import Step, load, parse
from toystore.localcluster import cluster as cluster_module
from toystore.localcluster import preflight
from toystore.localcluster.cluster import LocalCluster, State
from toystore.localcluster.load import Tally
from toystore.localcluster.notices import Notice, read_logs
from toystore.localcluster.ports import reserve_ports
from toystore.localcluster.preflight import StartError
from toystore.localcluster.scenario import Played, play
from toystore.localcluster.screen import table
from toystore.localcluster.summary import summary

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("n1", "n2", "n3")
PATIENCE_S = 20.0


@pytest.fixture
def config_path(tmp_path):
    """A file for three nodes on ports of their own."""
    guard, base_port = reserve_ports(len(NAMES))
    with guard:
        raw = {"cluster": "three", "base_port": base_port, "members": list(NAMES)}
        yield write(tmp_path / "three.yaml", raw)


def write(path: Path, raw: dict) -> Path:
    raw.setdefault("swim", {"probe_period_s": 0.3, "probe_timeout_s": 0.1})
    path.write_text(yaml.safe_dump(raw))
    return path


def add(path: Path, **more: object) -> None:
    write(path, yaml.safe_load(path.read_text()) | more)


def alive(pid: int) -> bool:
    """Whether a process is there, and is not the mere remains of one."""
    return state_of(pid)[:1] not in ("", "Z")


def state_of(pid: int) -> str:
    """A process's state, as ps has it."""
    told = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


# --- what is checked before anything starts ---------------------------------------------


def test_a_second_cluster_on_the_same_data_is_refused_with_the_firsts_pid(tmp_path):
    with (
        preflight.held(tmp_path),
        pytest.raises(StartError, match=rf"in use by another .*pid {os.getpid()}\)"),
        preflight.held(tmp_path),
    ):
        pass

    with preflight.held(tmp_path):
        pass  # the first has gone


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with (
        pytest.raises(StartError, match=r"cannot write to .*file/data: Not a directory"),
        preflight.held(tmp_path / "file" / "data"),
    ):
        pass


def test_a_port_in_use_is_told_with_its_node(config_path, tmp_path):
    config = load(config_path)
    taken = config.member("n2").peer_port
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", taken))
        squatter.listen()

        with pytest.raises(StartError) as caught:
            preflight.check(config, tmp_path)

    assert str(caught.value).startswith(f"n2: peer_port {taken} in use on 127.0.0.1; ")
    preflight.check(config, tmp_path)


def test_an_address_of_another_machine_cannot_be_bound(tmp_path):
    config = parse({"cluster": "c", "host": "192.0.2.1", "members": list(NAMES)})

    with pytest.raises(StartError) as caught:
        preflight.check(config, tmp_path)

    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == list(NAMES)
    assert "all members run on this machine" in lines[0]


def test_a_member_whose_folder_is_a_file_is_told_with_the_rest(config_path, tmp_path):
    (tmp_path / "n3").write_text("in the way")

    with pytest.raises(StartError, match="n3: cannot write to"):
        preflight.check(load(config_path), tmp_path)


def test_a_folder_made_for_a_cluster_that_never_started_is_removed_again(tmp_path):
    with pytest.raises(StartError), preflight.held(tmp_path / "data"):
        raise StartError("a port is in use")

    assert not (tmp_path / "data").exists()


def test_a_fresh_start_removes_the_nodes_folders_and_nothing_else(config_path, tmp_path):
    for path in ("n1/data/x", "n1/log.jsonl", "n1/log.jsonl.1", "n1/pid", "other/precious"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()

    preflight.remove(load(config_path), tmp_path)

    assert not (tmp_path / "n1").exists()
    assert (tmp_path / "other" / "precious").exists()


def test_a_fresh_start_removes_nothing_if_a_folder_holds_what_no_node_wrote(config_path, tmp_path):
    for path in ("n1/pid", "n2/thesis.tex"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()

    with pytest.raises(StartError, match="n2 does not look like a node's folder"):
        preflight.remove(load(config_path), tmp_path)

    assert (tmp_path / "n1" / "pid").exists()
    assert (tmp_path / "n2" / "thesis.tex").exists()


# --- processes, with stand-ins for nodes ------------------------------------------------

IDLE = "import sys; sys.stdin.read()"
STUBBORN = (
    "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[4], sys.argv[2]).touch(); signal.pause()"
)
N2_FAILS = "import sys; sys.argv[2] == 'n2' and sys.exit('no luck') or sys.stdin.read()"


def stand_ins(config_path: Path, folder: Path, code: str, told: list[str]) -> LocalCluster:
    command = (sys.executable, "-c", code)
    return LocalCluster(load(config_path), config_path, folder, told.append, command=command)


def pids(cluster: LocalCluster) -> list[int]:
    return [node.process.pid for node in cluster.nodes.values() if node.process]


def test_a_node_that_cannot_start_stops_the_others_and_its_words_are_told(config_path, tmp_path):
    cluster = stand_ins(config_path, tmp_path, N2_FAILS, [])
    started: list[int] = []

    async def start() -> None:
        async with cluster:
            started.extend(pids(cluster))
            await cluster.ready()

    with pytest.raises(StartError, match=r"^n2 could not start \(exit 1: no luck\)$"):
        asyncio.run(start())

    assert len(started) == 3
    assert not any(map(alive, started))


def test_a_node_that_does_not_stop_is_killed_in_the_end(config_path, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "STOP_S_MAX", 0.2)
    told: list[str] = []

    async def start_and_stop() -> list[int]:
        async with stand_ins(config_path, tmp_path, STUBBORN, told) as cluster:
            while not all((tmp_path / name).exists() for name in NAMES):
                await asyncio.sleep(0.02)
            return pids(cluster)

    started = asyncio.run(start_and_stop())

    assert not any(map(alive, started))
    assert [line for line in told if "did not stop" in line and "killed" in line] == told
    assert len(told) == 3


def test_a_death_is_told_once_with_the_signal_and_the_last_error_of_the_log(config_path, tmp_path):
    told: list[str] = []
    log = tmp_path / "n3" / "log.jsonl"
    log.parent.mkdir()
    log.write_text(
        '{"level":"critical","event":"node.failed","error":"out of luck"}\n'
        '{"level":"info","event":"link.up"}\n{"level":"err'
    )

    async def lose_one() -> LocalCluster:
        async with stand_ins(config_path, tmp_path, IDLE, told) as cluster:
            watching = asyncio.create_task(cluster.watch())
            os.kill(cluster.nodes["n3"].process.pid, signal.SIGKILL)
            while cluster.nodes["n3"].state is not State.DIED:
                await asyncio.sleep(0.02)
            watching.cancel()
        return cluster

    cluster = asyncio.run(lose_one())

    assert told == ["n3 died (killed by SIGKILL: node.failed: out of luck)"]
    assert list(cluster.died) == ["n3"]


def test_a_node_whose_storage_is_too_busy_to_say_is_not_taken_for_one_without_hints(config_path):
    node = stand_ins(config_path, config_path.parent, IDLE, []).nodes["n1"]
    told = {"requests": {"settling": 0}, "hints": {}, "storage": {"records": 1}}

    node.status = told
    assert node.is_settled({"n2"})
    node.status = told | {"storage": None}
    assert not node.is_settled({"n2"})
    node.status = told | {"hints": {"n2": {"count": 1}}}
    assert not node.is_settled({"n2"})


def test_what_the_scenario_kills_has_not_died_and_can_be_restarted(config_path, tmp_path):
    told: list[str] = []
    steps = [
        Step(at=0.2, do="restart", node="n1"),
        Step(at=0, do="kill", node="n1"),
        Step(at=0.1, do="stop", node="n2"),
        Step.model_validate({"at": 0.0, "do": "pause", "node": "n3", "for": 0.1}),
    ]
    played: list[Played] = []

    async def run() -> tuple[LocalCluster, list[State]]:
        async with stand_ins(config_path, tmp_path, IDLE, told) as cluster:
            watching = asyncio.create_task(cluster.watch())
            first = cluster.nodes["n1"].process.pid
            await play(steps, cluster, told.append, played)
            assert cluster.nodes["n1"].process.pid != first
            while cluster.nodes["n2"].state is not State.STOPPED:
                await asyncio.sleep(0.02)
            watching.cancel()
            return cluster, [node.state for node in cluster.nodes.values()]

    cluster, states = asyncio.run(run())

    assert states == [State.STARTING, State.STOPPED, State.RUNNING]
    assert not cluster.died
    assert [str(step) for step in played] == [
        "kill n1",
        "pause n3 for 0.1 s",
        "stop n2",
        "restart n1",
    ]


# --- what is seen meanwhile -------------------------------------------------------------


def seen(cluster: LocalCluster, width: int) -> dict[str, list[str]]:
    """The words of each row of the live table, by the first of them."""
    console = Console(width=width, file=io.StringIO())
    console.print(table(cluster, width), markup=False)  # as under a line that is told
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return {words[0]: words[1:] for line in lines if (words := line.split())}


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 200])
def test_the_live_table_has_a_line_to_each_node_at_any_width(config_path, tmp_path, width):
    cluster = stand_ins(config_path, tmp_path, IDLE, [])
    everybody = [{"name": name, "status": "alive"} for name in NAMES]
    for node in cluster.nodes.values():
        node.state = State.RUNNING
        node.status = {"members": everybody, "requests": {"gets": 123_456, "puts": 7}}

    shown = seen(cluster, width)

    assert list(shown) == ["three", "node", *NAMES]
    for name in NAMES:
        assert "running" in shown[name]
        assert ("3/3" in shown[name]) == (width >= 40)
        assert ("123,463" in shown[name]) == (width >= 59)
        assert ("0" in shown[name]) == (width >= 40)


def test_a_process_that_somebody_has_stopped_is_not_shown_as_running(config_path, tmp_path):
    async def stop_and_continue() -> list[list[str]]:
        async with stand_ins(config_path, tmp_path, IDLE, []) as cluster:
            node = cluster.nodes["n2"]
            node.state, node.status = State.RUNNING, {"members": []}
            shown = [seen(cluster, 80)["n2"]]
            for number, state in ((signal.SIGSTOP, True), (signal.SIGCONT, False)):
                os.kill(node.process.pid, number)
                while node.is_stopped is not state:
                    await asyncio.sleep(0.01)
                shown.append(seen(cluster, 80)["n2"])
            node.status = {}
            return [*shown, seen(cluster, 80)["n2"]]

    before, stopped, after, silent = asyncio.run(stop_and_continue())

    assert "running" in before
    assert "paused" in stopped
    assert after == before
    assert silent[-2:] == ["no", "answer"]


# --- what is told in the end ------------------------------------------------------------


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


# --- whole clusters ---------------------------------------------------------------------


class Run:
    """A run of run_cluster.py, ended for good when the block ends."""

    def __init__(
        self, config_path: Path, folder: Path, *options: str, stderr: int = subprocess.STDOUT
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "run_cluster.py", config_path, "--data-dir", folder, *options],
            cwd=folder.parent,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def until(self, pattern: str) -> re.Match:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self.lines))

    def end(self) -> int:
        """Read the rest, wait, and return the exit code."""
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            self.lines += self.process.stdout.read().splitlines()
        return self.process.wait()

    def logged(self) -> list[dict]:
        """What the runner has logged itself."""
        return [json.loads(line) for line in (self.folder / "run.jsonl").read_text().splitlines()]

    def pid(self, name: str) -> int:
        return int((self.folder / name / "pid").read_text())

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.end()


@pytest.mark.cluster
def test_a_cluster_starts_serves_keeps_its_files_and_stops_cleanly(config_path, tmp_path):
    folder = tmp_path / "data"
    with Run(config_path, folder) as run:
        run.until(r"^ready: 3/3 nodes in \d+\.\d s$")
        nodes = [run.pid(name) for name in NAMES]
        endpoint = f"tcp://127.0.0.1:{load(config_path).member('n1').client_port}"
        with Client([endpoint], timeout=PATIENCE_S) as store:
            store.put("cart:7", b"apples")
            found = store.get("cart:7")

        with Run(config_path, folder) as second:
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

    assert not any(map(alive, nodes))
    assert not [line for line in run.lines if "did not stop" in line or "died" in line]


@pytest.mark.cluster
def test_a_node_that_dies_is_told_and_the_others_go_on(config_path, tmp_path):
    with Run(config_path, tmp_path / "data") as run:
        run.until("^ready: 3/3")
        os.kill(run.pid("n2"), signal.SIGKILL)

        run.until(r"^n2 died \(killed by SIGKILL")
        run.until("^n2 is seen not alive by all 2 others that run$")
        others = [run.pid("n1"), run.pid("n3")]

        assert all(map(alive, others))
        run.process.send_signal(signal.SIGHUP)
        assert run.end() == 1

    [died] = [line for line in run.logged() if line["event"] == "process.died"]
    assert (died["level"], died["member"], died["exit_code"]) == ("error", "n2", None)
    assert died["signal"] == "SIGKILL"
    *_, stopping, stopped = [line for line in run.logged() if line["event"].startswith("run.")]
    assert (stopping["reason"], stopped["died"]) == ("SIGHUP", ["n2"])
    assert not [line for line in run.lines if "process.died" in line]  # it is told in words


@pytest.mark.cluster
def test_no_node_outlives_a_run_cluster_that_is_killed_not_even_a_paused_one(config_path, tmp_path):
    with Run(config_path, tmp_path / "data") as run:
        run.until("^ready: 3/3")
        nodes = [run.pid(name) for name in NAMES]
        os.kill(nodes[2], signal.SIGSTOP)
        wait_until(lambda: state_of(nodes[2]).startswith("T"))

        run.process.kill()

        wait_until(lambda: not any(map(alive, nodes)))


@pytest.mark.cluster
def test_a_node_that_fails_at_its_start_leaves_nothing_running(config_path, tmp_path):
    folder = tmp_path / "data"
    with Run(config_path, folder, "--duration", "0") as run:
        assert run.end() == 0
    raw = yaml.safe_load(config_path.read_text())
    write(config_path, raw | {"cluster": "other"})

    with Run(config_path, folder) as run:
        assert run.end() == 2

    assert re.search(r"^n\d could not start \(exit 2: .*'three'", "\n".join(run.lines), re.M)
    preflight.check(load(config_path), folder)  # every port is free again

    with Run(config_path, folder, "--fresh", "--duration", "0") as run:
        assert run.end() == 0
    ends = [x.get("reason") or x["event"] for x in run.logged() if x["event"] in RUN_ENDS]
    assert ends == ["the duration is over", "run.failed", "the duration is over"]  # all in one


@pytest.mark.cluster
def test_a_scenario_under_load_ends_by_itself_with_a_summary(config_path, tmp_path):
    add(
        config_path,
        scenario=[
            {"at": 0.5, "do": "kill", "node": "n3"},
            {"at": 1.5, "do": "restart", "node": "n3"},
        ],
        load={"ops_per_s": 100, "keys": 20},
    )

    with Run(config_path, tmp_path / "data") as run:
        code = run.end()

    told = "\n".join(run.lines)
    assert code == 0
    assert re.search(r"^requests +\d+ in \d+\.\d s: \d+ ok, 0 failed; p50 ", told, re.M), told
    assert re.search(r"^read back \d+ keys: no acknowledged write is missing$", told, re.M), told
    assert re.search(r"kill n3\n        link.lost +2 ", told), told
    assert re.search(r"handoff.finished +\d .* hints delivered$", told, re.M), told
    assert "accused without cause: nobody" in run.lines
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
        line["timestamp"]
        for name in ("n1", "n2")
        for line in map(json.loads, (run.folder / name / "log.jsonl").open())
        if line["event"] == "link.lost"
    )
    assert noticed > next(x["timestamp"] for x in run.logged() if x["event"] == "scenario.step")
    starts = [
        line["before"].split(", ")[0]
        for line in map(json.loads, (run.folder / "n3" / "log.jsonl").open())
        if line["event"] == "node.started"
    ]
    assert starts == ["first start", "killed or crashed"]


RUN_ENDS = ("run.stopping", "run.failed")


def what_was_done(line: dict) -> str:
    words = (line["event"], *(line.get(field) for field in ("member", "do", "signal")))
    return " ".join(filter(None, words))


@pytest.mark.cluster
@pytest.mark.parametrize("after", ["^starting", "^ready"])
def test_a_cluster_of_which_nobody_reads_any_more_is_stopped(config_path, tmp_path, after):
    folder = tmp_path / "data"
    with Run(config_path, folder, stderr=subprocess.PIPE) as run:
        run.until(after)
        pids_ = [run.pid(name) for name in NAMES] if after == "^ready" else []

        run.process.stdout.close()
        _, complaint = run.process.communicate()

    assert (run.process.returncode, complaint) == (-signal.SIGPIPE, "")
    assert not any(map(alive, pids_))
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

    with Run(path, tmp_path / "data") as run:
        assert run.end() == 2

    assert [line.split(":")[0] for line in run.lines] == ["cluster", "buckets.default.n", "bogus"]
    assert not (tmp_path / "data").exists()
