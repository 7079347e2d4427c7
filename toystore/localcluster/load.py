"""A small load: gets and puts at a fixed rate, and what became of them.

Requests are sent on time even if earlier ones were not answered, and a latency counts from
when its request was due, so that it includes every pause.  Puts to one key never overlap, and
each value contains the number of its put: the values that are read at the end can be compared
with what was acknowledged.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from toystore.client import AsyncClient, Found, ToystoreError
from toystore.config import LOAD_KEY, LoadConfig

GET, PUT = "get", "put"
TIMEOUT_S = 2.0
READ_BACK_S = 10.0
"""The time limit of a get of the read-back; one that fails is repeated for as long."""
READ_BACK_BATCH = 250
"""Few enough that no node refuses them."""
AGAIN_S = 0.2


class ReadBack(NamedTuple):
    """The keys that were put, read again at the end."""

    keys: int
    lost: list[str]
    """Those whose last acknowledged put is not there."""
    unread: list[str]
    """Those that could not be read: what they have is not known."""

    def __str__(self) -> str:
        verdict = "no acknowledged write is missing"
        if self.lost:
            verdict = f"{len(self.lost)} LOST ({_some(self.lost)})"
        if self.unread:
            verdict += f"; {len(self.unread)} could not be read ({_some(self.unread)})"
        return f"read back {self.keys:,} keys: {verdict}"


class Tally:
    """The outcomes of the requests."""

    def __init__(self) -> None:
        self.ok: Counter[str] = Counter()
        self.failed: Counter[tuple[str, str]] = Counter()
        """By request and kind of error."""
        self.latencies_ms: Counter[float] = Counter()
        """The latencies of successes, to three digits: a histogram that does not grow with time."""

    def add(self, what: str, took_s: float) -> None:
        """Count one success."""
        self.ok[what] += 1
        self.latencies_ms[float(f"{took_s * 1000:.3g}")] += 1

    def percentile_ms(self, share: float) -> float:
        """The latency that ``share`` of the successes did not exceed."""
        wanted = share * self.ok.total()
        running = itertools.accumulate(
            sorted(self.latencies_ms.items()), lambda sum_, item: (item[0], sum_[1] + item[1])
        )
        return next((ms for ms, seen in running if seen >= wanted), 0.0)


class Load:
    """Clients that send gets and puts, from `run` until `stop`."""

    def __init__(
        self, settings: LoadConfig, endpoints: Sequence[str], chance: random.Random
    ) -> None:
        """``endpoints``: of all nodes; each client begins with a different one."""
        self.tally = Tally()
        self._settings = settings
        self._chance = chance
        self._clients = [
            AsyncClient([*endpoints[at:], *endpoints[:at]], timeout=TIMEOUT_S)
            for at in (number % len(endpoints) for number in range(settings.clients))
        ]
        # There may be data of an earlier run: only values of this run count.
        self._mark = b"%08x" % chance.getrandbits(32)
        self._keys = [LOAD_KEY.format(number) for number in range(settings.keys)]
        self._writing: set[str] = set()
        self._acknowledged: dict[str, int] = {}
        self._stopped = False

    async def run(self) -> None:
        """Send requests at the given rate; returns after `stop`, when all are answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                due = began + number / self._settings.ops_per_s
                await asyncio.sleep(max(0.0, due - loop.time()))
                if self._stopped:
                    return
                group.create_task(self._one(number, due))

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True

    async def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            await client.close()

    async def read_back(self) -> ReadBack:
        """Read every key that has an acknowledged put, a few at a time."""
        loop = asyncio.get_running_loop()
        lost: list[str] = []
        left, give_up = list(self._acknowledged), loop.time() + READ_BACK_S
        while left:
            batch, left = left[:READ_BACK_BATCH], left[READ_BACK_BATCH:]
            found = await self._clients[0].get_many(batch, timeout=READ_BACK_S, errors="return")
            failed = [key for key in batch if isinstance(found[key], ToystoreError)]
            read = set(batch).difference(failed)
            lost += [key for key in read if self._put_of(found[key]) < self._acknowledged[key]]
            left += failed
            if failed and loop.time() > give_up:
                break
            await asyncio.sleep(AGAIN_S if failed else 0.0)
        return ReadBack(len(self._acknowledged), lost, left)

    async def _one(self, number: int, due: float) -> None:
        """Send one request and count its outcome."""
        client = self._clients[number % len(self._clients)]
        key = self._chance.choice(self._keys)
        puts = self._chance.random() < self._settings.put_share and key not in self._writing
        what = PUT if puts else GET
        try:
            await (self._put(client, key, number) if puts else client.get(key))
        except ToystoreError as error:
            self.tally.failed[what, type(error).__name__] += 1
        else:
            self.tally.add(what, asyncio.get_running_loop().time() - due)

    async def _put(self, client: AsyncClient, key: str, number: int) -> None:
        self._writing.add(key)
        try:
            value = b"%b %d " % (self._mark, number)
            await client.put(key, value.ljust(self._settings.value_bytes, b"."))
            self._acknowledged[key] = number
        finally:
            self._writing.discard(key)

    def _put_of(self, answer: Found | ToystoreError | None) -> int:
        """The number of the put whose value was read; -1 if it is not of this run."""
        if not isinstance(answer, Found) or not answer.value.startswith(self._mark):
            return -1
        return int(answer.value.split()[1])


def report(tally: Tally, took_s: float, read_back: ReadBack | None) -> Iterator[str]:
    """The load in a few lines; ``read_back`` is None if nothing was."""
    ok, failed = tally.ok.total(), tally.failed.total()
    yield (
        f"requests  {ok + failed:,} in {took_s:.1f} s: {ok:,} ok, {failed:,} failed; "
        f"p50 {_three_digits(tally.percentile_ms(0.5))} ms, "
        f"p99 {_three_digits(tally.percentile_ms(0.99))} ms, "
        f"max {_three_digits(tally.percentile_ms(1.0))} ms"
    )
    for (what, kind), count in sorted(tally.failed.items()):
        yield f"          {what} {kind}: {count:,}"
    if read_back is not None:
        yield str(read_back)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")


def _three_digits(figure: float) -> str:
    """``1,660`` for 1657.3, ``4.13`` for 4.1296."""
    return f"{float(f'{figure:.3g}'):,g}"
