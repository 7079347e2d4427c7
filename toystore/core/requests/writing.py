"""One write, a put or a delete, from its coordinator to W of its replicas and beyond.

The record is packed once and sent to every slot of the `SloppyQuorum`; a fallback is told
for which owner it keeps the record as a hint.  The caller is answered at the W-th vote,
but the write goes on until every slot is settled: acknowledged by its owner, hinted at a
fallback, or, with no fallback left, hinted at the coordinator itself; and if it is the
coordinator that has no room for its own copy, at another owner.  Such a hint counts to no
quorum, as whoever keeps it has its vote already.

A replica that holds something newer answers `Superseded`: below what is there the write
would be lost the moment it is acknowledged.  Whoever minted the stamp mints a higher one
and writes anew: the client, or this coordinator if the client sent none.

A write that fails is not followed up.  Its caller tries again with the same stamp, which
is the same write, and read repair sees to what it left behind.
"""

from __future__ import annotations

from toystore.core.data.stamp import STAMP_BYTES
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import SupersededReply, WriteReply
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.replica import WriteReplica, WriteReplicaReply
from toystore.core.requests.desk import Desk, Ticket
from toystore.core.requests.mutation import Mutation
from toystore.core.requests.sloppy_quorum import SloppyQuorum
from toystore.core.requests.slot import CLOSED, FALLBACK, OPEN, OVERLOADED, OWNER

_OK = int(ReplicaStatus.OK)
_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)
_REFUSED = int(ReplicaStatus.REFUSED)


class Write(SloppyQuorum):
    """A put or a delete that this node coordinates."""

    __slots__ = ("_lingers", "_record", "indefinite", "mutation")

    hears = (WriteReplicaReply,)

    def __init__(self, desk: Desk, ticket: Ticket, mutation: Mutation) -> None:
        SloppyQuorum.__init__(self, desk, ticket, mutation.place, mutation.w)
        self.mutation = mutation
        self.indefinite = False
        """Whether a replica may have it already."""
        self._record = b""
        self._lingers = False

    def start(self, now: Now) -> None:
        """Lie on the desk and write."""
        self.desk.open(self)
        self._send(now)

    def on_reply(self, reply: WriteReplicaReply, node: str, now: Now) -> None:
        """A replica has spoken."""
        slot = self.asked.get(node)
        if slot is None:
            return
        if reply.status == _OK:
            self.vote(slot, node)
            self.heard(node)
            self.settle(now)
        elif reply.status == _REFUSED:
            self.refuse(node, now)
        elif reply.status == _SUPERSEDED and len(reply.stamp or b"") == STAMP_BYTES:
            assert reply.stamp is not None
            self._superseded(node, reply.stamp, now)
        else:
            self.drop(slot, CLOSED, Code.INTERNAL)
            self.heard(node)
            self.settle(now)

    def on_deadline(self, now: Now) -> None:
        """Unanswered: a timeout.  Answered: a short while longer, then leave hints and end."""
        if not self.answered:
            self.fail(Code.TIMEOUT, f"{self.tally()} in time", now)
        elif not self._lingers:
            self._lingers = True
            self.desk.linger(self, now)
        else:
            self._hold_open()
            self.end()

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:
        """Once acknowledged, a node that is too busy is replaced like any other."""
        super().on_unsent(node, overloaded and not self.answered, now)

    def on_failure(self, now: Now) -> None:
        """An acknowledged write still leaves its hints."""
        if self.answered:
            self._hold_open()
        super().on_failure(now)

    @property
    def definite(self) -> bool:
        """Definite until the first replica is written to."""
        return not self.indefinite

    # --- what SloppyQuorum asks ---------------------------------------------------------

    def owner_question(self) -> Message:
        """Keep this record."""
        self.indefinite = True
        return WriteReplica(self.number, self.place.digest, self._record, None)

    def fallback_question(self, slot: int) -> Message:
        """Keep this record as a hint for the slot's owner."""
        self.indefinite = True
        return WriteReplica(self.number, self.place.digest, self._record, self.owners[slot])

    def exhausted(self, slot: int) -> None:
        """With no fallback left a node that has a copy of its own holds the hint."""
        super().exhausted(slot)
        self._hold(slot)

    def succeed(self, now: Now) -> None:
        """W slots have it.  An owner that was too busy gets a hint now: it missed a true write."""
        slots = self.slots
        owners, fallbacks = slots.count(OWNER), slots.count(FALLBACK)
        self.answer(WriteReply(self.ticket.request, self.mutation.stamp, owners, fallbacks), now)
        if OVERLOADED in slots:
            for slot, state in enumerate(slots):
                if state == OVERLOADED:
                    slots[slot] = OPEN
                    self.replace(slot, now)

    def settled(self) -> bool:
        """Every slot has its copy or its hint."""
        return OPEN not in self.slots

    # ------------------------------------------------------------------------------------

    def _send(self, now: Now) -> None:
        self._record = self.mutation.record()
        self.ask(now)

    def _superseded(self, node: str, stamp: bytes, now: Now) -> None:
        slot = self.heard(node)
        assert slot is not None
        if self.answered:
            # Acknowledged before, and overtaken since: this replica needs no copy.
            self.drop(slot, CLOSED, self.cause)
            self.settle(now)
        elif self.mutation.minted:
            self.mutation = self.mutation.reminted(self.desk.clock, stamp, now)
            self.desk.renumber(self)
            self.forget()
            self._send(now)
        else:
            self.desk.clock.merge(stamp)
            self.answer(SupersededReply(self.ticket.request, stamp), now)
            self.end()

    def _hold(self, slot: int) -> None:
        """Keep a hint here, or one for this node elsewhere; the answer would change nothing."""
        desk, owner = self.desk, self.owners[slot]
        for holder in (desk.node, *self.place.order):
            if holder != owner and holder in desk.nodes.reachable:
                hint = WriteReplica(desk.next_number(), self.place.digest, self._record, owner)
                desk.outbox.send(desk.nodes.storages[holder], hint)
                return

    def _hold_open(self) -> None:
        for slot, state in enumerate(self.slots):
            if state == OPEN:
                self._hold(slot)
