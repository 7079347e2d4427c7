"""Ten nodes under fire (``make torture``): real kills, real disks, every promise counted.

Each act starts a cluster of its own in a temporary folder, plays a load on it whose
history can be checked (cluster/workload.py, cluster/checks.py), does its worst, and says
in a few lines what came of it.  The exit code is 1 if any promise was broken.

    python tests/torture.py [--seed N] [--rounds N] [--acts two_killed,...] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.cluster.checks import Behind, Death, behind, missing, went_back, why_behind
from tests.cluster.harness import Cluster
from tests.cluster.replicas import copies
from tests.cluster.workload import OK, LaggingClock, Operation, Workload, at_work, write_rows
from toystore import AsyncClient, ToystoreError, Unavailable
from toystore.core.record import Record

AN_HOUR_S = 3600
A_MINUTE_S = 60
SHOWN_MAX = 3
"""So many examples of a kind are shown."""
TEN_NODES: dict[str, Any] = {
    "partitions": 1024,
    "swim": {"probe_period_s": 0.5, "probe_timeout_s": 0.2, "suspicion_mult": 3},
    "handoff": {},
}
"""As in configs/ten_nodes.yaml."""


# --- the acts ---------------------------------------------------------------------------


def two_killed(stage: Stage) -> None:
    """Ten nodes, 32 clients: kill -9 any two, 10 s apart; then they come back"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        first, second = stage.chance.sample(cluster.names, 2)
        with stage.load(cluster) as work:
            time.sleep(5)
            stage.kill(first)
            time.sleep(10)
            stage.kill(second)
            time.sleep(5)
            stage.start(first, second)
            time.sleep(3)
        stage.say(f"killed {first}, 10 s later {second}; both started again 5 s after that")
        stage.tell_load(work)
        stage.must(not work.failures(), f"{work.failures().total()} failed requests")
        stage.must_hold_everything(work)


def all_killed(stage: Stage) -> None:
    """Ten nodes, 32 clients: kill -9 all ten at once; start them again; and once more with hints"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        with stage.load(cluster) as work:
            time.sleep(8)
            stage.kill(*cluster.names)
        stage.say("killed all ten after 8 s; the requests that failed were under way then")
        stage.tell_load(work)
        stage.start(*cluster.names)
        stage.must_hold_everything(work)

        first, *others = stage.chance.sample(cluster.names, 10)
        with stage.load(cluster, name="again") as work:
            time.sleep(3)
            stage.kill(first)
            time.sleep(3)
            stage.kill(*others)
        stage.say(f"killed {first}, and 3 s later the others, who held hints for it")
        stage.tell_load(work)
        stage.start(*cluster.names)
        stage.must_hold_everything(work)


def coordinator_stopped(stage: Stage) -> None:
    """Ten nodes: SIGSTOP a coordinator with puts in its queue; newer ones elsewhere; SIGCONT"""
    with stage.cluster(10, **TEN_NODES) as cluster, asyncio.Runner() as runner:
        stopped, other = stage.chance.sample(cluster.names, 2)
        keys = [f"queued:{number}" for number in range(500)]
        endpoints = cluster.endpoints(stopped, other)
        slow = AsyncClient(endpoints, timeout=stage.timeout_s * 10, attempt_timeout=0.5)
        before = runner.run(slow.status(endpoints[0]))["requests"]["puts"]
        with stage.load(cluster) as work:
            time.sleep(3)
            stage.pause(stopped)
            older = runner.run(slow.put_many(dict.fromkeys(keys, "older")))
            with cluster.client(other) as elsewhere:
                newer = elsewhere.put_many(dict.fromkeys(keys, "newer"))
            time.sleep(2)
            stage.resume(stopped)
            # This waits behind the puts in the queue, on the same connection.
            after = runner.run(slow.status(endpoints[0]))["requests"]["puts"]
            time.sleep(2)
        runner.run(slow.close())
        stage.say(
            f"stopped {stopped} with {len(keys)} puts and a load in its queue; {other} took the "
            f"puts, and newer ones; woken, {stopped} went through {after - before} stale puts"
        )
        stage.tell_load(work)
        cluster.until_ready()
        cluster.until_drained()
        failed = [a for a in (*older.values(), *newer.values()) if isinstance(a, ToystoreError)]
        failed_in_all = len(failed) + work.failures().total()
        stage.must(not failed_in_all, f"{failed_in_all} failed requests")
        held = copies(cluster.config, keys)
        back = [f"{key} at {n}" for key in held for n, c in held[key].items() if _old(c)]
        stage.must(not back, f"nothing older came back on any replica of {len(keys)} keys", back)
        stage.must_hold_everything(work)


def clocks_apart(stage: Stage) -> None:
    """Ten nodes: one is back with its clock an hour behind, and every other put a minute"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        late = stage.chance.choice(cluster.names)
        cluster.set_clock(late, -AN_HOUR_S)
        clocks = (None, LaggingClock(A_MINUTE_S))
        with stage.load(cluster, clocks=clocks, keys_per_client=30) as work:
            time.sleep(3)
            stage.kill(late)
            time.sleep(1)
            stage.start(late)
            time.sleep(6)
        refused = len(list(cluster.events(late, "clock.refused")))
        stage.say(f"{late} came back an hour behind, and logged so {refused} times, once a second")
        assert refused, f"no put was made through {late}: this act shows nothing"
        stage.tell_load(work)
        stage.must(not work.failures(), f"{work.failures().total()} failed requests")
        stage.must_hold_everything(work)


def three_nodes(stage: Stage) -> None:
    """Three nodes, N=3: one is down, then two"""
    with stage.cluster(3) as cluster:
        with stage.load(cluster, clients=8, keys_per_client=30) as work:
            time.sleep(2)
            stage.kill("n3")
            time.sleep(4)
        stage.tell_load(work)
        stage.must(not work.failures(), "one down: everything is served")
        stage.kill("n2")
        cluster.until(lambda: cluster.reachable("n1") == {"n1"}, "n1 knows that it is alone")
        keys = sorted(work.acknowledged)
        with cluster.client("n1", timeout=stage.timeout_s) as store:
            began = time.monotonic()
            refused = [_error(store.put, key, "0") for key in keys]
            each_ms = (time.monotonic() - began) * 1e3 / len(keys)
            found = store.get_many(keys, r=1)
        kinds = Counter("no error" if e is None else type(e).__name__ for e in refused)
        definite = sum(e.definite for e in refused if e is not None)
        stage.must(
            all(isinstance(error, Unavailable) for error in refused),
            f"two down: {len(keys)} puts at W=2: {dict(kinds)}, {each_ms:.1f} ms each; "
            f"{definite} of them definite",
        )
        lost = [key for key in keys if not hasattr(found[key], "value")]
        stage.must(not lost, f"two down: {len(keys)} gets at R=1 are served", lost)
        stage.start("n2", "n3")
        stage.must_hold_everything(work)


ACTS: tuple[Callable[[Stage], None], ...] = (
    two_killed,
    all_killed,
    coordinator_stopped,
    clocks_apart,
    three_nodes,
)


# --- what they are played on ------------------------------------------------------------


class Stage:
    """One act's cluster, what was done to it, and which promises it broke."""

    def __init__(self, name: str, seed: int, timeout_s: float, keep: Path | None) -> None:
        self.chance = random.Random(f"{name}/{seed}")
        self.seed = seed
        self.timeout_s = timeout_s
        self.broken: list[str] = []
        self._keep = None if keep is None else keep / f"{name}-{seed}.jsonl"
        self._cluster: Cluster
        self._killed_s: dict[str, float] = {}
        self._deaths: list[Death] = []
        self._history: list[Operation] = []

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        print(f"   {text}", flush=True)

    def must(self, holds: bool, promise: str, examples: Sequence[str] = ()) -> None:
        """Say whether a promise was kept, and remember if it was not."""
        self.say(f"{'kept  ' if holds else 'BROKEN'}  {promise}")
        for example in examples[:SHOWN_MAX]:
            self.say(f"        {example}")
        if not holds:
            self.broken.append(promise)

    @contextmanager
    def cluster(self, size: int, **more: Any) -> Iterator[Cluster]:
        """A cluster that is ready; its folder goes with it."""
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            began = time.monotonic()
            with Cluster(Path(folder), size, **more) as self._cluster:
                self.say(f"{size} nodes ready in {time.monotonic() - began:.1f} s")
                yield self._cluster
        if self._keep is not None:
            write_rows(self._keep, sorted(self._history, key=lambda row: row.invoke_s))

    @contextmanager
    def load(self, cluster: Cluster, **more: Any) -> Iterator[Workload]:
        """32 clients that read and write for as long as this lasts, as patient as by default.

        They have so many keys that of most the last write is well before the end: a later
        one would hide that an earlier one was lost.
        """
        usual = {"clients": 32, "keys_per_client": 300, "timeout_s": self.timeout_s}
        work = Workload(cluster.endpoints(), **usual | {"seed": self.seed} | more)
        with at_work(work):
            yield work
        self._history += work.history

    def kill(self, *names: str) -> None:
        """Kill -9, one right after the other."""
        for name in names:
            self._killed_s[name] = time.time()
            self._cluster.kill(name)
            self._note("kill", name)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self._cluster.pause(name)
        self._note("pause", name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._cluster.resume(name)
        self._note("resume", name)

    def start(self, *names: str) -> None:
        """Start nodes again, and wait until they serve."""
        began = time.monotonic()
        self._cluster.start(*names)
        self.say(f"{', '.join(names)} serving again in {time.monotonic() - began:.1f} s")
        for name in names:
            self._deaths.append(Death(name, self._killed_s.pop(name), time.time()))
            self._note("start", name)

    def _note(self, what: str, name: str) -> None:
        """Faults stand in the history too, as operations of process -1 on a node."""
        now = time.time()
        self._history.append(Operation(-1, what, name, None, now, now, OK))

    # --- the reckoning ------------------------------------------------------------------

    def tell_load(self, work: Workload) -> None:
        """How many requests, how fast, and what failed."""
        latencies = work.latencies_ms()
        p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        self.say(
            f"{len(work.history):,} requests of {work.clients} clients; p50 {p50:.1f} ms, "
            f"p99 {p99:.1f} ms, longest {latencies[-1]:.0f} ms; "
            f"{work.failures().total()} failed"
        )
        for error, count in work.failures().most_common(SHOWN_MAX):
            self.say(f"        {count} x {error}")
        self.say(f"while it lasted {len(went_back(work))} reads were behind their own client")

    def must_hold_everything(self, work: Workload) -> None:
        """Wait until hints are home; look at each replica, before a read can repair it; read."""
        cluster = self._cluster
        cluster.until_drained()
        delivered = sum(
            entry["hints"]
            for name in cluster.names
            for entry in cluster.events(name, "handoff.finished")
        )
        self.say(f"hints are drained; {delivered:,} went home")
        looked_at, stale = behind(cluster.config, work)
        self._explain(looked_at, stale)
        lost = missing(work, cluster.endpoints())
        keys = len(work.acknowledged)
        self.must(not lost, f"{len(lost)} of {keys:,} keys miss an acknowledged write at R=2", lost)
        if stale:
            cluster.until_drained()
            self.say(f"after those reads {len(behind(cluster.config, work)[1])} copies are behind")

    def _explain(self, looked_at: int, stale: list[Behind]) -> None:
        """Why each copy that is behind may be so, or that it may not."""
        reasons = {copy: why_behind(copy, self._deaths) for copy in stale}
        unexplained = [copy for copy, reason in reasons.items() if reason is None]
        self.must(
            not unexplained,
            f"replica by replica, {len(stale)} of {looked_at:,} copies are behind, "
            f"{len(unexplained)} of them unexplained",
            [f"{c.key} at {c.owner} of {c.owners}: {c.held}, {c.write}" for c in unexplained],
        )
        by_owner = Counter(copy.owner for copy in stale)
        if stale:
            self.say("        by owner: " + ", ".join(f"{n} {c}" for n, c in by_owner.items()))
        for copy, reason in list(reasons.items())[:SHOWN_MAX]:
            if reason is not None:
                self.say(f"        {copy.key} at {copy.owner}: {reason}")


def _old(copy: Record | None) -> bool:
    return copy is None or copy.value != b"newer"


def _error(call: Callable[..., Any], *arguments: Any) -> ToystoreError | None:
    """The error that a call ended with, if it did."""
    try:
        call(*arguments)
    except ToystoreError as error:
        return error
    return None


def main() -> int:
    """Play the acts, and count what was broken."""
    parser = argparse.ArgumentParser(description="Ten nodes under fire.")
    names = [act.__name__ for act in ACTS]
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="each with the next seed")
    parser.add_argument("--acts", default=",".join(names), help="some of " + ", ".join(names))
    parser.add_argument("--timeout", type=float, default=2.0, help="of the clients, in seconds")
    parser.add_argument("--keep", type=Path, help="a folder for the histories, as JSON lines")
    options = parser.parse_args()
    if unknown := set(options.acts.split(",")) - set(names):
        parser.error(f"no such act: {', '.join(sorted(unknown))}")
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    broken = 0
    for seed in range(options.seed, options.seed + options.rounds):
        for act in ACTS:
            if act.__name__ in options.acts.split(","):
                print(f"\n{act.__name__}, seed {seed}: {act.__doc__}", flush=True)
                stage = Stage(act.__name__, seed, options.timeout, options.keep)
                act(stage)
                broken += len(stage.broken)
    verdict = f"{broken} promises were BROKEN" if broken else "every promise was kept"
    print(f"\n{verdict}; it took {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
