"""Which record is the newest: storage tells of each that it adopts, other nodes have newer ones.

One `WatchRing` is always open at this node's storage.  If a node is seen that has a newer record,
its storage is asked for what follows, and the answer is offered to the own storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.ring import (
    FetchRings,
    FetchRingsReply,
    OfferRings,
    OfferRingsReply,
    RingChanged,
    RingForked,
    RingSeen,
    WatchRing,
    WatchRingReply,
)
from toystore.core.protocol.roles import ACTORS
from toystore.core.reconfiguration.questions import NEVER, Questions, Then, ignore
from toystore.core.ring.record import RingRecord, digest_of, unpack_ring

AGAIN_S = 1.0
"""How soon storage is asked again, if it could not be asked."""

Changed = Callable[[Sequence[RingRecord], Now], None]
"""Called with the records that storage has adopted, in order, after `Following.record` changed."""


class Following:
    """The newest record of one node."""

    def __init__(
        self,
        record: RingRecord,
        lineage: bytes,
        questions: Questions,
        outbox: Outbox,
        changed: Changed,
    ) -> None:
        """``record``: with which the node has started; ``lineage``: of the cluster then."""
        self.record = record
        self.lineage = record.lineage or lineage
        self.undecided = 0
        """The epoch for which this node's storage has accepted a record, and waits; or 0."""
        self.undecided_since = NEVER
        """Since when it waits, in monotonic seconds."""
        self._node = questions.node
        self._questions = questions
        self._out = outbox
        self._changed = changed
        self._ask_at = 0.0
        self.foreign: set[bytes] = set()
        """The digests of records that other nodes have, and that are of another founding."""
        self._reasons: set[str] = set()
        """Why storage has not adopted what was offered, as logged since the last change."""

    def go_on(self, now: Now) -> None:
        """Ask storage to tell of newer records, if that is due."""
        if self._ask_at <= now.monotonic:
            self._ask_at = NEVER
            epoch, undecided = self.record.epoch, self.undecided
            self._questions.ask_storage(
                self._node,
                lambda number: WatchRing(number, epoch, undecided),
                self._on_told,
                now,
                for_ever=True,
            )

    def next_deadline(self) -> float:
        """When storage is asked, in monotonic seconds; `NEVER` while it is."""
        return self._ask_at

    def next_record(self, now: Now, why: str, **changes: Any) -> RingRecord:
        """A record of the next epoch that this node makes; ``changes``: the fields that differ."""
        made = {"made_by": self._node, "made_us": now.wall_us, "why": why}
        return self.record.next(self.lineage, **made, **changes)

    def _on_told(self, reply: WatchRingReply | None, now: Now) -> None:
        """Storage has adopted records, or waits for the decision of a vote: ask it again."""
        if reply is None:
            self._ask_at = now.monotonic + AGAIN_S
            return
        self._ask_at = now.monotonic
        if reply.undecided != self.undecided:
            self.undecided = reply.undecided
            self.undecided_since = now.monotonic if reply.undecided else NEVER
        if reply.records:
            self._adopt(reply.records, now)
        self.go_on(now)

    def _adopt(self, packed: Sequence[bytes], now: Now) -> None:
        """Send the newest record to the other actors of this node."""
        records = [unpack_ring(one) for one in packed]
        self.record = records[-1]
        self.lineage = self.record.lineage
        self._reasons.clear()
        self._tell_actors(RingChanged(packed[-1]))
        self._changed(records, now)

    def _tell_actors(self, news: RingChanged | RingForked) -> None:
        """Send something to the other actors of this node."""
        for actor in ACTORS:
            if actor != RING:
                self._out.send(Peer(self._node, actor), news)

    def on_seen(self, seen: RingSeen, now: Now) -> None:
        """A node has a newer record: ask its storage for what follows."""
        if seen.epoch > self.record.epoch:
            after = self.record.epoch
            self._questions.ask_storage(
                seen.node,
                lambda number: FetchRings(number, after),
                partial(self._on_fetched, seen.node),
                now,
            )

    def _on_fetched(self, node: str, reply: FetchRingsReply | None, now: Now) -> None:
        """A node has newer records.  Without an answer, it is seen again later."""
        if reply is None or not reply.records:
            return
        digest = digest_of(reply.records[-1])
        self._offer(reply.records, partial(self._on_fetched_offered, node, digest), now)

    def _on_fetched_offered(
        self, node: str, digest: bytes, reply: OfferRingsReply | None, now: Now
    ) -> None:
        """Storage has looked at the records of a node; ``digest``: of the newest of them."""
        if reply is None or not reply.foreign:
            self._on_offered(reply, now)
        elif digest not in self.foreign:
            self.foreign.add(digest)
            self._tell_actors(RingForked(digest))
            self._out.log("ring.forked", member=node, epoch=reply.epoch, reason=reply.reason)

    def offer(self, records: Sequence[bytes], now: Now) -> None:
        """Offer decided records to the own storage."""
        self._offer(records, self._on_offered, now)

    def _offer(self, records: Sequence[bytes], then: Then, now: Now) -> None:
        self._questions.ask_storage(
            self._node, lambda number: OfferRings(number, tuple(records)), then, now
        )

    def bring_up_to_date(self, node: str, epoch: int, now: Now) -> None:
        """A node has no record after ``epoch``: offer it those that the own storage has."""

        def send(reply: FetchRingsReply | None, now: Now) -> None:
            if reply is not None and reply.records:
                records = reply.records
                self._questions.ask_storage(
                    node, lambda number: OfferRings(number, records), ignore, now
                )

        own = self._node
        self._questions.ask_storage(own, lambda number: FetchRings(number, epoch), send, now)

    def _on_offered(self, reply: OfferRingsReply | None, _now: Now) -> None:
        if reply is not None and reply.reason and reply.reason not in self._reasons:
            self._reasons.add(reply.reason)
            self._out.log("ring.refused", epoch=reply.epoch, reason=reply.reason)
