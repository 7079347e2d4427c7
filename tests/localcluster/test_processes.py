"""The node processes of a cluster, with stand-ins for nodes."""

import asyncio
import os
import signal

import pytest

from tests.harness.programs import is_alive
from tests.logs.test_sources import NO_LOG_LINES
from toystore.config import Step, load, parse
from toystore.localcluster import cluster as cluster_module
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.node import Node, State
from toystore.localcluster.preflight import StartError
from toystore.localcluster.scenario import Played, play

from .stand_ins import IDLE, N2_FAILS, NAMES, STUBBORN, stand_ins


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
    assert not any(map(is_alive, started))


def test_a_node_that_does_not_stop_is_killed_in_the_end(config_path, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "STOP_S_MAX", 0.2)
    told: list[str] = []

    async def start_and_stop() -> list[int]:
        async with stand_ins(config_path, tmp_path, STUBBORN, told) as cluster:
            while not all((tmp_path / name).exists() for name in NAMES):
                await asyncio.sleep(0.02)
            return pids(cluster)

    started = asyncio.run(start_and_stop())

    assert not any(map(is_alive, started))
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


def test_a_log_without_a_line_of_a_log_has_no_last_words(tmp_path):
    member = parse({"cluster": "log", "members": list(NAMES)}).member("n1")
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(NO_LOG_LINES))

    assert Node(member, tmp_path).last_words() == ""


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


def test_a_node_that_was_added_is_there_in_the_next_run_with_its_ports(config_path, tmp_path):
    config = load(config_path)
    first = LocalCluster(config, config_path, tmp_path, print)
    first.add("n9", weight=2).folder.mkdir()
    first.add("n10")

    again = LocalCluster(config, config_path, tmp_path, print)

    assert again.nodes["n9"].member == first.nodes["n9"].member
    assert "n10" not in again.nodes
    assert first.nodes["n10"].member.client_port == first.nodes["n9"].member.client_port + 10
