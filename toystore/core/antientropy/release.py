"""Ranges that this node gives away: what another member lacks of them is pushed there first.

    state     where                             what is done
    WHOLE     another node takes over the slot  ask that node; once it is whole, the range RETIRED
    RETIRED   the same                          push to it, then the range is RELEASED
    BEHIND    the same                          the same
    STRAY     not an owner                      push to each owner, then RELEASED
    RELEASED                                    swept once the ring is stable (sweep.py)

Only an answer that was asked for in the present epoch retires a range.  From that commit on the new
node answers alone for the slot, and nothing is stored here that would not be pushed.  If the new
node is lost there is no one to ask: the next ring record names another.
"""

from __future__ import annotations

from collections.abc import Collection

from toystore.core.antientropy.aims import Aim
from toystore.core.antientropy.replicas import Replicas
from toystore.core.antientropy.states import States
from toystore.core.antientropy.visits import Visits
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range


class Release:
    """The ranges to give away, and which members each is to be pushed to, or was."""

    def __init__(self, replicas: Replicas, states: States, outbox: Outbox) -> None:
        self.asks = Visits()
        """With the nodes that take over a slot: are they whole?"""
        self.pushes = Visits()
        """With members that lack records, perhaps."""
        self._replicas = replicas
        self._states = states
        self._out = outbox
        self._planned: dict[Range, tuple[RangeState, int]] = {}
        """The ranges to give away: the state for which the visits were planned, and the epoch."""
        self._began: float | None = None
        self._released = 0

    def __len__(self) -> int:
        """How many ranges are to be given away still."""
        return len(self._planned)

    # --- what is learned ----------------------------------------------------------------

    def learn(self, told: Collection[Range], now: Now) -> None:
        """Storage has told of ranges: plan the visits for those whose state is new."""
        states = self._replicas.states
        for of in told:
            planned = self._planned.get(of)
            if planned is None or planned[0] is not states.get(of):
                self._plan(of, now)

    def follow(self, changed: Collection[Range], now: Now) -> None:
        """The ring has changed, and with it these ranges: their visits begin again."""
        for of in changed:
            self._plan(of, now)
        self._finish(now)

    def found(self, of: Range, partner: str, state: RangeState, aim: Aim, epoch: int) -> None:
        """A member that was asked in this epoch has this state of a range."""
        if aim is not Aim.ASK or state is not RangeState.WHOLE or epoch != self._replicas.epoch:
            return
        if self.asks.done(of, partner):
            self._states.set(of, RangeState.RETIRED)

    def visited(self, of: Range, partner: str, epoch: int) -> None:
        """All that a member lacked was pushed to it, begun in this epoch."""
        planned = self._planned.get(of)
        if planned is not None and epoch >= planned[1] and self.pushes.done(of, partner):
            self._states.set(of, RangeState.RELEASED)

    def was_set(self, of: Range, state: RangeState, now: Now) -> None:
        """A range has a new state, on the disk."""
        if state is RangeState.RELEASED:
            self._released += 1
        elif state is RangeState.RETIRED:
            # Its last writes may be in no tree that storage has told.
            self._replicas.doubt(of)
        self._plan(of, now)
        self._finish(now)

    def waits_for(self, reachable: Collection[str]) -> set[str]:
        """The members to be asked or pushed to that cannot be reached."""
        return (self.asks.owners() | self.pushes.owners()) - set(reachable)

    # --- one range ----------------------------------------------------------------------

    def _plan(self, of: Range, now: Now) -> None:
        self._forget(of)
        ranges, state = self._replicas.ranges, self._replicas.states.get(of)
        if state in (None, RangeState.RELEASED) or not ranges.loses(of):
            return
        assert state is not None
        slot = ranges.slot(of)
        if slot is None and state is not RangeState.STRAY:
            return  # storage has told of a newer ring record: by that one, this node gets the range
        takes_over = [slot.new] if slot is not None and slot.new is not None else []
        if state is RangeState.STRAY:
            self.pushes.plan(of, ranges.ring.owners(of.partition, of.n))
        elif state is RangeState.RETIRED:
            self.pushes.plan(of, takes_over)
        else:
            self.asks.plan(of, takes_over)
        self._planned[of] = state, self._replicas.epoch
        if self._began is None:
            self._began, self._released = now.monotonic, 0

    def _forget(self, of: Range) -> None:
        if self._planned.pop(of, None) is not None:
            self.asks.forget(of)
            self.pushes.forget(of)
            self._states.forget(of)

    def _finish(self, now: Now) -> None:
        """Log it if nothing is to be given away any more."""
        if self._began is not None and not self._planned:
            took_s = round(now.monotonic - self._began, 3)
            self._out.log("ranges.released", ranges=self._released, took_s=took_s)
            self._began = None
