"""What an act is played on: a cluster, a load, faults that stand in the history, a reckoning."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.checks import (
    PROMISES,
    Death,
    behind,
    behind_of,
    broken,
    last_acknowledged,
    why_behind,
)
from tests.cluster.replicas import copies_on_disks
from tests.cluster.workload import Workload, at_work
from tests.harness.cluster import Cluster
from tests.harness.disks import newest_ring, records_of, strays, unequal
from tests.harness.network import CLEAR, CUT, HOLE, Impairment
from tests.harness.small_disk import small_disk
from toystore.check.history import OK, Row, write_rows
from toystore.check.promises import Violation

from .summary import Result

LATE_S = 0.2
"""A client that notices its timeout so late was not given the processor."""
IN_PLACE_S = 60.0
"""How soon after the last fault every record is in its place."""
SHOWN_MAX = 3
"""So many examples of a kind are shown."""
NEMESIS = "nemesis"
SPLITS = {"split unnoticed by TCP": HOLE, "split noticed": CUT}
MENDS = ("start", "resume", "heal", "room", "flood over")
"""What stands in the history beside the faults, and is none."""


class Stage:
    """One act's cluster, what was done to it, and which promises it broke."""

    def __init__(self, act: str, seed: int, timeout_s: float, ops_per_s: float, file: Path) -> None:
        """``file``: where the history is kept."""
        self.act = act
        self.seed = seed
        self.chance = random.Random(f"{act}/{seed}")
        self.timeout_s = timeout_s
        self.broken: list[str] = []
        self.away: list[str] = []
        """Who was killed and is not back."""
        self._ops_per_s = ops_per_s
        self._file = file
        self._cluster: Cluster
        self._killed_s: dict[str, float] = {}
        self._deaths: list[Death] = []
        self._rows: list[Row] = []
        self._faults: list[Row] = []
        self._violations: list[Violation] = []
        self._keys = self._checked = self._copies = self._behind = self._unexplained = 0

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        print(f"   {text}", flush=True)

    def must(self, holds: bool, promise: str, examples: Iterable[object] = ()) -> None:
        """Say whether a promise was kept, and remember if it was not."""
        self.say(f"{'kept  ' if holds else 'BROKEN'}  {promise}")
        for example in list(examples)[:SHOWN_MAX]:
            self.say(f"        {example}")
        if not holds:
            self.broken.append(promise)

    @contextmanager
    def cluster(
        self, size: int, *, disks: Sequence[tuple[str, int]] = (), **more: Any
    ) -> Iterator[Cluster]:
        """A cluster that is ready; its folder goes with it, but for the logs of a broken one.

        ``disks``: nodes whose folder is a disk of its own, of so many bytes.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
            for name, size_bytes in disks:
                stack.enter_context(small_disk(folder / "data" / name, size_bytes))
            stack.callback(self._keep, folder)
            began = time.monotonic()
            self._cluster = stack.enter_context(Cluster(folder, size, **more))
            self.say(f"{size} nodes ready in {time.monotonic() - began:.1f} s")
            yield self._cluster

    @contextmanager
    def load(self, cluster: Cluster, *names: str, **more: Any) -> Iterator[Workload]:
        """32 clients that read and write for as long as this lasts.

        There are so many keys that of most the last write is well before the end: a later
        one would hide that an earlier one was lost.
        """
        usual = {"clients": 32, "keys": 4000, "timeout_s": self.timeout_s, "seed": self.seed}
        usual["ops_per_s"] = self._ops_per_s
        work = Workload(cluster.endpoints(*names), **usual | more)
        try:
            with at_work(work):
                yield work
        finally:
            self._rows += work.rows

    # --- what is done to nodes ----------------------------------------------------------

    def kill(self, *names: str) -> None:
        """Kill -9, one right after the other."""
        for name in names:
            self._killed_s[name] = time.time()
            self._cluster.kill(name)
            self.away.append(name)
            self.note("kill", name)

    def lose(self, name: str) -> None:
        """Kill -9 a node that never comes back."""
        self.kill(name)
        self.away.remove(name)
        self._deaths.append(Death(name, self._killed_s.pop(name), float("inf")))

    def change(self, change: str, *, wait: bool = True) -> None:
        """Change the ring, as an operator does; ``wait``: until nothing moves any more."""
        began = time.monotonic()
        self.note("ring change", change)
        self._cluster.change(change, wait=wait)
        if wait:
            self.say(f"{change}: stable after {time.monotonic() - began:.1f} s")

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self._cluster.pause(name)
        self.note("pause", name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._cluster.resume(name)
        self.note("resume", name)

    def stop(self, name: str) -> None:
        """SIGTERM, which must end in a clean stop."""
        self._cluster.stop(name)
        self.note("stop", name)

    def launch(self, *names: str) -> None:
        """Start nodes that were killed or stopped."""
        self._cluster.launch(*names)
        for name in names:
            self.note("start", name)
            if name in self.away:
                self.away.remove(name)
                self._deaths.append(Death(name, self._killed_s.pop(name), time.time()))

    def start(self, *names: str) -> None:
        """Start nodes again, and wait until they serve."""
        began = time.monotonic()
        self.launch(*names)
        self._cluster.until_ready()
        self.say(f"{', '.join(names)} serving again in {time.monotonic() - began:.1f} s")

    def impair(self, what: str, impairment: Impairment, ways: Sequence[tuple[str, str]]) -> None:
        """From now on these ways are like this."""
        self._cluster.network.impair(impairment, ways)
        self.note(what, ", ".join(f"{a}>{b}" for a, b in ways))

    def split(self, how: str, side: Sequence[str]) -> None:
        """A two-sided split, one of `SPLITS`, of some nodes from all others."""
        self._cluster.network.split(SPLITS[how], side)
        self.note(how, ", ".join(side))

    def heal_network(self) -> None:
        """Nothing impairs any way any more."""
        self._cluster.network.everywhere(CLEAR)
        self.note("heal", "network")

    def note(self, what: str, whom: str) -> None:
        """Faults stand in the history too."""
        now = time.time()
        self._faults.append(Row(NEMESIS, what, whom, None, now, now, OK))

    # --- the reckoning ------------------------------------------------------------------

    def tell_load(self, work: Workload) -> None:
        """How many requests, how fast, and what failed."""
        latencies = work.latencies_ms()
        self.say(
            f"{len(work.rows):,} requests of {work.clients} clients; "
            f"p50 {share(latencies, 50):.1f} ms, p99 {share(latencies, 99):.1f} ms, "
            f"longest {share(latencies, 100):.0f} ms; "
            f"{work.failures().total()} failed"
        )
        for error, count in work.failures().most_common(SHOWN_MAX):
            self.say(f"        {count} x {error}")

    def must_serve(self, work: Workload) -> None:
        """No request has failed, but by the fault of a machine that has too much to do.

        That is: those that were refused as too many, and those whose client was so late to
        notice its timeout that it was held up itself.
        """
        self.tell_load(work)
        failed = [row for row in work.rows if row.outcome != OK]
        refused = sum(row.error.startswith("Overloaded") for row in failed)
        late = sum(row.return_s - row.invoke_s > work.timeout_s + LATE_S for row in failed)
        self.must(
            len(failed) == refused + late,
            f"{len(failed)} failed requests: {refused} refused as too many, {late} of clients "
            "that were held up themselves",
        )

    def must_not_be_called_dead(self, *struck: str) -> None:
        """Not for what was done to it; if the others are too, this machine has too much to do."""
        cluster = self._cluster
        dead = {e["member"] for n in cluster.names for e in cluster.events(n, "member.dead")}
        if dead - set(struck):
            self.say(f"too busy a machine to tell: {', '.join(sorted(dead))} were called dead")
        else:
            self.must(not dead, f"nobody called {' or '.join(struck)} dead", sorted(dead))

    def must_hold_everything(self, *works: Workload) -> None:
        """Wait until hints are home; look at each copy, before a read can repair it; read."""
        cluster = self._cluster
        cluster.until_ready()
        cluster.until_drained()
        delivered = sum(
            entry["hints"]
            for name in cluster.names
            for entry in cluster.events(name, "handoff.finished")
        )
        self.say(f"hints are drained; {delivered:,} went home")
        for work in works:
            self._look_at_copies(work)
            asked = len(work.rows)
            found = broken(work)
            self._rows += work.rows[asked:]
            self._keys += work.keys
            self._checked += len(PROMISES)
            self._violations += found
            self.must(
                not found,
                f"{len(PROMISES)} promises held to {len(work.rows):,} requests, every one of "
                f"{work.keys:,} keys read back: {len(found)} violations",
                found,
            )

    def _look_at_copies(self, work: Workload) -> None:
        """Is each as new as it must be, and if not, why?"""
        cluster, last = self._cluster, last_acknowledged(work.rows)
        folders = {node.name: node.folder for node in cluster.running()}
        ring = newest_ring(cluster.config, folders.values())
        if ring.epoch:
            looked_at, stale = behind_of(last, copies_on_disks(ring, folders, last))
        else:
            looked_at, stale = behind(cluster.config, work.rows)
        reasons = {copy: why_behind(copy, self._deaths) for copy in stale}
        unknown = [copy for copy, reason in reasons.items() if reason is None]
        self._copies += looked_at
        self._unexplained += len(unknown)
        self._behind += len(stale) - len(unknown)
        self.must(
            not unknown,
            f"replica by replica, {len(stale)} of {looked_at:,} copies of "
            f"{len(last):,} keys are behind, {len(unknown)} unexplained",
            unknown,
        )
        for copy, reason in list(reasons.items())[:SHOWN_MAX]:
            if reason is not None:
                self.say(f"        {copy.write.key} at {copy.owner}: {reason}")

    def must_be_in_place(self) -> None:
        """Each owner has the same records, and no other node has any of them."""
        cluster = self._cluster

        def wrong() -> list[object]:
            folders = {node.name: node.folder for node in cluster.running()}
            held = {name: records_of(folder) for name, folder in folders.items()}
            ring = newest_ring(cluster.config, folders.values())
            return [*unequal(ring, held), *strays(ring, held)]

        end = time.monotonic() + IN_PLACE_S
        while (left := wrong()) and time.monotonic() < end:
            time.sleep(1)
        self.must(not left, f"{len(left)} records are not where they belong, or elsewhere", left)

    def _keep(self, folder: Path) -> None:
        """The history, and the nodes' logs if anything was broken."""
        write_rows(self._file, self._rows + self._faults)
        if self.broken or not self._checked:
            logs = self._file.with_suffix("")
            shutil.copytree(
                folder, logs, ignore=shutil.ignore_patterns("*.mdb", "lock"), dirs_exist_ok=True
            )

    def result(self, took_s: float, cancelled: str) -> Result:
        """What came of it."""
        rows = self._rows
        latencies = sorted((r.return_s - r.invoke_s) * 1e3 for r in rows if r.outcome == OK)
        return Result(
            act=self.act,
            seed=self.seed,
            took_s=took_s,
            outcomes=Counter(row.outcome for row in rows),
            faults=Counter(r.operation for r in self._faults if r.operation not in MENDS),
            p50_ms=share(latencies, 50),
            p99_ms=share(latencies, 99),
            keys=self._keys,
            checked=self._checked,
            copies=self._copies,
            behind=self._behind,
            unexplained=self._unexplained,
            violations=self._violations,
            broken=self.broken,
            cancelled=cancelled,
        )


def share(ordered: Sequence[float], percent: int) -> float:
    """The value below which so many percent are; 0 of nothing."""
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] if ordered else 0.0
