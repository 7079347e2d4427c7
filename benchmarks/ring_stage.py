"""Nodes under load whose ring a benchmark changes, and what their disks say."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from checked_load import CheckedLoad
from filled import Row, runs, until
from owners import ask_owners

from tests.harness.disks import newest_ring, records_of, strays, unequal
from toystore.core.ring.view import RingView
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.node import HAS_PROCESS
from toystore.localcluster.ring_changes import RingChanges

Held = dict[str, dict[bytes, bytes]]
Change = list[Any]
"""As operators give it: ``["join", "n6"]``."""


class RingStage:
    """The nodes, the load, and the next change."""

    def __init__(self, cluster: LocalCluster, load: CheckedLoad, options: argparse.Namespace):
        self.cluster = cluster
        self.load = load
        self.options = options
        self.changes = RingChanges(cluster, lambda _: None)

    def change(self, kind: str) -> Change:
        """The next change of this kind, with a new node if it needs one."""
        match kind:
            case "join":
                return ["join", self._newcomer()]
            case "replace":
                return ["replace", self._member(), self._newcomer()]
            case _:
                return [kind, self._member()]

    def _newcomer(self) -> str:
        name = f"n{len(self.cluster.nodes) + 1}"
        self.cluster.add(name)
        return name

    def _member(self) -> str:
        """The first node that runs, but not the one that operators ask."""
        return self.running()[1]

    async def kill(self, name: str) -> None:
        """Kill a node, and wait for its end."""
        self.cluster.kill(name)
        await until(lambda: not runs(self.cluster, name), f"{name} has ended")

    async def lose(self, name: str) -> None:
        """Kill a node for good, and wait for some time."""
        await self.kill(name)
        await asyncio.sleep(self.options.away_s)

    async def until_in_place(self) -> None:
        """Wait until no node holds a record that it does not own."""
        await until(lambda: not strays(self.ring(), self.held()), "everything is in its place", 1)

    async def read_back(self) -> Row:
        """Read every key through a node, then ask each of its owners by itself (owners.py)."""
        bad = await self.load.read_all()
        written = await self.load.written()
        asked = await asyncio.to_thread(ask_owners, self.cluster, self.ring(), written)
        return {
            "read_back_bad": len(bad),
            "owners_asked": asked.questions,
            "owners_unread": len(asked.unread),
            **({"for_example": asked.unread[:3]} if asked.unread else {}),
        }

    async def until_equal(self) -> None:
        """Wait until each owner holds the same bytes: what a dead coordinator left, is repaired."""
        await until(lambda: not unequal(self.ring(), self.held()), "all replicas are equal", 1)

    async def start_load(self) -> None:
        """Start the load, at the nodes that are members now."""
        status = await self.cluster.command("status", {}, timeout_s=20.0)
        names = {row["name"] for row in status["members"]}.intersection(self.running())
        await self.load.use([self.cluster.nodes[name].endpoint for name in sorted(names)])
        await self.load.start()

    def running(self) -> list[str]:
        """The nodes that have a process."""
        self.cluster.reap()
        return [name for name, node in self.cluster.nodes.items() if node.state in HAS_PROCESS]

    def ring(self) -> RingView:
        """The ring by the newest record on any disk."""
        folders = [self.cluster.nodes[name].folder for name in self.running()]
        return newest_ring(self.cluster.config, folders)

    def held(self) -> Held:
        """The records of each node that runs."""
        return {name: records_of(self.cluster.nodes[name].folder) for name in self.running()}


def gained(before: RingView, after: RingView, held: Held) -> list[bytes]:
    """The records that nodes hold now in ranges that they did not own before."""
    return [
        record
        for node, records in held.items()
        for digest, record in records.items()
        if node not in before.owners(before.partition_of(digest), digest[0])
        and node in after.owners(after.partition_of(digest), digest[0])
    ]
