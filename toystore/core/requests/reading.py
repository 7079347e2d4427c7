"""One read: its coordinator asks the replicas of the key, and repairs those that are stale.

At the R-th vote the caller gets the newest record.  A fallback also looks among its hints for
all owners that are away.  A fallback that has nothing proves little while an owner may still
answer: its vote is deferred until each reachable owner has answered or failed.

After the answer the read waits for the other replicas, ``replica_timeout_s`` at most.  Then
it sends the newest record to each owner that has answered with an older one, or with nothing
(read repair, Dynamo section 5).  When the desk is crowded it does not wait.
"""

from __future__ import annotations

from toystore.core.data.context import pack_context
from toystore.core.data.record import CorruptRecordError, Record, newer, unpack_record
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import Get, GetReply
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.replica import ReadReplica, ReadReplicaReply, RepairReplica
from toystore.core.requests.desk import Desk, Ticket
from toystore.core.requests.place import Place
from toystore.core.requests.sloppy_quorum import SloppyQuorum
from toystore.core.requests.slot import CLOSED, DEFERRED, FALLBACK, OPEN, OWNER

_OK = int(ReplicaStatus.OK)
_NOT_FOUND = int(ReplicaStatus.NOT_FOUND)
_NO_VOTE = int(ReplicaStatus.NO_VOTE)
_REFUSED = int(ReplicaStatus.REFUSED)

_UNHEARD = b""
"""In `Read._records`: this owner has not answered.  No record is empty."""


class Read(SloppyQuorum):
    """A get that this node coordinates."""

    __slots__ = ("_checked", "_message", "_newest", "_records")

    hears = (ReadReplicaReply,)

    def __init__(self, desk: Desk, ticket: Ticket, message: Get, place: Place, r: int) -> None:
        SloppyQuorum.__init__(self, desk, ticket, place, r)
        self._message = message
        self._newest: bytes | None = None
        self._checked: bytes | None = None
        """The record that was unpacked, and is this key's."""
        self._records: list[bytes | None] = [_UNHEARD] * len(self.owners)
        """What each owner has answered."""

    def start(self, now: Now) -> None:
        """Open it on the desk, and ask the replicas."""
        self.desk.open(self)
        self.ask(now)

    def on_reply(self, reply: ReadReplicaReply, node: str, now: Now) -> None:
        """A replica has answered."""
        slot = self.asked.get(node)
        if slot is None:
            return
        status, record = reply.status, reply.record
        is_owner = self.owners[slot] == node
        if status == _OK and record:
            record = self._compare(record)
        elif status in (_NOT_FOUND, _NO_VOTE):
            record = None
        elif status == _REFUSED:
            self.do_without(node, now)
            return
        else:
            self.give_up(slot, CLOSED, Code.INTERNAL)
            self.stop_awaiting(node)
            self.decide(now)
            return
        if is_owner:
            self._records[slot] = record
        if status == _NO_VOTE:
            self.do_without(node, now)
            return
        if is_owner or record is not None or not self._awaits_an_owner():
            self.vote(slot, node)
        elif self.slots[slot] == OPEN:
            self.slots[slot] = DEFERRED
        self.stop_awaiting(node)
        self.decide(now)

    def on_deadline(self, now: Now) -> None:
        """Answer with a timeout if it is not answered, and end."""
        if self.answered:
            self.end()
        else:
            self.fail(Code.TIMEOUT, f"{self.tally()} in time", now)

    # --- what SloppyQuorum asks ---------------------------------------------------------

    def owner_question(self) -> Message:
        """What do you have?"""
        return ReadReplica(self.number, self.place.digest, ())

    def fallback_question(self, slot: int) -> Message:
        """What do you have, and what as a hint for the owners that are away?"""
        here = self.desk.nodes.reachable
        away = tuple(
            owner
            for at, owner in enumerate(self.owners)
            if at == slot or owner not in here or owner in self.silent
        )
        return ReadReplica(self.number, self.place.digest, away)

    def replace(self, slot: int, now: Now) -> None:
        """Ask no other node once the read is answered."""
        if self.answered:
            self.slots[slot] = CLOSED
        else:
            super().replace(slot, now)

    def decide(self, now: Now) -> None:
        """Count the deferred votes as soon as no owner is awaited."""
        if DEFERRED in self.slots and not self._awaits_an_owner():
            for slot, state in enumerate(self.slots):
                if state == DEFERRED:
                    self.slots[slot] = FALLBACK
                    self.yes += 1
        SloppyQuorum.decide(self, now)

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
        count = self.slots.count
        self.answer(
            GetReply(self.ticket.request, values, context, count(OWNER), count(FALLBACK)), now
        )
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

    # ------------------------------------------------------------------------------------

    def _compare(self, record: bytes) -> bytes:
        """Keep a record if it is the newest so far; equal records are kept once."""
        newest = self._newest
        if record == newest:
            return newest
        self.desk.charge(self, len(record))
        self._newest = record if newest is None else newer(newest, record)
        return record

    def _awaits_an_owner(self) -> bool:
        return any(
            self.owners[slot] == node and node not in self.silent
            for node, slot in self.asked.items()
        )

    def _check(self, data: bytes) -> Record:
        """Unpack a record.  Raises `CorruptRecordError`, also if it is another key's."""
        record = unpack_record(data)
        if record.key != self._message.key or record.bucket != self._message.bucket:
            raise CorruptRecordError("it is another key's record")
        self._checked = data
        return record

    def _repair(self, newest: bytes) -> None:
        """Send ``newest`` to each owner that has answered and does not have it."""
        if newest is not self._checked:
            try:
                self._check(newest)
            except CorruptRecordError:
                return
        repair = RepairReplica(self.place.digest, newest)
        for owner, record in zip(self.owners, self._records, strict=True):
            if record not in (_UNHEARD, newest):
                self.desk.outbox.send(self.desk.nodes.storages[owner], repair)
