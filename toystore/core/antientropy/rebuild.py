"""Ranges that are behind become whole: on a new disk, or because this node is their new owner.

Which members a range is compared with:

    its slot moves from a node that is whole    that node: it has every write that counted there
    otherwise                                   each other owner, old or new, that is not lost: any
                                                of them may be the only one that has a write; then
                                                each other member that can be reached, if it still
                                                has records of the range

Each must have the ring record by which the range moves, and only a comparison that has begun since
then counts.  Then storage sets the range as whole, durably, and from that commit on it votes.  An
owner that does not answer is waited for.  After a restart the ranges that are still behind are
compared again, which costs little where nothing differs.

When the floor of a range rises, storage deletes all that it has below (floors.py): the visits begin
again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from toystore.core.antientropy.parts import Moved
from toystore.core.antientropy.replicas import Replicas
from toystore.core.antientropy.states import States
from toystore.core.antientropy.visits import Visits
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range


@dataclass(slots=True)
class Plan:
    """How one range is to become whole."""

    epoch: int
    """Of the ring by which its visits were planned."""
    source: str | None
    """The node from which its slot moves, unless it is known that this is not whole."""
    floor: int
    """Of the range, as its visits were planned."""
    source_is_whole: bool = False


class Rebuild:
    """The ranges that are behind, and which members each is still to be compared with."""

    def __init__(self, replicas: Replicas, states: States, outbox: Outbox) -> None:
        self.visits = Visits()
        """With owners; each is waited for."""
        self.extras = Visits()
        """With other members, after the owners; those that cannot be reached are left out."""
        self._replicas = replicas
        self._states = states
        self._out = outbox
        self._planned: dict[Range, Plan] = {}
        self._reachable: Collection[str] = ()
        self._began: float | None = None
        self._announced = False
        """Whether the log says that it has begun."""
        self._rebuilt = 0
        self._moved = Moved()
        self._waits_for: set[str] = set()

    # --- what is learned ----------------------------------------------------------------

    def learn(self, now: Now, *, more: bool) -> None:
        """Storage has told of ranges: plan the visits for those that are newly behind.

        ``more``: it has not told of all yet.
        """
        ended = self._planned.keys() - self._replicas.behind
        for of in ended:
            self._forget(of)
        for of in [of for of, plan in self._planned.items() if plan.floor != self._floor(of)]:
            self.begin_again(of)
        for of in self._to_fetch():
            if of not in self._planned:
                self._begin(now)
                self._plan(of)
        if self._began is not None and not self._announced and not more:
            self._announced = True
            self._out.log("rebuild.started", ranges=len(self._to_fetch()))
        if ended and not more:
            self._finish(len(self._replicas.behind), now)

    def follow(self, changed: Collection[Range], now: Now) -> None:
        """The ring has changed, and with it these ranges: their visits begin again."""
        for of in self._planned.keys() & changed:
            self._forget(of)
        self.learn(now, more=False)
        self._finish(len(self._replicas.behind), now)

    def reach(self, reachable: Collection[str]) -> None:
        """Other members can be reached than before."""
        self._reachable = reachable
        for of in self.extras.drop(reachable):
            self._states.set(of, RangeState.WHOLE)

    def found(self, of: Range, partner: str, state: RangeState) -> None:
        """A member that was asked has this state of a range."""
        plan = self._planned.get(of)
        if of in self.extras and state is RangeState.NONE:
            self._extra_done(of, partner)
        elif plan is not None and plan.source == partner:
            plan.source_is_whole = state is RangeState.WHOLE
            if not plan.source_is_whole:
                self._visit_all(of, plan)

    def visited(self, of: Range, partner: str, epoch: int) -> None:
        """A range was compared with a member, begun in this epoch."""
        plan = self._planned.get(of)
        if plan is None or epoch < plan.epoch:
            return
        if plan.source is not None and not plan.source_is_whole:
            self._visit_all(of, plan)
        if self.visits.done(of, partner):
            self._owners_done(of, plan)
        elif of in self.extras:
            self._extra_done(of, partner)

    def begin_again(self, of: Range) -> None:
        """What a range has below its new floor will be deleted: visit its owners again."""
        if of in self._planned:
            self._forget(of)
            self._plan(of)

    def moved(self, moved: Moved) -> None:
        """So much has crossed for it."""
        if self._began is not None:
            self._moved.add(moved)

    def was_set(self, of: Range, behind: int, now: Now) -> None:
        """A range is whole, on the disk; ``behind``: how many are not."""
        self._forget(of)
        self._rebuilt += 1
        self._finish(behind, now)

    # --- reports ------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no range is to become whole."""
        return not self._planned

    def waits_for(self, reachable: Collection[str]) -> set[str]:
        """The owners to be visited that cannot be reached."""
        return self.visits.owners() - set(reachable)

    def log_waits(self, reachable: Collection[str]) -> None:
        """Log which owners are waited for, if others are than before."""
        if not self.visits and not self._waits_for:
            return
        waits_for = self.waits_for(reachable)
        if waits_for - self._waits_for:
            self._out.log("rebuild.waits", members=sorted(waits_for))
        self._waits_for = waits_for

    # --- one range ----------------------------------------------------------------------

    def _to_fetch(self) -> list[Range]:
        """The ranges that are behind, without those that this node will not own."""
        ranges = self._replicas.ranges
        return [of for of in self._replicas.behind if not ranges.loses(of)]

    def _plan(self, of: Range) -> None:
        slot = self._replicas.ranges.slot(of)
        source = slot.old if slot is not None and slot.moves else None
        self._planned[of] = plan = Plan(self._replicas.epoch, source, self._floor(of))
        if source is None:
            self._visit_all(of, plan)
        else:
            self.visits.plan(of, [source])

    def _floor(self, of: Range) -> int:
        return self._replicas.floors.get(of, 0)

    def _visit_all(self, of: Range, plan: Plan) -> None:
        """Visit each other owner."""
        plan.source = None
        others = self._replicas.ranges.others(of)
        self.visits.plan(of, others)
        if not others:
            self._owners_done(of, plan)

    def _owners_done(self, of: Range, plan: Plan) -> None:
        """Every owner was visited: visit other members, unless the source alone was enough."""
        ranges = self._replicas.ranges
        extras: list[str] = []
        if plan.source is None and ranges.ring.epoch:
            owners = ranges.owners(of)
            members = ranges.ring.members
            extras = [one for one in members if one not in owners and one in self._reachable]
        self.extras.plan(of, extras)
        if not extras:
            self._states.set(of, RangeState.WHOLE)

    def _extra_done(self, of: Range, partner: str) -> None:
        if self.extras.done(of, partner):
            self._states.set(of, RangeState.WHOLE)

    def _forget(self, of: Range) -> None:
        self._planned.pop(of, None)
        self.visits.forget(of)
        self.extras.forget(of)
        self._states.forget(of)

    def _begin(self, now: Now) -> None:
        if self._began is None:
            self._began = now.monotonic
            self._rebuilt, self._moved = 0, Moved()
            self._announced = False

    def _finish(self, behind: int, now: Now) -> None:
        if self._began is not None and behind <= len(self._replicas.behind) - len(self._to_fetch()):
            self._out.log(
                "rebuild.finished",
                ranges=self._rebuilt,
                records=self._moved.records_in,
                bytes=self._moved.bytes,
                took_s=round(now.monotonic - self._began, 3),
            )
            self._began = None
