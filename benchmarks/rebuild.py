#!/usr/bin/env python3
"""How soon do replicas become equal by themselves, and what do clients notice?  (`make rebuild`)

    wipe    a node is killed, its folder is deleted, and it is started again, under load: until all
            its ranges are whole and it votes; at the default throttle and without one
    rot     a node is stopped, a byte is changed in each of some records on its disk, and it is
            started under load: until each of them is replaced by a sound copy
    idle    the questions that anti-entropy asks, and the bytes that cross, while nothing happens
    equal   a full comparison of two equal replicas, forced: what crosses for each partition
    kills   coordinators are killed in the middle of writes; then nothing is sent: until every
            owner of every key holds the same bytes

Each starts nodes on free ports, fills them, and checks every answer of the load (checked_load.py);
in the end the disks are read as files (disks.py).  Figures depend on what else the machine does, so
its load is printed beside them.

    python benchmarks/rebuild.py wipe --runs 3
    python benchmarks/rebuild.py rot kills --keys 20000 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import time

from checked_load import (
    Answer,
    CheckedLoad,
    Plan,
    between,
    failures,
    load_of_machine,
    percentile_ms,
    wrong,
)
from detection import entries
from filled import (
    LOOK_S,
    PATIENCE_S,
    Row,
    bytes_between,
    config_with,
    filled,
    runs,
    show_row,
    status_of,
    until,
)

from tests.harness.disks import bytes_of, corrupt, is_sound, newest_ring, records_of, unequal
from toystore import AsyncClient
from toystore.localcluster.cluster import LocalCluster

REST_S = 3.0
"""Ranges that have changed are told of within this time, and then they are compared."""
KILL_RATE, KILL_PUT_SHARE = 1000.0, 1.0
"""Puts only, and as many as make it likely that a kill hits one."""

# --- a disk that is gone ----------------------------------------------------------------


async def wipe(options: argparse.Namespace) -> Row:
    """Delete the folder of a node under load, a number of times, with and without a throttle."""
    results: Row = {}
    async with filled(options) as (cluster, load):
        paths = {"default": None, "unthrottled": {"move_bytes_per_s": 0}}
        names = list(cluster.nodes)
        for throttle, antientropy in paths.items():
            each = []
            for run in range(options.runs):
                each.append(await _wiped(cluster, load, names[run % 5], antientropy, options))
                show_row(f"wipe, {throttle}, run {run + 1}", each[-1])
            results[throttle] = {"runs": each, "medians": medians(each)}
        results["read_back"] = told(await load.read_all())
    return results


async def _wiped(
    cluster: LocalCluster,
    load: CheckedLoad,
    name: str,
    antientropy: Row | None,
    options: argparse.Namespace,
) -> Row:
    """Delete one folder; what it cost."""
    node = cluster.nodes[name]
    cluster.config_paths[name] = config_with(cluster, antientropy)
    await load.start()
    began = time.monotonic()
    await asyncio.sleep(options.quiet_s)
    killed = time.monotonic()
    cluster.kill(name)
    await until(lambda: not runs(cluster, name), f"{name} has ended")
    shutil.rmtree(node.folder)
    await asyncio.sleep(options.away_s)
    started = time.monotonic()
    await cluster.restart(name)
    status = await until_whole(cluster, name)
    whole = time.monotonic()
    await asyncio.sleep(options.after_s)
    answers = await load.stop()
    held = bytes_of(records_of(node.folder))
    rebuilding = status.get("antientropy") or {}
    moved = rebuilding.get("bytes_in", 0) + rebuilding.get("bytes_out", 0)
    quiet = between(answers, began, killed)
    return {
        "node": name,
        "whole_s": round(whole - started, 2),
        "held_mb": round(held / 1e6, 2),
        "moved_mb": round(moved / 1e6, 2),
        "moved_of_held": round(moved / held, 3),
        "quiet_p50_ms": percentile_ms(quiet, 50),
        "quiet_p99_ms": percentile_ms(quiet, 99),
        "away_p99_ms": percentile_ms(between(answers, killed, started), 99),
        "p50_ms": percentile_ms(between(answers, started, whole), 50),
        "p99_ms": percentile_ms(between(answers, started, whole), 99),
        "after_p99_ms": percentile_ms(between(answers, whole, float("inf")), 99),
        **told(answers),
    }


async def until_whole(cluster: LocalCluster, name: str) -> Row:
    """Wait until a node has all its ranges and votes; its status."""
    status: Row = {}

    async def whole() -> bool:
        nonlocal status
        status = await status_of(cluster, name)
        storage = status.get("storage") or {}
        return bool(storage.get("votes")) and storage.get("ranges_behind") == 0

    await until(whole, f"{name} is whole")
    return status


# --- records that are corrupt -----------------------------------------------------------


async def rot(options: argparse.Namespace) -> Row:
    """Corrupt records on one disk; how soon each is sound again?"""
    async with filled(options) as (cluster, load):
        name = "n2"
        folder = cluster.nodes[name].folder
        await load.start()
        began = time.monotonic()
        await asyncio.sleep(options.quiet_s)
        stopped = time.monotonic()
        cluster.stop(name)
        await until(lambda: not runs(cluster, name), f"{name} has ended")
        digests = corrupt(folder, options.rotten, random.Random(options.seed))
        started, started_at = time.monotonic(), time.time()
        await cluster.restart(name)
        ready_s = await cluster.ready()

        def replaced() -> bool:
            records = records_of(folder, digests)
            return len(records) == len(digests) and all(map(is_sound, records.values()))

        await until(replaced, "all are replaced", LOOK_S * 5)
        sound = time.monotonic()
        await asyncio.sleep(REST_S)
        answers = await load.stop()
        found = {
            entry.fields["digest"]: entry.at - started_at
            for entry in entries(cluster, [name], since=started_at)
            if entry.event == "record.corrupt"
        }
        wanted = {digest.hex() for digest in digests}
        return {
            "corrupted": len(digests),
            "found": len(wanted & found.keys()),
            "overwritten": len(wanted - found.keys()),
            "left": sum(not is_sound(record) for record in records_of(folder).values()),
            "ready_s": round(ready_s, 2),
            "found_s": round(max(found.values(), default=0.0), 2),
            "replaced_s": round(sound - started, 2),
            "quiet_p99_ms": percentile_ms(between(answers, began, stopped), 99),
            "p99_ms": percentile_ms(between(answers, started, sound), 99),
            **told(answers),
            "read_back": told(await load.read_all()),
        }


# --- nothing happens --------------------------------------------------------------------


async def idle(options: argparse.Namespace) -> Row:
    """Count what anti-entropy asks in a cluster without requests."""
    async with filled(options) as (cluster, _):
        await until_compared(cluster)
        asked, crossed, began = await asked_by(cluster), bytes_between(cluster), time.monotonic()
        await asyncio.sleep(options.idle_s)
        lasted_s = time.monotonic() - began
        return {
            "seconds": round(lasted_s, 1),
            "questions": {n: c - asked[n] for n, c in (await asked_by(cluster)).items()},
            "bytes_per_s": round((bytes_between(cluster) - crossed) / lasted_s),
            "load": load_of_machine(),
        }


async def until_compared(cluster: LocalCluster) -> None:
    """Wait until no node has asked anything for longer than between two comparisons."""
    quiet_s = 1.5 * cluster.config.antientropy_settings().compare_s
    before, since = await asked_by(cluster), time.monotonic()
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < since + quiet_s:
        if time.monotonic() > end:
            raise TimeoutError(f"anti-entropy still asks: {before}")
        await asyncio.sleep(1.0)
        if (now := await asked_by(cluster)) != before:
            before, since = now, time.monotonic()


async def asked_by(cluster: LocalCluster) -> dict[str, int]:
    """How many questions the anti-entropy of each node has asked."""
    asked = {}
    for name in cluster.nodes:
        asked[name] = ((await status_of(cluster, name)).get("antientropy") or {})["asked"]
    return asked


# --- equal replicas ---------------------------------------------------------------------


async def equal(options: argparse.Namespace) -> Row:
    """Compare two equal replicas as a whole; what crosses between them?"""
    buckets = {"default": {"n": 2, "r": 1, "w": 2}}
    async with filled(options, nodes=2, buckets=buckets) as (cluster, _):
        await until_compared(cluster)
        partitions = cluster.config.partitions
        crossed, began = bytes_between(cluster), time.monotonic()
        await asyncio.sleep(5.0)
        idle_per_s = (bytes_between(cluster) - crossed) / (time.monotonic() - began)
        crossed, began = bytes_between(cluster), time.monotonic()
        progress = await repaired(cluster, "n1")
        took_s = time.monotonic() - began
        crossed = bytes_between(cluster) - crossed - int(idle_per_s * took_s)
        return {
            "keys": options.keys,
            "partitions": partitions,
            "took_s": round(took_s, 2),
            "bytes": crossed,
            "bytes_per_partition": round(crossed / partitions, 1),
            "compared": progress["compared"],
            "records": progress["records"],
            "load": load_of_machine(),
        }


async def repaired(cluster: LocalCluster, name: str) -> Row:
    """Have a node compare all its ranges; its report."""
    job = random.getrandbits(62)
    endpoint = cluster.nodes[name].endpoint
    progress: Row = {}
    async with AsyncClient(endpoint) as client:

        async def finished() -> bool:
            nonlocal progress
            progress = await client.repair(job, endpoint)
            return bool(progress.get("finished"))

        await until(finished, f"{name} has repaired its ranges")
    return progress


# --- coordinators that die --------------------------------------------------------------


async def kills(options: argparse.Namespace) -> Row:
    """Kill nodes in the middle of writes; are all replicas equal after a minute of quiet?"""
    plan = Plan(KILL_RATE, options.kill_keys, put_share=KILL_PUT_SHARE, seed=options.seed)
    chance = random.Random(options.seed)
    async with filled(options, plan=plan) as (cluster, load):
        founded = newest_ring(cluster.config, ())
        answers: list[Answer] = []
        unequal_then: list[int] = []
        began_at = time.time()
        for _ in range(options.kills):
            await load.start()
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            name = chance.choice(list(cluster.nodes))
            cluster.kill(name)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            answers += await load.stop()
            await cluster.restart(name)
            await cluster.ready()
            unequal_then.append(len(unequal(founded, held_by(cluster))))
        began = time.monotonic()
        while (left := unequal(founded, held_by(cluster))) and (
            time.monotonic() < began + options.idle_s
        ):
            await asyncio.sleep(1.0)
        moved = sum(
            entry.fields["received"] + entry.fields["sent"]
            for entry in entries(cluster, cluster.nodes, since=began_at)
            if entry.event == "replicas.synchronised"
        )
        return {
            "kills": options.kills,
            "moved_records": moved,
            "unequal_after_kill": unequal_then,
            "unequal": len(left),
            "equal_after_s": round(time.monotonic() - began, 1),
            **told(answers),
            "read_back": told(await load.read_all()),
        }


def held_by(cluster: LocalCluster) -> dict[str, dict[bytes, bytes]]:
    """The records of each node."""
    return {name: records_of(node.folder) for name, node in cluster.nodes.items()}


# --- the program ------------------------------------------------------------------------


def told(answers: list[Answer]) -> Row:
    """What clients were told."""
    failed = failures(answers)
    return {
        "operations": len(answers),
        "failed": len(failed),
        "failures": sorted(set(failed)),
        "wrong": wrong(answers)[:3],
        "load": load_of_machine(),
    }


def medians(rows: list[Row]) -> Row:
    """The median of each figure."""
    names = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in names}


def show(name: str, result: Row) -> None:
    """Print a result; of runs that were shown before, the medians."""
    for key, value in result.items():
        if isinstance(value, dict) and "medians" in value:
            show_row(f"{name}, {key}, medians", value["medians"])
    show_row(name, {k: v for k, v in result.items() if not (isinstance(v, dict) and "runs" in v)})


MEASURES = {"wipe": wipe, "rot": rot, "idle": idle, "equal": equal, "kills": kills}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("measure", nargs="*", help=f"default: {' '.join(MEASURES)}")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=300.0, help="operations a second")
    parser.add_argument("--runs", type=int, default=3, help="how often a folder is deleted")
    parser.add_argument("--quiet-s", type=float, default=10.0, help="before a node is killed")
    parser.add_argument("--away-s", type=float, default=2.0, help="until it is started again")
    parser.add_argument("--after-s", type=float, default=5.0, help="how long the load goes on")
    parser.add_argument("--rotten", type=int, default=1000, help="how many records are corrupted")
    parser.add_argument("--idle-s", type=float, default=60.0, help="how long nothing is sent")
    parser.add_argument("--kills", type=int, default=20, help="how many coordinators are killed")
    parser.add_argument("--kill-keys", type=int, default=5000, help="the keys that are written")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object, too")
    options = parser.parse_args()
    unknown = set(options.measure) - MEASURES.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}; should be {', '.join(MEASURES)}")
    print(f"{options.keys} keys, {options.rate:g} operations/s, load {os.getloadavg()[0]:.1f}")
    results = {}
    for name in options.measure or MEASURES:
        results[name] = asyncio.run(MEASURES[name](options))
        show(name, results[name])
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
