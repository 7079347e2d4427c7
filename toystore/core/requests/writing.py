"""One write, a put or a delete: its coordinator sends the record to N nodes and waits for W.

The record is packed once and sent for each side of the `SloppyQuorum`.  A fallback is told
for which owner it keeps the record as a hint.  The caller is answered at the W-th vote, but
the write goes on until each side is resolved: its owner has the record, or a fallback has it
as a hint.  When no fallback is left, the coordinator itself keeps the hint; if it is the
coordinator that has no room for its own copy, another owner does.  Such a hint is no vote,
because the node that keeps it has voted already.

In a slot of two nodes such a hint completes the vote of the other node.  That has a copy, and is in
no other slot, so W votes are copies on W nodes still.  A newcomer that has not started delays no
write for this reason, even if every other node is in a slot of the range: as soon as the old node
has stored the record, a node that has stored it too is asked to keep the hint.

A replica that has a newer record answers `SUPERSEDED`: a write with a lower stamp would be
lost at once.  The writer of the stamp mints a higher one and writes again: the client, or
this coordinator if the client sent no stamp.

An owner's write names the epoch by which the coordinator has chosen the owner.  A replica that
knows of a later move answers `STALE`: the write waits for that ring.  If it is acknowledged
before, the replica gets a hint.

A write is sent to no replica later than `CoordinatorSettings.reap_after_s` / 2 after the time of
its stamp, because its time ends then.  So none can meet a replica that knows nothing of a floor
above it (storage/floors.py): one that a newer ring has added, or that has lost its disk.

A write that fails is not continued.  The caller tries again with the same stamp, which is the
same write, and read repair updates the replicas that missed it.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.data.stamp import STAMP_BYTES
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import SupersededReply, WriteReply
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.replica import WriteReplica, WriteReplicaReply
from toystore.core.requests.desk import Desk, Ticket
from toystore.core.requests.mutation import Mutation
from toystore.core.requests.sloppy_quorum import SloppyQuorum
from toystore.core.requests.slot import (
    CLOSED,
    FALLBACK,
    OPEN,
    OVERLOADED,
    OWNER,
    SILENT,
    STALE,
    Side,
)
from toystore.core.requests.votes import Vote, vote_for_write

_OK = int(ReplicaStatus.OK)
_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)
_REFUSED = int(ReplicaStatus.REFUSED)
_STALE = int(ReplicaStatus.STALE)
_MOVED = int(ReplicaStatus.MOVED)


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
        side = self.asked.get(node)
        if side is None:
            return
        if reply.status == _OK:
            self.vote(side, node)
            self.stop_awaiting(node)
            self.decide(now)
        elif reply.status == _REFUSED:
            self.do_without(node, now)
        elif reply.status == _SUPERSEDED and len(reply.stamp or b"") == STAMP_BYTES:
            assert reply.stamp is not None
            self._superseded(node, reply.stamp, now)
        elif reply.status == _MOVED and node in self.place.layout.leaving:
            self.gave_away(node, now)
        elif reply.status in (_STALE, _MOVED):
            self.wait_for_ring(node, now)
        else:
            self.give_up(side, CLOSED, Code.INTERNAL)
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
        place = self.place
        return WriteReplica(self.number, place.digest, self._record, None, place.layout.epoch)

    def fallback_question(self, side: int) -> Message:
        """Keep this record as a hint for the node of the side."""
        self.indefinite = True
        return self._hint(self.number, side)

    def exhausted(self, side: int, now: Now) -> None:
        """Leave the hint with a node that has a copy of its own."""
        if self.answered or not self._completes_slot(side, now):
            super().exhausted(side, now)
            self._keep_hint(side)

    def decide(self, now: Now) -> None:
        """Ask for the hints that complete slots, too."""
        if self.place.layout.moves and not self.answered:
            self._complete_slots(now)
        super().decide(now)

    def vote_of(self, states: Sequence[Side]) -> Vote:
        """A vote for a write."""
        return vote_for_write(states)

    def succeed(self, now: Now) -> None:
        """W slots have a vote.  An owner that has missed the write gets a hint now: it is
        overloaded, or has a newer ring.
        """
        owners, fallbacks = self.voted()
        self.answer(WriteReply(self.ticket.request, self.mutation.stamp, owners, fallbacks), now)
        sides = self.sides
        if OVERLOADED in sides or STALE in sides:
            for side, state in enumerate(sides):
                if state in (OVERLOADED, STALE):
                    sides[side] = OPEN
                    self.replace(side, now)
        if self.place.layout.moves:
            self._complete_slots(now)

    def is_complete(self) -> bool:
        """Each side has its copy or its hint."""
        return OPEN not in self.sides

    # ------------------------------------------------------------------------------------

    def _send(self, now: Now) -> None:
        self._record = self.mutation.record()
        self.ask(now)

    def _superseded(self, node: str, stamp: bytes, now: Now) -> None:
        side = self.stop_awaiting(node)
        assert side is not None
        if self.answered:
            # A later write has overtaken this one: the replica needs no copy.
            self.give_up(side, CLOSED, self.cause)
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

    # --- hints that complete a slot -----------------------------------------------------

    def _complete_slots(self, now: Now) -> None:
        """Each side without a fallback: have its hint kept, or wait until that is possible."""
        for side, state in enumerate(self.sides):
            if state == OPEN and not self._is_awaited(side):
                self.exhausted(side, now)

    def _completes_slot(self, side: int, now: Now) -> bool:
        """Whether a hint for ``side`` is asked for, or may be once other nodes have answered."""
        other = self.place.layout.others.get(side)
        if other is None:
            return False
        if self.sides[other] not in (OWNER, FALLBACK):
            asked = other in self.asked.values() and self.sides[other] in (OPEN, SILENT)
            return asked or self.sides[other] == STALE
        holder = next(filter(self._may_keep, (self.desk.node, *self.nodes)), None)
        if holder is None:
            return any(self.nodes[at] == node for node, at in self.asked.items() if at != side)
        self._spent |= {holder}
        self.ask_one(holder, side, self.fallback_question(side), now)
        return True

    def _may_keep(self, node: str) -> bool:
        """Whether ``node`` has a copy of its own, and was not asked to keep a hint."""
        side = self.place.layout.sides.get(node)
        return (
            side is not None
            and self.sides[side] == OWNER
            and node in self.desk.nodes.reachable
            and node not in self._spent
        )

    def _is_awaited(self, side: int) -> bool:
        """Whether a node was asked for ``side`` that is expected to answer."""
        return any(at == side and node not in self.silent for node, at in self.asked.items())

    # ------------------------------------------------------------------------------------

    def _hint(self, number: int, side: int) -> WriteReplica:
        layout = self.place.layout
        owner = self.nodes[side]
        return WriteReplica(number, self.place.digest, self._record, owner, layout.epoch)

    def _keep_hint(self, side: int) -> None:
        """Keep a hint here, or one for this node elsewhere; its answer is not awaited."""
        desk = self.desk
        for holder in (desk.node, *self.place.layout.order):
            if holder != self.nodes[side] and holder in desk.nodes.reachable:
                hint = self._hint(desk.next_number(), side)
                desk.outbox.send(desk.nodes.storages[holder], hint)
                return

    def _keep_hints(self) -> None:
        for side, state in enumerate(self.sides):
            if state == OPEN:
                self._keep_hint(side)
