"""One other member: which ranges are compared with it, when, and which of them are equal.

    look      which ranges are due: their root is not the one on which both last agreed, and they
              have rested; or they must be visited (visits.py, aims.py)
    ask       one `CompareRanges` with the roots and floors of all that are due
    raise     the own floor, where that of the other owner is higher (floors.py)
    compare   the ranges that differ (comparison.py), unless the aim is only to ask

Without changes there is nothing to look for, and no message.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from toystore.core.antientropy.aims import Aim, Errand
from toystore.core.antientropy.answers import Answer, Asked, answers
from toystore.core.antientropy.comparison import Comparison
from toystore.core.antientropy.floors import Floors
from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.parts import Moved, Part
from toystore.core.antientropy.replicas import COMPARED, Replicas
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import CompareRanges, CompareRangesReply
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.questions import Questions
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range

ASKED_MAX = 4096
"""How many roots are sent in one message."""
_NEVER = float("inf")


class Kit(NamedTuple):
    """What all partners of a node share."""

    own: Peer
    """The storage of this node."""
    replicas: Replicas
    floors: Floors
    questions: Questions
    pace: Pace
    settings: AntientropySettings
    errands: tuple[Errand, ...]
    """What is visited, in the order of asking."""
    chance: random.Random


class Events(Protocol):
    """What a partner reports."""

    def visited(self, of: Range, partner: str, aim: Aim, epoch: int, now: Now) -> None:
        """A range was compared with the partner, and is equal or was made equal.

        Unless the aim was to make both equal, no record was left out.  ``epoch``: of this node, as
        the comparison began.
        """

    def found(self, of: Range, partner: str, state: RangeState, aim: Aim, epoch: int) -> None:
        """The partner has answered which state the range has there."""

    def ended(self, partner: str, moved: Moved, ranges: int, cause: str, now: Now) -> None:
        """All ranges that differed were compared; ``cause``: why not all was made equal, or ""."""


class Partner:
    """Another member, and the ranges that are compared with it."""

    def __init__(self, name: str, kit: Kit, events: Events) -> None:
        self.name = name
        self.storage = Peer(name, STORAGE)
        self.shared: frozenset[Range] = frozenset()
        """The ranges that both own."""
        self._kit = kit
        self._events = events
        self._agreed: dict[Range, bytes] = {}
        self._due: set[Range] = set()
        """The ranges whose root is not the one that was agreed on."""
        self._look_at = 0.0
        """When the due ranges are looked at next, in monotonic seconds."""
        self._visit_at = 0.0
        """When the ranges to be visited are."""
        self._asked: dict[Range, Asked] = {}
        """The ranges in the question that is open, or was asked last."""
        self._is_open = False
        self._aim = Aim.EQUAL
        self._epoch = 0
        """Of this node's ring, as the open question was asked or the comparison began."""
        self._next_errand = 0
        self._parts: list[Part] = []
        """What differs and is not compared yet."""
        self._comparison: Comparison | None = None
        self._moved, self._compared = Moved(), 0
        self._left_out = ""
        """Why records were left out of the comparison."""

    # --- what changes -------------------------------------------------------------------

    def changed(self, ranges: Iterable[Range], now_s: float) -> None:
        """The roots of some of this node's ranges are new."""
        if not self._due:
            self._look_at = max(self._look_at, now_s + self._jitter_s())
        for of in self.shared.intersection(ranges):
            if self._agreed.get(of) == self._kit.replicas.roots[of]:
                self._due.discard(of)
            else:
                self._due.add(of)

    def share(self, shared: Iterable[Range], now_s: float) -> None:
        """These are the ranges that both own: the ring is new."""
        before, self.shared = self.shared, frozenset(shared)
        self._due &= self.shared
        self._agreed = {of: root for of, root in self._agreed.items() if of in self.shared}
        states = self._kit.replicas.states
        fresh = [of for of in self.shared - before if states.get(of) in COMPARED]
        if fresh:
            self.changed(fresh, now_s)

    def dismiss(self, cause: str, now: Now) -> None:
        """End what is under way: the member cannot be reached, or is no member any more."""
        self._parts = []
        if self._comparison is not None:
            self._comparison.on_failed(cause, now)

    def hurry(self, now_s: float) -> None:
        """The partner can be reached again."""
        self._visit_at = now_s
        self._look_at = now_s + self._jitter_s()

    # --- what is done -------------------------------------------------------------------

    def go_on(self, reachable: frozenset[str], now: Now) -> None:
        """Do what is due; ``reachable``: the nodes that can be asked."""
        if self._parts:
            self._begin(now)
        if self._comparison is not None:
            if self._kit.pace.ready_at <= now.monotonic:
                self._comparison.go_on(now)
        elif not self._is_open:
            self._ask(reachable, now)

    def next_deadline(self) -> float:
        """When something is due, in monotonic seconds; infinity if an answer is awaited."""
        if self._parts or (self._comparison is not None and self._comparison.is_ready):
            return self._kit.pace.ready_at
        if self._comparison is not None or self._is_open:
            return _NEVER
        look_at = self._look_at if self._due else _NEVER
        return min(look_at, self._visit_at) if self._has_visits() else look_at

    def _jitter_s(self) -> float:
        """A random wait: two owners that see the same difference do not both bring the record."""
        return self._kit.chance.uniform(0.0, self._kit.settings.compare_s)

    @property
    def comparing(self) -> bool:
        """Whether records are compared."""
        return self._comparison is not None

    @property
    def idle(self) -> bool:
        """Whether all ranges are known to be equal there."""
        return not (self._due or self._parts or self._comparison or self._is_open)

    @property
    def waits_to_compare(self) -> bool:
        """Whether ranges that differ are known."""
        return bool(self._parts)

    def _has_visits(self) -> bool:
        return any(visits.has_owner(self.name) for visits, _ in self._kit.errands)

    def _ask(self, reachable: frozenset[str], now: Now) -> None:
        """Ask which of the due ranges differ, if any is due."""
        asked, self._aim = self._choose(reachable, now.monotonic)
        if not asked:
            return
        replicas, epoch = self._kit.replicas, self._kit.replicas.epoch
        self._epoch, self._is_open = epoch, True
        self._asked = {of: Asked(replicas.roots[of], replicas.floors.get(of, 0)) for of in asked}
        for of in asked:
            replicas.compared(of)
        roots = tuple((*of, one.root) for of, one in self._asked.items())
        floors = tuple(one.floor for one in self._asked.values())
        if not any(floors):
            floors = ()
        self._moved.bytes_out += sum(len(root) for *_, root in roots)
        behind = self._aim is Aim.FETCH
        self._kit.questions.ask(
            self.storage,
            lambda number: CompareRanges(number, behind, roots, epoch, floors),
            self,
            now,
        )

    def _choose(self, reachable: frozenset[str], now_s: float) -> tuple[list[Range], Aim]:
        """The ranges to ask for now, and why."""
        replicas, settings = self._kit.replicas, self._kit.settings
        if self._visit_at <= now_s:
            errand = self._choose_errand(reachable, now_s)
            if errand is not None:
                return errand
            self._visit_at = now_s + settings.visit_s
        if self._look_at > now_s:
            return [], Aim.EQUAL
        rested = [
            of
            for of in self._due
            if replicas.states.get(of) is RangeState.WHOLE
            and replicas.has_rested(of, now_s)
            and of not in self._kit.floors
        ]
        self._look_at = now_s + (settings.compare_s if rested else settings.rest_s)
        return sorted(rested)[:ASKED_MAX], Aim.EQUAL

    def _choose_errand(
        self, reachable: frozenset[str], now_s: float
    ) -> tuple[list[Range], Aim] | None:
        """The ranges to visit now, and why.  The aims take turns."""
        replicas, errands = self._kit.replicas, self._kit.errands
        for at in range(self._next_errand, self._next_errand + len(errands)):
            visits, aim = errands[at % len(errands)]
            if visits.has_owner(self.name):
                nearest = visits.next_with(self.name, reachable)
                known = [of for of in nearest if replicas.is_known(of, now_s)]
                chosen = [of for of in known if of not in self._kit.floors]
                if chosen:
                    self._next_errand = (at + 1) % len(errands)
                    return chosen[:ASKED_MAX], aim
        return None

    # --- answers ------------------------------------------------------------------------

    def on_reply(self, reply: CompareRangesReply, now: Now) -> None:
        """The owner says which ranges differ."""
        self._is_open = False
        answered = list(answers(self._asked, reply, self._kit.floors.latest(now)))
        self._kit.floors.judge(self.name, answered, now)
        self._moved.bytes_in += sum(len(one.tree) for one in answered)
        is_ready = all(one.is_ready for one in answered)
        again_at = now.monotonic + (0.0 if is_ready else self._kit.settings.visit_s)
        if is_ready or self._aim is not Aim.EQUAL:
            self._visit_at = again_at
        if any(one.is_rising for one in answered):
            self._look_at = again_at
        for one in answered:
            if one.state is not None:
                self._events.found(one.of, self.name, one.state, self._aim, self._epoch)
        if self._aim is not Aim.ASK:
            for one in answered:
                self._receive(one, now)

    def on_failed(self, cause: str, now: Now) -> None:
        """The owner does not answer."""
        self._is_open = False
        self._fail(cause, now)

    def _receive(self, one: Answer, now: Now) -> None:
        if one.of not in self._kit.replicas.roots:
            return  # by now this node has nothing of the range
        if one.teaches_floor and self._kit.floors.learn(one.of, one.floor):
            return  # it is compared once the own floor is as high
        if one.tree:
            self._add(one, now)
        elif one.is_ready:
            self._agree(one.of, now)

    def _add(self, one: Answer, now: Now) -> None:
        """A range differs; its own tree may be the same by now."""
        direction = one.direction(self._aim)
        stretches = self._kit.replicas.stretches(one.of, one.tree)
        parts = [Part(one.of, *stretch, direction, one.floor) for stretch in stretches]
        self._parts += parts
        if not parts:
            self._visited(one.of, now)

    def _agree(self, of: Range, now: Now) -> None:
        root = self._asked[of].root
        if of in self.shared:
            self._agreed[of] = root
        if self._kit.replicas.roots[of] == root:
            self._due.discard(of)
        self._visited(of, now)

    def _visited(self, of: Range, now: Now) -> None:
        if self._kit.floors.counts(of, self._asked[of].floor):
            self._events.visited(of, self.name, self._aim, self._epoch, now)

    # --- comparing ----------------------------------------------------------------------

    def _begin(self, now: Now) -> None:
        kit = self._kit
        calm = all(kit.replicas.is_calm(part.of, now.monotonic) for part in self._parts)
        self._comparison = Comparison(
            sorted(self._parts, key=_order),
            own=kit.own,
            other=self.storage,
            with_young=calm or self._aim is not Aim.EQUAL,
            questions=kit.questions,
            pace=kit.pace,
            settings=kit.settings,
            observer=self,
        )
        self._parts = []

    def on_stored(self, of: Range, now: Now) -> None:
        """Records of a range were stored here."""
        self._kit.replicas.stored(of, now.monotonic)

    def on_compared(self, of: Range, now: Now) -> None:
        """Every stretch of a range was compared."""
        self._compared += 1
        self._visited(of, now)

    def on_left_out(self, cause: str) -> None:
        """Records were left out that a storage can never store."""
        self._left_out = cause

    def on_ended(self, cause: str, now: Now) -> None:
        """Every range was compared, or ``cause`` has ended the comparison."""
        assert self._comparison is not None
        self._moved.add(self._comparison.moved)
        self._comparison = None
        if cause:
            self._fail(cause, now)
        else:
            self._report(self._left_out, now)

    def _fail(self, cause: str, now: Now) -> None:
        """What is left is found again later."""
        self._look_at = max(self._look_at, now.monotonic + self._kit.settings.rest_s)
        self._visit_at = now.monotonic + self._kit.settings.visit_s
        self._report(cause, now)

    def _report(self, cause: str, now: Now) -> None:
        moved, compared = self._moved, self._compared
        self._moved, self._compared, self._left_out = Moved(), 0, ""
        self._events.ended(self.name, moved, compared, cause, now)


def _order(part: Part) -> tuple[int, str, bytes]:
    """Parts that can be listed and compared at once come after one another."""
    return part.of.n, part.direction.name, part.start
