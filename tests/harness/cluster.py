"""Whole clusters of real nodes, for tests that are written without ``await``.

A `Cluster` is `LocalCluster`, the one that run_cluster.py runs, behind blocking calls, on
ports of its own and with short probe periods.  Its nodes are killed, paused and started by
name, and whatever a test waits for it waits for by asking the nodes' status.  When the
block ends no process is left, whatever ended it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from toystore import Client
from toystore.config import load
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.node import Node, State
from toystore.localcluster.ring_changes import RingChanges, wipe

from . import template
from .configs import QUICK, write_config
from .logs import logged
from .network import CLEAR, Network
from .waiting import PATIENCE_S

POLL_S = 0.05
"""Less often than in `wait_until`: each time every node is asked."""
LAUNCHER = Path(__file__).with_name("faulty_node.py")


class Cluster:
    """Some nodes, from the beginning of a ``with`` block until its end."""

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        n: int = 3,
        partitions: int = 64,
        proxied: bool = False,
        told: Callable[[str], None] = lambda line: None,
        **more: Any,
    ) -> None:
        """``more`` goes into the YAML file as it is.  Nothing runs yet.

        ``proxied``: what nodes say to each other goes through ``self.network``.
        """
        usual = {
            "partitions": partitions,
            "buckets": {"default": {"n": n, "r": min(2, n), "w": min(2, n)}},
            "swim": QUICK | {"exchange_period_s": 1.0},
            "handoff": {"retry_s": 0.3},
        }
        self._guard, self.config_path = write_config(folder, size, **usual | more)
        self.config = load(self.config_path)
        self.data = folder / "data"
        self.local = LocalCluster(
            self.config,
            self.config_path,
            self.data,
            told,
            command=(sys.executable, str(LAUNCHER)),
            spawn=template.spawn if sys.platform == "linux" else subprocess.Popen,
        )
        self.nodes = self.local.nodes
        self.names = tuple(self.nodes)
        """The members of the file."""
        self._changes = RingChanges(self.local, told)
        self.network = Network(self.config, self.config_path)
        self._proxied = proxied
        self._faults: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self.data.mkdir(exist_ok=True)
        try:
            if self._proxied:
                self.network.__enter__()
                self.local.config_paths = self.network.write_configs(self.data / "links")
            self._runner.run(self.local.__aenter__())
            self.until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.local.__aexit__())
        self._runner.close()
        self._guard.close()
        if self._proxied:
            self.network.__exit__()

    # --- clients ------------------------------------------------------------------------

    def endpoints(self, *names: str) -> list[str]:
        """The client ports of these nodes, or of all."""
        return [self.nodes[name].endpoint for name in names or self.names]

    def client(self, *names: str, **options: Any) -> Client:
        """A client of these nodes only, or of all; patient, but it soon asks another node."""
        usual = {"timeout": PATIENCE_S, "attempt_timeout": 0.5, "learn_members": False}
        return Client(self.endpoints(*names), **usual | options)

    # --- what is done to nodes ----------------------------------------------------------

    def kill(self, *names: str) -> None:
        """Kill -9, one right after the other."""
        for name in names:
            self.local.kill(name)

    def pause(self, *names: str) -> None:
        """SIGSTOP."""
        for name in names:
            self.local.pause(name)

    def resume(self, *names: str) -> None:
        """SIGCONT."""
        for name in names:
            self.local.resume(name)

    def stop(self, *names: str) -> None:
        """SIGTERM, and wait for the end; it must be a clean one."""
        processes = {name: self._process(name) for name in names}
        for name in names:
            self.local.stop(name)
        for name, process in processes.items():
            assert process.wait(PATIENCE_S) == 0, self.nodes[name].why_it_ended()
        self.local.reap()

    def start(self, *names: str) -> None:
        """Start nodes that were killed or stopped, and wait until they have joined."""
        self.launch(*names)
        self.until_ready()

    def mend(self) -> None:
        """Have every node run again and nothing left to deliver, whatever was done before."""
        if self._proxied:
            self.network.everywhere(CLEAR)
        self.resume(*self.names)
        running = {node.name for node in self.running()}
        self.start(*(name for name in self.names if name not in running))
        self.until_drained()

    def launch(self, *names: str) -> None:
        """Start nodes that were killed or stopped."""

        async def start() -> None:
            await asyncio.gather(*map(self.local.restart, names))

        self._runner.run(start())

    def start_in_vain(self, name: str) -> str:
        """Start a node that must end by itself: how it did, and what it said last."""
        node = self.nodes[name]
        self.local.start(name)
        self._process(name).wait(PATIENCE_S)
        why = node.why_it_ended()
        node.state = State.KILLED
        self.local.reap()
        return why

    def set_fault(self, name: str, **faults: Any) -> None:
        """From its next start on, a node has these faults too (faulty_node.py); None ends one."""
        now = self._faults[name] | faults
        self._faults[name] = {fault: value for fault, value in now.items() if value is not None}
        (self.data / f"{name}.faults").write_text(json.dumps(self._faults[name]))

    # --- changes of the ring ------------------------------------------------------------

    def add(self, *names: str, **place: Any) -> None:
        """Nodes that are not in the file: they are started when they join; see `change`."""
        for name in names:
            self.local.add(name, **place)

    def change(self, *changes: str, wait: bool = True) -> None:
        """Plan and commit changes ("join n4", ...), and wait until nothing moves any more."""
        rows = [change.split() for change in changes]
        self._runner.run(self._changes.change(*rows, wait=wait))

    def wipe(self, name: str) -> None:
        """Kill a node, delete what it has stored, start it again, and wait until it has joined."""
        self._runner.run(wipe(self.local, name))
        self.until_ready()

    def until_stable(self) -> dict[str, Any]:
        """Wait until nothing moves any more; the status of the ring."""
        return self._runner.run(self._changes.until_stable())

    def command(self, command: str, **arguments: Any) -> dict[str, Any]:
        """A command about the members, given to the first node that runs."""
        given = self.local.command(command, arguments, timeout_s=PATIENCE_S)
        return self._runner.run(given)

    # --- processes ----------------------------------------------------------------------

    def assert_all_run(self) -> None:
        """No node has ended that nobody here has ended."""
        self.local.reap()
        assert not self.local.died, f"{self.local.died} died"

    def pid(self, name: str) -> int:
        """Of a node that runs."""
        return self._process(name).pid

    def descriptors(self, name: str) -> int:
        """How many file descriptors a node has open."""
        return len(os.listdir(f"/proc/{self.pid(name)}/fd"))

    def resident_bytes(self, name: str) -> int:
        """What a node has in memory."""
        pages = Path(f"/proc/{self.pid(name)}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.nodes[name].process
        assert process is not None, f"{name} does not run"
        return process

    # --- what is waited for -------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Ask the nodes until ``condition`` holds."""
        end = time.monotonic() + PATIENCE_S
        self.look()
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"in {PATIENCE_S:g} s it did not come to this: {what}")
            time.sleep(POLL_S)
            self.look()

    def look(self) -> None:
        """Ask every node that runs how it sees things; note those that have ended."""
        self.local.reap()
        self._runner.run(self.local.look())

    def running(self) -> list[Node]:
        """The nodes that ought to answer: none that has ended by itself, such as one that left."""
        self.local.reap()
        return [n for n in self.nodes.values() if n.state in (State.STARTING, State.RUNNING)]

    def members(self, name: str) -> dict[str, str]:
        """What a node calls each member: "alive", "dead", ...; nothing if it gave no answer."""
        members = self.nodes[name].status.get("members", ())
        return {member["name"]: member["status"] for member in members}

    def reachable(self, name: str) -> set[str]:
        """Whom a node would ask for a replica; nobody if it gave no answer."""
        members = self.nodes[name].status.get("members", ())
        return {member["name"] for member in members if member["reachable"]}

    def until_ready(self) -> None:
        """Wait until the nodes that run serve, and each would ask any other."""

        def ready() -> bool:
            self.assert_all_run()
            up = {node.name for node in self.running()}
            return all(
                node.status.get("serving") and up <= self.reachable(node.name)
                for node in self.running()
            )

        self.until(ready, "all that run see each other")

    def until_seen(self, status: str, *names: str) -> None:
        """Wait until every node that runs calls these others "dead", "left", ..."""

        def seen() -> bool:
            views = [self.members(node.name) for node in self.running()]
            return all(view.get(name) == status for view in views for name in names)

        self.until(seen, f"{', '.join(names)} seen {status}")

    def until_drained(self) -> None:
        """Wait until every owner has got what others keep for it."""
        drained = self._runner.run(self.local.settled(PATIENCE_S))
        hints = {node.name: node.status.get("hints") for node in self.running()}
        assert drained, f"hints are left after {PATIENCE_S:g} s: {hints}"

    # --- logs ---------------------------------------------------------------------------

    def events(self, name: str, *events: str, since_s: float = 0.0) -> list[dict[str, Any]]:
        """What a node has logged, oldest first: these events, or all; since a time, or ever."""
        entries = logged(self.nodes[name].folder / "log.jsonl", *events)
        since = datetime.fromtimestamp(since_s, UTC)
        return [entry for entry in entries if datetime.fromisoformat(entry["timestamp"]) >= since]
