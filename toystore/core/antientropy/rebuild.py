"""Rebuilding: a range whose records were lost with another disk becomes whole.

A range that is behind is compared with each other owner, and not with a majority only: any of
them may be the only one that has a write.  Then storage marks it as whole, durably, and from that
commit on it votes again.  An owner that does not answer is waited for.  After a restart the ranges
that are still behind are compared again, which costs little where nothing differs.
"""

from __future__ import annotations

from typing import Any

from toystore.core.antientropy.comparison import Moved
from toystore.core.antientropy.questions import Questions
from toystore.core.antientropy.replicas import Replicas
from toystore.core.antientropy.visits import Visits
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import MarkWhole, MarkWholeReply
from toystore.core.ring.ranges import Range, Ranges

AGAIN_S = 1.0
"""How soon storage is asked again to mark a range, if that has failed."""


class Rebuild:
    """The ranges that are behind, and which owners each is still to be compared with."""

    def __init__(
        self,
        *,
        own: Peer,
        ranges: Ranges,
        replicas: Replicas,
        questions: Questions,
        outbox: Outbox,
    ) -> None:
        """``own``: the storage of this node."""
        self.visits = Visits()
        self._own = own
        self._ranges = ranges
        self._replicas = replicas
        self._questions = questions
        self._out = outbox
        self._visited: list[Range] = []
        """The ranges that were compared with each other owner, and are not marked yet."""
        self._marking: Range | None = None
        self._mark_at = 0.0
        self._began: float | None = None
        self._announced = False
        """Whether the log says that it has begun."""
        self._rebuilt = 0
        self._moved = Moved()
        self._waits_for: set[str] = set()

    def learn(self, now: Now, *, more: bool) -> None:
        """Storage has told of ranges: plan the visits for those that are newly behind.

        ``more``: it has not told of all yet.
        """
        known = {*self._visited, self._marking}
        for of in self._replicas.behind:
            if of not in self.visits and of not in known:
                self._begin(now)
                others = self._ranges.others(of)
                self.visits.plan(of, others)
                if not others:
                    self._visited.append(of)
        if self._began is not None and not self._announced and not more:
            self._announced = True
            self._out.log("rebuild.started", ranges=len(self._replicas.behind))

    def visited(self, of: Range, owner: str) -> None:
        """A range was compared with ``owner``."""
        if self.visits.done(of, owner):
            self._visited.append(of)

    def moved(self, moved: Moved) -> None:
        """So much has crossed for it."""
        if self._began is not None:
            self._moved.add(moved)

    def go_on(self, reachable: frozenset[str], now: Now) -> None:
        """Have the next range marked; log which owners are waited for."""
        self._log_waits(reachable)
        if self._visited and self._marking is None and self._mark_at <= now.monotonic:
            self._marking = of = self._visited.pop()
            self._questions.ask(self._own, lambda number: MarkWhole(number, *of), self, now)

    @property
    def idle(self) -> bool:
        """Whether no range is behind."""
        return not (self.visits or self._visited or self._marking)

    def next_deadline(self) -> float:
        """When a range can be marked, in monotonic seconds; infinity if there is none."""
        waits = self._visited and self._marking is None
        return self._mark_at if waits else float("inf")

    def waits_for(self, reachable: frozenset[str]) -> set[str]:
        """The owners to be visited that cannot be reached."""
        return self.visits.owners() - reachable

    def on_reply(self, reply: Any, now: Now) -> None:
        """The range is whole, on the disk."""
        assert isinstance(reply, MarkWholeReply)
        if self._marking is not None:
            self._replicas.behind.discard(self._marking)
            self._marking = None
            self._rebuilt += 1
        if not reply.more:
            self._finish(now)

    def on_failed(self, _cause: str, now: Now) -> None:
        """Storage has not marked it."""
        if self._marking is not None:
            self._visited.append(self._marking)
            self._marking = None
        self._mark_at = now.monotonic + AGAIN_S

    def _begin(self, now: Now) -> None:
        if self._began is None:
            self._began = now.monotonic
            self._rebuilt, self._moved = 0, Moved()
            self._announced = False

    def _finish(self, now: Now) -> None:
        if self._began is not None:
            self._out.log(
                "rebuild.finished",
                ranges=self._rebuilt,
                records=self._moved.records_in,
                bytes=self._moved.bytes,
                took_s=round(now.monotonic - self._began, 3),
            )
            self._began = None

    def _log_waits(self, reachable: frozenset[str]) -> None:
        waits_for = self.waits_for(reachable)
        if waits_for - self._waits_for:
            self._out.log("rebuild.waits", members=sorted(waits_for))
        self._waits_for = waits_for
