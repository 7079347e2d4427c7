"""The acceptor of one disk: it votes on the ring record of the next epoch.

    PrepareRing    promise to accept nothing below a ballot; say what was accepted so far
    AcceptRing     accept a record, unless a higher ballot was promised

Source: Lamport, *Paxos Made Simple* (2001), section 2.2.  Storage answers after its commit, so
promises and acceptances are durable before any node can count them.

A disk that took the place of another has forgotten the promises of that one, so it does not vote
until a record lists it.  The founding record lists no disks; there, a disk votes if it was not
replaced, or was rebuilt.
"""

from __future__ import annotations

from toystore.core.protocol.messages.ring import (
    AcceptRing,
    AcceptRingReply,
    PrepareRing,
    PrepareRingReply,
)
from toystore.core.ring.record import RingRecordError, unpack_ring
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.ring_records import RingRecords
from toystore.core.storage.ring_vote import Ballot, RottenVoteError, Vote, read_vote, write_vote
from toystore.core.storage.store import Store

_NONE = Ballot(0, "")


class _RefusedError(Exception):
    """This disk does not vote on what it is asked; the text says why."""


class Acceptor:
    """The vote in ``store``."""

    def __init__(self, store: Store, node: str, rings: RingRecords, facts: DiskFacts) -> None:
        self._store = store
        self._node = node
        self._rings = rings
        self._facts = facts

    def prepare(self, message: PrepareRing) -> PrepareRingReply:
        """Promise the ballot, unless a higher one was promised."""
        vote, reason = Vote(message.epoch), ""
        try:
            vote = self._vote_on(message.epoch, message.parent)
        except _RefusedError as refused:
            reason = str(refused)
        else:
            ballot = Ballot(message.counter, message.proposer)
            if ballot > vote.promised:
                vote = vote._replace(promised=ballot)
                write_vote(self._store, vote)
        return PrepareRingReply(
            message.request,
            *vote.promised,
            *vote.accepted,
            vote.record,
            self._rings.after(message.epoch - 1),
            self._facts.disk(),
            reason,
            self._rings.newest().epoch,
        )

    def accept(self, message: AcceptRing) -> AcceptRingReply:
        """Accept the record, unless a higher ballot was promised."""
        promised, reason = _NONE, ""
        try:
            vote = self._vote_on(message.epoch, message.parent)
            self._check(message)
        except _RefusedError as refused:
            reason = str(refused)
        else:
            promised = vote.promised
            ballot = Ballot(message.counter, message.proposer)
            if ballot >= promised:
                promised = ballot
                write_vote(self._store, Vote(message.epoch, ballot, ballot, message.record))
                self._rings.wake()
        return AcceptRingReply(
            message.request,
            *promised,
            self._rings.after(message.epoch - 1),
            self._facts.disk(),
            reason,
            self._rings.newest().epoch,
        )

    def _vote_on(self, epoch: int, parent: bytes) -> Vote:
        """What was voted on this epoch so far.  Raises `_RefusedError`."""
        newest = self._rings.newest()
        if epoch <= newest.epoch:
            raise _RefusedError(f"epoch {epoch} is decided")
        if epoch > newest.epoch + 1:
            raise _RefusedError(f"its newest epoch is {newest.epoch}")
        if parent != newest.child_parent(self._rings.lineage()):
            raise _RefusedError(f"it has another record of epoch {newest.epoch}")
        self._check_disk()
        try:
            vote = read_vote(self._store)
        except RottenVoteError as error:
            raise _RefusedError(str(error)) from None
        return vote if vote.epoch == epoch else Vote(epoch)

    def _check_disk(self) -> None:
        """Raise `_RefusedError` unless this disk is the voter that the newest record lists."""
        newest = self._rings.newest()
        listed = next((one for one in newest.voters if one.name == self._node), None)
        if listed is None:
            raise _RefusedError(f"it is no voter of epoch {newest.epoch}")
        if listed.disk not in ("", self._facts.disk()):
            raise _RefusedError(f"its disk is not the one that epoch {newest.epoch} lists")
        if not listed.disk and not self._facts.votes():
            raise _RefusedError("its disk is not confirmed yet, or is being rebuilt")

    def _check(self, message: AcceptRing) -> None:
        """Raise `_RefusedError` unless the record may come next."""
        try:
            record = unpack_ring(message.record)
        except RingRecordError as error:
            raise _RefusedError(str(error)) from None
        if not record.follows(self._rings.newest(), self._rings.lineage()):
            raise _RefusedError(f"the record does not follow epoch {message.epoch - 1}")
