"""What is seen of a cluster while it runs."""

import asyncio
import io
import os
import signal

import pytest
from rich.console import Console

from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.node import State
from toystore.localcluster.screen import table

from .stand_ins import IDLE, NAMES, stand_ins


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


def test_a_node_that_rebuilds_its_ranges_shows_how_many_it_has(config_path, tmp_path):
    cluster = stand_ins(config_path, tmp_path, IDLE, [])
    for node, behind in zip(cluster.nodes.values(), (0, 1, 0), strict=True):
        node.state = State.RUNNING
        node.status = {"members": [], "storage": {"ranges": 8, "ranges_behind": behind}}

    rebuilding = seen(cluster, 80)
    cluster.nodes["n2"].status["storage"]["ranges_behind"] = 0
    whole = seen(cluster, 80)

    assert "whole" in rebuilding["node"]
    assert "87%" in rebuilding["n2"]
    assert "whole" not in whole["node"]


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
