"""The anti-entropy machine: replicas become equal without a read (Dynamo, section 4.7).

    Antientropy           messages, timers, links, and what is logged
     |- Watch             storage tells which ranges have changed                  (watch.py)
     |- Replicas          the trees of this node's ranges, as storage tells them   (replicas.py)
     |- Partner           for each other owner: what is due, what differs          (partner.py)
     |   '- Comparison    one range that differs, made equal in both directions    (comparison.py)
     |- Rebuild           ranges whose records were lost with another disk         (rebuild.py)
     |- Scrub             reads each record, and finds the corrupt ones            (scrub.py)
     |- Jobs              repairs that an operator has asked for                   (jobs.py)
     |- Questions         what storages were asked                                 (questions.py)
     '- Pace              the pauses between batches                               (pace.py)

The machine asks its own storage to be told when ranges change, and the answer comes as soon as one
has.  A range that has changed and has rested is compared with its other owners: their roots first,
then the stretches that differ, then single records.  While nothing changes, no message is sent.
"""

from __future__ import annotations

import random
from typing import Any

from toystore.core.antientropy.comparison import Moved
from toystore.core.antientropy.jobs import Jobs
from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.partner import Kit, Partner
from toystore.core.antientropy.questions import Questions
from toystore.core.antientropy.rebuild import Rebuild
from toystore.core.antientropy.replicas import Replicas
from toystore.core.antientropy.scrub import Scrub
from toystore.core.antientropy.watch import Watch
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import (
    AntientropyStatus,
    AntientropyStatusReply,
    RepairRanges,
    RepairRangesReply,
    WatchRangesReply,
)
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged, SendFailed
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range, Ranges

COMPARISONS_MAX = 2
"""With how many other owners records are compared at once."""


class Antientropy:
    """Compares the ranges of one node with their other owners."""

    def __init__(
        self,
        *,
        node: str,
        ranges: Ranges,
        settings: AntientropySettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        """``ranges``: those of the ring; the node's own are compared."""
        self._node = node
        self._settings = settings
        self._out = outbox
        own = Peer(node, STORAGE)
        self._replicas = replicas = Replicas(ranges, settings)
        self._questions = questions = Questions(settings.reply_timeout_s, outbox, chance)
        self._pace = pace = Pace(settings.move_bytes_per_s)
        self._watch = Watch(own, questions, settings, self._on_told)
        self._rebuild = Rebuild(
            own=own, ranges=ranges, replicas=replicas, questions=questions, outbox=outbox
        )
        self._scrub = Scrub(
            ranges,
            own=own,
            every_s=settings.scrub_s,
            pace=pace,
            questions=questions,
            outbox=outbox,
            chance=chance,
            read=self._on_read,
        )
        self._jobs = Jobs(ranges, scrub=self._scrub, settle_s=2 * settings.rest_s, outbox=outbox)
        kit = Kit(
            own,
            replicas,
            questions,
            pace,
            settings,
            self._rebuild.visits,
            self._jobs.visits,
            chance,
        )
        self._partners = [
            Partner(name, shared, kit, self) for name, shared in _shared(ranges).items()
        ]
        self._turn = 0
        """The partner that begins the next turn: all have their share of the pace."""
        self._alive = {node}
        self._linked = {node}
        self._moved = Moved()
        self._compared = 0
        self._causes: dict[str, str] = {}
        """The last failure that was logged, by partner."""

    # --- the machine --------------------------------------------------------------------

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Receive one message."""
        match message:
            case MembersChanged():
                self._members_changed(message, now)
            case LinkUp():
                self._linked.add(message.node)
                self._hurry(message.node, now)
            case LinkLost():
                self._linked.discard(message.node)
                self._questions.lost(message.node, f"the link to {message.node} is lost", now)
            case SendFailed():
                self._questions.send_failed(message, now)
            case AntientropyStatus():
                self._out.send(sender, AntientropyStatusReply(message.request, self._status()))
            case RepairRanges():
                progress = self._jobs.ask(message, self._reachable(), now)
                self._out.send(sender, RepairRangesReply(message.request, progress))
            case _ if hasattr(message, "request"):
                self._questions.answered(message, now)
        self._go_on(now)

    def on_deadline(self, now: Now) -> None:
        """Fail the questions that are due, then do what is due."""
        due = self._questions.next_deadline()
        if now.monotonic - due > self._settings.stall_s:
            self._out.log("actor.stalled", late_s=round(now.monotonic - due, 3))
            self._questions.extend(now)
        self._questions.expire(now)
        self._go_on(now)

    def next_deadline(self) -> float | None:
        """When something is due; None if only a message can change anything."""
        reachable = self._reachable()
        due = min(
            self._watch.next_deadline(),
            self._questions.next_deadline(),
            self._rebuild.next_deadline(),
            self._scrub.next_deadline(),
            self._jobs.next_deadline(),
            *(one.next_deadline() for one in self._partners if self._may_go_on(one, reachable)),
        )
        return None if due == float("inf") else due

    def on_failure(self, now: Now) -> None:
        """No caller waits for long, and the next machine compares everything once."""

    @property
    def idle(self) -> bool:
        """Whether nothing is to be compared, rebuilt or repaired, as far as storage has told."""
        return (
            self._watch.is_open
            and self._rebuild.idle
            and self._jobs.idle
            and all(partner.idle for partner in self._partners)
        )

    def _go_on(self, now: Now) -> None:
        """Let each part do what is due."""
        reachable = self._reachable()
        self._watch.go_on(now, hurried=bool(self._rebuild.visits or self._jobs.visits))
        self._turn += 1
        for at in range(len(self._partners)):
            partner = self._partners[(self._turn + at) % len(self._partners)]
            if self._may_go_on(partner, reachable):
                partner.go_on(reachable, now)
        self._rebuild.go_on(reachable, now)
        self._jobs.go_on(now)
        self._scrub.go_on(now)

    def _may_go_on(self, partner: Partner, reachable: frozenset[str]) -> bool:
        """Whether a partner can be reached and, if it is to be compared with, may be by now."""
        if partner.name not in reachable:
            return False
        others = sum(one.comparing for one in self._partners if one.name in reachable)
        return partner.comparing or not partner.waits_to_compare or others < COMPARISONS_MAX

    # --- what the parts report ----------------------------------------------------------

    def _on_told(self, reply: WatchRangesReply, now: Now) -> None:
        """Storage has told of ranges."""
        fresh = self._replicas.learn(reply.ranges, now.monotonic)
        self._rebuild.learn(now, more=reply.more)
        for partner in self._partners:
            partner.changed(fresh, now.monotonic)

    def _on_read(self, of: Range, rotten: int, now: Now) -> None:
        self._jobs.read(of, rotten, now)

    def visited(self, of: Range, partner: str, now: Now, *, rebuilding: bool) -> None:  # noqa: ARG002 - of Events
        """A range was compared with a partner, and is equal or was made equal."""
        self._compared += 1
        if rebuilding:
            self._rebuild.visited(of, partner)
        self._jobs.visited(of, partner)

    def ended(self, partner: str, moved: Moved, ranges: int, cause: str, now: Now) -> None:  # noqa: ARG002 - of Events
        """All that differed was compared with a partner, or something has failed."""
        self._moved.add(moved)
        self._rebuild.moved(moved)
        self._jobs.moved(moved)
        if moved.records:
            self._out.log(
                "replicas.synchronised",
                member=partner,
                ranges=ranges,
                received=moved.records_in,
                sent=moved.records_out,
                bytes=moved.bytes,
            )
        if cause and self._causes.get(partner) != cause:
            self._out.log("comparison.failed", member=partner, cause=cause)
        self._causes[partner] = cause

    def _status(self) -> dict[str, Any]:
        moved, reachable = self._moved, self._reachable()
        return {
            "behind": len(self._replicas.behind),
            "waits_for": sorted(self._rebuild.waits_for(reachable)),
            "records_in": moved.records_in,
            "records_out": moved.records_out,
            "bytes_in": moved.bytes_in,
            "bytes_out": moved.bytes_out,
            "compared": self._compared,
            "asked": self._questions.asked,
            "rotten": self._scrub.rotten,
            "scrubbed": round(self._scrub.share, 3),
        }

    # --- which owners can be reached ----------------------------------------------------

    def _members_changed(self, message: MembersChanged, now: Now) -> None:
        for name, status, *_ in message.members:
            if status == MemberStatus.ALIVE:
                if name not in self._alive:
                    self._alive.add(name)
                    self._hurry(name, now)
            elif name != self._node:
                self._alive.discard(name)

    def _hurry(self, node: str, now: Now) -> None:
        for partner in self._partners:
            if partner.name == node:
                partner.hurry(now.monotonic)

    def _reachable(self) -> frozenset[str]:
        return frozenset(self._alive & self._linked)


def _shared(ranges: Ranges) -> dict[str, list[Range]]:
    """The ranges that a node shares with each other owner, by its name."""
    shared: dict[str, list[Range]] = {}
    for of in sorted(ranges.owned):
        for name in ranges.others(of):
            shared.setdefault(name, []).append(of)
    return shared
