"""Whole clusters of real nodes, for tests that are written without ``await``.

A `Cluster` is `LocalCluster`, the one that run_cluster.py runs, behind blocking calls, on
ports of its own and with short probe periods.  Its nodes are killed, paused and started by
name, and whatever a test waits for it waits for by asking the nodes' status.  When the
block ends no process is left, whatever ended it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from toystore import Client
from toystore.config import load
from toystore.localcluster.cluster import LocalCluster, Node, State
from toystore.localcluster.ports import reserve_ports

from .network import Network

PATIENCE_S = 60.0
"""Nothing takes this long; a machine that is busy with other things may make it seem so."""
POLL_S = 0.05
UNHURRIED = {"probe_period_s": 1.5, "probe_timeout_s": 0.7}
"""SWIM's settings where nobody must be called dead: a busy machine is slow to answer too."""
LAUNCHER = Path(__file__).with_name("faulty_node.py")


class Cluster:
    """Some nodes, from `start_all` or the beginning of a ``with`` block until its end."""

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
        self._guard, base_port = reserve_ports(size)
        self.config_path = folder / "cluster.yaml"
        self.config_path.write_text(
            yaml.safe_dump(
                {
                    "cluster": folder.name,
                    "base_port": base_port,
                    "partitions": partitions,
                    "members": [f"n{number}" for number in range(1, size + 1)],
                    "buckets": {"default": {"n": n, "r": min(2, n), "w": min(2, n)}},
                    "swim": {
                        "probe_period_s": 0.3,
                        "probe_timeout_s": 0.1,
                        "exchange_period_s": 1.0,
                    },
                    "handoff": {"retry_s": 0.3},
                }
                | more
            )
        )
        self.config = load(self.config_path)
        self.data = folder / "data"
        self.local = LocalCluster(
            self.config,
            self.config_path,
            self.data,
            told,
            command=(sys.executable, str(LAUNCHER)),
        )
        self.nodes = self.local.nodes
        self.names = tuple(self.nodes)
        self.network = Network(self.config, self.config_path)
        self._proxied = proxied
        self._faults: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self.data.mkdir(exist_ok=True)
        try:
            if self._proxied:
                self.network.__enter__()
                for name in self.names:
                    self.set_fault(name, config=str(self.network.config_for(name)))
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
        """A patient client of these nodes, or of all."""
        return Client(self.endpoints(*names), **{"timeout": PATIENCE_S} | PROMPT | options)

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

    def stop(self, name: str) -> None:
        """SIGTERM, and wait for the end; it must be a clean one."""
        self.local.stop(name)
        self.until(lambda: self.nodes[name].state is not State.STOPPING, f"{name} has stopped")
        assert self.nodes[name].state is State.STOPPED, self.nodes[name].why_it_ended()

    def start(self, *names: str) -> None:
        """Start nodes that were killed or stopped, and wait until they have joined."""
        self.launch(*names)
        self.until_ready()

    def launch(self, *names: str) -> None:
        """Start nodes that were killed or stopped."""

        async def start() -> None:
            await asyncio.gather(*map(self.local.restart, names))

        self._runner.run(start())

    def start_in_vain(self, name: str) -> str:
        """Start a node that must end by itself: how it did, and what it said last."""
        node = self.nodes[name]
        self.local.start(name)
        assert node.process is not None
        node.process.wait(PATIENCE_S)
        why = node.why_it_ended()
        node.state = State.KILLED
        self.local.reap()
        return why

    def set_fault(self, name: str, **faults: Any) -> None:
        """From its next start on, a node has these faults too (faulty_node.py); None ends one."""
        now = self._faults[name] | faults
        self._faults[name] = {fault: value for fault, value in now.items() if value is not None}
        (self.data / f"{name}.faults").write_text(json.dumps(self._faults[name]))

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
        """The nodes that ought to answer."""
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
            assert not self.local.died, f"{self.local.died} died"
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

    def events(self, name: str, event: str) -> Iterator[dict[str, Any]]:
        """What a node has logged of one kind, oldest first."""
        with (self.data / name / "log.jsonl").open() as log:
            for line in log:
                if line.endswith("}\n") and (entry := json.loads(line))["event"] == event:
                    yield entry


PROMPT = {"attempt_timeout": 0.5}
"""A client has the whole of its patience, but soon asks another node."""
