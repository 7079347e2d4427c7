"""The answers that replace a reply when something has failed."""

from __future__ import annotations

from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import (
    AntientropyStatus,
    AntientropyStatusReply,
    CompareRanges,
    CompareStretches,
    FetchRecords,
    ListStretches,
    QuestionFailedReply,
    RaiseFloors,
    RepairRanges,
    RepairRangesReply,
    ScrubLeaf,
    SetRange,
    StoreRecords,
    StoreRecordsReply,
    SumDead,
    SweepRange,
    WatchRanges,
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
)
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.hints import DeliverHints, DeliverHintsReply
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    DescribeMoves,
    FetchPlan,
    FetchRings,
    KeepPlan,
    OfferRings,
    PrepareRing,
    RingCommand,
    RingCommandReply,
    WatchRing,
)


def error_instead(message: Message, text: str) -> Message | None:
    """The error that replaces a reply which cannot be sent; None if its type has no errors."""
    match message:
        case (
            GetReply()
            | StatusReply()
            | OwnersReply()
            | RingLoadReply()
            | DescribeMembersReply()
            | RepairReply()
            | ClusterReply()
        ):
            return ErrorReply(message.request, Code.INTERNAL, text, True)
        case ReadReplicaReply():
            return ReadReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case _:
            return None


def internal_reply(message: Message, text: str) -> Message | None:
    """The answer to a message on which a machine failed; None if the message needs no answer."""
    match message:
        case (
            Get()
            | Put()
            | Delete()
            | Status()
            | Owners()
            | RingLoad()
            | Repair()
            | Cluster()
            | DescribeMembers()
        ):
            return ErrorReply(message.request, Code.INTERNAL, text, isinstance(message, Get))
        case WriteReplica():
            return WriteReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case ReadReplica():
            return ReadReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case DeliverHints():
            statuses = (int(ReplicaStatus.INTERNAL),) * len(message.hints)
            return DeliverHintsReply(message.request, statuses)
        case StorageStatus():
            return StorageStatusReply(message.request, {"error": text})
        case AntientropyStatus():
            return AntientropyStatusReply(message.request, {"error": text})
        case RingCommand():
            return RingCommandReply(message.request, {}, Code.INTERNAL, text, False)
        case RepairRanges():
            return RepairRangesReply(message.request, {"error": text})
        case (
            WatchRanges()
            | CompareRanges()
            | ListStretches()
            | CompareStretches()
            | FetchRecords()
            | StoreRecords()
            | SetRange()
            | SweepRange()
            | SumDead()
            | RaiseFloors()
            | ScrubLeaf()
            | PrepareRing()
            | AcceptRing()
            | FetchRings()
            | OfferRings()
            | DescribeMoves()
            | WatchRing()
            | KeepPlan()
            | FetchPlan()
        ):
            return QuestionFailedReply(message.request, text)
        case _:
            return None


def refuse_write(message: Message) -> Message | None:
    """The answer to a message that may write when the disk has no room; None if it needs none."""
    match message:
        case WriteReplica():
            return WriteReplicaReply(message.request, ReplicaStatus.REFUSED, None)
        case DeliverHints():
            return DeliverHintsReply(message.request, (ReplicaStatus.REFUSED,) * len(message.hints))
        case StoreRecords():
            refused = (int(ReplicaStatus.REFUSED),) * len(message.records)
            return StoreRecordsReply(message.request, refused)
        case (
            CompareRanges()
            | SetRange()
            | SweepRange()
            | SumDead()
            | RaiseFloors()
            | PrepareRing()
            | AcceptRing()
            | OfferRings()
            | KeepPlan()
        ):
            return QuestionFailedReply(message.request, "the disk is full")
        case _:
            return None
