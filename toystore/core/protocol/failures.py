"""What is answered where something has failed, in the place of the proper reply."""

from __future__ import annotations

from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import (
    Delete,
    ErrorReply,
    Get,
    GetReply,
    Owners,
    OwnersReply,
    Put,
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


def error_instead(message: Message, text: str) -> Message | None:
    """What to answer in the place of a reply that cannot be sent; None if it has no errors."""
    match message:
        case GetReply() | StatusReply() | OwnersReply() | RingLoadReply():
            return ErrorReply(message.request, Code.INTERNAL, text, True)
        case ReadReplicaReply():
            return ReadReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case _:
            return None


def internal_reply(message: Message, text: str) -> Message | None:
    """What to answer to a message over which a machine failed; None if it wants no answer."""
    match message:
        case Get() | Put() | Delete() | Status() | Owners() | RingLoad():
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
        case _:
            return None


def refuse_write(message: Message) -> Message | None:
    """What to answer to a message that may write, for which there was no room; None if nothing."""
    match message:
        case WriteReplica():
            return WriteReplicaReply(message.request, ReplicaStatus.REFUSED, None)
        case DeliverHints():
            return DeliverHintsReply(message.request, (ReplicaStatus.REFUSED,) * len(message.hints))
        case _:
            return None
