"""Ten nodes under fire (``make torture``): real kills, real disks, every promise counted.

Each act starts a cluster of its own in a temporary folder, plays a load on it whose
history can be checked (see cluster/workload.py), does its worst, and says in a few lines
what came of it.  The exit code is 1 if any promise was broken.

    python tests/torture.py [--seed N] [--acts two_killed,all_killed] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.cluster.harness import Cluster
from tests.cluster.replicas import behind
from tests.cluster.workload import Workload
from toystore import Client, Unavailable
from toystore.core.stamp import HybridLogicalClock

Act = Callable[["Stage"], None]


class Stage:
    """What an act plays on: a folder, a seed, and a place for what went wrong."""

    def __init__(self, folder: Path, seed: int, keep: Path | None) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.seed = seed
        self.keep = keep
        self.broken: list[str] = []

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        print(f"   {text}", flush=True)

    def must(self, holds: bool, promise: str) -> None:
        """Say whether a promise was kept, and remember if it was not."""
        self.say(f"{'kept  ' if holds else 'BROKEN'} {promise}")
        if not holds:
            self.broken.append(promise)

    @contextmanager
    def cluster(self, size: int, **more: Any) -> Iterator[Cluster]:
        """A cluster that is ready."""
        folder = tempfile.mkdtemp(prefix=f"nodes{size}-", dir=self.folder)
        with Cluster(Path(folder), size, **more) as cluster:
            yield cluster

    @contextmanager
    def load(self, cluster: Cluster, name: str, **more: Any) -> Iterator[Workload]:
        """32 clients that read and write for as long as this lasts."""
        workload = Workload(
            cluster.endpoints(), **{"clients": 32, "pause_s": 0.01, "seed": self.seed} | more
        )
        stop = threading.Event()

        async def run() -> None:
            end = asyncio.Event()
            running = asyncio.create_task(workload.run(end))
            await asyncio.to_thread(stop.wait)
            end.set()
            await running

        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        try:
            yield workload
        finally:
            stop.set()
            thread.join()
            if self.keep is not None:
                workload.write_history(self.keep / f"{name}.jsonl")

    def account(self, cluster: Cluster, workload: Workload) -> None:
        """Wait until hints are home, then hold the cluster against the history."""
        cluster.until_drained()
        missing = asyncio.run(workload.missing(cluster.endpoints()))
        for complaint in missing[:5]:
            self.say(complaint)
        count = len(workload.acknowledged)
        self.must(not missing, f"{len(missing)} of {count} keys miss an acknowledged write at R=2")

    def account_by_replica(self, cluster: Cluster, workload: Workload, killed: set[str]) -> None:
        """Look at each replica by itself, before a read can repair it; then as `account`."""
        cluster.until_drained()
        total, stale, by_owner, which = behind(cluster.config, workload.acknowledged)
        self.say(f"replica by replica: {stale} of {total} copies are behind {dict(by_owner) or ''}")
        for line in which[:5]:
            self.say(line)
        if stale:
            self.say(
                "each is one that its write's coordinator, killed between its answer and its "
                f"hint, left behind; killed were {', '.join(sorted(killed))}"
            )
        self.account(cluster, workload)

    def tell_load(self, workload: Workload) -> None:
        """How many requests, and how fast."""
        latencies = workload.latencies_ms()
        p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
        self.say(
            f"{len(workload.history):,} requests; p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"longest {latencies[-1]:.0f} ms; failed: {dict(workload.failures()) or 'none'}"
        )


def two_killed(stage: Stage) -> None:
    """Kill -9 any two of ten, 10 s apart, under load; they come back"""
    with stage.cluster(10, partitions=1024) as cluster:
        first, second = stage.chance.sample(cluster.names, 2)
        with stage.load(cluster, "two_killed") as workload:
            time.sleep(5)
            cluster.kill(first)
            time.sleep(10)
            cluster.kill(second)
            time.sleep(5)
            cluster.start(first, second)
            time.sleep(3)
        stage.say(f"killed {first}, 10 s later {second}; both started again 5 s after that")
        stage.tell_load(workload)
        stage.must(not workload.failures(), f"{sum(workload.failures().values())} failed requests")
        backwards = workload.went_back()
        stage.say(f"reads older than what their client had been acknowledged: {len(backwards)}")
        stage.account_by_replica(cluster, workload, {first, second})


def all_killed(stage: Stage) -> None:
    """Kill -9 all ten at once, under load; start them again"""
    with stage.cluster(10, partitions=1024) as cluster:
        with stage.load(cluster, "all_killed", timeout_s=1.0) as workload:
            time.sleep(8)
            cluster.kill(*cluster.names)
        stage.say("killed all ten at once after 8 s")
        stage.tell_load(workload)
        cluster.start(*cluster.names)
        stage.account_by_replica(cluster, workload, set(cluster.names))


def coordinator_stopped(stage: Stage) -> None:
    """SIGSTOP a coordinator with requests in its queue; newer writes go elsewhere; SIGCONT"""
    with stage.cluster(5) as cluster, cluster.client("n2", "n3", "n4") as elsewhere:
        keys = [f"key{number}" for number in range(50)]
        cluster.pause("n1")
        with Client(cluster.endpoints("n1", "n2"), timeout=20, attempt_timeout=0.3) as retrying:
            for key in keys[:10]:
                retrying.put(key, "older")
        asleep = threading.Thread(target=_put_and_give_up, args=(cluster, keys))
        asleep.start()
        asleep.join()
        for key in keys:
            elsewhere.put(key, "newer")
        cluster.resume("n1")
        cluster.until_ready()
        cluster.until_drained()
        values = {elsewhere.get(key, r=3).value for key in keys}
        stage.must(values == {b"newer"}, f"nothing older came back ({len(keys)} keys read at R=3)")


def _put_and_give_up(cluster: Cluster, keys: list[str]) -> None:
    """Leave puts in the queue of a node that sleeps."""
    with Client(cluster.endpoints("n1"), timeout=1.0) as store:
        store.put_many(dict.fromkeys(keys, "older"))


class LaggingClock:
    """A client's clock that is a minute behind."""

    def __init__(self) -> None:
        self._clock = HybridLogicalClock(b"lagging!")

    def mint(self) -> bytes:
        """As the protocol `Clock` has it."""
        return self._clock.mint(time.time_ns() // 1000 - 60_000_000)

    def merge(self, stamp: bytes) -> None:
        """Likewise."""
        self._clock.merge(stamp)


def clocks_apart(stage: Stage) -> None:
    """A node is back with its clock an hour behind, a client lags by a minute"""
    with stage.cluster(3) as cluster:
        keys = [f"key{number}" for number in range(60)]
        with cluster.client() as store:
            for key in keys:
                store.put(key, "first")
        cluster.set_clock("n1", -3600)
        cluster.kill("n1")
        cluster.start("n1")
        with cluster.client("n1") as through_it:
            for key in keys[:30]:
                through_it.put(key, "second")
        with cluster.client(clock=LaggingClock()) as lagging:
            for key in keys[30:]:
                lagging.put(key, "second")
        cluster.until_drained()
        with cluster.client() as store:
            values = {store.get(key, r=3).value for key in keys}
        stage.must(values == {b"second"}, f"every acknowledged overwrite stands ({len(keys)} keys)")


def three_nodes(stage: Stage) -> None:
    """Three nodes, N=3: one down, then two"""
    with stage.cluster(3) as cluster, cluster.client("n1", timeout=5.0) as store:
        store.put("key", "0")
        cluster.kill("n3")
        for number in range(1, 51):
            store.put("key", str(number))
            if store.get("key").value != str(number).encode():
                stage.must(False, "a read gives what was written with one node down")
                break
        else:
            stage.must(True, "50 puts and 50 gets served with one node down")
        cluster.kill("n2")
        began = time.monotonic()
        try:
            store.put("key", "lost?")
            refused = "no error at all"
        except Unavailable as error:
            refused = f"Unavailable after {(time.monotonic() - began) * 1e3:.0f} ms"
            stage.say(f"definite: {error.definite}; {error}")
        stage.must(refused.startswith("Unavailable"), f"with two down a put at W=2: {refused}")
        found = store.get("key", r=1)
        stage.must(found is not None, "and a get at R=1 is served")


ACTS: tuple[Act, ...] = (two_killed, all_killed, coordinator_stopped, clocks_apart, three_nodes)


def main() -> int:
    """Play the acts, and count what was broken."""
    parser = argparse.ArgumentParser(description="Ten nodes under fire.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--acts", default=",".join(act.__name__ for act in ACTS))
    parser.add_argument("--keep", type=Path, help="a folder for the histories, as JSON lines")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}", flush=True)
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="toystore-torture-") as folder:
        for act in ACTS:
            if act.__name__ in options.acts.split(","):
                print(f"\n{act.__name__}: {act.__doc__}", flush=True)
                stage = Stage(Path(folder), options.seed, options.keep)
                act(stage)
                broken += stage.broken
    print(f"\n{len(broken)} promises broken" if broken else "\nevery promise was kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
