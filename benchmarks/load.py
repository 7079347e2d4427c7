#!/usr/bin/env python3
"""A load generator: what does this cluster carry, and how long does one wait for it?

Each of ``--clients`` processes runs one `AsyncClient` that keeps up to ``--in-flight``
operations going, ``--batch`` of them issued together.

    closed loop   (default) the next operation starts when one is answered: throughput
    fixed rate    (--rate) operations start on a timetable, answered or not, and latency
                  is counted from the time on the timetable.  A store that stalls cannot
                  slow its own measurement down (no coordinated omission).

Latencies of what succeeded go into an HDR histogram, to three digits; the generator's own
timer is late by up to 1 ms at a fixed rate, and that is counted too.  Prints one JSON line.

    python benchmarks/load.py --endpoint tcp://127.0.0.1:7400 --in-flight 256 --batch 16
    python benchmarks/load.py --config configs/ten_nodes.yaml --rate 500 --zipf 0.99
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hdrh.histogram import HdrHistogram

from toystore import AsyncClient, ToystoreError
from toystore.config import load as load_config
from toystore.net.endpoint import Endpoint

LATENCY_US_MAX = 120_000_000
KEYS_AT_ONCE = 64
"""How many keys are drawn at once: cheaper than one by one, and too few for a delay."""
PERCENTILES = {"p50_ms": 50.0, "p99_ms": 99.0, "p999_ms": 99.9}


class Measured(NamedTuple):
    """The result of one client."""

    done: int
    took_s: float
    failed: Counter[str]
    histogram: bytes


def main() -> None:
    """Run the load and print its result."""
    options = _options()
    with multiprocessing.get_context("spawn").Pool(options.clients) as processes:
        seeds = range(options.seed, options.seed + options.clients)
        measured = processes.starmap(_client, [(options, seed) for seed in seeds], chunksize=1)
    print(json.dumps(vars(options) | _summary(measured)))


def _client(options: argparse.Namespace, seed: int) -> Measured:
    """One client process."""

    async def run() -> Measured:
        async with AsyncClient(
            options.endpoints,
            timeout=options.timeout,
            bucket=options.bucket,
            max_in_flight=options.in_flight,
            spread=True,
        ) as store:
            return await Load(store, options, seed).run()

    return asyncio.run(run())


def _summary(measured: list[Measured]) -> dict[str, Any]:
    """The figures of all clients together."""
    latencies_us = HdrHistogram(1, LATENCY_US_MAX, 3)
    for each in measured:
        latencies_us.decode_and_add(each.histogram)
    figures: dict[str, Any] = {
        "ops": sum(each.done for each in measured),
        "ops_per_s": round(sum(each.done / each.took_s for each in measured)),
        "failed": dict(sum((each.failed for each in measured), Counter())),
    }
    for name, percentile in PERCENTILES.items():
        latency_us = latencies_us.get_value_at_percentile(percentile)
        figures[name] = round(latency_us / 1e3, 3) if figures["ops"] else None
    return figures


class Load:
    """The load that one client makes."""

    def __init__(self, store: Any, options: argparse.Namespace, seed: int) -> None:
        """``store``: an `AsyncClient`, or an object with its four methods for keys."""
        self._store = store
        self._options = options
        self._chance = random.Random(seed)
        self._value = self._chance.randbytes(options.value_bytes)
        self._keys = draw_keys(self._chance, options.keys, options.zipf)
        self._latencies_us = HdrHistogram(1, LATENCY_US_MAX, 3)
        self._failed: Counter[str] = Counter()
        self._done = 0

    async def run(self) -> Measured:
        """Run until the time is over and the last operation is answered."""
        batch = self._options.batch
        began = time.perf_counter()
        starts = self._starts(began)
        issue = self._issue_one if batch == 1 else self._issue_batch

        async def work() -> None:
            for start in starts:
                early_s = start - time.perf_counter()
                if early_s > 0:
                    await asyncio.sleep(early_s)
                await issue(start)

        async with asyncio.TaskGroup() as workers:
            for _ in range(max(1, self._options.in_flight // batch)):
                workers.create_task(work())
        took_s = time.perf_counter() - began
        return Measured(self._done, took_s, self._failed, self._latencies_us.encode())

    def _starts(self, began: float) -> Iterator[float]:
        """When each batch starts: at once, or as the timetable says.

        If the store cannot follow the timetable, it ends after twice its time, and the rest
        is counted as failed.
        """
        seconds, rate, batch = self._options.seconds, self._options.rate, self._options.batch
        if not rate:
            while (now := time.perf_counter()) < began + seconds:
                yield now
            return
        share = rate / self._options.clients / batch
        for at in range(int(seconds * share)):
            if time.perf_counter() > began + 2 * seconds:
                self._failed["NeverStarted"] += batch
            else:
                yield began + at / share

    async def _issue_one(self, start: float) -> None:
        """One operation."""
        key = next(self._keys)
        try:
            if self._chance.random() < self._options.put_share:
                await self._store.put(key, self._value, w=self._options.w)
            else:
                await self._store.get(key, r=self._options.r)
        except ToystoreError as error:
            self._failed[type(error).__name__] += 1
        else:
            self._record(start, 1)

    async def _issue_batch(self, start: float) -> None:
        """One batch; its puts and gets are sent together.  A key drawn twice is asked once."""
        puts: dict[str, bytes] = {}
        gets: dict[str, None] = {}
        for key in itertools.islice(self._keys, self._options.batch):
            if self._chance.random() < self._options.put_share:
                puts[key] = self._value
            else:
                gets[key] = None
        r, w = self._options.r, self._options.w
        answers = await asyncio.gather(
            self._store.put_many(puts, w=w, errors="return"),
            self._store.get_many(gets, r=r, errors="return"),
        )
        failures = [
            type(answer).__name__
            for each in answers
            for answer in each.values()
            if isinstance(answer, ToystoreError)
        ]
        self._failed.update(failures)
        self._record(start, sum(map(len, answers)) - len(failures))

    def _record(self, start: float, count: int) -> None:
        """``count`` operations, due at ``start``, are answered."""
        self._done += count
        latency_us = int((time.perf_counter() - start) * 1e6)
        self._latencies_us.record_value(min(latency_us, LATENCY_US_MAX), count)


def draw_keys(chance: random.Random, keys: int, zipf: float) -> Iterator[str]:
    """An endless series of keys: the k-th most popular one has a weight of 1 / k**zipf."""
    weights = None  # Keys that are alike are drawn without a search among weights.
    if zipf:
        weights = list(itertools.accumulate(1 / rank**zipf for rank in range(1, keys + 1)))
    while True:
        for key in chance.choices(range(keys), cum_weights=weights, k=KEYS_AT_ONCE):
            yield f"key:{key}"


def _options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="a load generator; see the module's docstring")
    parser.add_argument("-e", "--endpoint", dest="endpoints", action="append", metavar="ADDRESS")
    parser.add_argument("--config", type=Path, help="take the endpoints from this YAML file")
    parser.add_argument("--clients", type=int, default=2, help="client processes")
    parser.add_argument("--in-flight", type=int, default=256, help="operations, per client")
    parser.add_argument("--batch", type=int, default=1, help="operations issued together")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="ops/s of all clients; 0: closed loop"
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--put-share", type=float, default=0.5)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--zipf", type=float, default=0.0, help="exponent; 0: uniform")
    parser.add_argument("--bucket", default="default")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds")
    for name in "rw":
        parser.add_argument(f"-{name}", type=int, help="default: the bucket's")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.config is not None:
        members = load_config(options.config).members
        options.endpoints = [str(Endpoint(member.host, member.client_port)) for member in members]
        options.config = str(options.config)
    options.endpoints = options.endpoints or ["tcp://127.0.0.1:7400"]
    return options


if __name__ == "__main__":
    main()
