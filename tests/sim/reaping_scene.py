"""A calm simulated cluster in which tombstones are removed, driven step by step.

There is a client for each node, which reaches that node only: so a test chooses the coordinator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from toystore.check import promises
from toystore.check.history import DELETE, GET, PUT, Row
from toystore.core.data.record import digest_of
from toystore.core.protocol.address import ANTIENTROPY, COORDINATOR, STORAGE, Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.storage.layout import RECORD
from toystore.sim import audit
from toystore.sim.client import Ask, SimClient
from toystore.sim.cluster import SimCluster
from toystore.sim.node import SimNode
from toystore.sim.scenario import CALM, Comparing
from toystore.sim.swarm import draw

N = 3
KEYS = 8
"""How many keys are used, all of partition 0."""
REAP_AFTER_S = 10.0
REAPED_S = REAP_AFTER_S + 4.0
"""After this time tombstones are removed, if nothing holds that up."""


class Scene:
    """The cluster, and what its clients have asked."""

    def __init__(self, nodes: int = N, *, hint_bytes_max: int = 2**20, young_s: float = 0.5):
        """``hint_bytes_max``, ``young_s``: see the settings."""
        scenario = replace(
            draw(1),
            nodes=nodes,
            n=N,
            r=2,
            w=2,
            seeds=1,
            clients=nodes,
            partitions=8,
            durability="sync",
            probe_period_s=0.3,
            exchange_periods=3,
            requests_max=1024,
            frame_bytes_max=2**20,
            hint_bytes_max=hint_bytes_max,
            comparing=Comparing(reap_after_s=REAP_AFTER_S, young_s=young_s),
            rates=CALM,
            faults=(),
        )
        self.cluster = cluster = SimCluster(scenario)
        self.rows: list[Row] = []
        for client, own in zip(scenario.client_names, scenario.names, strict=True):
            for name in scenario.names:
                if name != own:
                    self.split(client, name)
        cluster.start()
        self.clients = [SimClient(cluster, name, self.rows) for name in scenario.client_names]
        self.order = cluster.ring.order(0)
        """The nodes in the order of the partition of all keys: the first owner first."""
        names = (f"k{at}" for at in itertools.count())
        here = (name for name in names if not cluster.ring.partition_of(_digest(name)))
        self._keys = list(itertools.islice(here, KEYS))
        self.run(5.0)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.cluster.world.run(seconds)

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until something is true."""
        assert self.cluster.world.run_until(condition, 60.0)

    def node(self, name: str) -> SimNode:
        """A node."""
        return self.cluster.node(name)

    def split(self, one: str, other: str) -> None:
        """No frame passes between two hosts."""
        self.cluster.network.split(one, other)
        self.cluster.network.split(other, one)

    def heal(self, one: str, other: str) -> None:
        """Frames pass again."""
        self.cluster.network.heal(one, other)
        self.cluster.network.heal(other, one)

    # --- requests -----------------------------------------------------------------------

    def put_all(self, at: str) -> None:
        """Put a value to each key, at this node."""
        self._ask_all(at, PUT, "v")

    def delete_all(self, at: str) -> None:
        """Delete each key, at this node."""
        self._ask_all(at, DELETE)

    def _ask_all(self, at: str, operation: str, value: str | None = None) -> None:
        client = next(one for one in self.clients if one.name[1:] == at[1:])
        for key in self._keys:
            client.ask(Ask(operation, "default", key, value), lambda _: None)
            self.run_until(lambda: not client.busy)

    def records(self, name: str) -> dict[bytes, bytes]:
        """What a node has of the keys, by digest."""
        stored = self.node(name).disk.get
        found = ((digest, stored(RECORD + digest)) for digest in map(_digest, self._keys))
        return {digest: record for digest, record in found if record is not None}

    def arrives(self, name: str, message: Message) -> None:
        """A late frame arrives at a storage."""
        sender = COORDINATOR if isinstance(message, WriteReplica) else ANTIENTROPY
        self.node(name).actors[STORAGE].tell(message, Peer(self.order[0], sender))
        self.run(0.1)

    # --- checks -------------------------------------------------------------------------

    def broken(self) -> set[str]:
        """The promises that are broken, once all is well again and all keys were read."""
        cluster = self.cluster
        if not cluster.violations:
            self.run_until(lambda: audit.is_well(cluster))
            healed_s = cluster.world.now
            self._ask_all(self.order[0], GET)
            rows = list(cluster.floors.complete(self.rows))
            found = promises.nothing_lost(rows, healed_s, cluster.losses, equal=True)
            cluster.violations += found + promises.quorums_overlap(rows, cluster.losses)
        return {violation.promise for violation in cluster.violations}


def _digest(key: str) -> bytes:
    return digest_of("default", key.encode(), N)
