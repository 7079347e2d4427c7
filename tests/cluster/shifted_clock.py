"""Runs a node as ``python -m actors`` does, but on a wall clock that lies.

By how many seconds is in the file ``DIR/NODE.clock``; without one the clock is right.
Only the wall clock is shifted, as by an operator who sets the date.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path


def main() -> None:
    """Shift the clock, then be the node; called with CONFIG NODE --data-dir DIR ..."""
    _, _, node, _, folder, *_ = sys.argv
    file = Path(folder, f"{node}.clock")
    if file.exists():
        shift(float(file.read_text()))
    runpy.run_module("actors", run_name="__main__", alter_sys=True)


def shift(by_s: float) -> None:
    """From now on the wall clock is ``by_s`` seconds off."""
    true_s, true_ns = time.time, time.time_ns
    by_ns = int(by_s * 1e9)
    time.time = lambda: true_s() + by_s
    time.time_ns = lambda: true_ns() + by_ns


if __name__ == "__main__":
    main()
