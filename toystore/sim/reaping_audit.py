"""Checks of a simulated cluster in which tombstones are removed.

`reaped_everywhere`   no tombstone is left below a floor, and none that was old when all were well
"""

from __future__ import annotations

from collections.abc import Iterator

from toystore.check.promises import Violation
from toystore.core.data.record import is_tombstone
from toystore.core.data.row import time_us_of
from toystore.core.storage.layout import RECORD
from toystore.sim.cluster import SimCluster
from toystore.sim.floors import floors_on, is_sound
from toystore.sim.node import SimNode

ROUND_S = 1.0
"""The time between two rounds of reaping, with the `reap_after_s` of simulated clusters."""


def reaped_everywhere(cluster: SimCluster, before_us: int = 0) -> list[Violation]:
    """No member has a tombstone below the floor of its range, or one older than ``before_us``."""
    found = []
    for node in cluster.members:
        if left := list(_old_tombstones(cluster, node, before_us)):
            text = f"{node.name} has {len(left)} old tombstones, {left[0]} first"
            found.append(Violation("reaped_everywhere", text))
    return found


def _old_tombstones(cluster: SimCluster, node: SimNode, before_us: int) -> Iterator[str]:
    floors = dict(floors_on(node.disk))
    for key, record in node.disk.scan(RECORD):
        if is_tombstone(record) and is_sound(record):
            floor = floors.get(cluster.range_of(key[len(RECORD) :]), b"")
            if time_us_of(record) < max(before_us, int.from_bytes(floor, "big")):
                yield key[len(RECORD) :].hex()
