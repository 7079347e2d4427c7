"""A simulated node that waits to be a member: the loop that is before its actors start.

It announces itself to all members.  Once a ring record lists it, it stores the records, and starts
as any member.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from toystore.core.protocol.messages.client import ClusterReply
from toystore.core.ring.record import unpack_ring
from toystore.core.storage.layout import LINEAGE, ring_record_key
from toystore.core.storage.store import StoreFullError
from toystore.sim.commands import Line, Reply

if TYPE_CHECKING:
    from toystore.sim.node import SimNode

ANNOUNCES_S = 2.0
"""How often a newcomer announces itself."""
AGAIN_S = 1.0
"""How soon it tries again to store the records on a full disk."""


class Joining:
    """The announcements of one process."""

    def __init__(self, node: SimNode, disk: str) -> None:
        """``disk``: the id of its disk."""
        self._node = node
        self._disk = disk
        self._ended = self._stores = False
        cluster = node.cluster
        link = partial(cluster.network.link, node.name)
        self._lines = [
            Line(node.world, cluster.arrive, link, name)
            for name in cluster.rings.newest.all
            if name != node.name
        ]
        self._announce()

    def end(self) -> None:
        """The process ends."""
        if not self._ended:
            self._ended = True
            for line in self._lines:
                self._node.network.close(line.link)

    def _announce(self) -> None:
        if self._ended:
            return
        for line in self._lines:
            if line.up:
                line.ask("join", self._described(), self._on_reply)
        self._node.world.after(ANNOUNCES_S, self._announce)

    def _described(self) -> dict[str, object]:
        name = self._node.name
        placed = {"name": name, "disk": self._disk, "host": name, "weight": 1, "zone": ""}
        return {**placed, "ports": (), "after": 0}

    def _on_reply(self, reply: Reply) -> None:
        if self._ended or not isinstance(reply, ClusterReply):
            return
        state, records = reply.result["state"], tuple(reply.result["records"])
        self._node.world.note(self._node.name, f"asks to join: {state}")
        if state == "member" and not self._stores:
            self._stores = True
            self._start(records)

    def _start(self, records: tuple[bytes, ...]) -> None:
        """Store the records, and start."""
        if self._ended:
            return
        try:
            with self._node.disk.with_map_space():
                self._store(records)
        except StoreFullError:
            self._node.disk.abort()
            self._node.world.after(AGAIN_S, partial(self._start, records))
            return
        self.end()
        self._node.admitted()

    def _store(self, records: tuple[bytes, ...]) -> None:
        disk = self._node.disk
        disk.begin()
        for packed in (self._node.cluster.rings.founding.packed, *records):
            record = unpack_ring(packed)
            disk.put(ring_record_key(record.epoch), packed)
            if record.lineage:
                disk.put(LINEAGE, record.lineage)
        disk.commit()
        disk.end_commit()
        disk.sync()
