"""A workload whose history can be checked: who wrote what, and what was acknowledged.

Each key has one writer, which writes 1, 2, 3, ... to it, one after the other.  So after
any faults a read must give at least the last number acknowledged, and at most the last
one tried (checks.py).  Every operation is kept as a row of the history, which
`write_rows` writes as JSON lines: process, operation, key, value, invoke and return
times in seconds since 1970, and an outcome of ok, fail (certainly did not happen) or
unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from toystore import AsyncClient, ToystoreError
from toystore.client.clock import Clock
from toystore.core.stamp import HybridLogicalClock

PATIENCE_S = 60.0
OK, FAIL, UNKNOWN = "ok", "fail", "unknown"
PUT, GET = "put", "get"


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the history."""

    process: int
    operation: str
    key: str
    value: int | None
    invoke_s: float
    return_s: float
    outcome: str
    error: str = ""


@dataclass
class Workload:
    """Some clients that read and write, each one thing after the other, until told to stop.

    Every other client uses all endpoints in turn, so that a node that is back has work to do;
    the rest stay with one, each with another, until it fails them.
    """

    endpoints: Sequence[str]
    clients: int = 8
    keys_per_client: int = 8
    put_share: float = 0.5
    timeout_s: float = PATIENCE_S
    attempt_s: float = 0.5
    clocks: Sequence[Clock | None] = (None,)
    """Each put is stamped by one of these, drawn anew; None is the clock of this process."""
    name: str = "client"
    seed: int = 1
    history: list[Operation] = field(default_factory=list)
    acknowledged: dict[str, Operation] = field(default_factory=dict)
    """The last put of each key that was acknowledged."""
    tried: dict[str, int] = field(default_factory=dict)
    """The last number that was put to each key, whatever became of it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run every client until ``stop`` is set and its last operation has ended."""
        await asyncio.gather(*(self._client(number, stop) for number in range(self.clients)))

    async def _client(self, process: int, stop: asyncio.Event) -> None:
        chance = random.Random(f"{self.seed}/{process}")
        endpoints = list(self.endpoints)
        chance.shuffle(endpoints)
        keys = [f"{self.name}{process}/key{number}" for number in range(self.keys_per_client)]
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    AsyncClient(
                        endpoints,
                        timeout=self.timeout_s,
                        attempt_timeout=self.attempt_s,
                        clock=clock,
                        spread=process % 2 == 1,
                    )
                )
                for clock in self.clocks
            ]
            while not stop.is_set():
                client, key = chance.choice(clients), chance.choice(keys)
                if chance.random() < self.put_share:
                    await self._put(client, process, key)
                else:
                    await self._get(client, process, key)

    async def _put(self, client: AsyncClient, process: int, key: str) -> None:
        value = self.tried.get(key, 0) + 1
        self.tried[key] = value
        began = time.time()
        try:
            await client.put(key, str(value))
        except ToystoreError as error:
            outcome = FAIL if error.definite else UNKNOWN
            self._note(process, PUT, key, value, began, outcome, error)
        else:
            self.acknowledged[key] = self._note(process, PUT, key, value, began)

    async def _get(self, client: AsyncClient, process: int, key: str) -> None:
        began = time.time()
        try:
            found = await client.get(key)
        except ToystoreError as error:
            self._note(process, GET, key, None, began, FAIL, error)
        else:
            self._note(process, GET, key, None if found is None else int(found.value), began)

    def _note(
        self,
        process: int,
        operation: str,
        key: str,
        value: int | None,
        began: float,
        outcome: str = OK,
        error: Exception | None = None,
    ) -> Operation:
        text = "" if error is None else f"{type(error).__name__}: {error}"
        row = Operation(process, operation, key, value, began, time.time(), outcome, text)
        self.history.append(row)
        return row

    # --- what became of it --------------------------------------------------------------

    def failures(self) -> Counter[str]:
        """How many operations failed, by what was said."""
        return Counter(op.error for op in self.history if op.outcome != OK)

    def latencies_ms(self) -> list[float]:
        """How long each operation took that succeeded, sorted."""
        ended = (op for op in self.history if op.outcome == OK)
        return sorted((op.return_s - op.invoke_s) * 1e3 for op in ended)


def write_rows(path: Path, history: Iterable[Operation]) -> None:
    """Keep a history for another checker, one JSON object a line."""
    with path.open("w") as file:
        file.writelines(json.dumps(asdict(op)) + "\n" for op in history)


class Load:
    """A workload at work in a thread of its own."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def go_on(self, operations: int) -> None:
        """Wait until so many more operations have ended."""
        target = len(self.workload.history) + operations
        end = time.monotonic() + PATIENCE_S
        while len(self.workload.history) < target:
            assert self._thread.is_alive(), f"the load has ended: {self._error!r}"
            assert time.monotonic() < end, f"{operations} operations in {PATIENCE_S:g} s"
            time.sleep(0.01)

    def start(self) -> None:
        """Begin to read and write."""
        self._thread.start()

    def stop(self) -> None:
        """Wait until every client has ended its last operation."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.workload.run(self._stop))
        except BaseException as error:
            self._error = error


@contextlib.contextmanager
def at_work(workload: Workload) -> Iterator[Load]:
    """A workload that runs for as long as the block does."""
    load = Load(workload)
    load.start()
    try:
        yield load
    finally:
        load.stop()


class LaggingClock:
    """A client's clock that is behind the true time, and no more than that."""

    def __init__(self, behind_s: float) -> None:
        self._behind_us = int(behind_s * 1e6)
        self._clock = HybridLogicalClock.drawn(random.SystemRandom())

    def mint(self) -> bytes:
        """A stamp above all that were minted or merged."""
        return self._clock.mint(time.time_ns() // 1000 - self._behind_us)

    def merge(self, stamp: bytes) -> None:
        """Never again mint at or below ``stamp``."""
        self._clock.merge(stamp)
