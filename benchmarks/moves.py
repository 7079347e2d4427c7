#!/usr/bin/env python3
"""What does a change of the ring move, and what do clients notice?  (`make moves`)

Five nodes with all keys, under load, in turn:

    join      a sixth node
    leave     one of the five
    replace   one of them by a new node
    remove    one of them, which was killed before and never comes back

After each, every owner of every key is asked by itself for what was acknowledged, as a get with R=1
asks it (`owners_unread`, owners.py).  The disks are read as files: every owner of a key must hold
the same bytes (`equal_s` after the load), and no node may hold a record that it does not own
(`in_place_s` after the change).  What anti-entropy has moved until the ring was stable, in records
and in what it compares, is compared with the least that had to move: the records of the ranges that
a node owns now and did not own before.

With `kills`, a node is killed in the middle of each change (moves_kills.py).

Each answer of the load is checked (checked_load.py).  Figures depend on what else the machine does,
so its load is printed beside them.

    python benchmarks/moves.py join leave --keys 20000 --nodes 10 --json
    python benchmarks/moves.py kills replace remove --victims proposer
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter

from checked_load import Plan, between, failures, load_of_machine, missed, percentile_ms, wrong
from filled import Row, filled, show_row
from moves_kills import KINDS, VICTIMS, kills
from ring_stage import RingStage, gained

from tests.harness.disks import strays, unequal
from toystore.core.ring.view import RingView


class Stage(RingStage):
    """Measures changes."""

    async def measure(self, kind: str) -> Row:
        """Make one change under load; what it cost."""
        change = self.change(kind)
        await self.changes.start_newcomers([change])
        ring = self.ring()
        await self.start_load()
        began = time.monotonic()
        await asyncio.sleep(self.options.quiet_s)
        quiet_until = time.monotonic()
        if kind == "remove":
            await self.lose(change[1])
        planned = time.monotonic()
        await self.changes.change(change)
        stable = time.monotonic()
        await self.until_in_place()
        in_place_s = time.monotonic() - stable
        await asyncio.sleep(self.options.after_s)
        answers = await self.load.stop()
        stopped = time.monotonic()
        await self.cluster.settled(self.options.settle_s)
        await self.until_equal()
        equal_s = time.monotonic() - stopped
        quiet = between(answers, began, quiet_until)
        during = between(answers, planned, stable)
        return {
            "change": " ".join(map(str, change)),
            "stable_s": round(stable - planned, 2),
            "in_place_s": round(in_place_s, 2),
            "equal_s": round(equal_s, 2),
            **self._moved(ring),
            "quiet_p50_ms": percentile_ms(quiet, 50),
            "quiet_p99_ms": percentile_ms(quiet, 99),
            "p50_ms": percentile_ms(during, 50),
            "p99_ms": percentile_ms(during, 99),
            "operations": len(answers),
            "failures": dict(Counter(failures(answers))),
            "wrong": wrong(answers)[:3],
            "missed": missed(answers)[:3],
            "load": load_of_machine(),
        }

    def _moved(self, before: RingView) -> Row:
        """What the last change has moved, and what the disks say."""
        ring, held = self.ring(), self.held()
        moved = self.changes.made[-1].moved.bytes
        least = sum(map(len, gained(before, ring, held)))
        return {
            "moved_mb": round(moved / 1e6, 2),
            "least_mb": round(least / 1e6, 2),
            "moved_of_least": round(moved / least, 3) if least else None,
            "unequal": len(unequal(ring, held)),
            "strays": len(strays(ring, held)),
        }


KILLS = "kills"
SLOWLY = {"move_bytes_per_s": 256 * 1024, "batch_bytes": 8 * 1024}
"""For kills: a change has a middle."""


async def measure(options: argparse.Namespace) -> Row:
    """Make each change that was asked for."""
    plan = Plan(options.rate, options.keys, seed=options.seed)
    kinds, more = options.change or KINDS, {"antientropy": SLOWLY} if options.kills else {}
    async with filled(options, nodes=options.nodes, plan=plan, **more) as (cluster, load):
        stage = Stage(cluster, load, options)
        if options.kills:
            return await kills(stage, kinds, options.victims or VICTIMS)
        results: Row = {}
        for kind in kinds:
            results[kind] = await stage.measure(kind)
            results[kind] |= await stage.read_back()
            show_row(kind, results[kind])
        return results


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "change", nargs="*", help=f"{', '.join(KINDS)}: all by default; {KILLS} first: with kills"
    )
    parser.add_argument("--victims", nargs="*", choices=VICTIMS, help=f"of {KILLS}; all by default")
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
    options.kills = options.change[:1] == [KILLS]
    options.change = options.change[options.kills :]
    if unknown := set(options.change) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}; should be {', '.join(KINDS)}, or {KILLS}")
    print(f"{options.keys} keys, {options.rate:g} operations/s, load {load_of_machine()}")
    results = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
