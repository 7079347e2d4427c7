"""A workload whose history can be checked: who wrote what, and what was acknowledged.

Each key has one writer, which writes 1, 2, 3, ... to it, one after the other.  So after
any faults a read must give at least the last number acknowledged, and at most the last
one tried.  Every operation is kept as a row of the history, which `write_history` writes
as JSON lines: process, operation, key, value, invoke and return times in seconds, and an
outcome of ok, fail (certainly did not happen) or unknown.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from toystore import AsyncClient, ToystoreError


@dataclass
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
    """Some clients that read and write until told to stop."""

    endpoints: list[str]
    clients: int = 8
    keys_per_client: int = 8
    put_share: float = 0.5
    timeout_s: float = 2.0
    pause_s: float = 0.0
    seed: int = 1
    history: list[Operation] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Run every client until ``stop`` is set and its last operation has ended."""
        await asyncio.gather(*(self._client(number, stop) for number in range(self.clients)))

    async def _client(self, process: int, stop: asyncio.Event) -> None:
        chance = random.Random(f"{self.seed}/{process}")
        endpoints = self.endpoints[:]
        chance.shuffle(endpoints)
        client = AsyncClient(endpoints, timeout=self.timeout_s)
        keys = [f"client{process}/key{number}" for number in range(self.keys_per_client)]
        try:
            while not stop.is_set():
                key = chance.choice(keys)
                if chance.random() < self.put_share:
                    await self._put(client, process, key)
                else:
                    await self._get(client, process, key)
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
        finally:
            await client.close()

    async def _put(self, client: AsyncClient, process: int, key: str) -> None:
        value = self.tried.get(key, 0) + 1
        self.tried[key] = value
        began = time.time()
        try:
            await client.put(key, str(value))
        except ToystoreError as error:
            outcome = "fail" if error.definite else "unknown"
            self._note(process, "put", key, value, began, outcome, error)
        else:
            self.acknowledged[key] = value
            self._note(process, "put", key, value, began)

    async def _get(self, client: AsyncClient, process: int, key: str) -> None:
        began = time.time()
        try:
            found = await client.get(key)
        except ToystoreError as error:
            self._note(process, "get", key, None, began, "fail", error)
        else:
            value = None if found is None else int(found.value)
            self._note(process, "get", key, value, began)

    def _note(
        self,
        process: int,
        operation: str,
        key: str,
        value: int | None,
        began: float,
        outcome: str = "ok",
        error: Exception | None = None,
    ) -> None:
        text = "" if error is None else f"{type(error).__name__}: {error}"
        self.history.append(
            Operation(process, operation, key, value, began, time.time(), outcome, text)
        )

    # --- what became of it --------------------------------------------------------------

    def failures(self) -> Counter[str]:
        """How many operations failed, by the kind of error."""
        return Counter(op.error.partition(":")[0] for op in self.history if op.outcome != "ok")

    def latencies_ms(self) -> list[float]:
        """How long each operation took that succeeded, sorted."""
        ended = (op for op in self.history if op.outcome == "ok")
        return sorted((op.return_s - op.invoke_s) * 1e3 for op in ended)

    async def missing(self, endpoints: list[str], *, r: int = 2) -> list[str]:
        """Every key whose last acknowledged write is not there when read with ``r``."""
        client = AsyncClient(endpoints, timeout=10.0)
        complaints = []
        try:
            for key, value in sorted(self.acknowledged.items()):
                found = await client.get(key, r=r)
                held = 0 if found is None else int(found.value)
                if not value <= held <= self.tried[key]:
                    complaints.append(f"{key}: holds {held}, acknowledged {value}")
        finally:
            await client.close()
        return complaints

    def went_back(self) -> list[str]:
        """Reads of a client's own key that gave less than it had been told is written."""
        complaints = []
        acknowledged: dict[str, int] = {}
        for op in self.history:
            if op.operation == "put" and op.outcome == "ok" and op.value is not None:
                acknowledged[op.key] = op.value
            elif op.operation == "get" and op.outcome == "ok":
                least = acknowledged.get(op.key, 0)
                if (op.value or 0) < least:
                    complaints.append(f"{op.key}: read {op.value}, acknowledged {least}")
        return complaints

    def write_history(self, path: Path) -> None:
        """Keep the history for another checker, one JSON object a line."""
        with path.open("w") as file:
            file.writelines(json.dumps(asdict(op)) + "\n" for op in self.history)
