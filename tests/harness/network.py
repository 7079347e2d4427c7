"""A bad network between nodes, on loopback: every byte from node to node goes through here.

Each node is given a configuration of its own in which the others live at addresses of a
proxy: from node i to node j it is 127.77.i.j, with j's ports.  (Addresses decide nothing
about who belongs to a cluster.)  The proxy is one process that connects on to the real j.
A *way* leads from one node to another; on it travel the bytes of both ends' connections
that go in this direction, so that ways of one pair can differ:

    latency_s, jitter_s   a chunk arrives so much later, the jitter drawn for each
    bytes_per_s           and no faster than this; 0: as fast as it goes
    loss                  the chance that a chunk is lost, which on TCP cuts the connection
    hole                  nothing arrives; what is sent is held, and arrives when it is over
    cut                   connections are reset, and new ones too

A hole is a split that TCP does not notice: the proxy's kernel goes on acknowledging, and
what was sent is very late rather than lost.  A cut is one that it notices at once.

    Network   the test's side: makes the configurations, runs the process, changes ways
    Proxy     the process; reads changes as JSON lines and answers each with a line
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from toystore.config import PORTS, ClusterConfig, load
from toystore.localcluster.node import ROOT

HELD_BYTES_MAX = 1024 * 1024
"""So much is held for one connection; then its sender finds its socket full."""


@dataclass(frozen=True)
class Weather:
    """What a way is like; see the module's docstring."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    loss: float = 0.0
    hole: bool = False
    cut: bool = False


FAIR = Weather()
HOLE = Weather(hole=True)
CUT = Weather(cut=True)


class Network:
    """The ways between the nodes of one cluster, from ``with`` to its end."""

    def __init__(self, config: ClusterConfig, config_path: Path) -> None:
        self.names = tuple(member.name for member in config.members)
        self._config_path = config_path
        self._raw = yaml.safe_load(config_path.read_text())
        self._members = [member.model_dump() for member in config.members]
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.network", str(self._config_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._await_answer()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def config_for(self, name: str) -> Path:
        """Write the configuration of one node, which meets the others here."""
        seen = [
            member
            if member["name"] == name
            else member | {"host": way_to(self.names, name, member)}
            for member in self._members
        ]
        path = self._config_path.with_name(f"{name}.yaml")
        path.write_text(yaml.safe_dump(self._raw | {"members": seen}))
        return path

    def change(self, weather: Weather, ways: Iterable[tuple[str, str]]) -> None:
        """From now on these ways are like this; returns when they are."""
        line = json.dumps({"weather": asdict(weather), "ways": list(ways)})
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._await_answer()

    def everywhere(self, weather: Weather) -> None:
        """The same weather on every way; `FAIR` heals whatever there was."""
        self.change(weather, [(a, b) for a in self.names for b in self.names if a != b])

    def split(self, weather: Weather, side: Iterable[str]) -> None:
        """A two-sided split, by `HOLE` or `CUT`, of some nodes from all others."""
        here = set(side)
        ways = [(a, b) for a in self.names for b in self.names if (a in here) != (b in here)]
        self.change(weather, ways)

    def _await_answer(self) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"the proxy has ended: exit {self._process.wait()}")


def way_to(names: tuple[str, ...], name: str, member: dict[str, Any]) -> str:
    """The address at which ``name`` finds ``member``."""
    return f"127.77.{names.index(name) + 1}.{names.index(member['name']) + 1}"


# --- the process ------------------------------------------------------------------------


@dataclass
class Way:
    """From one node to another."""

    weather: Weather = FAIR
    ends: set[End] = field(default_factory=set)
    busy_until: float = 0.0

    def change(self, weather: Weather) -> None:
        """Let out what was held, or cut what is there."""
        self.weather = weather
        for end in list(self.ends):
            if weather.cut:
                end.cut()
            else:
                end.let_out()

    def arrival(self, size: int, now: float) -> float:
        """When a chunk that is sent now arrives."""
        weather, begins = self.weather, now
        if weather.bytes_per_s:
            begins = max(now, self.busy_until)
            self.busy_until = begins = begins + size / weather.bytes_per_s
        return begins + weather.latency_s + random.uniform(0, weather.jitter_s)


class End(asyncio.Protocol):
    """One end of a connection: what it receives leaves by the other, as its way allows."""

    transport: asyncio.Transport
    other: End

    def __init__(self, way: Way) -> None:
        self._way = way
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._throttled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It counts as there once both ends are."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def join(self, other: End) -> None:
        """From now on what is received here leaves by ``other``."""
        self.other = other
        self._way.ends.add(self)

    def data_received(self, data: bytes) -> None:
        """Hold it until it has arrived."""
        weather = self._way.weather
        if weather.loss and random.random() < weather.loss:
            self.cut()
        else:
            self._hold(data)

    def connection_lost(self, _: Exception | None) -> None:
        """That it has ended arrives after all that was sent, and in a hole not at all."""
        if hasattr(self, "other"):
            self._hold(b"")

    def pause_writing(self) -> None:
        """The receiver does not keep up: neither shall the sender."""
        self.other.throttle()

    def resume_writing(self) -> None:
        """There is room again."""
        self.other.throttle()

    def cut(self) -> None:
        """Reset both ends."""
        for end in (self, self.other):
            end._way.ends.discard(end)
            end._held.clear()
            end.transport.abort()

    def let_out(self) -> None:
        """Send on what has arrived, and wake up for the next."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._held and not self._way.weather.hole:
            due, data = self._held[0]
            if due > now:
                self._timer = self._timer or asyncio.get_running_loop().call_at(due, self.let_out)
                break
            self._held.popleft()
            self._held_bytes -= len(data)
            if not data:
                self._way.ends.discard(self)
                self.other.transport.close()
            elif not self.other.transport.is_closing():
                self.other.transport.write(data)
        self.throttle()

    def throttle(self) -> None:
        """Read on only while there is room for it."""
        full = self._held_bytes + self.other.transport.get_write_buffer_size() > HELD_BYTES_MAX
        if full != self._throttled and not self.transport.is_closing():
            self._throttled = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _hold(self, data: bytes) -> None:
        due = self._way.arrival(len(data), asyncio.get_running_loop().time())
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, data))
        self._held_bytes += len(data)
        if self._timer is None:
            self.let_out()


class Proxy:
    """Every way, and a listener for each port of each member on every way to it."""

    def __init__(self, config: ClusterConfig) -> None:
        self._members = {member.name: member for member in config.members}
        self._ways = {(a, b): Way() for a in self._members for b in self._members if a != b}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Listen, say so, and change ways as told, until standard input ends."""
        loop = asyncio.get_running_loop()
        names = tuple(self._members)
        for a, b in self._ways:
            member = self._members[b].model_dump()
            for port in PORTS:
                at = (a, b, member["host"], member[port])
                await loop.create_server(
                    lambda at=at: self._accept(*at), way_to(names, a, member), member[port]
                )
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        print("ready", flush=True)
        async for line in lines:
            told = json.loads(line)
            weather = Weather(**told["weather"])
            for a, b in told["ways"]:
                self._ways[a, b].change(weather)
            print("done", flush=True)

    def _accept(self, a: str, b: str, host: str, port: int) -> End:
        end = _Accepted(self._ways[a, b], lambda: self._connect(end, a, b, host, port))
        return end

    def _connect(self, end: End, a: str, b: str, host: str, port: int) -> None:
        task = asyncio.get_running_loop().create_task(self._dial(end, a, b, host, port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, end: End, a: str, b: str, host: str, port: int) -> None:
        """Connect on, unless the ways are cut."""
        there, back = self._ways[a, b], self._ways[b, a]
        if there.weather.cut or back.weather.cut:
            end.transport.abort()
            return
        try:
            _, far = await asyncio.get_running_loop().create_connection(
                lambda: End(back), host, port
            )
        except OSError:
            end.transport.abort()
            return
        end.join(far)
        far.join(end)
        if end.transport.is_closing() or there.weather.cut or back.weather.cut:
            end.cut()
        else:
            end.transport.resume_reading()


class _Accepted(End):
    """The end that came first: it waits until the other is there."""

    def __init__(self, way: Way, connect: Any) -> None:
        super().__init__(way)
        self._connect = connect

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing yet."""
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connect()


if __name__ == "__main__":
    asyncio.run(Proxy(load(sys.argv[1])).serve())
