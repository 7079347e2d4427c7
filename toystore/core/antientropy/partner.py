"""One other owner: which ranges are compared with it, when, and which of them are equal.

    look      which ranges are due: their root is not the one on which both last agreed, and they
              have rested; or they must be visited (visits.py)
    ask       one `CompareRanges` with the roots of all that are due
    compare   the ranges that differ (comparison.py)

Without changes there is nothing to look for, and no message.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from toystore.core.antientropy.comparison import Comparison, Moved, Part
from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.questions import Questions
from toystore.core.antientropy.replicas import Replicas
from toystore.core.antientropy.visits import Visits
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import CompareRanges, CompareRangesReply
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
    questions: Questions
    pace: Pace
    settings: AntientropySettings
    rebuilds: Visits
    repairs: Visits
    chance: random.Random


class Events(Protocol):
    """What a partner reports."""

    def visited(self, of: Range, partner: str, now: Now, *, rebuilding: bool) -> None:
        """A range was compared with the partner, and is equal or was made equal.

        ``rebuilding``: to rebuild it, so no record was left out.
        """

    def ended(self, partner: str, moved: Moved, ranges: int, cause: str, now: Now) -> None:
        """All ranges that differed were compared; ``cause``: why not all was made equal, or ""."""


class Partner:
    """Another owner of some of this node's ranges."""

    def __init__(self, name: str, shared: Iterable[Range], kit: Kit, events: Events) -> None:
        """``shared``: the ranges that both own."""
        self.name = name
        self.storage = Peer(name, STORAGE)
        self.shared = frozenset(shared)
        self._kit = kit
        self._events = events
        self._agreed: dict[Range, bytes] = {}
        self._due: set[Range] = set()
        """The ranges whose root is not the one that was agreed on."""
        self._look_at = 0.0
        """When the due ranges are looked at next, in monotonic seconds."""
        self._visit_at = 0.0
        """When the ranges to be visited are."""
        self._asked: dict[Range, bytes] | None = None
        """The roots in the question that is open."""
        self._rebuilding = False
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
        elif self._asked is None:
            self._ask(reachable, now)

    def next_deadline(self) -> float:
        """When something is due, in monotonic seconds; infinity if an answer is awaited."""
        if self._parts or (self._comparison is not None and self._comparison.is_ready):
            return self._kit.pace.ready_at
        if self._comparison is not None or self._asked is not None:
            return _NEVER
        look_at = self._look_at if self._due else _NEVER
        return min(look_at, self._visit_at) if self._to_visit() else look_at

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
        return not (self._due or self._parts or self._comparison or self._asked)

    @property
    def waits_to_compare(self) -> bool:
        """Whether ranges that differ are known."""
        return bool(self._parts)

    def _to_visit(self) -> bool:
        return any(
            visits.has_owner(self.name) for visits in (self._kit.rebuilds, self._kit.repairs)
        )

    def _ask(self, reachable: frozenset[str], now: Now) -> None:
        """Ask which of the due ranges differ, if any is due."""
        asked, self._rebuilding = self._choose(reachable, now.monotonic)
        if not asked:
            return
        kit = self._kit
        self._asked = {of: kit.replicas.roots[of] for of in asked}
        for of in asked:
            kit.replicas.compared(of)
        roots = tuple((*of, root) for of, root in self._asked.items())
        self._moved.bytes_out += sum(len(root) for *_, root in roots)
        kit.questions.ask(
            self.storage, lambda number: CompareRanges(number, self._rebuilding, roots), self, now
        )

    def _choose(self, reachable: frozenset[str], now_s: float) -> tuple[list[Range], bool]:
        """The ranges to ask for now, and whether this node is behind in them."""
        kit = self._kit
        if self._visit_at <= now_s:
            for visits, rebuilding in ((kit.rebuilds, True), (kit.repairs, False)):
                nearest = visits.next_with(self.name, reachable)
                chosen = [of for of in nearest if kit.replicas.is_known(of, now_s)]
                if chosen:
                    return chosen[:ASKED_MAX], rebuilding
            self._visit_at = now_s + kit.settings.visit_s
        if self._look_at > now_s:
            return [], False
        behind = kit.replicas.behind
        rested = [of for of in self._due if of not in behind and kit.replicas.has_rested(of, now_s)]
        self._look_at = now_s + (kit.settings.compare_s if rested else kit.settings.rest_s)
        return sorted(rested)[:ASKED_MAX], False

    # --- answers ------------------------------------------------------------------------

    def on_reply(self, reply: Any, now: Now) -> None:
        """The owner says which ranges differ."""
        assert isinstance(reply, CompareRangesReply)
        asked, self._asked = self._asked or {}, None
        differing = {Range(n, partition): tree for n, partition, tree in reply.differing}
        unready = {Range(n, partition) for n, partition in reply.unready}
        self._moved.bytes_in += sum(map(len, differing.values()))
        self._visit_at = now.monotonic + (self._kit.settings.visit_s if unready else 0.0)
        for of, root in asked.items():
            if of in differing:
                self._add(of, differing[of], now)
            elif of not in unready:
                self._agree(of, root, now)

    def on_failed(self, cause: str, now: Now) -> None:
        """The owner does not answer."""
        self._asked = None
        self._fail(cause, now)

    def _add(self, of: Range, tree: bytes, now: Now) -> None:
        """A range differs; its own tree may be the same by now."""
        parts = [Part(of, *stretch) for stretch in self._kit.replicas.stretches(of, tree)]
        self._parts += parts
        if not parts:
            self._events.visited(of, self.name, now, rebuilding=self._rebuilding)

    def _agree(self, of: Range, root: bytes, now: Now) -> None:
        self._agreed[of] = root
        if self._kit.replicas.roots[of] == root:
            self._due.discard(of)
        self._events.visited(of, self.name, now, rebuilding=self._rebuilding)

    # --- comparing ----------------------------------------------------------------------

    def _begin(self, now: Now) -> None:
        kit = self._kit
        calm = all(kit.replicas.is_calm(part.of, now.monotonic) for part in self._parts)
        self._comparison = Comparison(
            sorted(self._parts),
            own=kit.own,
            other=self.storage,
            with_young=self._rebuilding or calm,
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
        self._events.visited(of, self.name, now, rebuilding=self._rebuilding)

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
