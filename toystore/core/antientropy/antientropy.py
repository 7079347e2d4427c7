"""The anti-entropy machine: replicas become equal without a read (Dynamo, section 4.7).

    Antientropy           messages, timers, links, and what is logged
     |- Watch             storage tells which ranges have changed                  (watch.py)
     |- Replicas          the state and tree of each range, as storage tells       (replicas.py)
     |- Partner           for each other member: what is due, what differs         (partner.py)
     |   '- Comparison    ranges that differ are made equal                        (comparison.py)
     |- Rebuild           ranges that are behind, on a new disk or a new owner     (rebuild.py)
     |- Release           ranges that are given away                               (release.py)
     |- Sweep             deletes those, once the ring is stable                   (sweep.py)
     |- States            has storage set the state of a range                     (states.py)
     |- Floors            has storage raise floors to those of other owners        (floors.py)
     |- Reaping           removes tombstones, once all members agree               (reaping.py)
     |- Scrub             reads each record, and finds the corrupt ones            (scrub.py)
     |- Jobs              repairs that an operator has asked for                   (jobs.py)
     |- Questions         what storages were asked                     (protocol/questions.py)
     '- Pace              the pauses between batches                               (pace.py)

The machine asks its own storage to be told when ranges change, and the answer comes as soon as one
has.  A range that has changed and has rested is compared with its other owners: their roots first,
then the stretches that differ, then single records.  While nothing changes, no message is sent.
When the ring changes, all that moves does so by such comparisons.
"""

from __future__ import annotations

import random
from typing import Any

from toystore.core.antientropy.aims import Aim, Errand
from toystore.core.antientropy.floors import Floors
from toystore.core.antientropy.jobs import Jobs
from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.partner import Kit, Partner
from toystore.core.antientropy.parts import Moved
from toystore.core.antientropy.reaping import Reaping
from toystore.core.antientropy.rebuild import Rebuild
from toystore.core.antientropy.release import Release
from toystore.core.antientropy.replicas import Replicas
from toystore.core.antientropy.scrub import Scrub
from toystore.core.antientropy.states import States
from toystore.core.antientropy.sweep import Sweep
from toystore.core.antientropy.watch import Watch
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import (
    AntientropyStatus,
    AntientropyStatusReply,
    Overloaded,
    RepairRanges,
    RepairRangesReply,
    WatchRangesReply,
)
from toystore.core.protocol.messages.codes import MemberStatus, RangeState
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged, SendFailed
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.questions import Questions
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.record import RingRecord, unpack_ring

NEVER = float("inf")
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
        self._own = own
        self._replicas = replicas = Replicas(ranges, settings)
        self._questions = questions = Questions(settings.reply_timeout_s, outbox, chance)
        self._pace = pace = Pace(settings.move_bytes_per_s, settings.pause_factor)
        self._watch = Watch(own, questions, settings, self._on_told)
        self._states = states = States(own, replicas, questions, self._on_set)
        self._rebuild = Rebuild(replicas, states, outbox)
        self._release = Release(replicas, states, outbox)
        self._sweep = Sweep(own, replicas, pace, questions, outbox)
        self._floors = Floors(
            own,
            replicas,
            pace,
            questions,
            self._rebuild.begin_again,
            settings.reap_after_s,
            outbox,
        )
        self._reaping = Reaping(own, replicas, settings, pace, questions, outbox)
        self._scrub = Scrub(
            replicas,
            own=own,
            every_s=settings.scrub_s,
            pace=pace,
            questions=questions,
            outbox=outbox,
            chance=chance,
            read=self._on_read,
        )
        self._jobs = Jobs(replicas, scrub=self._scrub, settle_s=2 * settings.rest_s, outbox=outbox)
        errands = (
            Errand(self._rebuild.visits, Aim.FETCH),
            Errand(self._rebuild.extras, Aim.FETCH),
            Errand(self._release.asks, Aim.ASK),
            Errand(self._release.pushes, Aim.PUSH),
            Errand(self._jobs.visits, Aim.EQUAL),
        )
        self._kit = Kit(own, replicas, self._floors, questions, pace, settings, errands, chance)
        self._partners: list[Partner] = []
        self._turn = 0
        """The partner that begins the next turn: all have their share of the pace."""
        self._alive = {node}
        self._linked = {node}
        self._reachable = frozenset((node,))
        self._moved = Moved()
        self._compared = 0
        self._causes: dict[str, str] = {}
        """The last failure that was logged, by partner."""
        self._chance = chance
        self._news: tuple[float, RingRecord] | None = None
        """A newer ring record, and when it is followed, in monotonic seconds."""
        self._due: float | None = None
        """When something is due, in monotonic seconds; None if that is not known."""
        self._share(0.0)

    # --- the machine --------------------------------------------------------------------

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Receive one message."""
        match message:
            case MembersChanged():
                self._members_changed(message, now)
            case LinkUp():
                self._linked.add(message.node)
                self._reach()
                self._hurry(message.node, now)
            case LinkLost():
                self._linked.discard(message.node)
                self._reach()
                self._lose(message.node, f"the link to {message.node} is lost", now)
            case RingChanged():
                self._ring_changed(unpack_ring(message.record), now)
            case Overloaded():
                self._pace.slow_down(now.monotonic)
            case SendFailed():
                self._questions.send_failed(message, now)
            case AntientropyStatus():
                self._out.send(sender, AntientropyStatusReply(message.request, self._status()))
            case RepairRanges():
                progress = self._jobs.ask(message, self._reachable, now)
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
        if self._due is None:
            self._due = self._next_due()
        return None if self._due == NEVER else self._due

    def _next_due(self) -> float:
        return min(
            NEVER if self._news is None else self._news[0],
            self._watch.next_deadline(),
            self._questions.next_deadline(),
            self._states.next_deadline(),
            self._floors.next_deadline(),
            self._sweep.next_deadline(),
            self._reaping.next_deadline(),
            self._scrub.next_deadline(),
            self._jobs.next_deadline(),
            *(one.next_deadline() for one in self._partners if self._may_go_on(one)),
        )

    def on_failure(self, now: Now) -> None:
        """No caller waits for long, and the next machine compares everything once."""

    @property
    def idle(self) -> bool:
        """Whether nothing is to be compared, rebuilt or repaired, as far as storage has told."""
        return (
            self._news is None
            and self._watch.is_open
            and self._rebuild.idle
            and not self._release
            and not self._sweep
            and self._jobs.idle
            and all(partner.idle for partner in self._partners)
        )

    def _go_on(self, now: Now) -> None:
        """Let each part do what is due."""
        self._due = None
        if self._news is not None and self._news[0] <= now.monotonic:
            self._follow(self._news[1], now)
        self._watch.go_on(now, hurried=any(visits for visits, _ in self._kit.errands))
        self._turn += 1
        turn = self._turn % max(1, len(self._partners))
        for partner in (*self._partners[turn:], *self._partners[:turn]):
            if self._may_go_on(partner):
                partner.go_on(self._reachable, now)
        self._rebuild.log_waits(self._reachable)
        self._states.go_on(now)
        self._floors.go_on(now)
        self._sweep.go_on(now)
        self._reaping.go_on(self._reachable, now)
        self._jobs.go_on(self._reachable, now)
        self._scrub.go_on(now)

    def _may_go_on(self, partner: Partner) -> bool:
        """Whether a partner can be reached and, if it is to be compared with, may be by now."""
        if partner.name not in self._reachable:
            return False
        waits = partner.waits_to_compare and not partner.comparing
        return not waits or self._comparing() < COMPARISONS_MAX

    def _comparing(self) -> int:
        """With how many members records are compared."""
        return sum(one.comparing for one in self._partners if one.name in self._reachable)

    # --- what the parts report ----------------------------------------------------------

    def _on_told(self, reply: WatchRangesReply, now: Now) -> None:
        """Storage has told of ranges."""
        fresh = self._replicas.learn(reply.ranges, now.monotonic)
        told = [Range(one.n, one.partition) for one in reply.ranges]
        self._rebuild.learn(now, more=reply.more)
        self._release.learn(told, now)
        if not self._release.pushes.owners() <= {one.name for one in self._partners}:
            self._share(now.monotonic)
        self._sweep.learn(told)
        self._reaping.learn(told, now)
        for partner in self._partners:
            partner.changed(fresh, now.monotonic)

    def _on_read(self, of: Range, rotten: int, now: Now) -> None:
        self._jobs.read(of, rotten, now)

    def _on_set(self, of: Range, state: RangeState, behind: int, now: Now) -> None:
        """Storage has set the state of a range."""
        if state is RangeState.WHOLE:
            self._rebuild.was_set(of, behind, now)
        self._release.was_set(of, state, now)
        self._sweep.learn((of,))

    def visited(self, of: Range, partner: str, aim: Aim, epoch: int, now: Now) -> None:  # noqa: ARG002 - of Events
        """A range was compared with a partner, and is equal or was made equal."""
        self._compared += 1
        if aim is Aim.FETCH:
            self._rebuild.visited(of, partner, epoch)
        elif aim is Aim.PUSH:
            self._release.visited(of, partner, epoch)
        self._jobs.visited(of, partner)

    def found(self, of: Range, partner: str, state: RangeState, aim: Aim, epoch: int) -> None:
        """A partner has answered which state a range has there."""
        if aim is Aim.FETCH:
            self._rebuild.found(of, partner, state)
        self._release.found(of, partner, state, aim, epoch)

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
        moved = self._moved
        waits_for = self._rebuild.waits_for(self._reachable)
        return {
            "behind": len(self._replicas.behind),
            "to_release": len(self._release),
            "to_sweep": len(self._sweep),
            "waits_for": sorted(waits_for | self._release.waits_for(self._reachable)),
            "records_in": moved.records_in,
            "records_out": moved.records_out,
            "bytes_in": moved.bytes_in,
            "bytes_out": moved.bytes_out,
            "compared": self._compared,
            "asked": self._questions.asked,
            "tombstones": sum(self._replicas.tombstones.values()),
            "reaping_waits": [*self._reaping.waits, *self._floors.waits],
            "rotten": self._scrub.rotten,
            "scrubbed": round(self._scrub.share, 3),
        }

    # --- the ring -----------------------------------------------------------------------

    def _ring_changed(self, record: RingRecord, now: Now) -> None:
        """A newer ring record was adopted: it is followed soon."""
        if record.epoch > self._replicas.epoch:
            due = now.monotonic + self._chance.random() * self._settings.follow_s
            self._news = (due if self._news is None else self._news[0]), record

    def _follow(self, record: RingRecord, now: Now) -> None:
        """Ranges and members come and go."""
        self._news = None
        before = self._replicas.ranges
        self._replicas.ranges = ranges = before.follow(record)
        changed = {
            of
            for of in before.owned | ranges.owned | self._replicas.states.keys()
            if before.slots(of) != ranges.slots(of)
        }
        for partner in self._partners:
            if partner.name not in ranges.ring.members:
                self._lose(partner.name, f"{partner.name} is no member any more", now)
        self._share(now.monotonic)
        self._reach()
        self._rebuild.follow(changed, now)
        self._release.follow(changed, now)
        self._sweep.learn(changed)
        self._reaping.learn(changed, now)
        self._scrub.follow()
        self._jobs.follow(changed)

    def _share(self, now_s: float) -> None:
        """Make a partner for each other owner of a range, and end those of others.

        A member that shares no range may have records of one once the ring has changed, and may
        have to get some if records are found where they do not belong.
        """
        ranges, kept = self._replicas.ranges, {one.name: one for one in self._partners}
        shared = _shared(ranges)
        if ranges.ring.epoch or self._release.pushes:
            shared = {name: [] for name in ranges.ring.members if name != self._node} | shared
        self._partners = []
        for name, owned in shared.items():
            partner = kept.get(name) or Partner(name, self._kit, self)
            partner.share(owned, now_s)
            self._partners.append(partner)

    # --- which members can be reached ---------------------------------------------------

    def _members_changed(self, message: MembersChanged, now: Now) -> None:
        for name, status, *_ in message.members:
            if status == MemberStatus.ALIVE:
                if name not in self._alive:
                    self._alive.add(name)
                    self._hurry(name, now)
            elif name != self._node:
                self._alive.discard(name)
        self._reach()

    def _hurry(self, node: str, now: Now) -> None:
        for partner in self._partners:
            if partner.name == node:
                partner.hurry(now.monotonic)

    def _lose(self, node: str, cause: str, now: Now) -> None:
        """No question to a node is answered any more, and no comparison goes on."""
        self._questions.lost(node, cause, now)
        for partner in self._partners:
            if partner.name == node:
                partner.dismiss(cause, now)

    def _reach(self) -> None:
        members = self._replicas.ranges.ring.members.keys()
        self._reachable = frozenset(self._alive & self._linked & members)
        self._rebuild.reach(self._reachable)


def _shared(ranges: Ranges) -> dict[str, list[Range]]:
    """The ranges that a node shares with each other owner, by its name."""
    shared: dict[str, list[Range]] = {}
    for of in sorted(ranges.owned):
        for name in ranges.others(of):
            shared.setdefault(name, []).append(of)
    return shared
