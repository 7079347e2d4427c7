"""The load generator of benchmarks/, against a store that never leaves this process."""

import argparse
import asyncio
import importlib.util
import itertools
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hdrh.histogram import HdrHistogram

from toystore import Unavailable

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "load.py"


class Clock:
    """Time that passes only while something is waited for, however busy the machine is."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s

    async def sleep(self, seconds):
        self.now_s += seconds
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def load_module():
    spec = importlib.util.spec_from_file_location("load_generator", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def load(load_module, clock, monkeypatch):
    """The generator, on a clock of the test's own."""
    monkeypatch.setattr(load_module, "time", clock)
    names = ("gather", "TaskGroup")
    waits = {name: getattr(asyncio, name) for name in names} | {"sleep": clock.sleep}
    monkeypatch.setattr(load_module, "asyncio", SimpleNamespace(**waits))
    return load_module


class FakeStore:
    """Answers in a millisecond, but for what a test makes it do."""

    def __init__(self, clock, failing=(), first_takes_s=0.001):
        self._clock = clock
        self.asked = Counter()
        self.going = self.going_most = 0
        self._failing = failing
        self._first_takes_s = first_takes_s

    async def _answer(self, verb, count=1):
        takes_s = 0.001 if self.asked else self._first_takes_s
        self.asked[verb] += count
        self.going += count
        self.going_most = max(self.going_most, self.going)
        await self._clock.sleep(takes_s)
        self.going -= count

    async def put(self, key, value, **_):
        await self._answer("put")
        if "put" in self._failing:
            raise Unavailable("as told")

    async def get(self, key, **_):
        await self._answer("get")

    async def put_many(self, items, **_):
        await self._answer("put_many", len(items))
        return {key: Unavailable("as told") if "put" in self._failing else None for key in items}

    async def get_many(self, keys, **_):
        await self._answer("get_many", len(keys))
        return dict.fromkeys(keys)


def options_of(**changed):
    defaults = {"clients": 1, "in_flight": 8, "batch": 1, "rate": 0.0, "seconds": 0.05}
    defaults |= {"put_share": 0.5, "value_bytes": 10, "keys": 1000, "zipf": 0.0}
    return argparse.Namespace(**defaults | {"r": None, "w": None} | changed)


def run(load, store, **changed):
    return asyncio.run(load.Load(store, options_of(**changed), seed=1).run())


def latencies_of(load, measured):
    histogram = HdrHistogram(1, load.LATENCY_US_MAX, 3)
    histogram.decode_and_add(measured.histogram)
    return histogram


def test_the_closed_loop_keeps_just_so_many_operations_going(load, clock):
    store = FakeStore(clock)

    measured = run(load, store, in_flight=8)

    assert store.going_most == 8
    assert measured.done == store.asked.total() > 8


def test_batches_leave_together_and_mix_puts_and_gets(load, clock):
    store = FakeStore(clock)

    measured = run(load, store, in_flight=64, batch=16)

    assert 16 < store.going_most <= 64
    assert store.asked.keys() == {"put_many", "get_many"}
    assert measured.done == store.asked.total()


@pytest.mark.parametrize("batch", [1, 16])
def test_failures_are_counted_by_kind_and_apart_from_latencies(load, clock, batch):
    store = FakeStore(clock, failing=("put",))

    measured = run(load, store, batch=batch)

    assert measured.failed == {"Unavailable": store.asked["put"] + store.asked["put_many"]}
    assert measured.done == store.asked["get"] + store.asked["get_many"]
    assert latencies_of(load, measured).get_total_count() == measured.done


def test_at_a_fixed_rate_a_stall_is_held_against_all_that_was_due_meanwhile(load, clock):
    store = FakeStore(clock, first_takes_s=0.2)

    measured = run(load, store, in_flight=1, rate=100.0, seconds=0.2)

    # The k-th of 20 was due after k * 10 ms, and none but the first was asked before 200 ms.
    assert store.asked.total() == 20
    assert latencies_of(load, measured).get_value_at_percentile(50) > 90_000


def test_a_timetable_that_cannot_be_kept_is_given_up_and_the_rest_counted_as_failed(load, clock):
    store = FakeStore(clock, first_takes_s=0.3)

    measured = run(load, store, in_flight=1, rate=100.0, seconds=0.1)

    assert (measured.done, measured.failed) == (1, {"NeverStarted": 9})


def test_a_zipfian_key_is_as_popular_as_its_rank_says(load):
    drawn, uniform = (
        Counter(itertools.islice(load.draw_keys(random.Random(1), 1000, zipf), 65_536))
        for zipf in (1.0, 0.0)
    )

    assert drawn["key:0"] / drawn["key:9"] == pytest.approx(10, rel=0.25)
    assert uniform["key:0"] / uniform["key:9"] == pytest.approx(1, rel=0.5)


def test_as_many_different_keys_are_drawn_as_were_asked_for(load):
    keys, draws = 100_000, 300_000
    drawn = set(itertools.islice(load.draw_keys(random.Random(1), keys, zipf=0.0), draws))

    # Of so many draws, a share of e**(-draws / keys) of all keys is expected to be missed: 5%.
    assert 0.94 * keys < len(drawn) <= keys
