"""Every message there is.

Requests are imperative (`WriteReplica`), replies end in ``Reply``, news is past tense
(`MembersChanged`).  A message is an immutable NamedTuple; on the wire it is the array of its
fields, under the tag of its type (see ``toystore/wire.py``).  Which actor takes it, and how it
travels, is in the table `WIRE` (`toystore.core.protocol.routes`).

Field conventions: ``request`` is a number that the asker has chosen and gets back; ``digest``
is `record.digest_of`; ``stamp`` is 20 bytes (`stamp.py`); ``record`` is packed bytes
(`record.py`); ``timeout_ms`` is what is left of the asker's patience.
"""

from __future__ import annotations

from toystore.core.protocol.address import Address
from toystore.core.protocol.messages.antientropy import (
    AntientropyStatus,
    AntientropyStatusReply,
    CompareRanges,
    CompareRangesReply,
    CompareStretches,
    CompareStretchesReply,
    FetchRecords,
    FetchRecordsReply,
    ListStretches,
    ListStretchesReply,
    Overloaded,
    QuestionFailedReply,
    RaiseFloors,
    RaiseFloorsReply,
    RepairRanges,
    RepairRangesReply,
    ScrubLeaf,
    ScrubLeafReply,
    SetRange,
    SetRangeReply,
    StoreRecords,
    StoreRecordsReply,
    SumDead,
    SumDeadReply,
    SweepRange,
    SweepRangeReply,
    WatchRanges,
    WatchRangesReply,
)
from toystore.core.protocol.messages.client import (
    Cluster,
    ClusterReply,
    Delete,
    DescribeMembers,
    DescribeMembersReply,
    ErrorReply,
    Get,
    GetReply,
    Owners,
    OwnersReply,
    Put,
    Repair,
    RepairReply,
    RingLoad,
    RingLoadReply,
    Status,
    StatusReply,
    SupersededReply,
    WriteReply,
)
from toystore.core.protocol.messages.disk import (
    AdoptLineage,
    LoadDisks,
    LoadDisksReply,
    SaveDisk,
    SettleDisk,
    StorageStatus,
    StorageStatusReply,
)
from toystore.core.protocol.messages.gossip import (
    Ack,
    ClaimReply,
    CompareSettings,
    DescribeNode,
    DescribeNodeReply,
    Exchange,
    ExchangeReply,
    Gossip,
    Nack,
    NameTaken,
    Ping,
    PingReq,
    Refused,
)
from toystore.core.protocol.messages.hints import (
    CountHints,
    CountHintsReply,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    DropHintsReply,
    TakeHints,
    TakeHintsReply,
)
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkRefused,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    AcceptRingReply,
    DescribeMoves,
    DescribeMovesReply,
    FetchPlan,
    FetchPlanReply,
    FetchRings,
    FetchRingsReply,
    KeepPlan,
    KeepPlanReply,
    OfferRings,
    OfferRingsReply,
    PrepareRing,
    PrepareRingReply,
    RingChanged,
    RingCommand,
    RingCommandReply,
    RingForked,
    RingSeen,
    WatchRing,
    WatchRingReply,
)

Message = (
    Get
    | GetReply
    | Put
    | Delete
    | WriteReply
    | SupersededReply
    | ErrorReply
    | Status
    | StatusReply
    | Owners
    | OwnersReply
    | RingLoad
    | RingLoadReply
    | DescribeMembers
    | DescribeMembersReply
    | Repair
    | RepairReply
    | WriteReplica
    | WriteReplicaReply
    | ReadReplica
    | ReadReplicaReply
    | RepairReplica
    | TakeHints
    | TakeHintsReply
    | DeliverHints
    | DeliverHintsReply
    | DropHints
    | DropHintsReply
    | CountHints
    | CountHintsReply
    | LoadDisks
    | LoadDisksReply
    | SaveDisk
    | SettleDisk
    | AdoptLineage
    | StorageStatus
    | StorageStatusReply
    | Ping
    | PingReq
    | Ack
    | Nack
    | Gossip
    | Exchange
    | ExchangeReply
    | DescribeNode
    | DescribeNodeReply
    | ClaimReply
    | NameTaken
    | CompareSettings
    | Refused
    | MembersChanged
    | AntientropyStatus
    | AntientropyStatusReply
    | CompareStretches
    | CompareStretchesReply
    | CompareRanges
    | CompareRangesReply
    | FetchRecords
    | FetchRecordsReply
    | ListStretches
    | ListStretchesReply
    | Overloaded
    | QuestionFailedReply
    | RepairRanges
    | RepairRangesReply
    | ScrubLeaf
    | ScrubLeafReply
    | SetRange
    | SetRangeReply
    | StoreRecords
    | StoreRecordsReply
    | SweepRange
    | SweepRangeReply
    | SumDead
    | SumDeadReply
    | RaiseFloors
    | RaiseFloorsReply
    | WatchRanges
    | WatchRangesReply
    | LinkUp
    | LinkLost
    | LinkRefused
    | Leave
    | SendFailed
    | Cluster
    | ClusterReply
    | PrepareRing
    | PrepareRingReply
    | AcceptRing
    | AcceptRingReply
    | FetchRings
    | FetchRingsReply
    | OfferRings
    | OfferRingsReply
    | DescribeMoves
    | DescribeMovesReply
    | WatchRing
    | WatchRingReply
    | KeepPlan
    | KeepPlanReply
    | FetchPlan
    | FetchPlanReply
    | RingChanged
    | RingForked
    | RingSeen
    | RingCommand
    | RingCommandReply
)

Delivery = tuple[Message, Address]
"""A message and who sent it."""
