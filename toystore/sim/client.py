"""A simulated client: the real client's machine, on virtual links, with a real clock's faults.

A client is one process that sends one request after another with a `ClientMachine`, which
retries at other nodes.  It adds a row to the history for each request.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from toystore.check.history import DELETE, FAIL, GET, OK, PUT, UNKNOWN, Row
from toystore.client.answer import Found, Written
from toystore.client.clock import Clock
from toystore.client.errors import ToystoreError
from toystore.client.machine import ClientMachine
from toystore.client.request import (
    DeleteRequest,
    GetRequest,
    PutRequest,
    Request,
    Terms,
    WriteRequest,
)
from toystore.core.data.context import unpack_context
from toystore.core.data.stamp import HybridLogicalClock
from toystore.core.protocol.address import COORDINATOR, Caller, Peer
from toystore.core.protocol.messages.client import GetReply
from toystore.sim.cluster import SimClock, SimCluster
from toystore.sim.network import Link

CONNECTS_S = 0.3
"""Within this time a client is connected to each node that it can reach."""
ATTEMPT_S = 0.5
"""How long one node may owe an answer before another is asked."""


class Ask(NamedTuple):
    """The next request of a client."""

    operation: str
    bucket: str
    key: str
    value: str | None = None
    quorum: int | None = None
    """R or W; None means the bucket's."""
    timeout_s: float = 2.0
    with_context: bool = False
    """Whether a write carries the context that the client last received for the key."""


class SimClient:
    """One client process."""

    def __init__(self, cluster: SimCluster, name: str, rows: list[Row]) -> None:
        """``rows``: the history, to which it adds its rows."""
        self.name = name
        self.cluster = cluster
        self.busy = False
        chance = cluster.world.chance(f"client {name}")
        self.clock = _Clock(cluster.clocks[name], chance)
        cluster.minters[name] = self.clock.minter.hex()
        nodes = cluster.reachable
        chance.shuffle(nodes)
        self._rows = rows
        self._caller = Caller((f"client/{name}".encode(),))
        self._machine = ClientMachine(nodes, self.clock, in_flight_max=1)
        self._links = [self._link(at, node) for at, node in enumerate(nodes)]
        if cluster.scenario.changes_ring:
            cluster.world.after(CONNECTS_S, self._find_closed)
        self._wake_at: float | None = None
        self._contexts: dict[tuple[str, str], bytes] = {}
        self._then: Callable[[Row], None]
        self._asked: tuple[Ask, float]

    def ask(self, ask: Ask, then: Callable[[Row], None]) -> None:
        """Send one request; ``then`` gets its row."""
        assert not self.busy
        self.busy = True
        self._then = then
        self._asked = ask, self.cluster.world.now
        self._machine.begin(self._request(ask), self._now())
        self._go_on()

    def _request(self, ask: Ask) -> Request[Any]:
        terms = Terms(ask.bucket, ask.quorum, ask.timeout_s, ATTEMPT_S)
        key, now = ask.key.encode(), self._now()
        if ask.operation == GET:
            return _Get(terms, now, key)
        seen = self._contexts.get((ask.bucket, ask.key), b"") if ask.with_context else b""
        if ask.operation == DELETE:
            return DeleteRequest(terms, now, key, context=seen, clock=self.clock)
        value = (ask.value or "").encode()
        return PutRequest(terms, now, key, value, context=seen, clock=self.clock)

    # --- the machine's shell ------------------------------------------------------------

    def _link(self, endpoint: int, node: str) -> Link:
        def on_change(up: bool) -> None:
            if self.cluster.scenario.changes_ring:
                self._follow(endpoint, up)
            self._go_on()

        def on_answer(frame: bytes) -> None:
            self.cluster.world.note(self.name, f"gets {len(frame)} bytes", frame)
            self._machine.receive(frame, endpoint, self._now())
            self._go_on()

        return self.cluster.network.link(self.name, node, on_change, on_answer, wild=False)

    def _follow(self, endpoint: int, up: bool) -> None:
        """Avoid a node that is not connected: it may have left for ever."""
        if up:
            self._machine.on_connected(endpoint)
        else:
            self._machine.on_disconnected(endpoint, "it is closed", self._now(), certain=True)

    def _find_closed(self) -> None:
        """Avoid the nodes that no connection has reached yet."""
        for endpoint, link in enumerate(self._links):
            if not link.up:
                self._follow(endpoint, up=False)
        self._go_on()

    def _now(self) -> float:
        return self.cluster.clocks[self.name].now().monotonic

    def _go_on(self) -> None:
        """Send what can be sent, record the requests that have ended, and set the alarm."""
        now = self._now()
        due = self._machine.next_deadline()
        if due is not None and due <= now:
            self._machine.on_deadline(now)
        for endpoint, link in enumerate(self._links):
            if link.up and self._machine.waiting[endpoint]:
                self._machine.flush(endpoint, partial(self._send, link), now)
        finished, self._machine.finished = self._machine.finished, []
        for request in finished:
            self._note(request)
        due = self._machine.next_deadline()
        if due is not None:
            self._wake(self.cluster.world.now + max(0.0, due - now) + 0.001)

    def _send(self, link: Link, frame: bytes) -> bool:
        arrive = partial(self.cluster.arrive, Peer(link.to, COORDINATOR), self._caller, link)
        link.send(frame, arrive)
        return True

    def _wake(self, at: float) -> None:
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self.cluster.world.at(at, partial(self._awake, at))

    def _awake(self, at: float) -> None:
        if self._wake_at == at:
            self._wake_at = None
            self._go_on()

    # --- the history --------------------------------------------------------------------

    def _note(self, request: Request[Any]) -> None:
        ask, invoke_s = self._asked
        bucket = self.cluster.coordinator_settings.buckets[ask.bucket]
        row = Row(
            process=self.name,
            operation=ask.operation,
            key=f"{ask.bucket}/{ask.key}",
            value=ask.value,
            invoke_s=invoke_s,
            return_s=self.cluster.world.now,
            outcome=OK,
            n=bucket.n,
            quorum=ask.quorum or (bucket.r if ask.operation == GET else bucket.w),
            timeout_s=ask.timeout_s,
        )
        outcome: Any = request.outcome
        if isinstance(outcome, ToystoreError):
            definite = outcome.definite or ask.operation == GET
            row = row._replace(
                outcome=FAIL if definite else UNKNOWN,
                error=f"{type(outcome).__name__}: {outcome}",
                stamp=(getattr(request, "stamp", None) or b"").hex(),
            )
        elif isinstance(request, WriteRequest):
            row = self._written(row, ask, outcome)
        elif isinstance(request, _Get):
            row = self._read(row, ask, request.told)
        self.cluster.world.note(self.name, f"{row.operation} {row.key} {row.value} {row.outcome}")
        self._rows.append(row)
        self.cluster.answered(row)
        self.busy = False
        self._then(row)

    def _written(self, row: Row, ask: Ask, written: Written) -> Row:
        self._contexts[ask.bucket, ask.key] = written.context
        return row._replace(
            stamp=written.stamp.hex(), owners=written.owners, fallbacks=written.fallbacks
        )

    def _read(self, row: Row, ask: Ask, told: GetReply) -> Row:
        if told.context:
            self._contexts[ask.bucket, ask.key] = told.context
        return row._replace(
            value=told.values[0].decode() if told.values else None,
            stamp=unpack_context(told.context).hex() if told.context else "",
            owners=told.owners,
            fallbacks=told.fallbacks,
        )


class _Get(GetRequest):
    """A get that stores its reply, even if nothing was found."""

    __slots__ = ("told",)
    told: GetReply

    def answer(self, reply: GetReply, clock: Clock, /) -> Found | None:
        self.told = reply
        return super().answer(reply, clock)


class _Clock:
    """A client's hybrid logical clock on a simulated wall clock."""

    def __init__(self, wall: SimClock, chance: random.Random) -> None:
        self._wall = wall
        self.minter = chance.randbytes(8)
        self._clock = HybridLogicalClock(self.minter)

    def mint(self) -> bytes:
        """A stamp above all stamps that were minted or merged."""
        return self._clock.mint(self._wall.now().wall_us)

    def merge(self, stamp: bytes) -> None:
        """Mint only stamps above ``stamp`` from now on."""
        self._clock.merge(stamp)


FASHION = 0.5
"""Which fraction of a load is for one popular key at a time."""
FASHION_S = 0.4
"""How long one key is popular."""
OPERATIONS = 20
"""Among how many operations, in the shares of the scenario, a client chooses."""


def operations(deletes: float) -> tuple[str, ...]:
    """What a client chooses from; ``deletes``: which fraction of it deletes a key."""
    others = round((1 - deletes) * OPERATIONS / 2)
    return (PUT,) * others + (GET,) * others + (DELETE,) * (OPERATIONS - 2 * others)


class Load:
    """The requests of a scenario's clients, until its duration is over."""

    def __init__(self, cluster: SimCluster, rows: list[Row]) -> None:
        self._cluster = cluster
        self._ends = cluster.world.now + cluster.scenario.duration_s
        self._puts = 0
        self._operations = operations(cluster.scenario.deletes)
        self.clients = [SimClient(cluster, name, rows) for name in cluster.scenario.client_names]
        for client in self.clients:
            chance = cluster.world.chance(f"load of {client.name}")
            self._pause(client, chance)

    @property
    def over(self) -> bool:
        """Whether the time is over and every operation has ended."""
        ended = self._cluster.world.now >= self._ends
        return ended and not any(client.busy for client in self.clients)

    def _pause(self, client: SimClient, chance: random.Random) -> None:
        world, scenario = self._cluster.world, self._cluster.scenario
        at = world.now + chance.expovariate(1 / scenario.think_s)
        if scenario.beat_s:
            at = math.ceil(at / scenario.beat_s) * scenario.beat_s
        world.at(at, partial(self._next, client, chance))

    def _next(self, client: SimClient, chance: random.Random) -> None:
        if self._cluster.world.now >= self._ends:
            return
        number = self._key(chance)
        bucket = "single" if number % 4 == 3 else "default"
        operation = chance.choice(self._operations)
        n = self._cluster.coordinator_settings.buckets[bucket].n
        ask = Ask(
            operation=operation,
            bucket=bucket,
            key=f"k{number - (bucket == 'single')}",
            value=self._value() if operation == PUT else None,
            quorum=chance.randint(1, n)
            if chance.random() < self._cluster.scenario.own_quorums
            else None,
            timeout_s=chance.choice((0.3, 1.0, 2.0)),
            with_context=chance.random() < 0.5,
        )
        client.ask(ask, lambda _: self._pause(client, chance))

    def _key(self, chance: random.Random) -> int:
        """Any key, or the popular key of this time."""
        keys = self._cluster.scenario.keys
        if chance.random() < FASHION:
            return int(self._cluster.world.now / FASHION_S) % keys
        return chance.randrange(keys)

    def _value(self) -> str:
        """A value that no other put has."""
        self._puts += 1
        return f"v{self._puts}".ljust(self._cluster.scenario.value_bytes, ".")
