"""Which actor receives each message, how the message travels, and what it needs.

The shell, the simulator and the wire all read the one table, `WIRE`.  Tags are append-only: a
tag never gets a second meaning.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any, NamedTuple

from toystore.core.protocol.address import (
    ANTIENTROPY,
    COORDINATOR,
    GOSSIP,
    HANDOFF,
    RING,
    STORAGE,
)
from toystore.core.protocol.messages import (
    Message,
    antientropy,
    client,
    disk,
    gossip,
    hints,
    local,
    replica,
    ring,
)

CLIENT = "client"
"""In `Route.to`: a client receives the message."""
ANYONE = "anyone"
"""In `Route.to`: any actor may receive the message."""


class Carrier(Enum):
    """How a message travels."""

    LINK = "link"
    """Over the link to another actor's mailbox, in order; the answer returns on that link."""
    DATAGRAM = "datagram"
    """By gossip's PUB/SUB, where it may be lost."""
    CLIENT_PORT = "client port"
    """To the client port of a coordinator, or back from there."""


class Priority(IntEnum):
    """Foreground messages are served before background ones (hand-off and repair)."""

    FOREGROUND = 0
    BACKGROUND = 1


class DiskUse(Enum):
    """What storage does to its disk when it processes a message."""

    READS = "reads"
    WRITES = "writes"
    """It may write, but needs no more room (`TakeHints` deletes corrupt hints)."""
    GROWS = "grows"
    """It needs more room."""


class Route(NamedTuple):
    """A row of `WIRE`."""

    tag: int
    type: type[Any]
    to: str
    """The actor that receives it, `CLIENT` or `ANYONE`."""
    carrier: Carrier = Carrier.LINK
    priority: Priority = Priority.FOREGROUND
    disk: DiskUse = DiskUse.READS
    queued: bool = False
    """Whether it waits in the coordinator's queue.  If the queue is full, it is refused before it
    is decoded."""

    @property
    def is_reply(self) -> bool:
        """Whether it answers a message, and so travels back over that message's link."""
        return self.type.__name__.endswith("Reply")


WIRE: tuple[Route, ...] = (
    Route(1, client.Get, COORDINATOR, Carrier.CLIENT_PORT, queued=True),
    Route(2, client.GetReply, CLIENT, Carrier.CLIENT_PORT),
    Route(3, client.Put, COORDINATOR, Carrier.CLIENT_PORT, queued=True),
    Route(4, client.Delete, COORDINATOR, Carrier.CLIENT_PORT, queued=True),
    Route(5, client.WriteReply, CLIENT, Carrier.CLIENT_PORT),
    Route(6, client.SupersededReply, CLIENT, Carrier.CLIENT_PORT),
    Route(7, client.ErrorReply, CLIENT, Carrier.CLIENT_PORT),
    Route(8, client.Status, COORDINATOR, Carrier.CLIENT_PORT),
    Route(9, client.StatusReply, CLIENT, Carrier.CLIENT_PORT),
    Route(10, client.Owners, COORDINATOR, Carrier.CLIENT_PORT),
    Route(11, client.OwnersReply, CLIENT, Carrier.CLIENT_PORT),
    Route(12, client.RingLoad, COORDINATOR, Carrier.CLIENT_PORT),
    Route(13, client.RingLoadReply, CLIENT, Carrier.CLIENT_PORT),
    Route(14, client.Repair, COORDINATOR, Carrier.CLIENT_PORT),
    Route(15, client.RepairReply, CLIENT, Carrier.CLIENT_PORT),
    Route(20, replica.WriteReplica, STORAGE, disk=DiskUse.GROWS),
    Route(21, replica.WriteReplicaReply, COORDINATOR),
    Route(22, replica.ReadReplica, STORAGE),
    Route(23, replica.ReadReplicaReply, COORDINATOR),
    Route(24, replica.RepairReplica, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(30, hints.TakeHints, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(31, hints.TakeHintsReply, HANDOFF),
    Route(32, hints.DeliverHints, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.GROWS),
    Route(33, hints.DeliverHintsReply, HANDOFF),
    Route(34, hints.DropHints, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(35, hints.DropHintsReply, HANDOFF),
    Route(36, hints.CountHints, STORAGE, priority=Priority.BACKGROUND),
    Route(37, hints.CountHintsReply, HANDOFF),
    Route(40, disk.LoadDisks, STORAGE),
    Route(41, disk.LoadDisksReply, GOSSIP),
    Route(42, disk.SaveDisk, STORAGE, disk=DiskUse.WRITES),
    Route(43, disk.SettleDisk, STORAGE, disk=DiskUse.WRITES),
    Route(44, disk.StorageStatus, STORAGE),
    Route(45, disk.StorageStatusReply, COORDINATOR),
    Route(46, disk.AdoptLineage, STORAGE, disk=DiskUse.WRITES),
    Route(50, gossip.Ping, GOSSIP, Carrier.DATAGRAM),
    Route(51, gossip.PingReq, GOSSIP, Carrier.DATAGRAM),
    Route(52, gossip.Ack, GOSSIP, Carrier.DATAGRAM),
    Route(53, gossip.Gossip, GOSSIP, Carrier.DATAGRAM),
    Route(54, gossip.Exchange, GOSSIP),
    Route(55, gossip.ExchangeReply, GOSSIP),
    Route(56, gossip.Refused, ANYONE),
    Route(57, local.MembersChanged, ANYONE),
    Route(58, local.LinkUp, ANYONE),
    Route(59, local.LinkLost, ANYONE),
    Route(60, gossip.CompareSettings, GOSSIP),
    Route(61, gossip.Nack, GOSSIP, Carrier.DATAGRAM),
    Route(62, gossip.DescribeNode, GOSSIP),
    Route(63, gossip.DescribeNodeReply, GOSSIP),
    Route(64, gossip.ClaimReply, GOSSIP),
    Route(65, gossip.NameTaken, GOSSIP),
    Route(70, antientropy.WatchRanges, STORAGE, priority=Priority.BACKGROUND),
    Route(71, antientropy.WatchRangesReply, ANTIENTROPY),
    Route(
        72, antientropy.CompareRanges, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES
    ),
    Route(73, antientropy.CompareRangesReply, ANTIENTROPY),
    Route(74, antientropy.ListStretches, STORAGE, priority=Priority.BACKGROUND),
    Route(75, antientropy.ListStretchesReply, ANTIENTROPY),
    Route(76, antientropy.CompareStretches, STORAGE, priority=Priority.BACKGROUND),
    Route(77, antientropy.CompareStretchesReply, ANTIENTROPY),
    Route(78, antientropy.FetchRecords, STORAGE, priority=Priority.BACKGROUND),
    Route(79, antientropy.FetchRecordsReply, ANTIENTROPY),
    Route(80, antientropy.StoreRecords, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.GROWS),
    Route(81, antientropy.StoreRecordsReply, ANTIENTROPY),
    Route(84, antientropy.ScrubLeaf, STORAGE, priority=Priority.BACKGROUND),
    Route(85, antientropy.ScrubLeafReply, ANTIENTROPY),
    Route(90, antientropy.QuestionFailedReply, ANYONE),
    Route(92, antientropy.SetRange, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(93, antientropy.SetRangeReply, ANTIENTROPY),
    Route(94, antientropy.SweepRange, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(95, antientropy.SweepRangeReply, ANTIENTROPY),
    Route(96, antientropy.Overloaded, ANTIENTROPY),
    Route(97, antientropy.SumDead, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(98, antientropy.SumDeadReply, ANTIENTROPY),
    Route(99, antientropy.RaiseFloors, STORAGE, priority=Priority.BACKGROUND, disk=DiskUse.WRITES),
    Route(91, antientropy.RaiseFloorsReply, ANTIENTROPY),
    Route(86, antientropy.AntientropyStatus, ANTIENTROPY),
    Route(87, antientropy.AntientropyStatusReply, COORDINATOR),
    Route(88, antientropy.RepairRanges, ANTIENTROPY),
    Route(89, antientropy.RepairRangesReply, COORDINATOR),
    Route(100, ring.PrepareRing, STORAGE, disk=DiskUse.GROWS),
    Route(101, ring.PrepareRingReply, RING),
    Route(102, ring.AcceptRing, STORAGE, disk=DiskUse.GROWS),
    Route(103, ring.AcceptRingReply, RING),
    Route(104, ring.FetchRings, STORAGE),
    Route(105, ring.FetchRingsReply, RING),
    Route(106, ring.OfferRings, STORAGE, disk=DiskUse.GROWS),
    Route(107, ring.OfferRingsReply, RING),
    Route(108, ring.DescribeMoves, STORAGE),
    Route(109, ring.DescribeMovesReply, RING),
    Route(110, ring.WatchRing, STORAGE),
    Route(111, ring.WatchRingReply, RING),
    Route(112, ring.KeepPlan, STORAGE, disk=DiskUse.GROWS),
    Route(113, ring.KeepPlanReply, RING),
    Route(114, ring.FetchPlan, STORAGE),
    Route(115, ring.FetchPlanReply, RING),
    Route(116, ring.RingChanged, ANYONE),
    Route(117, ring.RingSeen, RING),
    Route(118, ring.RingCommand, RING),
    Route(119, ring.RingCommandReply, COORDINATOR),
    Route(120, ring.RingForked, ANYONE),
    Route(16, client.Cluster, COORDINATOR, Carrier.CLIENT_PORT),
    Route(17, client.ClusterReply, CLIENT, Carrier.CLIENT_PORT),
    Route(18, client.DescribeMembers, COORDINATOR, Carrier.CLIENT_PORT),
    Route(19, client.DescribeMembersReply, CLIENT, Carrier.CLIENT_PORT),
)

ROUTE_OF: dict[type[Any], Route] = {route.type: route for route in WIRE}
ROUTE_BY_TAG: dict[int, Route] = {route.tag: route for route in WIRE}

_BY_NAME: dict[str, type[Any]] = {route.type.__name__: route.type for route in WIRE}
REPLY_TO: dict[type[Any], type[Any]] = {
    kind: _BY_NAME[f"{name}Reply"] for name, kind in _BY_NAME.items() if f"{name}Reply" in _BY_NAME
}
"""The type of the reply to each type of message that has one of its own."""


_TO_A_FORWARDER = frozenset({client.WriteReply, client.SupersededReply, client.ErrorReply})
"""A coordinator that forwards a write is a client of the coordinator that receives it."""


class Way(Enum):
    """How a message leaves an actor for another node."""

    ASK = "ask"
    """Over the actor's own link to the receiver."""
    ANSWER = "answer"
    """Back over the link on which the receiver's message came."""
    DATAGRAM = "datagram"


def by_way(messages: list[Message]) -> list[tuple[Way, list[Message]]]:
    """Split messages to the gossip of one node into groups that are sent together.

    Messages over a link are split by type, too: a node of an earlier version that does not
    know one type then drops only that frame.
    """
    datagrams: list[Message] = []
    by_type: dict[type[Message], list[Message]] = {}
    for message in messages:
        kind = type(message)
        if ROUTE_OF[kind].carrier is Carrier.DATAGRAM:
            datagrams.append(message)
        else:
            by_type.setdefault(kind, []).append(message)
    parts = [
        (Way.ANSWER if ROUTE_OF[kind].is_reply else Way.ASK, some) for kind, some in by_type.items()
    ]
    return [*parts, (Way.DATAGRAM, datagrams)] if datagrams else parts


def taken_by(actor: str) -> frozenset[type[Any]]:
    """The types that other actors may send to ``actor``."""
    taken = frozenset(route.type for route in WIRE if route.to in (actor, ANYONE))
    return taken | _TO_A_FORWARDER if actor == COORDINATOR else taken


def carried_by(carrier: Carrier, actor: str) -> frozenset[type[Any]]:
    """The types that ``actor`` receives and that travel by ``carrier``."""
    return frozenset(route.type for route in WIRE if route.to == actor and route.carrier is carrier)
