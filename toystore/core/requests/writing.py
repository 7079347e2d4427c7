"""One write, a put or a delete: its coordinator sends the record to N nodes and waits for W.

The record is packed once and sent for each slot of the `SloppyQuorum`.  A fallback is told
for which owner it keeps the record as a hint.  The caller is answered at the W-th vote, but
the write goes on until each slot is resolved: its owner has the record, or a fallback has it
as a hint.  When no fallback is left, the coordinator itself keeps the hint; if it is the
coordinator that has no room for its own copy, another owner does.  Such a hint is no vote,
because the node that keeps it has voted already.

A replica that has a newer record answers `SUPERSEDED`: a write with a lower stamp would be
lost at once.  The writer of the stamp mints a higher one and writes again: the client, or
this coordinator if the client sent no stamp.

A write that fails is not continued.  The caller tries again with the same stamp, which is the
same write, and read repair updates the replicas that missed it.
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

    __slots__ = ("_extended", "_record", "indefinite", "mutation")

    hears = (WriteReplicaReply,)

    def __init__(self, desk: Desk, ticket: Ticket, mutation: Mutation) -> None:
        SloppyQuorum.__init__(self, desk, ticket, mutation.place, mutation.w)
        self.mutation = mutation
        self.indefinite = False
        """Whether a replica may have the record already."""
        self._record = b""
        self._extended = False

    def start(self, now: Now) -> None:
        """Open it on the desk, and send the record."""
        self.desk.open(self)
        self._send(now)

    def on_reply(self, reply: WriteReplicaReply, node: str, now: Now) -> None:
        """A replica has answered."""
        slot = self.asked.get(node)
        if slot is None:
            return
        if reply.status == _OK:
            self.vote(slot, node)
            self.stop_awaiting(node)
            self.decide(now)
        elif reply.status == _REFUSED:
            self.do_without(node, now)
        elif reply.status == _SUPERSEDED and len(reply.stamp or b"") == STAMP_BYTES:
            assert reply.stamp is not None
            self._superseded(node, reply.stamp, now)
        else:
            self.give_up(slot, CLOSED, Code.INTERNAL)
            self.stop_awaiting(node)
            self.decide(now)

    def on_deadline(self, now: Now) -> None:
        """Answer with a timeout; if answered, extend the time once, then leave hints and end."""
        if not self.answered:
            self.fail(Code.TIMEOUT, f"{self.tally()} in time", now)
        elif not self._extended:
            self._extended = True
            self.desk.extend(self, now)
        else:
            self._keep_hints()
            self.end()

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:
        """Replace an overloaded node too, once the write is acknowledged."""
        super().on_unsent(node, overloaded and not self.answered, now)

    def on_failure(self, now: Now) -> None:
        """Leave the hints of an acknowledged write."""
        if self.answered:
            self._keep_hints()
        super().on_failure(now)

    @property
    def definite(self) -> bool:
        """Whether no replica has been asked yet."""
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
        """Leave the hint with a node that has a copy of its own."""
        super().exhausted(slot)
        self._keep_hint(slot)

    def succeed(self, now: Now) -> None:
        """W slots have a vote.  An overloaded owner gets a hint now: it has missed the write."""
        slots = self.slots
        owners, fallbacks = slots.count(OWNER), slots.count(FALLBACK)
        self.answer(WriteReply(self.ticket.request, self.mutation.stamp, owners, fallbacks), now)
        if OVERLOADED in slots:
            for slot, state in enumerate(slots):
                if state == OVERLOADED:
                    slots[slot] = OPEN
                    self.replace(slot, now)

    def is_complete(self) -> bool:
        """Each slot has its copy or its hint."""
        return OPEN not in self.slots

    # ------------------------------------------------------------------------------------

    def _send(self, now: Now) -> None:
        self._record = self.mutation.record()
        self.ask(now)

    def _superseded(self, node: str, stamp: bytes, now: Now) -> None:
        slot = self.stop_awaiting(node)
        assert slot is not None
        if self.answered:
            # A later write has overtaken this one: the replica needs no copy.
            self.give_up(slot, CLOSED, self.cause)
            self.decide(now)
        elif self.mutation.minted:
            self.mutation = self.mutation.reminted(self.desk.clock, stamp, now)
            self.desk.renumber(self)
            self.forget()
            self._send(now)
        else:
            self.desk.clock.merge(stamp)
            self.answer(SupersededReply(self.ticket.request, stamp), now)
            self.end()

    def _keep_hint(self, slot: int) -> None:
        """Keep a hint here, or one for this node elsewhere; its answer is not awaited."""
        desk, owner = self.desk, self.owners[slot]
        for holder in (desk.node, *self.place.order):
            if holder != owner and holder in desk.nodes.reachable:
                hint = WriteReplica(desk.next_number(), self.place.digest, self._record, owner)
                desk.outbox.send(desk.nodes.storages[holder], hint)
                return

    def _keep_hints(self) -> None:
        for slot, state in enumerate(self.slots):
            if state == OPEN:
                self._keep_hint(slot)
