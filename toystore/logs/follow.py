"""Follows logs, and returns what happens while it happens.

The existing lines are read first, as one report.  Then each step is returned when it is logged,
and each failure when it is over.  Lines of different files that are read at nearly the same time
are sorted: each entry waits for `HOLD_S`.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator

from toystore.logs.entry import Entry
from toystore.logs.report import Finding, Report, Wanted, weigh
from toystore.logs.sources import Tally
from toystore.logs.spool import Spool
from toystore.logs.steps import Step, steps
from toystore.logs.tail import Tails

POLL_S = 0.1
HOLD_S = 0.3
QUIET_S = 3.0
"""A failure is over when nothing was logged about it for this long."""
LOOK_S = 1.0
"""The period of looking for new files and of comparing clocks."""


class Follower:
    """Follows logs; see the module's docstring."""

    def __init__(self, paths: Iterable[str], wanted: Wanted) -> None:
        """Read the existing lines.  Raises `toystore.logs.sources.SourceError`."""
        tally, spool = Tally(), Spool()
        self._tails = Tails(paths, tally)
        for entry in self._tails.read():
            spool.add(entry)
        self.report: Report = weigh(spool, tally, wanted)
        self._nodes = set(spool.nodes)
        self._held: list[tuple[float, int, float, Entry]] = []
        """Entries that wait, by corrected time: with the time of reading, on this machine."""
        self._read = 0
        self._behind_s = 0.0
        """How far the times in the logs are behind this machine's clock."""

    def follow(self) -> Iterator[Step | Finding]:
        """What happens; ends only if all sources are pipes that have ended."""
        looked_at = time.monotonic()
        while not self._tails.ended or self._held:
            now = time.monotonic()
            for entry in self._tails.read():
                self._hold(entry, now)
            for entry in self._due(now):
                yield from self._learn(entry)
            yield from self.report.settle(time.time() - self._behind_s, QUIET_S)
            if now - looked_at > LOOK_S:
                looked_at = now
                self._tails.look_for_more()
                if self.report.hearsay.is_new:
                    self.report.compare_clocks(self._nodes)
            time.sleep(POLL_S)

    def close(self) -> list[Finding]:
        """Close the files; returns the results that are not over."""
        self._tails.close()
        return self.report.close()

    def _hold(self, entry: Entry, now: float) -> None:
        """Let an entry wait: an earlier one may still be read."""
        self._nodes.add(entry.node)
        self.report.hearsay.learn(entry)
        at = entry.at - self.report.clocks.ahead_s(entry.node)
        self._read += 1
        heapq.heappush(self._held, (at, self._read, now, entry._replace(at=at)))

    def _due(self, now: float) -> Iterator[Entry]:
        """The entries that have waited long enough, and earlier ones."""
        ready = now - HOLD_S
        last = max((at for at, _, read, _ in self._held if read <= ready), default=None)
        while self._held and last is not None and self._held[0][0] <= last:
            yield heapq.heappop(self._held)[3]

    def _learn(self, entry: Entry) -> Iterator[Step | Finding]:
        self._behind_s = time.time() - entry.at
        over = self.report.learn(entry)
        if self.report.wanted.node in (None, entry.about):
            yield from steps(entry, self.report.book)
        yield from over
