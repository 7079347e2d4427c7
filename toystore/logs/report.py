"""The results for a set of logs: failures, false accusations, clocks and totals.

There may be many results.  Beyond some megabytes they are kept in a temporary file, and only their
times and positions in memory.
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from math import inf
from typing import Generic, NamedTuple, TypeVar

from toystore.logs import sources
from toystore.logs.casebook import Casebook
from toystore.logs.clocks import estimate
from toystore.logs.entry import Entry
from toystore.logs.episode import LINK_LOST, Episode
from toystore.logs.failure import Failure, FalseAccusation
from toystore.logs.hearsay import Hearsay
from toystore.logs.links import LinkFault
from toystore.logs.names import in_order
from toystore.logs.spool import Spool
from toystore.logs.verdict import Judge

Finding = Failure | FalseAccusation
Found = TypeVar("Found", Failure, FalseAccusation)
MEMORY_BYTES = 8 * 1024 * 1024


class Shelf(Generic[Found]):
    """Results, which are added in any order and read by time."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, prefix="toystore-")  # noqa: SIM115
        self._times = array("d")
        self._places = array("q")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, found: Found) -> None:
        """Add a result."""
        self._times.append(found.at)
        self._places.append(self._file.seek(0, 2))
        pickle.dump(found, self._file)

    def __iter__(self) -> Iterator[Found]:
        for at in sorted(range(len(self._times)), key=self._times.__getitem__):
            self._file.seek(self._places[at])
            yield pickle.load(self._file)


class Wanted(NamedTuple):
    """Selects results."""

    node: str | None = None
    """Only results about this node; None: all."""
    since: float | None = None
    """Only results that ended later, in seconds since 1970 UTC; None: all."""

    def failure(self, failure: Failure) -> bool:
        """Whether a failure is selected."""
        end = max(failure.back_at or failure.at, failure.home_at or failure.at)
        over = self.since is not None and failure.back_at is not None and end < self.since
        return self.node in (None, failure.member) and not over

    def false(self, accusation: FalseAccusation) -> bool:
        """Whether a false accusation is selected."""
        recent = self.since is None or accusation.at >= self.since
        return recent and self.node in (None, accusation.by, accusation.member)

    def link(self, fault: LinkFault) -> bool:
        """Whether a fault of links is selected."""
        over = self.since is not None and fault.until is not None and fault.until < self.since
        return not over and (self.node is None or self.node in fault.members)


EVERYTHING = Wanted()


class Report:
    """See the module's docstring."""

    def __init__(self, tally: sources.Tally, wanted: Wanted) -> None:
        self.tally = tally
        self.wanted = wanted
        self.hearsay = Hearsay()
        self.clocks = estimate({}, ())
        self.book = Casebook()
        self.first_at: float | None = None
        self.last_at: float | None = None
        """The times of the first and the last line, on the reference clock."""
        self.failures: Shelf[Failure] = Shelf()
        self.false: Shelf[FalseAccusation] = Shelf()
        self.unnoticed = 0
        """Failures that at least one observer did not notice."""
        self.wrongly_dead: Counter[str] = Counter()
        """By member: how often it was falsely called dead."""
        self.explained = 0
        """False suspicions, and not deaths, that a fault of links explains."""
        self.failed: Counter[str] = Counter()
        """By member: how often it failed."""
        self.links_lost = 0
        """Lost links without a suspicion."""
        self.lines_lost = 0
        """Lines that nodes could not write (``log.lost``)."""
        self._judge = Judge(self.book, self.clocks)

    def compare_clocks(self, nodes: Iterable[str]) -> None:
        """Estimate the clocks of ``nodes`` from the bounds so far."""
        self.hearsay.is_new = False
        self.clocks = estimate(self.hearsay.bounds, nodes)
        self._judge = Judge(self.book, self.clocks)

    @property
    def members(self) -> list[str]:
        """The nodes that have a log."""
        return in_order(self.book.members)

    def learn(self, entry: Entry) -> list[Finding]:
        """Take an entry; entries come by time.  Returns the results that are complete now."""
        if self.first_at is None:
            self.first_at = entry.at
        self.last_at = entry.at
        if entry.event == "log.lost":
            self.lines_lost += entry.count("lines")
        over = self.book.learn(entry)
        return self._file(over) if over else []

    def close(self) -> list[Finding]:
        """Return the remaining results, at the end of the logs."""
        return self._file(self.book.close())

    def settle(self, now: float, quiet_s: float) -> list[Finding]:
        """Return the results that ended ``quiet_s`` ago."""
        return self._file(self.book.settle(now, quiet_s))

    def _file(self, episodes: Iterable[Episode]) -> list[Finding]:
        """Decide what episodes were, and add the results."""
        return [found for episode in episodes for found in self._judged(episode)]

    def _judged(self, episode: Episode) -> Iterator[Finding]:
        failure, false = self._judge.judge(episode)
        if failure is not None and self.wanted.failure(failure):
            self.failures.add(failure)
            self.failed[failure.member] += 1
            self.unnoticed += bool(failure.unaware)
            yield failure
        for each in filter(self.wanted.false, false):
            self.false.add(each)
            self.wrongly_dead[each.member] += each.dead_at is not None
            self.explained += bool(each.reason) and each.dead_at is None
            yield each
        if episode.was_up and not episode.is_serious:
            self.links_lost += sum(LINK_LOST in seen for seen in episode.seen.values())


def investigate(
    paths: Iterable[str], wanted: Wanted = EVERYTHING, begins_at: float = -inf
) -> Report:
    """Read all logs from ``begins_at`` on.

    Raises `sources.SourceError`.
    """
    tally, spool = sources.Tally(begins_at), Spool()
    for path in sources.find(paths):
        for entry in sources.read(path, tally):
            spool.add(entry)
    report = weigh(spool, tally, wanted)
    report.close()
    return report


def weigh(spool: Spool, tally: sources.Tally, wanted: Wanted) -> Report:
    """Compare the clocks, then take all entries by time.  More entries may follow."""
    report = Report(tally, wanted)
    for entry in spool.merged():
        report.hearsay.learn(entry)
    report.compare_clocks(spool.nodes)
    for entry in spool.merged(report.clocks.ahead_s):
        report.learn(entry)
    return report
