"""The node processes of a local cluster, and how they see each other.

`watch` detects processes that end, and asks every node for its status over its client port.
It calls ``tell`` with a line for each change.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

from toystore.client import AsyncClient, ToystoreError
from toystore.config import ClusterConfig
from toystore.config.short_forms import PORTS_APART
from toystore.localcluster.added import remember, remembered
from toystore.localcluster.node import HAS_PROCESS, NO_MEMBER, Node, Spawn, State
from toystore.localcluster.preflight import StartError

COMMAND = (sys.executable, "-m", "actors")
READY_S_MAX = 60.0
STOP_S_MAX = 10.0
"""How long a node may take to stop before it is killed."""
EXIT_CHECK_S = 0.05
STATUS_S = 1.0
"""The time between two requests for a node's status."""
STATUS_STARTING_S = 0.1
STATUS_PATIENCE_S = 1.0
"""How long a status is waited for."""

Tell = Callable[[str], None]


class Log(Protocol):
    """Writes an event of `toystore.core.protocol.events` to the runner's own log."""

    def __call__(self, event: str, /, **fields: Any) -> None:
        """Log it now."""


def no_log(event: str, /, **fields: Any) -> None:
    """A log that discards its events."""


class LocalCluster:
    """Every member as a process; ``async with`` starts them all and stops what is left."""

    def __init__(
        self,
        config: ClusterConfig,
        config_path: Path,
        folder: Path,
        tell: Tell,
        *,
        command: Sequence[str] = COMMAND,
        spawn: Spawn = subprocess.Popen,
        log: Log = no_log,
    ) -> None:
        """``tell`` is called with a line for each event, ``log`` before each signal is sent.

        ``spawn``: starts the process of a node, as `subprocess.Popen` does.
        """
        self.config = config
        self.log = log
        self.config_paths = dict.fromkeys(
            (member.name for member in config.members), config_path.resolve()
        )
        """The configuration that each node is started with."""
        self.folder = folder.resolve()
        self.nodes = {
            member.name: Node(member, self.folder / member.name) for member in config.members
        }
        """The members of the file, and the nodes that were added, in this run or an earlier one."""
        for member in remembered(self.folder):
            self.nodes[member.name] = Node(member, self.folder / member.name)
        self.made_at = time.time()
        """In seconds since 1970: what is logged from then on is of this run."""
        self.died: dict[str, datetime] = {}
        """For each node with an unplanned death, when it was last seen to run."""
        self._reaped = datetime.now(UTC)
        self._clients: dict[str, AsyncClient] = {}
        self._tell = tell
        self._command = command
        self._spawn = spawn
        self._seen_alive: dict[str, bool] = {}

    async def __aenter__(self) -> Self:
        for name in self.nodes:
            self.start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.close()
        await self.shut_down()

    # --- one node -----------------------------------------------------------------------

    def add(self, name: str, *, weight: int = 1, zone: str = "") -> Node:
        """A node that is not in the file; start it, and it waits to be taken into the ring.

        It has the ports after those of the last node.
        """
        if name in self.nodes:
            return self.nodes[name]
        last = list(self.nodes.values())[-1].member
        ports = {port: number + PORTS_APART for port, number in last.ports.items()}
        changes = {"name": name, "weight": weight, "zone": zone, "through": None}
        member = last.model_copy(update=changes | ports)
        self.nodes[name] = node = Node(member, self.folder / name)
        self._seen_alive[name] = False
        added = [one.member for one in self.nodes.values() if one.name not in self.config_paths]
        remember(self.folder, added)
        return node

    def start(self, name: str) -> None:
        """Start a node that has no process."""
        described = self._joining(name) if name not in self.config_paths else self._founded(name)
        common = ("--data-dir", str(self.folder), "--stop-on-eof")
        pid = self.nodes[name].start([*self._command, *described, *common], self._spawn)
        self.log("process.started", member=name, pid=pid)

    def _founded(self, name: str) -> tuple[str, ...]:
        """The arguments of a node in the file."""
        return str(self.config_paths[name]), name

    def _joining(self, name: str) -> list[str]:
        """The arguments of a node that was added: it asks another one."""
        member = self.nodes[name].member
        others = [n for n in self.nodes.values() if n.name != name and n.state in HAS_PROCESS]
        options = {
            "join": (others or [self.nodes[next(iter(self.config_paths))]])[0].endpoint,
            "name": name,
            "base-port": member.client_port,
            "host": member.host,
            "bind": member.bind,
            "weight": member.weight,
            "zone": member.zone,
        }
        return [f"--{option}={value}" for option, value in options.items()]

    def kill(self, name: str) -> None:
        """Kill -9."""
        self._signal(name, signal.SIGKILL, State.KILLED, HAS_PROCESS)

    def pause(self, name: str) -> None:
        """SIGSTOP: its links stay up, and it does not answer."""
        self._signal(name, signal.SIGSTOP, State.PAUSED, (State.STARTING, State.RUNNING))

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._signal(name, signal.SIGCONT, State.RUNNING, (State.PAUSED,))

    def stop(self, name: str) -> None:
        """SIGTERM: it announces that it leaves, and ends by itself."""
        self._signal(name, signal.SIGTERM, State.STOPPING, HAS_PROCESS)
        self.nodes[name].signal(signal.SIGCONT)  # a paused process receives no SIGTERM

    async def restart(self, name: str) -> None:
        """Start a node again; one that runs is stopped first."""
        if self.nodes[name].state in HAS_PROCESS:
            self.stop(name)
        await self.ended(name)
        self.start(name)

    async def ended(self, name: str) -> None:
        """Wait until the process of a node that was stopped or killed has ended."""
        await self._ended([self.nodes[name]])

    async def command(
        self, command: str, arguments: dict[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        """A command about the members, as an operator gives it to the first node that runs.

        If none is known to run, a newcomer may run by now.  Raises `ToystoreError`.
        """
        self.reap()
        every = list(self.nodes.values())
        running = [node for node in every if node.state is State.RUNNING]
        starting = [node for node in every if node.state is State.STARTING]
        endpoint = (running or starting or every)[0].endpoint
        async with AsyncClient([endpoint], timeout=timeout_s, learn_members=False) as client:
            return await client.cluster(command, arguments)

    def _signal(
        self, name: str, number: signal.Signals, becomes: State, if_in: Collection[State]
    ) -> None:
        """Send a signal to a node, if it is in one of these states."""
        node = self.nodes[name]
        if node.state in if_in:
            node.state, node.status = becomes, {}
            self._log_signal(node, number)
            node.signal(number)

    def _log_signal(self, node: Node, number: signal.Signals) -> None:
        """Log a signal before it is sent, so that no node logs its effect earlier."""
        if node.process is not None and node.process.poll() is None:
            pid = node.process.pid
            self.log("process.signalled", member=node.name, pid=pid, signal=number.name)

    def _log_end(self, node: Node) -> None:
        """Log the planned end of a process."""
        pid, code, number = node.ending()
        self.log("process.ended", member=node.name, pid=pid, exit_code=code, signal=number)

    def _note_death(self, node: Node) -> None:
        """Record and report the unplanned end of a process."""
        node.state = State.DIED
        pid, code, number = node.ending()
        self.log(
            "process.died",
            member=node.name,
            pid=pid,
            exit_code=code,
            signal=number,
            last_words=node.last_words(),
        )

    # --- all of them --------------------------------------------------------------------

    async def ready(self) -> float:
        """Wait until every node sees every other alive; the seconds that it took.

        Raises `StartError` if a node ends first, or if it takes too long.
        """
        began = time.monotonic()
        waits = [asyncio.create_task(self._one_ready(node)) for node in self.nodes.values()]
        try:
            async with asyncio.timeout(READY_S_MAX):
                await asyncio.gather(*waits)
        except TimeoutError:
            raise StartError(self._what_is_missing()) from None
        finally:
            for wait in waits:
                wait.cancel()
        return time.monotonic() - began

    async def _one_ready(self, node: Node) -> None:
        """Wait until one node sees every other alive."""
        started = {one.name for one in self.nodes.values() if one.state in HAS_PROCESS}
        while not started.issubset(node.sees_alive) or not node.status.get("joined"):
            await asyncio.sleep(STATUS_STARTING_S)
            if node.process is not None and node.process.poll() is not None:
                if node.process.returncode == NO_MEMBER:
                    self.reap()
                    return
                why = node.why_it_ended()
                self._note_death(node)
                node.release()
                raise StartError(f"{node.name} could not start ({why})")
            await self._ask(node)
        node.state = State.RUNNING

    def _what_is_missing(self) -> str:
        lines = [f"not ready after {READY_S_MAX:.0f} s:"]
        for node in self.nodes.values():
            missing = [name for name in self.nodes if name not in node.sees_alive]
            if not node.status:
                lines.append(f"  {node.name} does not answer at {node.endpoint}")
            elif missing:
                lines.append(f"  {node.name} does not see {', '.join(missing)} alive")
        return "\n".join(lines)

    async def deserted(self) -> None:
        """Wait until no node is left."""
        while any(node.state in HAS_PROCESS for node in self.nodes.values()):
            await asyncio.sleep(EXIT_CHECK_S)

    async def watch(self) -> None:
        """Watch the processes and the views of the nodes, until cancelled."""
        await asyncio.gather(self._watch_processes(), self._watch_views())

    async def _watch_processes(self) -> None:
        while True:
            self.reap()
            await asyncio.sleep(EXIT_CHECK_S)

    def reap(self) -> None:
        """Note every process that has ended."""
        looked = datetime.now(UTC)
        for node in self.nodes.values():
            if node.process is None or node.process.poll() is None:
                continue
            # If it is stopped before it handles signals, the signal itself ends it.
            clean = node.process.returncode in (0, -signal.SIGTERM)
            if node.process.returncode == NO_MEMBER:
                node.state = State.LEFT
                self._log_end(node)
                self._tell(f"{node.name} has ended: {node.last_words()}")
            elif node.state is not State.KILLED and not (node.state is State.STOPPING and clean):
                self.died[node.name] = self._reaped
                self._note_death(node)
                self._tell(f"{node.name} died ({node.why_it_ended()})")
            else:
                if node.state is State.STOPPING:
                    node.state = State.STOPPED
                self._log_end(node)
            node.status = {}
            node.release()
        self._reaped = looked

    async def _watch_views(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(STATUS_S)

    async def look(self) -> None:
        """Ask every node that runs for its status, and report changes on which all agree.

        Nothing is reported while few of them answer.
        """
        running = [n for n in self.nodes.values() if n.state in (State.STARTING, State.RUNNING)]
        await asyncio.gather(*map(self._ask, running))
        watchers = [node for node in running if node.status]
        for name in self.nodes:
            others = [node for node in watchers if node.name != name and node.lists(name)]
            votes = [name in node.sees_alive for node in others]
            agree = len(set(votes)) == 1 and 2 * len(votes) >= len(running) - 1
            if agree and self._seen_alive.get(name, True) != votes[0]:
                self._seen_alive[name] = votes[0]
                what = "alive" if votes[0] else "not alive"
                self._tell(f"{name} is seen {what} by all {len(votes)} others that run")

    async def _ask(self, node: Node) -> None:
        """Get a node's status; none if it does not answer."""
        try:
            node.status = await self._client_of(node).status(node.endpoint)
        except ToystoreError:
            node.status = {}
        if node.state is State.STARTING and node.status.get("joined"):
            node.state = State.RUNNING

    def _client_of(self, node: Node) -> AsyncClient:
        """The client that asks a node for its status."""
        if node.name not in self._clients:
            self._clients[node.name] = AsyncClient(
                [node.endpoint], timeout=STATUS_PATIENCE_S, learn_members=False
            )
        return self._clients[node.name]

    async def settled(self, timeout_s: float) -> bool:
        """Wait until no running node keeps, or may yet make, hints for another running node.

        Two looks in a row must find that: a node with a request that was not complete may have
        sent a hint to a node that had been looked at before.
        """
        looks = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while looks < 2:
                    await self.look()
                    running = [n for n in self.nodes.values() if self._may_have_hints(n)]
                    names = {node.name for node in running}
                    looks = looks + 1 if all(node.is_settled(names) for node in running) else 0
                    if not looks:
                        await asyncio.sleep(STATUS_STARTING_S)
        return looks == 2

    def _may_have_hints(self, node: Node) -> bool:
        """Whether it runs; not if it still waits to be taken into the ring."""
        waits = node.state is State.STARTING and node.name not in self.config_paths
        return node.state in HAS_PROCESS and not waits

    async def shut_down(self) -> None:
        """SIGTERM to all nodes, and SIGKILL to those that do not stop in time."""
        self.reap()
        left = [node for node in self.nodes.values() if node.state in HAS_PROCESS]
        for node in left:
            self.stop(node.name)
        await self._ended(left)

    async def _ended(self, nodes: list[Node]) -> None:
        """Wait until these processes have ended; kill those that take too long."""
        deadline = time.monotonic() + STOP_S_MAX
        while any(node.process and node.process.poll() is None for node in nodes):
            if time.monotonic() > deadline:
                for node in nodes:
                    if node.process and node.process.poll() is None:
                        self._tell(f"{node.name} did not stop in {STOP_S_MAX:.0f} s; killed")
                        node.state = State.KILLED
                        self._log_signal(node, signal.SIGKILL)
                        node.process.kill()
                        node.process.wait()
            await asyncio.sleep(EXIT_CHECK_S)
        self.reap()
