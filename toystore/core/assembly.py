"""How each machine of a node is made: the one place that knows all six.

A real node draws its `Blueprint` from the configuration, a simulated one from the scenario.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toystore.core.antientropy.antientropy import Antientropy
from toystore.core.handoff.handoff import Handoff
from toystore.core.membership.agreement import Setting
from toystore.core.membership.members import MemberList
from toystore.core.membership.swim import Swim
from toystore.core.protocol import address
from toystore.core.protocol.machine import Machine, Outbox
from toystore.core.protocol.settings import (
    AntientropySettings,
    CoordinatorSettings,
    HandoffSettings,
    RingSettings,
    SwimSettings,
)
from toystore.core.reconfiguration.reconfiguration import Reconfiguration
from toystore.core.requests.coordinator import Coordinator
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.record import RingRecord, endpoint_of
from toystore.core.ring.view import RingView, ring_view
from toystore.core.storage.storage import Storage
from toystore.core.storage.store import Store


@dataclass(frozen=True)
class Blueprint:
    """What the machines of one node are made from; it stays the same while the process runs."""

    node: str
    boot: str
    """The id of this run of the node; no other process has it."""
    cluster: str
    version: str
    """Of toystore; a status reports it."""
    started_s: float
    """The monotonic second at which the process started."""
    record: RingRecord
    """The ring record with which the node starts; ``node`` is among its members."""
    lineage: bytes
    """Of the cluster."""
    seeds: Sequence[str]
    shared: Mapping[str, Setting]
    """The settings that should be the same on all nodes, by their names in the configuration."""
    swim: SwimSettings
    coordinator: CoordinatorSettings
    handoff: HandoffSettings
    antientropy: AntientropySettings
    changes: RingSettings = field(default_factory=RingSettings)
    """How the members of the ring change."""
    disk: str = ""
    """The id of the node's disk."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of the cluster without its members, as plain values: a node that joins
    gets it."""

    @functools.cached_property
    def ranges(self) -> Ranges:
        """The ranges that the node owns."""
        copies = (bucket.n for bucket in self.coordinator.buckets.values())
        return Ranges(self.ring, self.node, copies)

    @functools.cached_property
    def ring(self) -> RingView:
        """The ring of the record."""
        return ring_view(self.record, self.coordinator.buckets["default"].n)

    @property
    def members(self) -> dict[str, str]:
        """Where clients reach each member, by its name."""
        return {name: endpoint_of(one) for name, one in self.record.all.items()}


def make_machine(
    role: str, plan: Blueprint, outbox: Outbox, chance: random.Random, store: Store | None = None
) -> Machine:
    """A machine in its first state.  ``store``: for storage, which alone has one."""
    match role:
        case address.STORAGE:
            assert store is not None
            return Storage(
                store=store,
                node=plan.node,
                ranges=plan.ranges,
                copies={name: bucket.n for name, bucket in plan.coordinator.buckets.items()},
                hint_bytes_max=plan.coordinator.limits.hint_bytes_max,
                outbox=outbox,
                chance=chance,
                reap_after_s=plan.antientropy.reap_after_s,
            )
        case address.COORDINATOR:
            return Coordinator(
                node=plan.node,
                cluster=plan.cluster,
                version=plan.version,
                started_s=plan.started_s,
                ring=plan.ring,
                members=plan.members,
                settings=plan.coordinator,
                outbox=outbox,
                chance=chance,
            )
        case address.HANDOFF:
            return Handoff(
                node=plan.node,
                ring=plan.ring,
                settings=plan.handoff,
                outbox=outbox,
                chance=chance,
            )
        case address.ANTIENTROPY:
            return Antientropy(
                node=plan.node,
                ranges=plan.ranges,
                settings=plan.antientropy,
                outbox=outbox,
                chance=chance,
            )
        case address.RING:
            return Reconfiguration(
                node=plan.node,
                record=plan.record,
                lineage=plan.lineage,
                disk=plan.disk,
                n=plan.coordinator.buckets["default"].n,
                copies=frozenset(bucket.n for bucket in plan.coordinator.buckets.values()),
                described=plan.described,
                settings=plan.changes,
                outbox=outbox,
                chance=chance,
            )
        case address.GOSSIP:
            return Swim(
                node=plan.node,
                boot=plan.boot,
                members=MemberList(plan.members),
                seeds=plan.seeds,
                settings=plan.swim,
                shared=plan.shared,
                outbox=outbox,
                chance=chance,
                record=plan.record,
            )
        case _:
            raise ValueError(f"there is no actor {role!r}")
