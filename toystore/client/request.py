"""What is asked: one question about one key, its message and what the reply to it means.

`ClientMachine` keeps in a `Request` how far it has come.  What all the requests of one
call have in common, such as the bucket, is their `Terms`.
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
    Delete,
    Get,
    GetReply,
    Owners,
    OwnersReply,
    Put,
    RingLoad,
    RingLoadReply,
    Status,
    StatusReply,
    WriteReply,
)

Answer = TypeVar("Answer")

BACKLOG, WAITING, SENT, PAUSED, DONE = range(5)
"""A request's stages: no room yet; to be sent; awaiting its reply; refused by all; over."""


class Terms(NamedTuple):
    """What all requests of one call have in common."""

    bucket: str
    n: int | None
    quorum: int | None
    """R of a read, W of a write; None means the bucket's."""
    timeout_s: float
    attempt_s: float
    """How long one endpoint may stay silent before another is asked."""


class Request(Generic[Answer]):
    """One question about one key, and how far it has come."""

    __slots__ = (
        "astray",
        "batch",
        "began",
        "cost",
        "cuts",
        "deadline",
        "due",
        "endpoint",
        "id",
        "key",
        "moves",
        "outcome",
        "pinned",
        "refusals",
        "sent_at",
        "silent",
        "size",
        "spared",
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
        """The future of whoever awaits it, if somebody does."""
        self.batch: Batch | None = None
        """The call about many keys that it belongs to, if it does."""
        self.id = 0
        self.stage = BACKLOG
        self.began = now
        self.due = self.deadline = now + terms.timeout_s
        """When its stage, and all of it, is over, whatever happens."""
        self.sent_at = 0.0
        """When it was last sent."""
        self.endpoint = 0
        self.pinned = False
        """To be asked at its endpoint and no other."""
        self.moves = 0
        """How often it was put to another endpoint."""
        self.refusals = 0
        """How often it was refused, and nothing was done."""
        self.cuts = 0
        """How often the connection was lost while nothing larger than this was on its way."""
        self.silent = False
        """An earlier attempt may still happen."""
        self.astray = False
        """And under the very stamp that the request has now."""
        self.spared = False
        """Its node had no room, or reached too few; it has been put to another endpoint once."""

    def start(self, now: float) -> None:
        """The caller's patience runs from now on, and not from when it was made."""
        self.began = now
        self.due = self.deadline = now + self.terms.timeout_s

    @property
    def idempotent(self) -> bool:
        """To send it again is the same as to have sent it once."""
        return True

    def message(self, now: float, /) -> Message:
        """What to send now."""
        raise NotImplementedError

    def answer(self, reply: Any, clock: Clock, /) -> Answer:
        """What a reply of type `reply` means.  Raises ValueError if it cannot be one."""
        raise NotImplementedError

    def left_ms(self, now: float) -> int:
        """What is left of the caller's patience."""
        return max(1, int((self.deadline - now) * 1000))


class Batch:
    """What is left in line of one call about many keys."""

    __slots__ = ("progressed_at", "queue", "timeout_s")

    def __init__(self, timeout_s: float, now: float) -> None:
        self.timeout_s = timeout_s
        self.progressed_at = now
        """When one of its keys was last answered."""
        self.queue: dict[int, Request[Any]] = {}

    @property
    def due(self) -> float:
        """When it is given up, unless it makes progress."""
        return self.progressed_at + self.timeout_s


class GetRequest(Request[Found | None]):
    """Read a key."""

    __slots__ = ()
    reply = GetReply

    def message(self, now: float, /) -> Message:
        """What to send now."""
        bucket, n, r, _, _ = self.terms
        return Get(self.id, bucket, self.key, n, r, self.left_ms(now))

    def answer(self, reply: GetReply, clock: Clock, /) -> Found | None:
        """The value; also of "not found", what the read has seen is merged into the clock."""
        _, values, context, owners, fallbacks = reply
        if context:
            # A context made by a later version is opaque, and still good to hand back.
            with contextlib.suppress(ValueError):
                clock.merge(unpack_context(context))
        return Found(values[0], values, context, owners, fallbacks) if values else None


class WriteRequest(Request[Written]):
    """A put or a delete.  Its stamp names it: the same on each retry (docs/ARCHITECTURE.md)."""

    __slots__ = ("context", "stamp")
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

    @property
    def idempotent(self) -> bool:
        """Without a stamp, each coordinator would make another write of it."""
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
        bucket, n, w, _, _ = self.terms
        return Put(
            self.id,
            bucket,
            self.key,
            self.value,
            self.stamp,
            self.context,
            n,
            w,
            self.left_ms(now),
            False,
        )


class DeleteRequest(WriteRequest):
    """Write a tombstone."""

    __slots__ = ()

    def message(self, now: float, /) -> Message:
        """What to send now."""
        bucket, n, w, _, _ = self.terms
        left_ms = self.left_ms(now)
        return Delete(self.id, bucket, self.key, self.stamp, self.context, n, w, left_ms, False)


class StatusRequest(Request[dict[str, Any]]):
    """How does the cluster look from a node?"""

    __slots__ = ()
    reply = StatusReply

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return Status(self.id)

    def answer(self, reply: StatusReply, _clock: Clock, /) -> dict[str, Any]:
        """The node's own words."""
        return reply.status


class OwnersRequest(Request[Placement]):
    """Who owns a key?"""

    __slots__ = ()
    reply = OwnersReply

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return Owners(self.id, self.terms.bucket, self.key)

    def answer(self, reply: OwnersReply, _clock: Clock, /) -> Placement:
        """The key's place."""
        return Placement(reply.partition, reply.owners, reply.fallbacks)


class RingRequest(Request[RingTable]):
    """Who owns how much?"""

    __slots__ = ()
    reply = RingLoadReply

    def message(self, _now: float, /) -> Message:
        """What to send now."""
        return RingLoad(self.id)

    def answer(self, reply: RingLoadReply, _clock: Clock, /) -> RingTable:
        """The ring, member by member."""
        return RingTable(reply.partitions, tuple(map(Load._make, reply.load)))
