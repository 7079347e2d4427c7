#!/usr/bin/env python3
"""How much of what the machine can carry does the store carry?  (`make bench`)

The transport floor (``../shared/floor/floor.py``, where it is at hand) runs the same
processes, threads, sockets, messages and durable commits as a cluster of three nodes,
and nothing of Dynamo.  Absolute figures drift with whatever else the machine does, so
store and floor are measured in turn, round after round, each on a cluster started for
it alone, and what counts is the ratio of the medians.  Without a floor, the store's own
figures stand alone.  The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nodes import NAMES, three_nodes

ROOT = Path(__file__).resolve().parent.parent
FLOOR = ROOT.parent / "shared" / "floor" / "floor.py"
FLOOR_PEERS_ABOVE = 100
"""The distance from the floor's client ports to the ports between its nodes."""

Figures = dict[str, Any]


def main() -> None:
    """Measure, print the medians and the ratios, and leave nothing behind."""
    options = _options()
    contestants: dict[str, Callable[[list[str]], Figures]] = {"store": _measure_store}
    if FLOOR.exists():
        contestants["floor"] = _measure_floor
    else:
        print(f"no floor at {FLOOR}: the store is measured alone", flush=True)
    results = {f"batch_{batch}": _compare(contestants, batch, options) for batch in options.batches}
    print(json.dumps(vars(options) | results))


def _compare(
    contestants: dict[str, Callable[[list[str]], Figures]],
    batch: int,
    options: argparse.Namespace,
) -> Figures:
    """The medians of all rounds with this batch, and store / floor."""
    shared = [
        *("--clients", str(options.clients), "--in-flight", str(options.in_flight)),
        *("--batch", str(batch), "--seconds", str(options.seconds)),
    ]
    rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
    for number in range(1, options.rounds + 1):
        for name, measure in contestants.items():
            figures = measure(shared)
            rounds[name].append(figures)
            _show(f"batch {batch}, round {number}, {name}", figures)
    medians = {name: _median(each) for name, each in rounds.items()}
    for name, figures in medians.items():
        _show(f"batch {batch}, median, {name}", figures)
    if "floor" in medians:
        ratio = medians["store"]["ops_per_s"] / medians["floor"]["ops_per_s"]
        print(f"batch {batch}: the store carries {ratio:.0%} of the floor\n", flush=True)
        medians["ratio"] = round(ratio, 3)
    return medians


def _median(rounds: list[Figures]) -> Figures:
    """The median of each figure that is a measurement."""
    names = ("ops_per_s", "p50_ms", "p99_ms", "p999_ms")
    figures: Figures = {name: statistics.median(each[name] for each in rounds) for name in names}
    failed = [each["failed"] for each in rounds if each.get("failed")]
    return figures | ({"failed": failed} if failed else {})


def _show(what: str, figures: Figures) -> None:
    """One line for people."""
    failed = f"  failed {figures['failed']}" if figures.get("failed") else ""
    print(
        f"{what:<28} {figures['ops_per_s']:>9,.0f} ops/s"
        f"   p50 {figures['p50_ms']:.1f}  p99 {figures['p99_ms']:.1f} ms{failed}",
        flush=True,
    )


def _measure_store(shared: list[str]) -> Figures:
    """Start three nodes, load them, stop them."""
    return asyncio.run(_load_three_nodes(shared))


async def _load_three_nodes(shared: list[str]) -> Figures:
    async with three_nodes("bench", durability="sync") as cluster:
        await cluster.ready()
        load = [str(ROOT / "benchmarks" / "load.py"), *shared]
        for node in cluster.nodes.values():
            load += ["--endpoint", node.endpoint]
        return await asyncio.to_thread(_last_json, load)


def _measure_floor(shared: list[str]) -> Figures:
    """Run the floor as three nodes that commit as `sync` does."""
    nodes = len(NAMES)
    port = _floor_port(nodes)
    cluster = ["--nodes", str(nodes), "--durability", "sync", "--port", str(port)]
    return _last_json([str(FLOOR), *cluster, *shared])


def _last_json(script: list[str]) -> Figures:
    """Run a Python script and read the JSON line that it ends with."""
    done = subprocess.run(
        [sys.executable, *script], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _floor_port(nodes: int) -> int:
    """The first port of two free rows of ports for the floor."""
    for base in range(26_000, 32_000, 2 * FLOOR_PEERS_ABOVE):
        row = range(base, base + nodes)
        if all(_is_free(port) and _is_free(port + FLOOR_PEERS_ABOVE) for port in row):
            return base
    raise SystemExit("compare.py: no free ports for the floor between 26000 and 32000")


def _is_free(port: int) -> bool:
    """Whether ``port`` is free now."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="store against floor; see the docstring")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=2, help="client processes")
    parser.add_argument("--in-flight", type=int, default=256, help="operations, per client")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    return parser.parse_args()


if __name__ == "__main__":
    main()
