#!/usr/bin/env python3
"""What does a change of the ring move, and what do clients notice?  (`make moves`)

Five nodes with all keys, under load, in turn:

    join      a sixth node
    leave     one of the five
    replace   one of them by a new node
    remove    one of them, which was killed before and never comes back

After each, the disks are read as files: every owner of a key must hold the same bytes, and no node
may hold a record that it does not own.  What anti-entropy has moved until the ring was stable, in
records and in what it compares, is compared with the least that had to move: the records of the
ranges that a node owns now and did not own before.

Each answer of the load is checked (checked_load.py).  Figures depend on what else the machine does,
so its load is printed beside them.

    python benchmarks/moves.py join leave --keys 20000 --nodes 10 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from checked_load import CheckedLoad, Plan, between, failures, load_of_machine, percentile_ms, wrong
from filled import Row, filled, runs, until

from tests.harness.disks import newest_ring, records_of, strays, unequal
from toystore.core.ring.view import RingView
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.node import HAS_PROCESS
from toystore.localcluster.ring_changes import RingChanges

Held = dict[str, dict[bytes, bytes]]


class Stage:
    """Nodes under load, and the next name of a node."""

    def __init__(self, cluster: LocalCluster, load: CheckedLoad, options: argparse.Namespace):
        self.cluster = cluster
        self.load = load
        self.options = options
        self.changes = RingChanges(cluster, lambda _: None)

    def join(self) -> list[Any]:
        """A change that adds a node."""
        return ["join", self._newcomer()]

    def leave(self) -> list[Any]:
        """A change that gives up a node in order."""
        return ["leave", self._member()]

    def replace(self) -> list[Any]:
        """A change that puts a new node in the place of another."""
        return ["replace", self._member(), self._newcomer()]

    def remove(self) -> list[Any]:
        """A change that removes a node, which is killed before."""
        return ["remove", self._member()]

    def _newcomer(self) -> str:
        name = f"n{len(self.cluster.nodes) + 1}"
        self.cluster.add(name)
        return name

    def _member(self) -> str:
        """The first node that runs, but not the one that operators ask."""
        return self._running()[1]

    async def _kill(self, name: str) -> None:
        """Kill a node for good, and wait for some time."""
        self.cluster.kill(name)
        await until(lambda: not runs(self.cluster, name), f"{name} has ended")
        await asyncio.sleep(self.options.away_s)

    async def measure(self, kind: str) -> Row:
        """Make one change under load; what it cost."""
        change = getattr(self, kind)()
        await self.changes.start_newcomers([change])
        ring = self._ring()
        await self.load.start()
        began = time.monotonic()
        await asyncio.sleep(self.options.quiet_s)
        quiet_until = time.monotonic()
        if kind == "remove":
            await self._kill(change[1])
        planned = time.monotonic()
        await self.changes.change(change)
        stable = time.monotonic()
        in_place_s = await self._until_in_place(stable)
        await asyncio.sleep(self.options.after_s)
        answers = await self.load.stop()
        await self.cluster.settled(self.options.settle_s)
        quiet = between(answers, began, quiet_until)
        during = between(answers, planned, stable)
        return {
            "change": " ".join(map(str, change)),
            "stable_s": round(stable - planned, 2),
            "in_place_s": round(in_place_s, 2),
            **self._moved(ring),
            "quiet_p50_ms": percentile_ms(quiet, 50),
            "quiet_p99_ms": percentile_ms(quiet, 99),
            "p50_ms": percentile_ms(during, 50),
            "p99_ms": percentile_ms(during, 99),
            "operations": len(answers),
            "failures": sorted(failures(answers)),
            "wrong": wrong(answers)[:3],
            "load": load_of_machine(),
        }

    def _moved(self, before: RingView) -> Row:
        """What the last change has moved, and what the disks say."""
        ring, held = self._ring(), self._held()
        moved = self.changes.made[-1].moved.bytes
        least = sum(map(len, _gained(before, ring, held)))
        return {
            "moved_mb": round(moved / 1e6, 2),
            "least_mb": round(least / 1e6, 2),
            "moved_of_least": round(moved / least, 3) if least else None,
            "unequal": len(unequal(ring, held)),
            "strays": len(strays(ring, held)),
        }

    async def _until_in_place(self, since: float) -> float:
        """Wait until no node holds a record that it does not own; the seconds."""
        await until(lambda: not strays(self._ring(), self._held()), "everything is in its place", 1)
        return time.monotonic() - since

    def _ring(self) -> RingView:
        """The ring by the newest record on any disk."""
        folders = [self.cluster.nodes[name].folder for name in self._running()]
        return newest_ring(self.cluster.config, folders)

    def _held(self) -> Held:
        """The records of each node that runs."""
        return {name: records_of(self.cluster.nodes[name].folder) for name in self._running()}

    def _running(self) -> list[str]:
        self.cluster.reap()
        return [name for name, node in self.cluster.nodes.items() if node.state in HAS_PROCESS]


def _gained(before: RingView, after: RingView, held: Held) -> list[bytes]:
    """The records that nodes hold now in ranges that they did not own before."""
    return [
        record
        for node, records in held.items()
        for digest, record in records.items()
        if node not in before.owners(before.partition_of(digest), digest[0])
        and node in after.owners(after.partition_of(digest), digest[0])
    ]


KINDS = ("join", "leave", "replace", "remove")


async def measure(options: argparse.Namespace) -> Row:
    """Make each change that was asked for."""
    plan = Plan(options.rate, options.keys, seed=options.seed)
    results: Row = {}
    async with filled(options, nodes=options.nodes, plan=plan) as (cluster, load):
        stage = Stage(cluster, load, options)
        for kind in options.change or KINDS:
            results[kind] = await stage.measure(kind)
            results[kind]["read_back_bad"] = len(await load.read_all())
            print(f"{kind}:")
            for key, value in results[kind].items():
                print(f"  {key:<18} {value}", flush=True)
    return results


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("change", nargs="*", help=f"default: {' '.join(KINDS)}")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=300.0, help="operations a second")
    parser.add_argument("--quiet-s", type=float, default=10.0, help="before a change")
    parser.add_argument("--away-s", type=float, default=2.0, help="before a dead node is removed")
    parser.add_argument("--after-s", type=float, default=5.0, help="how long the load goes on")
    parser.add_argument(
        "--settle-s", type=float, default=60.0, help="how long hints are waited for"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object, too")
    options = parser.parse_args()
    if unknown := set(options.change) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}; should be {', '.join(KINDS)}")
    print(f"{options.keys} keys, {options.rate:g} operations/s, load {load_of_machine()}")
    results = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
