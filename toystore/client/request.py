"""Requests: one question about one key, its message, and the meaning of the reply.

`ClientMachine` stores the state of a request in its `Request`.  `Terms` are what all requests
of a call have in common, such as the bucket.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from toystore.client.answer import Found, Load, Placement, RingTable, Written
from toystore.client.clock import Clock
from toystore.client.errors import ToystoreError
from toystore.core.data.context import pack_context, unpack_context
from toystore.core.protocol.messages import Message
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
    WriteReply,
)

Answer = TypeVar("Answer")

BACKLOG, WAITING, SENT, PAUSED, DONE = range(5)
"""A request's stages: no room yet; to be sent; awaits its reply; refused by all; ended."""


class Terms(NamedTuple):
    """What all requests of one call have in common."""

    bucket: str
    quorum: int | None
    """R of a read, W of a write; None means the bucket's."""
    timeout_s: float
    attempt_s: float
    """How long one endpoint may take before another is asked."""


LEARN_S = 0.25
"""How long a client waits for the members: a node that is not busy answers at once."""
_LEARNS = Terms("", None, LEARN_S, LEARN_S)


class Request(Generic[Answer]):
    """One question about one key, and its state."""

    __slots__ = (
        "asked_another",
        "astray",
        "batch",
        "began",
        "cost",
        "cuts",
        "deadline",
        "due",
        "endpoint",
        "id",
        "indefinite",
        "key",
        "moves",
        "outcome",
        "pinned",
        "refusal",
        "refusals",
        "sent_at",
        "size",
        "stage",
        "terms",
        "waiter",
    )
    writes: ClassVar[bool] = False
    reply: ClassVar[type[Any]]
    outcome: Answer | ToystoreError

    def __init__(self, terms: Terms, now: float, key: bytes = b"") -> None:
        self.terms = terms
        self.key = key
        self.size = len(key)
        """About how many bytes it takes in a frame."""
        self.cost = 0
        """About how many bytes it and its reply take, if it is one of many."""
        self.waiter: Any = None
        """The future of its caller, in the asynchronous client."""
        self.batch: Batch | None = None
        """The call about many keys that it belongs to, or None."""
        self.id = 0
        self.stage = BACKLOG
        self.began = now
        self.due = self.deadline = now + terms.timeout_s
        """When its stage ends, and when the whole request ends, at the latest."""
        self.sent_at = 0.0
        """When it was last sent."""
        self.endpoint = 0
        self.pinned = False
        """Whether it may use its endpoint only."""
        self.moves = 0
        """How often it was sent to another endpoint."""
        self.refusals = 0
        """How often it was refused."""
        self.refusal: ErrorReply | None = None
        """The last refusal."""
        self.cuts = 0
        """How often a connection was lost while this was the largest request sent over it."""
        self.indefinite = False
        """An earlier attempt may still happen."""
        self.astray = False
        """An earlier attempt may still happen, under the present stamp."""
        self.asked_another = False
        """Whether it was sent to another endpoint after an error of one node."""

    def start(self, now: float) -> None:
        """Start the caller's time now, and not at the call."""
        self.began = now
        self.due = self.deadline = now + self.terms.timeout_s

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent twice without another effect."""
        return True

    def message(self, now: float, /) -> Message:
        """What to send now."""
        raise NotImplementedError

    def answer(self, reply: Any, clock: Clock, /) -> Answer:
        """The answer in a reply of type `reply`.  Raises ValueError if that is impossible."""
        raise NotImplementedError

    def left_ms(self, now: float) -> int:
        """The remaining time, in milliseconds."""
        return max(1, int((self.deadline - now) * 1000))


class Batch:
    """The requests of one call about many keys that still wait."""

    __slots__ = ("progressed_at", "queue", "timeout_s")

    def __init__(self, timeout_s: float, now: float) -> None:
        self.timeout_s = timeout_s
        self.progressed_at = now
        """When one of its keys was last answered."""
        self.queue: dict[int, Request[Any]] = {}

    @property
    def due(self) -> float:
        """When it ends, unless it makes progress."""
        return self.progressed_at + self.timeout_s


class GetRequest(Request[Found | None]):
    """Read a key."""

    __slots__ = ()
    reply = GetReply

    def message(self, now: float, /) -> Message:
        """What to send now."""
        bucket, r, _, _ = self.terms
        return Get(self.id, bucket, self.key, r, self.left_ms(now))

    def answer(self, reply: GetReply, clock: Clock, /) -> Found | None:
        """The value.  Merges the context into the clock, even if nothing was found."""
        _, values, context, owners, fallbacks = reply
        if context:
            # A context of a later version cannot be read here, but can be returned.
            with contextlib.suppress(ValueError):
                clock.merge(unpack_context(context))
        return Found(values[0], values, context, owners, fallbacks) if values else None


class WriteRequest(Request[Written]):
    """A put or a delete.  Each retry has the same stamp (docs/ARCHITECTURE.md)."""

    __slots__ = ("behind", "context", "stamp")
    writes = True
    reply = WriteReply

    def __init__(
        self, terms: Terms, now: float, key: bytes, *, context: bytes, clock: Clock
    ) -> None:
        super().__init__(terms, now, key)
        self.context = context
        if context:
            clock.merge(unpack_context(context))
        self.stamp: bytes | None = clock.mint()
        self.behind: set[int] | None = None
        """The endpoints that find the stamp too old; None if it was not stamped again for that."""

    @property
    def idempotent(self) -> bool:
        """Whether it has a stamp; without one, each coordinator would make another write."""
        return self.stamp is not None

    def answer(self, reply: WriteReply, clock: Clock, /) -> Written:
        """The acknowledgement."""
        _, stamp, owners, fallbacks = reply
        clock.merge(stamp)
        return Written(pack_context(stamp), stamp, owners, fallbacks)


class PutRequest(WriteRequest):
    """Write a key."""

    __slots__ = ("value",)

    def __init__(
        self, terms: Terms, now: float, key: bytes, value: bytes, *, context: bytes, clock: Clock
    ) -> None:
        super().__init__(terms, now, key, context=context, clock=clock)
        self.value = value
        self.size += len(value)

    def message(self, now: float, /) -> Message:
        """What to send now."""
        bucket, w, _, _ = self.terms
        return Put(
            self.id,
            bucket,
            self.key,
            self.value,
            self.stamp,
            self.context,
            w,
            self.left_ms(now),
            False,
        )


class DeleteRequest(WriteRequest):
    """Write a tombstone."""

    __slots__ = ()

    def message(self, now: float, /) -> Message:
        """What to send now."""
        bucket, w, _, _ = self.terms
        left_ms = self.left_ms(now)
        return Delete(self.id, bucket, self.key, self.stamp, self.context, w, left_ms, False)


class StatusRequest(Request[dict[str, Any]]):
    """Ask a node for its view of the cluster."""

    __slots__ = ()
    reply = StatusReply

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return Status(self.id)

    def answer(self, reply: StatusReply, _clock: Clock, /) -> dict[str, Any]:
        """The status, as the node sent it."""
        return reply.status


class RepairRequest(Request[dict[str, Any]]):
    """Begin a repair of a node's ranges, or ask how far it is."""

    __slots__ = ("bucket", "job", "partition")
    reply = RepairReply

    def __init__(
        self, terms: Terms, now: float, job: int, bucket: str | None, partition: int | None
    ) -> None:
        super().__init__(terms, now)
        self.job = job
        self.bucket = bucket
        self.partition = partition

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return Repair(self.id, self.job, self.bucket, self.partition)

    def answer(self, reply: RepairReply, _clock: Clock, /) -> dict[str, Any]:
        """The progress, as the node sent it."""
        return reply.progress


class ClusterRequest(Request[dict[str, Any]]):
    """A question about the members of the cluster."""

    __slots__ = ("arguments", "command")
    reply = ClusterReply

    def __init__(self, terms: Terms, now: float, command: str, arguments: dict[str, Any]) -> None:
        super().__init__(terms, now)
        self.command = command
        self.arguments = arguments

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return Cluster(self.id, self.command, self.arguments)

    def answer(self, reply: ClusterReply, _clock: Clock, /) -> dict[str, Any]:
        """The result, as the node sent it."""
        return reply.result


class ClusterChange(ClusterRequest):
    """A command that changes something: sent once, because a second one would be another."""

    __slots__ = ()
    writes = True

    @property
    def idempotent(self) -> bool:
        """It is not."""
        return False


class MembersRequest(Request[DescribeMembersReply]):
    """Ask a node for the members, on behalf of the client itself."""

    __slots__ = ()
    reply = DescribeMembersReply

    def __init__(self, now: float) -> None:
        super().__init__(_LEARNS, now)

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return DescribeMembers(self.id)

    def answer(self, reply: DescribeMembersReply, _clock: Clock, /) -> DescribeMembersReply:
        """The reply itself."""
        return reply


class OwnersRequest(Request[Placement]):
    """Ask for the owners of a key."""

    __slots__ = ()
    reply = OwnersReply

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return Owners(self.id, self.terms.bucket, self.key)

    def answer(self, reply: OwnersReply, _clock: Clock, /) -> Placement:
        """The placement of the key."""
        return Placement(reply.partition, reply.owners, reply.fallbacks)


class RingRequest(Request[RingTable]):
    """Ask for the share of each member."""

    __slots__ = ()
    reply = RingLoadReply

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return RingLoad(self.id)

    def answer(self, reply: RingLoadReply, _clock: Clock, /) -> RingTable:
        """The ring, member by member."""
        return RingTable(reply.partitions, tuple(map(Load._make, reply.load)))
