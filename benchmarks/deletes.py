#!/usr/bin/env python3
"""How long are deletes remembered, and does anything come back?  (`make deletes`)

Five nodes with all keys:

    all     every key is deleted; the tombstones are removed from every disk
    away    every key is written again, then deleted while a node is away: its absence holds the
            removal up until it is started again

The disks are read as files.  Afterwards no node may have a value, and no client may read one.

    python benchmarks/deletes.py all --keys 20000 --reap-after-s 30 --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator

from checked_load import load_of_machine
from filled import PATIENCE_S, Row, runs, show_row, status_of, until
from nodes import nodes_of

from tests.harness.disks import records_of
from toystore import AsyncClient
from toystore.core.data.record import unpack_record
from toystore.localcluster.cluster import LocalCluster

BATCH = 500
LOOK_S = 0.5
"""The time between two looks at the disks."""


class Stage:
    """Nodes, and a client of those that run."""

    def __init__(self, cluster: LocalCluster, store: AsyncClient, options: argparse.Namespace):
        self.cluster = cluster
        self.store = store
        self.keys = [f"key:{number}" for number in range(options.keys)]

    async def all(self) -> Row:
        """Delete every key while every node runs."""
        await self._fill()
        before = self._records()
        deleted_s = await self._delete()
        return await self._reaped(before) | {"deleted_s": deleted_s}

    async def away(self) -> Row:
        """Delete every key while a node is away; then start it."""
        name = list(self.cluster.nodes)[-1]
        await self._fill()
        before = self._records()
        self.cluster.kill(name)
        await until(lambda: not runs(self.cluster, name), f"{name} has ended")
        deleted_s = await self._delete()
        await until(lambda: self._is_waited_for(name), f"{name} is waited for")
        waited = self._records()
        await self.cluster.restart(name)
        reaped = await self._reaped(before)
        return reaped | {"deleted_s": deleted_s, "records_while_away": waited}

    def _batches(self) -> Iterator[list[str]]:
        return (self.keys[at : at + BATCH] for at in range(0, len(self.keys), BATCH))

    async def _fill(self) -> None:
        for keys in self._batches():
            await self.store.put_many({key: b"value".ljust(100, b".") for key in keys})
        await self.cluster.settled(PATIENCE_S)

    async def _delete(self) -> float:
        """Delete every key; the seconds that it took."""
        began = time.monotonic()
        for keys in self._batches():
            await asyncio.gather(*map(self.store.delete, keys))
        return round(time.monotonic() - began, 2)

    async def _reaped(self, before: dict[str, int]) -> Row:
        """Wait until each node has a tenth of its records at most; what came back."""
        began = time.monotonic()
        await until(
            lambda: all(now <= before[name] / 10 for name, now in self._records().items()),
            "the tombstones are removed",
            LOOK_S,
        )
        tenth = time.monotonic()
        await until(lambda: not any(self._records().values()), "nothing is left", LOOK_S)
        last = time.monotonic()
        return {
            "records_before": before,
            "records_after": self._records(),
            "to_a_tenth_s": round(tenth - began, 2),
            "to_none_s": round(last - began, 2),
            "values_on_disks": sum(self._values().values()),
            "values_read": await self._read(),
            "load": load_of_machine(),
        }

    async def _read(self) -> int:
        """How many keys a client reads a value of."""
        found = 0
        for keys in self._batches():
            answers = await self.store.get_many(keys)
            found += sum(answer is not None for answer in answers.values())
        return found

    async def _is_waited_for(self, name: str) -> bool:
        """Whether any node says that the removal waits for this one."""
        others = [other for other in self.cluster.nodes if other != name]
        statuses = await asyncio.gather(*(status_of(self.cluster, other) for other in others))
        waits = [(status.get("antientropy") or {}).get("reaping_waits", ()) for status in statuses]
        return any(text.startswith(f"{name} ") for texts in waits for text in texts)

    def _records(self) -> dict[str, int]:
        """How many records each node has on its disk."""
        return {name: len(records_of(node.folder)) for name, node in self.cluster.nodes.items()}

    def _values(self) -> Counter[str]:
        """How many of them are values, by node."""
        return Counter(
            name
            for name, node in self.cluster.nodes.items()
            for record in records_of(node.folder).values()
            if not unpack_record(record).tombstone
        )


KINDS = ("all", "away")


async def measure(options: argparse.Namespace) -> Row:
    """Delete as was asked for."""
    described = {
        "cluster": "deletes",
        "members": [f"n{number}" for number in range(1, options.nodes + 1)],
        "durability": "sync",
        "antientropy": {"reap_after_s": options.reap_after_s},
    }
    results: Row = {}
    async with nodes_of(described) as cluster:
        await cluster.ready()
        endpoints = [node.endpoint for node in cluster.nodes.values()]
        async with AsyncClient(endpoints, timeout=60.0, spread=True) as store:
            stage = Stage(cluster, store, options)
            for kind in options.kind or KINDS:
                results[kind] = await getattr(stage, kind)()
                show_row(kind, results[kind])
    return results


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", nargs="*", help=f"default: {' '.join(KINDS)}")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--reap-after-s", type=float, default=20.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object, too")
    options = parser.parse_args()
    if unknown := set(options.kind) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}; should be {', '.join(KINDS)}")
    print(f"{options.keys} keys, reap_after_s {options.reap_after_s:g}, load {load_of_machine()}")
    results = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
