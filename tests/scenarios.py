"""Plays every scenario of configs/scenarios, and compares the stories with what was done.

    python -m tests.scenarios [NAME...]         about five minutes for all
    python -m tests.scenarios --record [NAME...]   also stores the logs in tests/logs/recorded

A story is right if it tells just the failures below, each noticed by all nodes that ran, calls no
living member dead, and no acknowledged write is missing.  The exit code is 1 if one is not.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toystore.localcluster.node import ROOT
from toystore.logs.document import document
from toystore.logs.report import investigate

FAILURES = {
    "crash": ("n4 crash",),
    "pause": ("n4 pause", "n2 pause"),
    "slow_node": (),
    "lossy_link": (),
    "link_resets": (),
    "one_way_link": ("n4 split",),
    "split_and_heal": ("n1 split", "n2 split"),
    "rolling_restart": ("n1 stop", "n2 stop", "n3 stop", "n4 stop", "n5 stop"),
    "flapping": ("n4 crash", "n4 crash", "n4 crash", "n4 crash"),
}
"""What happens in each scenario."""
RECORDED = ROOT / "tests" / "logs" / "recorded"


def main() -> int:
    """Play scenarios; returns the exit code."""
    parser = argparse.ArgumentParser(description="Play scenarios and check their stories.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--record", action="store_true", help="store the logs for the tests")
    options = parser.parse_args()
    wrong = {name: play(name, record=options.record) for name in options.names or FAILURES}
    for name, faults in wrong.items():
        print(f"{name:<16} {'; '.join(faults) or 'told as it was'}")
    return 1 if any(wrong.values()) else 0


def play(name: str, *, record: bool) -> list[str]:
    """Play a scenario and print what it prints; returns what is wrong with its story."""
    with tempfile.TemporaryDirectory(prefix="toystore-") as folder:
        command = [sys.executable, "run_cluster.py", f"configs/scenarios/{name}.yaml"]
        command += ["--data-dir", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        print(done.stdout + done.stderr, flush=True)
        if record:
            store(Path(folder), RECORDED / name)
        found = json.loads("".join(document(investigate([folder]))))
    ended = [] if done.returncode == 0 else [f"exit {done.returncode}"]
    return ended + list(compare(name, found, done.stdout))


def compare(name: str, found: dict[str, Any], printed: str) -> Iterator[str]:
    """What differs between a story and what was done."""
    failures = tuple(f"{each['member']} {each['kind']}" for each in found["failures"])
    if failures != FAILURES[name]:
        yield f"failures: {', '.join(failures) or 'none'}"
    for each in found["failures"]:
        if each["never_knew"]:
            yield f"{each['member']}: not noticed by {', '.join(each['never_knew'])}"
    for each in found["false_accusations"]:
        if each["dead_after_s"] is not None:
            yield f"{each['by']} called {each['member']} dead"
    if "no acknowledged write is missing" not in printed:
        yield "writes are missing"


def store(folder: Path, into: Path) -> None:
    """Store the logs of a run, compressed."""
    shutil.rmtree(into, ignore_errors=True)
    for path in sorted(folder.rglob("*.jsonl")):
        copy = (into / path.relative_to(folder)).with_suffix(".jsonl.gz")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    sys.exit(main())
