#!/usr/bin/env python3
"""What becomes of a cluster that is offered more than it can carry?  (`make overload`)

Three nodes share one core, and the load has the others, so that what is measured as
capacity is the nodes' own and five times as much can really be offered.  Each round, on a
cluster started for it alone, finds the capacity (closed loop, the best of some numbers in
flight) and then offers multiples of it on a timetable (`flood.py`).  A light client asks
100 times a second before, during and after: how long after the load's end until its
median latency is back within twice of what it was?

Capacity drifts with whatever else the machine does.  So it is measured in each round, a
share of it is taken of what the nodes served per second of the core that they got, and
what counts are the medians of the rounds.  The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from flood import OVERLOADED, SERVED, TIMEOUT, Answer, Load, Offered, offer
from nodes import three_nodes

from toystore.localcluster.cluster import LocalCluster

IN_FLIGHT = (64, 256, 1024)
"""The capacity is the best of these closed loops."""
CLOSED_S = 3.0
PROBE = Load(0.0, rate=100.0, connections=1, seed=1)
BEFORE_S, AFTER_S = 2.0, 6.0
"""How long the light client is alone before the load and after it."""
WINDOW_S = 0.25
NORMAL = 2.0
"""The light client's latency is normal up to this many times that before the load."""
SAMPLE_S = 0.2
MIB = 1024 * 1024
COLUMNS = {
    "times": "{:.1f}x",
    "offered/s": "{:,.0f}",
    "served/s": "{:,.0f}",
    "of peak": "{:.0%}",
    "p50 ms": "{:.0f}",
    "p99 ms": "{:.0f}",
    "refused/s": "{:,.0f}",
    "rp50 ms": "{:.0f}",
    "rp99 ms": "{:.0f}",
    "timed out/s": "{:,.0f}",
    "other/s": "{:,.0f}",
    "rss MiB": "{:.0f}",
    "accused": "{:.0f}",
    "probe ms": "{:.1f}",
    "normal after s": "{:.2f}",
    "cores used": "{:.2f}",
    "behind ms": "{:.0f}",
}

Row = dict[str, float]


class Capacity(NamedTuple):
    """What the nodes can serve."""

    per_s: float
    per_core: float
    """Requests per second of processor time, because a busy machine gives them less."""


def main() -> None:
    """Measure, print a table for each round and the medians, and leave nothing behind."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("one core only: the load takes from the nodes what it needs", flush=True)
    rounds = [asyncio.run(_round(options, cores)) for _ in range(options.rounds)]
    print("medians:", flush=True)
    medians = [_median(rows) for rows in zip(*rounds, strict=True)]
    _show(medians)
    print(json.dumps(vars(options) | {"load_average": os.getloadavg()[0], "medians": medians}))


async def _round(options: argparse.Namespace, cores: list[int]) -> list[Row]:
    """One cluster: its capacity, then every multiple of it."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        async with _cluster(cores) as cluster:
            bench = Bench(cluster, pool, options)
            capacity = await bench.capacity()
            print(f"capacity {capacity.per_s:,.0f}/s", flush=True)
            rows = [await bench.overload(capacity, times) for times in options.times]
    _show(rows)
    return rows


class Bench:
    """A cluster under loads, measured from outside."""

    def __init__(
        self, cluster: LocalCluster, pool: ProcessPoolExecutor, options: argparse.Namespace
    ) -> None:
        self._cluster = cluster
        self._pool = pool
        self._seconds = options.seconds
        self._shape = Load(
            0.0, connections=options.connections, put_share=options.put_share, seed=options.seed
        )
        self._pids = [node.process.pid for node in cluster.nodes.values() if node.process]

    async def capacity(self) -> Capacity:
        """The most requests served in a second, over all numbers in flight."""
        found = []
        for in_flight in IN_FLIGHT:
            load = self._shape._replace(seconds=CLOSED_S, in_flight=in_flight)
            offered, cores, _ = await self._watch(load)
            per_s = _in_time(offered) / CLOSED_S
            found.append(Capacity(per_s, per_s / cores))
        return max(found)

    async def overload(self, capacity: Capacity, times: float) -> Row:
        """Offer ``times`` the capacity, with the light client beside it."""
        load = self._shape._replace(seconds=self._seconds, rate=times * capacity.per_s)
        probe = PROBE._replace(seconds=BEFORE_S + self._seconds + AFTER_S)
        probing = asyncio.create_task(self._offer(probe))
        await asyncio.sleep(BEFORE_S)
        accused = self._suspicions()
        offered, cores, rss = await self._watch(load)
        before_s, normal_after_s = _recovery(await probing, offered)
        return _figures(offered) | {
            "times": times,
            "of peak": _in_time(offered) / self._seconds / cores / capacity.per_core,
            "rss MiB": rss / MIB,
            "accused": self._suspicions() - accused,
            "probe ms": before_s * 1e3,
            "normal after s": normal_after_s,
            "cores used": cores,
        }

    async def _watch(self, load: Load) -> tuple[Offered, float, int]:
        """Offer a load; returns also the cores that the nodes used, and the most bytes of one."""
        offering = asyncio.create_task(self._offer(load))
        began, cpu_s, cores, rss = time.monotonic(), self._cpu_s(), 0.0, 0
        while not (await asyncio.wait((offering,), timeout=SAMPLE_S))[0]:
            rss = max(rss, *map(_rss, self._pids))
            lasted_s = time.monotonic() - began
            if lasted_s <= load.seconds:
                cores = (self._cpu_s() - cpu_s) / lasted_s
        return await offering, cores, rss

    async def _offer(self, load: Load) -> Offered:
        """Offer a load from another process."""
        endpoints = [node.endpoint for node in self._cluster.nodes.values()]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, offer, endpoints, load)

    def _suspicions(self) -> int:
        """How often a node has suspected another or declared it dead."""
        logs = [node.folder / "log.jsonl" for node in self._cluster.nodes.values()]
        events = [json.loads(line)["event"] for log in logs for line in log.open()]
        return events.count("member.suspect") + events.count("member.dead")

    def _cpu_s(self) -> float:
        """The processor time that the nodes have used."""
        ticks = 0
        for pid in self._pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> int:
    """The resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- figures ----------------------------------------------------------------------------


def _figures(offered: Offered) -> Row:
    """The figures of the answers."""
    seconds = offered.ended - offered.began
    kinds = Counter(answer.kind for answer in offered.answers)
    other = kinds.total() - kinds[SERVED] - kinds[OVERLOADED] - kinds[TIMEOUT]
    return {
        "offered/s": kinds.total() / seconds,
        "served/s": _in_time(offered) / seconds,
        "p50 ms": _percentile(offered.answers, SERVED, 50),
        "p99 ms": _percentile(offered.answers, SERVED, 99),
        "refused/s": kinds[OVERLOADED] / seconds,
        "rp50 ms": _percentile(offered.answers, OVERLOADED, 50),
        "rp99 ms": _percentile(offered.answers, OVERLOADED, 99),
        "timed out/s": kinds[TIMEOUT] / seconds,
        "other/s": other / seconds,
        "behind ms": offered.behind_s * 1e3,
    }


def _in_time(offered: Offered) -> int:
    """How many requests were served during the load: later ones do not count as throughput."""
    return sum(
        answer.kind == SERVED and answer.due + answer.took_s <= offered.ended
        for answer in offered.answers
    )


def _percentile(answers: Iterable[Answer], kind: str, percent: int) -> float:
    """Milliseconds; 0 if there is no answer of this kind."""
    took = sorted(answer.took_s for answer in answers if answer.kind == kind)
    return took[len(took) * percent // 100] * 1e3 if took else 0.0


def _recovery(probed: Offered, load: Offered) -> tuple[float, float]:
    """The light client's median before the load, and how long after the load until it is normal.

    It is normal after the last window in which it was not.
    """
    before_s = statistics.median(a.took_s for a in probed.answers if a.due < load.began)
    windows: dict[int, list[float]] = {}
    for answer in probed.answers:
        if answer.due >= load.ended:
            window = windows.setdefault(int((answer.due - load.ended) / WINDOW_S), [])
            window.append(answer.took_s if answer.kind == SERVED else float("inf"))
    slow = [at for at, took in windows.items() if statistics.median(took) > NORMAL * before_s]
    return before_s, (max(slow, default=-1) + 1) * WINDOW_S


def _median(rows: Iterable[Row]) -> Row:
    rows = list(rows)
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _show(rows: Iterable[Row]) -> None:
    """A table for people."""
    lines = [
        list(COLUMNS),
        *([COLUMNS[name].format(row[name]) for name in COLUMNS] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells), flush=True)


# --- the cluster ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _cluster(cores: list[int]) -> AsyncIterator[LocalCluster]:
    """Three nodes on the first core; this process continues on the others."""
    os.sched_setaffinity(0, cores[:1])
    try:
        async with three_nodes("overload") as running:
            os.sched_setaffinity(0, cores[1:] or cores)
            await running.ready()
            yield running
    finally:
        os.sched_setaffinity(0, cores)


def _options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="a cluster under too much load; see the docstring")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument(
        "--times", type=float, nargs="+", default=[1, 2, 5], help="multiples of the capacity"
    )
    parser.add_argument("--connections", type=int, default=8, help="to each node")
    parser.add_argument("--put-share", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
