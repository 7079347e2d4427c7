"""Clients that read, write and delete, and a history of what each was told.

All of them use the same keys, so that which write of a key is the last is for the stamps
to say.  Every value is written once: ``c3.17`` is the 17th of client ``c3``.  The history
is a list of rows (toystore/check/history.py); what must hold of it is checks.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.harness.waiting import PATIENCE_S, wait_until
from toystore import ToystoreError
from toystore.check.history import DELETE, FAIL, GET, OK, PUT, UNKNOWN, Row
from toystore.client.clock import Clock, process_clock
from toystore.core.data.stamp import MINTER_BYTES, HybridLogicalClock

from .telling_client import TellingClient, Told

READERS = 16


@dataclass
class Workload:
    """Some clients, each doing one thing after the other, until told to stop.

    Every other client uses all endpoints in turn, so that a node that is back has work to do;
    the rest stay with one, each with another, until it fails them.
    """

    endpoints: Sequence[str]
    clients: int = 8
    keys: int = 64
    put_share: float = 0.45
    delete_share: float = 0.05
    timeout_s: float = PATIENCE_S
    attempt_s: float = 0.5
    ops_per_s: float = float("inf")
    """No client begins more often than its share of this."""
    clocks: Sequence[Clock] = (process_clock,)
    """The clients' clocks, in turn."""
    name: str = "c"
    seed: int = 1
    n: int = 3
    quorum: int = 2
    """R and W of the bucket, as its cluster has them."""
    learns: bool = False
    """Whether the clients use other members, too, besides the endpoints."""
    rows: list[Row] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Run every client until ``stop`` is set and its last operation has ended."""
        await asyncio.gather(*(self._client(number, stop) for number in range(self.clients)))

    def read_back(self) -> None:
        """Read every key once more, as clients of their own."""

        async def read_all() -> None:
            keys = iter(self.every_key)
            await asyncio.gather(
                *(self._reader(f"{self.name}back{n}", keys) for n in range(READERS))
            )

        asyncio.run(read_all())

    def do(self, operation: str, key: str, value: str | None = None) -> None:
        """One operation more, as the first of the clients; none of them may be at work."""

        async def one() -> None:
            chance = random.Random(self.seed)
            async with self._connected(chance, self.clocks[0], spread=False) as client:
                call = client.read(key) if operation == GET else client.write(key, value)
                await self._note(f"{self.name}0", operation, key, value, call)

        asyncio.run(one())

    @property
    def every_key(self) -> list[str]:
        """Whatever may have been written."""
        return [f"{self.name}:{number}" for number in range(self.keys)]

    @property
    def minters(self) -> dict[str, str]:
        """The minter of each client's clock, as hex."""
        of_clock = [clock.mint()[-MINTER_BYTES:].hex() for clock in self.clocks]
        return {f"{self.name}{n}": of_clock[n % len(of_clock)] for n in range(self.clients)}

    # --- clients ------------------------------------------------------------------------

    async def _client(self, number: int, stop: asyncio.Event) -> None:
        process, chance = f"{self.name}{number}", random.Random(f"{self.seed}/{number}")
        keys, written = self.every_key, 0
        clock = self.clocks[number % len(self.clocks)]
        pause_s = self.clients / self.ops_per_s
        async with self._connected(chance, clock, spread=number % 2 == 1) as client:
            while not stop.is_set():
                began = time.monotonic()
                key, drawn = chance.choice(keys), chance.random()
                if drawn < self.put_share:
                    written += 1
                    value = f"{process}.{written}"
                    await self._note(process, PUT, key, value, client.write(key, value))
                elif drawn < self.put_share + self.delete_share:
                    await self._note(process, DELETE, key, None, client.write(key, None))
                else:
                    await self._note(process, GET, key, None, client.read(key))
                await asyncio.sleep(began + pause_s - time.monotonic())

    async def _reader(self, process: str, keys: Iterator[str]) -> None:
        async with self._connected(random.Random(process), process_clock, spread=True) as client:
            for key in keys:
                await self._note(process, GET, key, None, client.read(key))

    def _connected(self, chance: random.Random, clock: Clock, *, spread: bool) -> TellingClient:
        endpoints = chance.sample(list(self.endpoints), len(self.endpoints))
        return TellingClient(
            endpoints,
            timeout=self.timeout_s,
            attempt_timeout=self.attempt_s,
            clock=clock,
            spread=spread,
            learn_members=self.learns,
        )

    # --- the history --------------------------------------------------------------------

    async def _note(
        self, process: str, operation: str, key: str, tried: str | None, call: Awaitable[Told]
    ) -> None:
        """See one operation through.  A read that failed did not happen."""
        row = Row(process, operation, f"default/{key}", tried, time.time(), 0.0, OK)
        row = row._replace(n=self.n, quorum=self.quorum)
        try:
            row = row._replace(**(await call)._asdict())
        except ToystoreError as error:
            outcome = FAIL if error.definite or operation == GET else UNKNOWN
            row = row._replace(outcome=outcome, error=f"{type(error).__name__}: {error}")
        self.rows.append(row._replace(return_s=time.time()))

    def failures(self) -> Counter[str]:
        """How many operations failed, by what was said."""
        return Counter(row.error for row in self.rows if row.outcome != OK)

    def latencies_ms(self) -> list[float]:
        """How long each operation took that succeeded, sorted."""
        return sorted((row.return_s - row.invoke_s) * 1e3 for row in self.rows if row.outcome == OK)


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
        target = len(self.workload.rows) + operations

        def ended() -> bool:
            assert self._thread.is_alive(), f"the load has ended: {self._error!r}"
            return len(self.workload.rows) >= target

        wait_until(ended, f"{operations} operations")

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
