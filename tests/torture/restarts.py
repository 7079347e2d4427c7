"""Restarts, one after the other, and whom anybody accused over them.

    python -m tests.torture.restarts [--nodes 3] [--trials 50] [--how kill|pause|stop]

A node is killed (or paused, or stopped), is away for a while, and comes back.  From then on
every node lives and answers: whoever is suspected for a missed ping is accused without cause.
Prints a line for all that was held against anybody in the `WATCHED_S` after, and exits with 1
if there was a missed ping among it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness.cluster import Cluster

WATCHED_S = 3.0
"""From the start of the process: some 0.5 s until it is back, and two seconds and more then."""
SWIM = {"probe_period_s": 0.5, "probe_timeout_s": 0.2, "suspicion_mult": 3}
"""As in configs/three_nodes.yaml."""
HEARSAY = "told by"
WITHOUT_CAUSE = "missed ping"


def main() -> int:
    """Restart nodes at random; 1 if anybody was accused without cause."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--how", choices=("kill", "pause", "stop"), default="kill")
    parser.add_argument("--away", type=float, default=2.5, metavar="S")
    options = parser.parse_args()
    logged: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), options.nodes, swim=SWIM) as cluster,
    ):
        for trial in range(1, options.trials + 1):
            name = random.choice(cluster.names)
            for entry in restart(cluster, name, options.how, options.away):
                logged[accusation(entry)] += 1
                print(f"{trial}: {name} came back; {told(entry)}", flush=True)
    wrong = sum(count for what, count in logged.items() if WITHOUT_CAUSE in what)
    print(f"{options.trials} restarts among {options.nodes} nodes ({options.how}): {wrong} accused")
    for what, count in sorted(logged.items()):
        print(f"  {count:4} {what}")
    return 1 if wrong else 0


def restart(cluster: Cluster, name: str, how: str, away_s: float) -> Iterator[dict[str, Any]]:
    """Have a node go away and come back; the accusations that were logged after that."""
    getattr(cluster, how)(name)
    time.sleep(away_s)
    since_s = time.time()
    if how == "pause":
        cluster.resume(name)
    else:
        cluster.launch(name)
    time.sleep(WATCHED_S)
    cluster.until_ready()
    yield from accusations(cluster, since_s)


def accusations(cluster: Cluster, since_s: float) -> Iterator[dict[str, Any]]:
    """Every suspicion, death and refutation that any node has logged since then."""
    for name in cluster.names:
        kinds = ("member.suspect", "member.dead", "member.refuted")
        yield from cluster.events(name, *kinds, since_s=since_s)


def accusation(entry: dict[str, Any]) -> str:
    """What kind of accusation it is, whoever is accused."""
    cause = entry["cause"]
    return f"{entry['event']}: {cause.rsplit(' ', 1)[0] if HEARSAY in cause else cause}"


def told(entry: dict[str, Any]) -> str:
    """A line about it."""
    about = f" {entry['member']}" if "member" in entry else ""
    return f"{entry['timestamp'][11:26]} {entry['node']} {entry['event']}{about}: {entry['cause']}"


if __name__ == "__main__":
    sys.exit(main())
