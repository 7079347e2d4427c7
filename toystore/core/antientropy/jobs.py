"""Repairs that an operator has asked for: ranges are scrubbed, then compared with each other owner.

    queued ──▶ scrub ──▶ compare ──▶ scrub again what had corrupt records ──▶ finished

One job runs at a time on a node, and others while it only waits for owners that cannot be reached.
The last jobs are remembered, so that their progress can be asked for after they have ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from toystore.core.antientropy.parts import Moved
from toystore.core.antientropy.replicas import COMPARED, Replicas
from toystore.core.antientropy.scrub import Scrub
from toystore.core.antientropy.visits import Visits
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import RepairRanges
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range

JOBS_MAX = 16
"""How many jobs are remembered, and how many may be unfinished."""


@dataclass(slots=True)
class Job:
    """One repair."""

    number: int
    ranges: frozenset[Range]
    began: float
    """The monotonic second at which it began."""
    unread: set[Range]
    """The ranges that are to be scrubbed still, or again."""
    compare_at: float = float("inf")
    """When the comparisons begin: the scrub is over, and storage has told what it has found."""
    planned: bool = False
    finished: bool = False
    compared: int = 0
    rotten: int = 0
    repaired: int = 0
    corrupt: dict[Range, int] = field(default_factory=dict)
    """How many corrupt records were found in a range, until it is scrubbed again."""
    moved: Moved = field(default_factory=Moved)
    left: dict[Range, set[str]] = field(default_factory=dict)
    """The other owners that each range is still to be compared with."""

    def visited(self, of: Range, owner: str) -> None:
        """A range was compared with an owner."""
        if owner in self.left.get(of, ()):
            self.compared += 1
            self.left[of].discard(owner)
            if not self.left[of]:
                del self.left[of]

    def waits_for(self, reachable: frozenset[str]) -> set[str]:
        """The owners to be compared with that cannot be reached."""
        return self._owners() - reachable

    def only_waits(self, reachable: frozenset[str]) -> bool:
        """Whether nothing can be done for it before another owner can be reached."""
        owners = self._owners() if self.planned and not self.unread else set()
        return bool(owners) and owners.isdisjoint(reachable)

    def _owners(self) -> set[str]:
        return {owner for owners in self.left.values() for owner in owners}


class Jobs:
    """The repairs of one node."""

    def __init__(
        self, replicas: Replicas, *, scrub: Scrub, settle_s: float, outbox: Outbox
    ) -> None:
        """``settle_s``: how long after the scrub storage has told all that it has found."""
        self.visits = Visits()
        self._replicas = replicas
        self._scrub = scrub
        self._settle_s = settle_s
        self._out = outbox
        self._jobs: dict[int, Job] = {}
        self._waiting: list[Job] = []
        self._running: list[Job] = []

    def ask(self, question: RepairRanges, reachable: frozenset[str], now: Now) -> dict[str, Any]:
        """Begin the job, or say how far it is."""
        job = self._jobs.get(question.job)
        if job is None:
            unfinished = len(self._waiting) + len(self._running)
            if unfinished >= JOBS_MAX:
                return {"error": f"{unfinished} repairs are not finished; try again later"}
            job = self._begin(question, now)
        return self._progress(job, reachable)

    def read(self, of: Range, rotten: int, now: Now) -> None:
        """A range was scrubbed."""
        for job in self._running:
            if of in job.unread:
                self._read(job, of, rotten, now)

    def _read(self, job: Job, of: Range, rotten: int, now: Now) -> None:
        job.unread.discard(of)
        if job.planned:
            job.repaired += max(0, job.corrupt.pop(of) - rotten)
            return
        if rotten:
            job.rotten += rotten
            job.corrupt[of] = rotten
        if not job.unread:
            job.compare_at = now.monotonic + self._settle_s

    def visited(self, of: Range, owner: str) -> None:
        """A range was compared with ``owner``."""
        for job in self._running:
            job.visited(of, owner)
        self.visits.done(of, owner)

    def moved(self, moved: Moved) -> None:
        """So much has crossed in the meantime."""
        for job in self._running:
            job.moved.add(moved)

    def go_on(self, reachable: frozenset[str], now: Now) -> None:
        """Begin the comparisons, end jobs, begin the next."""
        for job in list(self._running):
            self._go_on(job, now)
        if self._waiting and all(job.only_waits(reachable) for job in self._running):
            job = self._waiting.pop(0)
            self._running.append(job)
            self._scrub.hurry(sorted(job.ranges))

    def _go_on(self, job: Job, now: Now) -> None:
        if not job.planned and job.compare_at <= now.monotonic:
            job.planned = True
            self._plan(job, job.ranges)
        if not job.planned or job.left or job.unread:
            return
        if job.corrupt:
            job.unread |= job.corrupt.keys()
            self._scrub.hurry(sorted(job.unread))
        else:
            self._finish(job, now)

    def follow(self, changed: Collection[Range]) -> None:
        """The ring has changed, and with it these ranges: the owners that are left are others."""
        for job in self._running:
            self._plan(job, [of for of in job.left if of in changed])

    def _plan(self, job: Job, ranges: Iterable[Range]) -> None:
        """Visit the other owners of ranges, unless this node gives those away, or has already."""
        owned, states = self._replicas.ranges.owned, self._replicas.states
        for of in ranges:
            takes_records = of in owned and states.get(of, RangeState.WHOLE) in COMPARED
            others = self._replicas.ranges.others(of) if takes_records else ()
            self.visits.plan(of, others)
            job.left.pop(of, None)
            if others:
                job.left[of] = set(others)

    @property
    def idle(self) -> bool:
        """Whether no repair runs or waits."""
        return not self._running and not self._waiting

    def next_deadline(self) -> float:
        """When the comparisons begin, in monotonic seconds; infinity if they are not waited for."""
        if not self._running:
            return 0.0 if self._waiting else float("inf")
        return min(map(_due, self._running))

    def _begin(self, question: RepairRanges, now: Now) -> Job:
        wanted = frozenset(
            of
            for of in self._replicas.ranges.owned
            if question.n in (None, of.n) and question.partition in (None, of.partition)
        )
        job = Job(question.job, wanted, now.monotonic, set(wanted))
        if not wanted:
            job.compare_at = now.monotonic
        self._jobs[job.number] = job
        self._waiting.append(job)
        for number in list(self._jobs)[:-JOBS_MAX]:
            if self._jobs[number].finished:
                del self._jobs[number]
        self._out.log("repair.started", job=job.number, ranges=len(wanted))
        return job

    def _finish(self, job: Job, now: Now) -> None:
        job.finished = True
        self._running.remove(job)
        self._out.log(
            "repair.finished",
            job=job.number,
            ranges=len(job.ranges),
            records=job.moved.records,
            bytes=job.moved.bytes,
            rotten=job.rotten,
            repaired=job.repaired,
            took_s=round(now.monotonic - job.began, 3),
        )

    def _progress(self, job: Job, reachable: frozenset[str]) -> dict[str, Any]:
        left = len(job.left) if job.planned and not job.finished else len(job.ranges)
        return {
            "job": job.number,
            "queued": job in self._waiting and bool(self._running),
            "ranges": len(job.ranges),
            "scrubbed": len(job.ranges) - (0 if job.planned else len(job.unread)),
            "done": len(job.ranges) if job.finished else len(job.ranges) - left,
            "compared": job.compared,
            "records": job.moved.records,
            "bytes": job.moved.bytes,
            "rotten": job.rotten,
            "repaired": job.repaired,
            "waits_for": sorted(job.waits_for(reachable)),
            "finished": job.finished,
        }


def _due(job: Job) -> float:
    """When something is to be done for a running job that is not awaited."""
    if job.planned:
        return float("inf") if job.left or job.unread else 0.0
    return job.compare_at
