"""What a node gives to each of its actors: settings, addresses and a context.

Immutable, so that sharing it is not sharing state: an actor that hears of a newer ring record
makes its own with that.
"""

from __future__ import annotations

import functools
import random
import time
from dataclasses import dataclass, field, replace
from typing import Any

import zmq

from toystore import __version__
from toystore.config import ClusterConfig, MemberConfig
from toystore.core.assembly import Blueprint
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.roles import ROLE_OF
from toystore.core.ring.cluster_id import ClusterId, cluster_id
from toystore.core.ring.history import NO_HISTORY, History
from toystore.core.ring.record import RingRecord
from toystore.net import listening
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver
from toystore.wire import Header


@dataclass(frozen=True)
class Surroundings:
    """The settings, addresses and context that every actor of one node gets."""

    config: ClusterConfig
    me: MemberConfig
    context: zmq.Context[Any]
    boot: str
    """New at each start: it distinguishes this run of the node from its last, and from another
    process with its name."""
    started_s: float = field(default_factory=time.monotonic)
    """The monotonic second at which this run began."""
    lineage: bytes | None = None
    """The cluster's, from this node's disk; None if the cluster begins."""
    disk: str = ""
    """The id of this node's disk."""
    record: RingRecord | None = None
    """The newest ring record that this actor knows; None: the members of the configuration."""
    history: History = NO_HISTORY
    """Which ring records are of this cluster."""
    resolver: Resolver = field(default_factory=Resolver)
    """Finds the addresses of hosts for all actors; no actor waits for it."""

    def header(self, actor: str) -> Header:
        """The header of an actor's frames: it names the sender."""
        return Header(Peer(self.me.name, actor), self.cluster_id)

    @functools.cached_property
    def cluster_id(self) -> ClusterId:
        """The cluster, as the other nodes know it from this one's frames."""
        record = self.record or self.config.founding()
        return cluster_id(record, self.lineage, self.config.copies())

    def following(self, record: RingRecord) -> Surroundings:
        """The same with a newer ring record: its members, and this node's ports in it."""
        config = self.config.listing(record)
        me = next((one for one in config.members if one.name == self.me.name), self.me)
        return replace(
            self,
            config=config,
            me=me,
            record=record,
            lineage=self.cluster_id.lineage,
            history=self.history.following(record),
        )

    def disowning(self, digest: bytes) -> Surroundings:
        """The same, with a record that is known to be of another founding."""
        return replace(self, history=self.history.disowning(digest))

    def identity(self, actor: str) -> bytes:
        """The ZeroMQ identity of an actor's DEALERs."""
        return f"{self.me.name}/{actor}/{self.boot}".encode()

    def own(self, port: int) -> tuple[str, ...]:
        """The ZeroMQ addresses to bind for one of this node's ports.

        Waits a limited time for a host's address.  Raises `ListenError`.
        """
        hosts = listening.hosts(self.me.bind, self.resolver)
        return tuple(tcp(host, port) for host in hosts)

    @functools.cached_property
    def blueprint(self) -> Blueprint:
        """What this node's machines are made from."""
        config = self.config
        return Blueprint(
            node=self.me.name,
            boot=self.boot,
            cluster=config.cluster,
            version=__version__,
            started_s=self.started_s,
            record=self.record or config.founding(),
            lineage=self.cluster_id.lineage,
            seeds=config.seeds,
            shared=config.shared_settings(),
            swim=config.swim_settings(),
            coordinator=config.coordinator_settings(),
            handoff=config.handoff_settings(),
            antientropy=config.antientropy_settings(),
            changes=config.ring,
            disk=self.disk,
            described=config.described(),
        )

    def address(self, to: Peer) -> str:
        """The ZeroMQ address at which an actor of another node is reached."""
        return str(self.config.member(to.node).reached_at(ROLE_OF[to.actor].port))

    def others(self) -> list[MemberConfig]:
        """Every member but this node."""
        return [member for member in self.config.members if member.name != self.me.name]

    def chance(self) -> random.Random:
        """A source of randomness for one machine."""
        return random.Random()

    @property
    def frame_bytes_max(self) -> int:
        """The size in bytes at which frames are closed."""
        return self.config.limits.frame_bytes_max


def now() -> Now:
    """Both clocks, read together."""
    return Now(time.monotonic(), time.time_ns() // 1000)


def tcp(host: str, port: int) -> str:
    """A ZeroMQ address."""
    return str(Endpoint(host, port))


def inproc(actor: str) -> str:
    """The inproc address of an actor's mailbox."""
    return f"inproc://{actor}"
