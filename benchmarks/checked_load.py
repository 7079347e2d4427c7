"""A load at a fixed rate that checks every answer, in a process of its own.

Each value names its key and the number of its write.  Only this process writes, and a key has one
open write at most.  So a get that begins after write 7 of a key was acknowledged must
return write 7, or a later one that was begun.  If it does not, the answer is *wrong* if the owners
on which it rests and those of write 7 are more than N together: then one owner is in both.
Otherwise the quorum was sloppy, and the write was *missed*, which is allowed.

Operations start on a timetable, answered or not, and latency counts from the time on the timetable.

    async with CheckedLoad(endpoints, Plan(rate=300)) as load:
        await load.fill()
        await load.start()
        answers = await load.stop()
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

from tests.cluster.telling_client import TellingClient, Told
from toystore import Found, ToystoreError

OK, WRONG, MISSED = "ok", "wrong", "missed"
FILL_BATCH = 500
IN_FLIGHT_MAX = 4096


class Plan(NamedTuple):
    """The load: ``rate`` operations a second."""

    rate: float
    keys: int = 100_000
    value_bytes: int = 100
    put_share: float = 0.5
    timeout_s: float = 5.0
    seed: int = 1
    n: int = 3
    """Of the bucket."""


class Answer(NamedTuple):
    """The outcome of one operation."""

    due: float
    """When it was due, on this machine's monotonic clock."""
    took_s: float
    """From then to its answer."""
    outcome: str
    """`OK`, `WRONG` or `MISSED` and what is wrong, or the name of an error."""


class CheckedLoad:
    """The process, as the benchmark that started it sees it."""

    def __init__(self, endpoints: list[str], plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, endpoints, plan), daemon=True)

    async def __aenter__(self) -> Self:
        self._process.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(OSError):
            self._connection.send("end")
        await asyncio.to_thread(self._process.join)

    async def use(self, endpoints: list[str]) -> None:
        """From now on ask these nodes; nothing is under way."""
        await self._order(endpoints)

    async def fill(self) -> list[Answer]:
        """Write every key; the answers that are not `OK`."""
        failed: list[Answer] = await self._order("fill")
        return failed

    async def read_all(self) -> list[Answer]:
        """Read every key; the answers that are not `OK`."""
        bad: list[Answer] = await self._order("read_all")
        return bad

    async def written(self) -> dict[str, range]:
        """For each key, the writes of which a get that begins now must return one."""
        written: dict[str, range] = await self._order("written")
        return written

    async def start(self) -> None:
        """Begin with the timetable."""
        await self._order("start")

    async def stop(self) -> list[Answer]:
        """End it, and wait for the last answer; all answers since `start`."""
        answers: list[Answer] = await self._order("stop")
        return answers

    async def _order(self, order: str | list[str]) -> Any:
        self._connection.send(order)
        return await asyncio.to_thread(self._connection.recv)


# --- in the other process ---------------------------------------------------------------


def _serve(connection: Connection, endpoints: list[str], plan: Plan) -> None:
    """Do what the benchmark orders, until it ends."""
    with suppress(EOFError, OSError):
        asyncio.run(_obey(connection, endpoints, plan))


async def _obey(connection: Connection, endpoints: list[str], plan: Plan) -> None:
    async with AsyncExitStack() as clients:
        load = _Load(await clients.enter_async_context(_client(endpoints, plan)), plan)
        orders = {
            "fill": load.fill,
            "read_all": load.read_all,
            "written": load.written,
            "start": load.start,
            "stop": load.stop,
        }
        while (order := await asyncio.to_thread(connection.recv)) != "end":
            if isinstance(order, list):
                load.store = await clients.enter_async_context(_client(order, plan))
                connection.send([])
            else:
                connection.send(await orders[order]())


def _client(endpoints: list[str], plan: Plan) -> TellingClient:
    return TellingClient(
        endpoints, timeout=plan.timeout_s, max_in_flight=IN_FLIGHT_MAX, spread=True
    )


class _Load:
    """What was written and acknowledged, and the timetable."""

    def __init__(self, store: TellingClient, plan: Plan) -> None:
        self.store = store
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._keys = [f"key:{number}" for number in range(plan.keys)]
        self._begun = dict.fromkeys(self._keys, -1)
        self._acknowledged = dict.fromkeys(self._keys, -1)
        self._owners = dict.fromkeys(self._keys, 0)
        """How many owners had stored the acknowledged write by then."""
        self._answers: list[Answer] = []
        self._written: set[str] = set()
        """The keys with a write that is not answered: each key has one at a time."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._table: asyncio.Task[None] | None = None

    async def fill(self) -> list[Answer]:
        failed: list[Answer] = []
        for batch in _batches(self._keys):
            began = time.monotonic()
            numbers = {key: self._next(key) for key in batch}
            values = {key: self._value(key, number) for key, number in numbers.items()}
            for key, answer in (await self.store.put_many(values, errors="return")).items():
                if isinstance(answer, ToystoreError):
                    failed.append(_answer(began, type(answer).__name__))
                else:
                    self._acknowledged[key], self._owners[key] = numbers[key], answer.owners
        return failed

    async def read_all(self) -> list[Answer]:
        bad: list[Answer] = []
        for batch in _batches(self._keys):
            began = time.monotonic()
            for key, answer in (await self.store.get_many(batch, errors="return")).items():
                if isinstance(answer, ToystoreError):
                    bad.append(_answer(began, type(answer).__name__))
                elif wrong := self._wrong(key, answer, self._acknowledged[key]):
                    bad.append(_answer(began, f"{WRONG}: {wrong}"))
        return bad

    async def written(self) -> dict[str, range]:
        return {key: self._allowed(key, at_least) for key, at_least in self._acknowledged.items()}

    async def start(self) -> list[Answer]:
        self._answers = []
        self._table = asyncio.create_task(self._run())
        return []

    async def stop(self) -> list[Answer]:
        assert self._table is not None
        self._table.cancel()
        with suppress(asyncio.CancelledError):
            await self._table
        if self._tasks:
            await asyncio.wait(self._tasks)
        return self._answers

    async def _run(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            due = began + number / self._plan.rate
            early_s = due - time.monotonic()
            if early_s > 0:
                await asyncio.sleep(early_s)
            task = asyncio.create_task(self._one(due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, due: float) -> None:
        """One operation with a random key."""
        key = self._chance.choice(self._keys)
        puts = self._chance.random() < self._plan.put_share and key not in self._written
        try:
            outcome = await (self._put(key) if puts else self._get(key))
        except ToystoreError as error:
            outcome = type(error).__name__
        self._answers.append(_answer(due, outcome))

    async def _put(self, key: str) -> str:
        self._written.add(key)
        try:
            number = self._next(key)
            written = await self.store.put(key, self._value(key, number))
            self._acknowledged[key], self._owners[key] = number, written.owners
            return OK
        finally:
            self._written.discard(key)

    async def _get(self, key: str) -> str:
        acknowledged, owners = self._acknowledged[key], self._owners[key]
        told = await self.store.read(key)
        wrong = self._wrong(key, told, acknowledged)
        if not wrong:
            return OK
        overlap = owners + told.owners > self._plan.n
        return f"{WRONG if overlap else MISSED}: {wrong}; {owners} owners had it, {told}"

    def _next(self, key: str) -> int:
        self._begun[key] += 1
        return self._begun[key]

    def _value(self, key: str, number: int) -> bytes:
        return f"{key}={number}".ljust(self._plan.value_bytes, ".").encode()

    def _allowed(self, key: str, acknowledged: int) -> range:
        """The writes of which a get must return one, if this one was acknowledged before."""
        return range(max(acknowledged, 0), self._begun[key] + 1)

    def _wrong(self, key: str, told: Told | Found | None, acknowledged: int) -> str:
        """What is wrong with an answer; "" if it is right."""
        value = told and told.value
        if value is None:
            return f"{key} is not there" if acknowledged >= 0 else ""
        found = value if isinstance(value, bytes) else value.encode()
        allowed = self._allowed(key, acknowledged)
        if any(found == self._value(key, number) for number in allowed):
            return ""
        return f"{key} is {found[:40]!r}, write {acknowledged} was acknowledged"


def _answer(due: float, outcome: str) -> Answer:
    return Answer(due, time.monotonic() - due, outcome)


def _batches(keys: list[str]) -> Iterable[list[str]]:
    for at in range(0, len(keys), FILL_BATCH):
        yield keys[at : at + FILL_BATCH]


def number_in(value: bytes) -> int:
    """The number of the write that a value names; -1 if it names none."""
    _, _, number = value.rstrip(b".").rpartition(b"=")
    return int(number) if number.isdigit() else -1


# --- figures ----------------------------------------------------------------------------


def failures(answers: Iterable[Answer]) -> list[str]:
    """The outcomes of operations that failed."""
    known = (OK, WRONG, MISSED)
    return [a.outcome for a in answers if not a.outcome.startswith(known)]


def wrong(answers: Iterable[Answer]) -> list[str]:
    """The outcomes of operations with a wrong answer."""
    return [a.outcome for a in answers if a.outcome.startswith(WRONG)]


def missed(answers: Iterable[Answer]) -> list[str]:
    """The outcomes of gets that missed a write, as a sloppy quorum may."""
    return [a.outcome for a in answers if a.outcome.startswith(MISSED)]


def between(answers: Iterable[Answer], since: float, until: float) -> list[Answer]:
    """The answers to operations that were due in a stretch of time."""
    return [answer for answer in answers if since <= answer.due < until]


def percentile_ms(answers: Iterable[Answer], percent: int) -> float:
    """A percentile of the latencies; 0 if there is no answer."""
    took = sorted(answer.took_s for answer in answers)
    return round(took[len(took) * percent // 100] * 1e3, 2) if took else 0.0


def load_of_machine() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 1)
