"""The proposer: has the voters decide the record of the next epoch, one proposal at a time.

Messages go to the storages of the voters (proposal.py has the rounds).  Ballots are never used
twice: their second part is different for each machine.  What is decided is offered to the own
storage and to all members; the proposal ends when the own storage has adopted it, as any record.
A proposal by an operator replaces one that this node has made by itself.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from functools import partial

from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    AcceptRingReply,
    OfferRings,
    PrepareRing,
    PrepareRingReply,
)
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.proposal import Done, Proposal, Result, Round
from toystore.core.reconfiguration.questions import NEVER, Questions, ignore
from toystore.core.reconfiguration.roster import Roster
from toystore.core.reconfiguration.successors import with_disks
from toystore.core.ring.record import RingRecord, unpack_ring

BACKOFF_S = 0.1
"""The longest pause before the second round; it doubles with each."""
BACKOFF_MAX_S = 2.0
SEE_STATUS = "see: toystore cluster status"


class Proposer:
    """Proposes records; see the module's docstring."""

    def __init__(
        self,
        *,
        following: Following,
        roster: Roster,
        questions: Questions,
        settings: RingSettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        self._following = following
        self._roster = roster
        self._questions = questions
        self._settings = settings
        self._out = outbox
        self._chance = chance
        self._name = f"{questions.node}/{questions.run:x}"
        self._counter = 0
        """The highest counter of a ballot that was used or seen."""
        self._current: Proposal | None = None

    @property
    def idle(self) -> bool:
        """Whether no proposal is under way."""
        return self._current is None

    def propose(
        self, record: RingRecord | None, done: Done, now: Now, without: Collection[str] = ()
    ) -> None:
        """Have the next record decided; a proposal that is under way ends.

        Args:
            record: follows the newest one; None: only finish what another node has begun.
            done: called when the proposal has ended.
            now: the time.
            without: voters that do not count; the record begins a new lineage.
        """
        if self._current is not None:
            self._give_up(self._current, now)
        base = self._following.record
        voters = {one.name: one for one in base.voters if one.name not in without}
        self._current = proposal = Proposal(
            base, record, voters, done, now.monotonic, new_lineage=bool(without)
        )
        why = record.why if record is not None else "what another node has begun to propose"
        self._out.log("ring.proposed", epoch=proposal.epoch, why=why)
        self._begin(proposal, now)

    def on_changed(self, records: Sequence[RingRecord], now: Now) -> None:
        """The own storage has adopted these records."""
        proposal = self._current
        if proposal is None or records[-1].epoch < proposal.epoch:
            return
        next_one = next((one for one in records if one.epoch == proposal.epoch), records[-1])
        if proposal.record is None or proposal.is_own([next_one.packed]):
            self._end(proposal, Result.DECIDED, next_one.why, now)
        else:
            text = f"epoch {next_one.epoch} is another change: {next_one.why}"
            self._end(proposal, Result.OTHER, text, now)

    def go_on(self, now: Now) -> None:
        """Begin the next round, or give up, if that is due."""
        proposal = self._current
        if proposal is None:
            return
        if self._gives_up_at(proposal) <= now.monotonic:
            self._give_up(proposal, now)
        elif proposal.next_at is not None and proposal.next_at <= now.monotonic:
            self._begin(proposal, now)

    def next_deadline(self) -> float:
        """When something is due."""
        proposal = self._current
        if proposal is None:
            return NEVER
        at = self._gives_up_at(proposal)
        return at if proposal.next_at is None else min(at, proposal.next_at)

    # --- the two phases -----------------------------------------------------------------

    def _begin(self, proposal: Proposal, now: Now) -> None:
        """Begin a round: ask for promises under a higher ballot."""
        proposal.next_at = None
        if proposal.decided is not None:
            self._publish(proposal, proposal.decided, now)
            return
        proposal.rounds += 1
        proposal.refusals.clear()
        self._counter += 1
        ballot = self._counter, self._name
        proposal.round = round_ = Round(ballot, set(proposal.voters))
        parent = proposal.base.child_parent(self._following.lineage)
        for voter in proposal.voters:
            self._questions.ask_storage(
                voter,
                lambda number: PrepareRing(number, proposal.epoch, parent, *ballot),
                partial(self._on_prepared, proposal, round_, voter),
                now,
            )
        self._judge(proposal, round_, now)

    def _on_prepared(
        self,
        proposal: Proposal,
        round_: Round,
        voter: str,
        reply: PrepareRingReply | None,
        now: Now,
    ) -> None:
        if not self._is_under_way(proposal, round_) or round_.accepting:
            return
        if self._agrees(proposal, round_, voter, reply, now):
            assert reply is not None
            round_.promised(voter, (reply.accepted, reply.accepted_from), reply.record)
            self._roster.learn_disk(voter, reply.disk)
        self._judge(proposal, round_, now)

    def _accept(self, proposal: Proposal, round_: Round, now: Now) -> None:
        """A majority has promised: ask to accept a record under the same ballot."""
        if not round_.record:
            if proposal.record is None:
                self._end(proposal, Result.NOTHING, "no record was half decided", now)
                return
            round_.record = self._own_form(proposal, proposal.record)
        round_.accepting = True
        round_.waiting, round_.agreed = set(proposal.voters), set()
        parent = proposal.base.child_parent(self._following.lineage)
        for voter in proposal.voters:
            self._questions.ask_storage(
                voter,
                lambda number: AcceptRing(
                    number, proposal.epoch, parent, *round_.ballot, round_.record
                ),
                partial(self._on_accepted, proposal, round_, voter),
                now,
            )

    def _own_form(self, proposal: Proposal, record: RingRecord) -> bytes:
        """The record of a proposal with the disks that are known by now."""
        record = with_disks(record, self._roster.disks)
        packed = (record.split_off() if proposal.new_lineage else record).packed
        proposal.own.add(packed)
        return packed

    def _on_accepted(
        self, proposal: Proposal, round_: Round, voter: str, reply: AcceptRingReply | None, now: Now
    ) -> None:
        if self._is_under_way(proposal, round_):
            if self._agrees(proposal, round_, voter, reply, now):
                round_.agreed.add(voter)
            self._judge(proposal, round_, now)

    def _agrees(
        self,
        proposal: Proposal,
        round_: Round,
        voter: str,
        reply: PrepareRingReply | AcceptRingReply | None,
        now: Now,
    ) -> bool:
        """Whether a voter has promised or accepted; what else it says is made use of."""
        round_.waiting.discard(voter)
        if reply is None:
            proposal.refusals[voter] = "no answer"
        elif reply.newer:
            self._following.offer(reply.newer, now)
            proposal.refusals[voter] = "it has a newer record"
        elif reply.reason:
            proposal.refusals[voter] = reply.reason
            if reply.epoch < proposal.base.epoch:
                self._following.bring_up_to_date(voter, reply.epoch, now)
        elif proposal.listed_disk(voter) not in ("", reply.disk):
            proposal.refusals[voter] = "it answers from another disk"
        elif (reply.promised, reply.promised_to) != round_.ballot:
            self._counter = max(self._counter, reply.promised)
            proposal.refusals[voter] = "it has promised a higher ballot"
        else:
            return True
        return False

    def _judge(self, proposal: Proposal, round_: Round, now: Now) -> None:
        """Go on if a majority has agreed; plan another round if none can."""
        if proposal.round is not round_:
            return
        if len(round_.agreed) >= proposal.majority:
            if not round_.accepting:
                self._accept(proposal, round_, now)
            else:
                self._decided(proposal, unpack_ring(round_.record), now)
        elif len(round_.agreed) + len(round_.waiting) < proposal.majority:
            proposal.round = None
            longest = min(BACKOFF_S * 2**proposal.rounds, BACKOFF_MAX_S)
            proposal.next_at = now.monotonic + self._chance.uniform(longest / 2, longest)

    def _is_under_way(self, proposal: Proposal, round_: Round) -> bool:
        return self._current is proposal and proposal.round is round_

    # --- what is decided ----------------------------------------------------------------

    def _decided(self, proposal: Proposal, record: RingRecord, now: Now) -> None:
        """A majority has accepted: this record is the next one, whatever happens."""
        assert proposal.round is not None
        self._out.log(
            "ring.decided",
            epoch=record.epoch,
            why=record.why,
            voters=sorted(proposal.round.agreed),
            took_s=round(now.monotonic - proposal.began, 3),
        )
        proposal.decided, proposal.round = record, None
        self._publish(proposal, record, now)

    def _publish(self, proposal: Proposal, record: RingRecord, now: Now) -> None:
        """Offer it to all; to the own storage again until that has adopted it."""
        packed = (record.packed,)
        self._following.offer(packed, now)
        for name in sorted({*proposal.base.all, *record.all} - {self._questions.node}):
            self._questions.ask_storage(
                name, lambda number: OfferRings(number, packed), ignore, now
            )
        proposal.next_at = now.monotonic + self._settings.reply_timeout_s

    # --- how it ends --------------------------------------------------------------------

    def _gives_up_at(self, proposal: Proposal) -> float:
        return proposal.began + self._settings.decide_s

    def _give_up(self, proposal: Proposal, now: Now) -> None:
        """There is no more time, or something else is more urgent."""
        if proposal.decided is not None:
            self.on_changed([proposal.decided], now)
            return
        text = proposal.lacking()
        if proposal.record is not None:
            self._out.log(
                "ring.undecided", epoch=proposal.epoch, why=proposal.record.why, reason=text
            )
        if proposal.own:
            text = f"it may still be decided ({text}); {SEE_STATUS}"
            self._end(proposal, Result.UNKNOWN, text, now)
        else:
            self._end(proposal, Result.UNREACHABLE, text, now)

    def _end(self, proposal: Proposal, result: Result, text: str, now: Now) -> None:
        self._current = None
        proposal.done(result, text, now)
