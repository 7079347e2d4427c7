"""One read, from its coordinator to R of the key's replicas, and the repair of the stale.

The caller is answered at the R-th vote with the newest record among them.  A fallback
that stands in for an owner looks among its hints for every owner that is away.  That it
found nothing proves little while an owner is there to be heard: its vote is deferred
until every living owner has answered or failed.

After the answer the read waits for the rest, ``replica_timeout_s`` at most, and then has
every owner that answered with something older, or with nothing, take the newest record
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
"""In `Read._found`: this owner has not answered.  No record is empty."""


class Read(SloppyQuorum):
    """A get that this node coordinates."""

    __slots__ = ("_checked", "_found", "_message", "_newest")

    hears = (ReadReplicaReply,)

    def __init__(self, desk: Desk, ticket: Ticket, message: Get, place: Place, r: int) -> None:
        SloppyQuorum.__init__(self, desk, ticket, place, r)
        self._message = message
        self._newest: bytes | None = None
        self._checked: bytes | None = None
        """The record that has been taken apart and found to be this key's."""
        self._found: list[bytes | None] = [_UNHEARD] * len(self.owners)
        """What each owner holds."""

    def start(self, now: Now) -> None:
        """Lie on the desk and read."""
        self.desk.open(self)
        self.ask(now)

    def on_reply(self, reply: ReadReplicaReply, node: str, now: Now) -> None:
        """A replica has spoken."""
        slot = self.asked.get(node)
        if slot is None:
            return
        status, record = reply.status, reply.record
        is_owner = self.owners[slot] == node
        if status == _OK and record:
            record = self._weigh(record)
        elif status in (_NOT_FOUND, _NO_VOTE):
            record = None
        elif status == _REFUSED:
            self.refuse(node, now)
            return
        else:
            self.drop(slot, CLOSED, Code.INTERNAL)
            self.heard(node)
            self.settle(now)
            return
        if is_owner:
            self._found[slot] = record
        if status == _NO_VOTE:
            self.refuse(node, now)
            return
        if is_owner or record is not None:
            self.vote(slot, node)
        elif self.slots[slot] == OPEN:
            self.slots[slot] = DEFERRED
        self.heard(node)
        self.settle(now)

    def on_deadline(self, now: Now) -> None:
        """Answer with a timeout if it is not answered, and end."""
        if self.answered:
            self.end()
        else:
            self.fail(Code.TIMEOUT, f"{self.tally()} in time", now)

    # --- what SloppyQuorum asks ---------------------------------------------------------

    def owner_question(self) -> Message:
        """What do you hold?"""
        return ReadReplica(self.number, self.place.digest, ())

    def fallback_question(self, slot: int) -> Message:
        """What do you hold, or keep as a hint for any owner that is away?"""
        here = self.desk.nodes.reachable
        away = tuple(
            owner
            for at, owner in enumerate(self.owners)
            if at == slot or owner not in here or owner in self.silent
        )
        return ReadReplica(self.number, self.place.digest, away)

    def replace(self, slot: int, now: Now) -> None:
        """Once it is answered nobody else is asked."""
        if self.answered:
            self.slots[slot] = CLOSED
        else:
            super().replace(slot, now)

    def settle(self, now: Now) -> None:
        """Count the deferred votes as soon as no owner is awaited."""
        if DEFERRED in self.slots and not self._awaits_an_owner():
            for slot, state in enumerate(self.slots):
                if state == DEFERRED:
                    self.slots[slot] = FALLBACK
                    self.yes += 1
        SloppyQuorum.settle(self, now)

    def succeed(self, now: Now) -> None:
        """Answer with the newest record; a tombstone reads as nothing, but has a context."""
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

    def settled(self) -> bool:
        """Everyone that was asked has answered, or has been silent for too long."""
        return len(self.asked) == len(self.silent)

    def end(self) -> None:
        """Repair, and leave the desk."""
        if self.number in self.desk.held:
            if self._newest is not None and self._found.count(self._newest) < len(self._found):
                self._repair(self._newest)
            self.desk.close(self)

    # ------------------------------------------------------------------------------------

    def _weigh(self, record: bytes) -> bytes:
        """Compare a record with the newest so far; equal ones are kept once."""
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
        """Take a record apart.  Raises `CorruptRecordError`, also if it is another key's."""
        record = unpack_record(data)
        if record.key != self._message.key or record.bucket != self._message.bucket:
            raise CorruptRecordError("it is another key's record")
        self._checked = data
        return record

    def _repair(self, newest: bytes) -> None:
        """Bring every owner up to date that has answered and is not."""
        if newest is not self._checked:
            try:
                self._check(newest)
            except CorruptRecordError:
                return
        repair = RepairReplica(self.place.digest, newest)
        for owner, held in zip(self.owners, self._found, strict=True):
            if held not in (_UNHEARD, newest):
                self.desk.outbox.send(self.desk.nodes.storages[owner], repair)
