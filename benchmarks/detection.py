#!/usr/bin/env python3
"""How soon do real nodes detect a failure, and do they ever suspect a living node?

    idle      the datagrams that a node sends in a probe period, and its processor time
    kills     each node in turn is killed with SIGKILL, and started again once all others have
              declared it dead
    busy      four processes keep the processors busy and clients the store; no node fails
    resets    the connections of random pairs of nodes are reset; no node fails
    healing   how long until all nodes see all nodes alive again: after one was paused, after
              the halves were separated, and after all were killed and started at once

Each starts the nodes of ``--config`` on free ports and reads their logs, whose clock is that of
this program.  Figures depend on what else the machine does, so its load is printed beside them.

    python benchmarks/detection.py kills
    python benchmarks/detection.py busy --seconds 120 --json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from nodes import linked_nodes_of, nodes_of

from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.ways import Impairment

PATIENCE_S = 60.0
LINKING_S = 1.0
"""When all nodes see a returned node alive, not all of them have a link to it yet."""
LOOK_S = 0.25
"""The time between two looks at the logs; the times in the logs do not depend on it."""
SPINNERS = 4
CLOCK_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ACCUSED = ("member.suspect", "member.dead")

Row = dict[str, Any]


class Entry(NamedTuple):
    """A line of a node's log."""

    node: str
    at: float
    """In seconds since 1970."""
    event: str
    fields: Row


# --- idle nodes -------------------------------------------------------------------------


async def idle(options: argparse.Namespace) -> Row:
    """The datagrams and the processor time of nodes that have nothing to do."""
    described = read(options.config) | {"log": {"level": "debug"}}
    async with nodes_of(described) as cluster:
        await cluster.ready()
        began, before = time.time(), cpu_s(cluster)
        await asyncio.sleep(options.idle_s)
        used = [now_s - before[name] for name, now_s in cpu_s(cluster).items()]
        period_s = cluster.config.swim_settings().probe_period_s
        sent = [
            entry.fields["datagrams"] / entry.fields["over_s"] * period_s
            for entry in entries(cluster, cluster.nodes, since=began)
            if entry.event == "gossip.sent" and entry.at - entry.fields["over_s"] > began
        ]
    return {
        "datagrams_per_period": round(statistics.mean(sent), 3),
        "cpu_percent": round(100 * statistics.mean(used) / options.idle_s, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def cpu_s(cluster: LocalCluster) -> dict[str, float]:
    """The processor time that each node has used."""
    times = {}
    for node in cluster.nodes.values():
        assert node.process is not None
        fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
        times[node.name] = (int(fields[11]) + int(fields[12])) * CLOCK_TICK_S
    return times


# --- ten kills --------------------------------------------------------------------------


async def kills(options: argparse.Namespace) -> Row:
    """Kill each node once; the times until all others suspect it and declare it dead."""
    async with nodes_of(read(options.config)) as cluster:
        await cluster.ready()
        rows = []
        for name in list(cluster.nodes)[: options.kills]:
            rows.append(await killed(cluster, name))
            await agreed_s(cluster)
            await asyncio.sleep(LINKING_S)
    suspected = [one for row in rows for one in row.pop("suspect_ms")]
    return {
        "kills": rows,
        "suspect_median_ms": round(statistics.median(suspected), 1),
        "suspect_worst_ms": max(suspected),
        "dead_worst_ms": max(row["dead_worst_ms"] for row in rows),
    }


async def killed(cluster: LocalCluster, name: str) -> Row:
    """Kill a node, wait until all others have declared it dead, and start it again."""
    others = [other for other in cluster.nodes if other != name]
    killed_at = time.time()
    cluster.kill(name)

    def first(kinds: Iterable[str]) -> dict[str, Entry]:
        """The first of these events in the log of each other node."""
        found: dict[str, Entry] = {}
        for entry in entries(cluster, others, since=killed_at):
            if entry.event in kinds and entry.fields["member"] == name:
                found.setdefault(entry.node, entry)
        return found

    def in_ms(found: dict[str, Entry]) -> list[float]:
        """The times of events after the kill."""
        return [round(1000 * (entry.at - killed_at), 1) for entry in found.values()]

    await until(lambda: len(first(["member.dead"])) == len(others), f"{name} is dead to all")
    accused = first(ACCUSED)
    suspected, dead, lost = map(in_ms, (accused, first(["member.dead"]), first(["link.lost"])))
    last = max(accused.values(), key=lambda entry: entry.at)
    load = os.getloadavg()[0]
    await cluster.restart(name)
    return {
        "node": name,
        "lost_median_ms": statistics.median(lost) if lost else None,
        "suspect_ms": suspected,
        "suspect_median_ms": statistics.median(suspected),
        "suspect_worst_ms": max(suspected),
        "dead_worst_ms": max(dead),
        "load": round(load, 1),
        "last": f"{last.node}: {last.fields['cause']}",
    }


# --- a busy machine ---------------------------------------------------------------------


async def busy(options: argparse.Namespace) -> Row:
    """Keep the processors and the store busy; which living nodes are suspected?"""
    described = read(options.config)
    described.pop("swim", None)  # the default profile
    async with nodes_of(described) as cluster:
        await cluster.ready()
        began = time.time()
        with spinning(SPINNERS):
            load = await under_load(cluster, options.seconds)
        return accusations(cluster, began) | {"seconds": options.seconds, "store": load}


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """This many processes that compute without end."""
    spinners = [multiprocessing.Process(target=spin, daemon=True) for _ in range(count)]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


def spin() -> None:
    """Compute without end."""
    while True:
        sum(range(1000))


async def under_load(cluster: LocalCluster, seconds: float) -> Row:
    """Run load.py against all nodes; the throughput and latencies that it prints."""
    endpoints = [word for n in cluster.nodes.values() for word in ("--endpoint", n.endpoint)]
    arguments = ("--clients", "1", "--in-flight", "64", "--seconds", str(seconds), *endpoints)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("load.py")),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    figures = json.loads(output)
    return {key: figures[key] for key in ("ops_per_s", "failed", "p50_ms", "p99_ms")}


# --- links that break -------------------------------------------------------------------


async def resets(options: argparse.Namespace) -> Row:
    """Reset the connections of random pairs; which living nodes are suspected?"""
    async with linked_nodes_of(read(options.config)) as (cluster, links):
        await cluster.ready()
        began = time.time()
        for _ in range(options.resets):
            one, other = random.sample(list(cluster.nodes), 2)
            links.reset([(one, other), (other, one)])
            await asyncio.sleep(random.uniform(0.3, 1.5))
        await cluster.ready()
        logged = entries(cluster, cluster.nodes, since=began)
        lost = sum(entry.event == "link.lost" for entry in logged)
        return {"resets": options.resets, "links_lost": lost} | accusations(cluster, began)


# --- healing ----------------------------------------------------------------------------


async def healing(options: argparse.Namespace) -> Row:
    """How long until all nodes agree again after a pause, a split, and a restart of all."""
    async with linked_nodes_of(read(options.config)) as (cluster, links):
        names = list(cluster.nodes)
        half = names[: len(names) // 2]
        ways = [(a, b) for a in names for b in names if (a in half) != (b in half)]
        await cluster.ready()

        cluster.pause(names[0])
        await asyncio.sleep(options.away_s)
        cluster.resume(names[0])
        after_pause_s = await agreed_s(cluster)

        links.impair(Impairment(hole=True), ways)
        await asyncio.sleep(options.away_s)
        links.impair(Impairment(), ways)
        after_split_s = await agreed_s(cluster)

        for name in names:
            cluster.kill(name)
        await asyncio.gather(*map(cluster.restart, names))
        after_restart_s = await agreed_s(cluster)
    return {
        "away_s": options.away_s,
        "agreed_after_pause_s": after_pause_s,
        "agreed_after_split_s": after_split_s,
        "agreed_after_restart_s": after_restart_s,
        "load": round(os.getloadavg()[0], 1),
    }


async def agreed_s(cluster: LocalCluster) -> float:
    """Wait until every node sees every node alive; the seconds that it took."""
    for node in cluster.nodes.values():
        node.status = {}
    return round(await cluster.ready(), 2)


# --- logs -------------------------------------------------------------------------------


def accusations(cluster: LocalCluster, since: float) -> Row:
    """Which nodes were suspected or declared dead since then, and for how long."""
    suspected: dict[tuple[str, int], str] = {}
    dead, longest_s = set(), 0.0
    for entry in entries(cluster, cluster.nodes, since=since):
        if entry.event == "member.suspect":
            key = entry.fields["member"], entry.fields["incarnation"]
            suspected.setdefault(key, f"{entry.node}: {entry.fields['cause']}")
        elif entry.event == "member.dead":
            dead.add(entry.fields["member"])
        elif entry.event == "member.alive":
            longest_s = max(longest_s, entry.fields["took_s"] or 0.0)
    return {
        "suspected": len(suspected),
        "suspicions": [f"{name} by {why}" for (name, _), why in suspected.items()],
        "longest_s": longest_s,
        "declared_dead": len(dead),
        "load": round(os.getloadavg()[0], 1),
    }


def entries(cluster: LocalCluster, names: Iterable[str], since: float) -> Iterator[Entry]:
    """What these nodes have logged since a time."""
    for name in names:
        for line in (cluster.nodes[name].folder / "log.jsonl").read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a killed node's last line
                fields = json.loads(line)
                at = datetime.fromisoformat(fields["timestamp"]).timestamp()
                if at >= since:
                    yield Entry(name, at, fields["event"], fields)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition.  Raises TimeoutError."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {PATIENCE_S:g} s not yet: {what}")
        await asyncio.sleep(LOOK_S)


# --- the program ------------------------------------------------------------------------


def read(path: Path) -> Row:
    """A configuration without its ports."""
    described: Row = yaml.safe_load(path.read_text())
    described.pop("base_port", None)
    return described


def show(name: str, result: Row) -> None:
    """Print a result as a table."""
    print(f"{name}:")
    rows: list[Row] = result.get("kills", [])
    if rows:
        print("  " + "  ".join(rows[0]))
    for row in rows:
        print("  " + "  ".join(f"{row[key]!s:>{len(key)}}" for key in row))
    for key, value in result.items():
        if key != "kills":
            print(f"  {key:<22} {value}")


MEASURES = {"idle": idle, "kills": kills, "busy": busy, "resets": resets, "healing": healing}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("measure", nargs="*", help=f"default: {' '.join(MEASURES)}")
    parser.add_argument("--config", type=Path, default=Path("configs/ten_nodes.yaml"))
    parser.add_argument("--kills", type=int, default=10, help="how many nodes are killed")
    parser.add_argument("--idle-s", type=float, default=20.0, help="how long nodes are idle")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long busy is")
    parser.add_argument("--resets", type=int, default=20, help="how many pairs are reset")
    parser.add_argument("--away-s", type=float, default=10.0, help="how long pause and split last")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    unknown = set(options.measure) - MEASURES.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}; should be {', '.join(MEASURES)}")
    results = {}
    for name in options.measure or MEASURES:
        results[name] = asyncio.run(MEASURES[name](options))
        if not options.json:
            show(name, results[name])
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
