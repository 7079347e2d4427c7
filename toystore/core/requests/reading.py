"""One read: its coordinator asks the replicas of the key, and repairs those that are stale.

At the R-th vote the caller gets the newest record.  A fallback also looks among its hints for
all owners that are away.  A fallback that has nothing proves little while an owner may still
answer: its vote is deferred until each reachable owner has answered, has failed, or is silent.

While no node has found a record, the deferred votes wait for silent owners too: a disk that stalls
for a moment must not make a stored key look absent.  This ends after `PATIENCE_S`, or when half of
the request's time is over, so that the caller gets an answer in time though an owner hangs; or when
the desk is crowded.

While a replica moves both nodes of its slot are asked, and the first that is whole votes.  If the
old one has given the replica away (`MOVED`) and the new one was not whole (`NO_VOTE`), the new one
is asked once more: it may have become whole in between.  The same is true if neither was whole,
as one of them answered by an older ring.

After the answer the read waits for the other replicas, ``replica_timeout_s`` at most.  Then
it sends the newest record to each owner, old or new, that has answered with an older one, or with
nothing (read repair, Dynamo section 5).  When the desk is crowded it does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.data.context import pack_context
from toystore.core.data.record import CorruptRecordError, Record, newer, unpack_record
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import Get, GetReply
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.replica import ReadReplica, ReadReplicaReply, RepairReplica
from toystore.core.requests.desk import Desk, Ticket
from toystore.core.requests.place import Layouts, Place
from toystore.core.requests.sloppy_quorum import NO_NODES, SloppyQuorum
from toystore.core.requests.slot import (
    BEHIND,
    CLOSED,
    DEFERRED,
    FALLBACK,
    MOVED,
    OPEN,
    OWNER,
    SILENT,
    STALE,
    Side,
)
from toystore.core.requests.votes import Vote, vote_for_read

_OK = int(ReplicaStatus.OK)
_NOT_FOUND = int(ReplicaStatus.NOT_FOUND)
_NO_VOTE = int(ReplicaStatus.NO_VOTE)
_REFUSED = int(ReplicaStatus.REFUSED)
_MOVED = int(ReplicaStatus.MOVED)

PATIENCE_S = 3.0
"""How long a read that has found nothing waits for silent owners, at most."""

_UNHEARD = b""
"""In `Read._records`: this owner has not answered.  No record is empty."""


class Read(SloppyQuorum):
    """A get that this node coordinates."""

    __slots__ = ("_again", "_checked", "_message", "_newest", "_patient_until", "_records")

    hears = (ReadReplicaReply,)

    def __init__(self, desk: Desk, ticket: Ticket, message: Get, place: Place, r: int) -> None:
        SloppyQuorum.__init__(self, desk, ticket, place, r)
        self._message = message
        self._patient_until = ticket.began + min(PATIENCE_S, (ticket.deadline - ticket.began) / 2)
        self._newest: bytes | None = None
        self._checked: bytes | None = None
        """The record that was unpacked, and is this key's."""
        self._records: list[bytes | None] = [_UNHEARD] * len(self.nodes)
        """What the owner of each side has answered."""
        self._again = NO_NODES
        """The new nodes that were asked once more."""

    def start(self, now: Now) -> None:
        """Open it on the desk, and ask the replicas."""
        self.desk.open(self)
        self.ask(now)

    def on_reply(self, reply: ReadReplicaReply, node: str, now: Now) -> None:
        """A replica has answered."""
        side = self.asked.get(node)
        if side is None:
            return
        status, record = reply.status, reply.record
        is_owner = self.nodes[side] == node
        if status == _OK and record:
            record = self._compare(record)
        elif status in (_NOT_FOUND, _NO_VOTE):
            record = self._compare(record) if record else None
        elif status == _REFUSED:
            self.do_without(node, now)
            return
        elif status == _MOVED and is_owner:
            self._moved(side, node, now)
            return
        else:
            self.give_up(side, CLOSED, Code.INTERNAL)
            self.stop_awaiting(node)
            self.decide(now)
            return
        if is_owner:
            self._records[side] = record
        if status == _NO_VOTE:
            self._not_whole(side, node, now)
            return
        if is_owner or record is not None:
            self.vote(side, node)
        else:
            self._defer(side, now)
        self.stop_awaiting(node)
        self.decide(now)

    def on_deadline(self, now: Now) -> None:
        """Count the deferred votes when the patience is over; end when all of the time is."""
        if now.monotonic < self.ticket.deadline:
            self.decide(now)
        elif self.answered:
            self.end()
        else:
            self.fail(Code.TIMEOUT, f"{self.tally()} in time", now)

    # --- what SloppyQuorum asks ---------------------------------------------------------

    def owner_question(self) -> Message:
        """What do you have?"""
        return ReadReplica(self.number, self.place.digest, ())

    def fallback_question(self, side: int) -> Message:
        """What do you have, and what as a hint for the owners that are away?"""
        here = self.desk.nodes.reachable
        away = tuple(
            owner
            for at, owner in enumerate(self.nodes)
            if at == side or owner not in here or owner in self.silent
        )
        return ReadReplica(self.number, self.place.digest, away)

    def replace(self, side: int, now: Now) -> None:
        """Ask no other node once the read is answered, or while the slot's other node may vote."""
        if self.answered:
            self.sides[side] = CLOSED
        elif self._other_votes(side):
            self.exhausted(side, now)
        else:
            super().replace(side, now)

    def decide(self, now: Now) -> None:
        """Count the deferred votes as soon as no owner is awaited."""
        if DEFERRED in self.sides and not self._awaits_an_owner(now):
            for side, state in enumerate(self.sides):
                if state == DEFERRED:
                    self.sides[side] = FALLBACK
                    self.yes += 1
        SloppyQuorum.decide(self, now)

    def vote_of(self, states: Sequence[Side]) -> Vote:
        """A vote for a read."""
        return vote_for_read(states)

    def succeed(self, now: Now) -> None:
        """Answer with the newest record; a tombstone gives no value, but a context."""
        values: tuple[bytes, ...] = ()
        context = b""
        if self._newest is not None:
            try:
                record = self._check(self._newest)
            except CorruptRecordError as error:
                self.fail(Code.INTERNAL, f"what was read cannot be right: {error}", now)
                return
            values = () if record.tombstone else (record.value,)
            context = pack_context(record.stamp)
        owners, fallbacks = self.voted()
        self.answer(GetReply(self.ticket.request, values, context, owners, fallbacks), now)
        if self.desk.crowded():
            self.end()

    def is_complete(self) -> bool:
        """Each node that was asked has answered or is silent."""
        return len(self.asked) == len(self.silent)

    def end(self) -> None:
        """Repair, and leave the desk."""
        if self.number in self.desk.requests:
            if self._newest is not None and self._records.count(self._newest) < len(self._records):
                self._repair(self._newest)
            self.desk.close(self)

    # --- moving replicas ----------------------------------------------------------------

    def on_ring(self, layouts: Layouts, now: Now) -> None:
        """Plan it again, if the nodes of its range have changed or it waits for this ring."""
        place = layouts.again(self.place)
        if place.layout.replicas == self.place.layout.replicas and STALE not in self.sides:
            self.place = place
        elif not self.answered:
            self.plan_again(place, now)

    def plan_again(self, place: Place, now: Now) -> None:
        """Plan it by another ring; what the owners have answered is kept."""
        records = dict(zip(self.nodes, self._records, strict=True))
        self._records = [records.get(node, _UNHEARD) for node in place.layout.nodes]
        self._again = NO_NODES
        super().plan_again(place, now)

    def _moved(self, side: int, node: str, now: Now) -> None:
        """``node`` has given its replica away; if not by this ring, then by another."""
        if node not in self.place.layout.leaving:
            self.wait_for_ring(node, now)
        elif self._asks_other_again(side, now) or self._other_votes(side):
            self.gave_away(node, now)
        else:
            self.do_without(node, now)

    def _not_whole(self, side: int, node: str, now: Now) -> None:
        """``node`` has no vote: wait for the other node of its slot, or do without it."""
        other = self.place.layout.others.get(side)
        state = self.sides[side]
        if other is not None and self.nodes[side] == node and state in (OPEN, SILENT):
            if self.sides[other] == MOVED and not self.answered and self._ask_again(side, now):
                return
            awaited = state == SILENT and self.nodes[other] in self.asked
            if self._asks_other_again(side, now) or self._other_votes(side) or awaited:
                self.sides[side] = BEHIND
        self.do_without(node, now)

    def _asks_other_again(self, side: int, now: Now) -> bool:
        """Whether the other node of the slot had no vote, and is asked once more."""
        other = self.place.layout.others.get(side)
        if other is None or self.answered or self.sides[other] not in (BEHIND, STALE):
            return False
        return self._ask_again(other, now)

    def _ask_again(self, side: int, now: Now) -> bool:
        """Ask the node of ``side`` once more; False if it was, or cannot be reached."""
        node = self.nodes[side]
        if node in self._again or node not in self.desk.nodes.reachable:
            return False
        self._again |= {node}
        self.silent -= {node}
        self.sides[side] = OPEN
        self.ask_one(node, side, self.owner_question(), now)
        return True

    def _other_votes(self, side: int) -> bool:
        """Whether the other node of the slot has voted, or its answer is awaited."""
        other = self.place.layout.others.get(side)
        if other is None:
            return False
        node = self.nodes[other]
        return self.sides[other] == OWNER or (node in self.asked and node not in self.silent)

    # ------------------------------------------------------------------------------------

    def _compare(self, record: bytes) -> bytes:
        """Keep a record if it is the newest so far; equal records are kept once."""
        newest = self._newest
        if record == newest:
            return newest
        self.desk.charge(self, len(record))
        self._newest = record if newest is None else newer(newest, record)
        return record

    def _defer(self, side: int, now: Now) -> None:
        """A fallback has nothing for ``side``: `decide` counts that as soon as it may."""
        if self.sides[side] not in (OWNER, FALLBACK, MOVED):
            self.sides[side] = DEFERRED
            if now.monotonic < self._patient_until:
                self.desk.remind(self, self._patient_until)

    def _awaits_an_owner(self, now: Now) -> bool:
        """Whether an owner was asked and may answer; a silent one may while nothing was found."""
        awaits_silent = (
            self._newest is None and now.monotonic < self._patient_until and not self.desk.crowded()
        )
        return any(
            self.nodes[side] == node and (awaits_silent or node not in self.silent)
            for node, side in self.asked.items()
        )

    def _check(self, data: bytes) -> Record:
        """Unpack a record.  Raises `CorruptRecordError`, also if it is another key's."""
        record = unpack_record(data)
        if record.key != self._message.key or record.bucket != self._message.bucket:
            raise CorruptRecordError("it is another key's record")
        self._checked = data
        return record

    def _repair(self, newest: bytes) -> None:
        """Send ``newest`` to each owner that has answered, and is a member still, and lacks it."""
        if newest is not self._checked:
            try:
                self._check(newest)
            except CorruptRecordError:
                return
        repair = RepairReplica(self.place.digest, newest)
        for owner, record in zip(self.nodes, self._records, strict=True):
            storage = self.desk.nodes.storages.get(owner)
            if storage is not None and record not in (_UNHEARD, newest):
                self.desk.outbox.send(storage, repair)
