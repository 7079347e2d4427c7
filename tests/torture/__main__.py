"""Ten nodes under fire (``make torture``): real faults, real disks, every promise checked.

Each act (acts.py) starts a cluster of its own in a temporary folder, plays a load on it,
does its worst, heals, and then looks at every copy of every key and holds the history to
what toystore promises (stage.py).  The history of each act is kept as JSON lines, and
``summary.txt`` beside them says what came of it.  The exit code is 1 if any promise was
broken.

    python -m tests.torture --list
    python -m tests.torture [--acts all_killed,split] [--seed N]        each act once
    python -m tests.torture --minutes 60 [--seed N] [--keep FOLDER]     drawn, until then
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.harness.small_disk import NotPermittedError

from .acts import ACTS, Act
from .stage import Stage
from .summary import Result, summary

DEFAULT_FOLDER = Path("data/torture")


def main() -> int:
    """Play acts, and count what was broken."""
    options = _options()
    if options.list:
        for act in ACTS:
            print(f"{act.__name__:<20} {act.__doc__}")
        return 0
    options.keep.mkdir(parents=True, exist_ok=True)
    began, results = time.monotonic(), []
    try:
        for number, act, seed in _programme(options.acts, options.seed, options.minutes):
            print(f"\n{act.__name__}, seed {seed}: {act.__doc__}", flush=True)
            file = options.keep / f"{number:03}-{act.__name__}-{seed}.jsonl"
            stage = Stage(act.__name__, seed, options.timeout, options.ops_per_s, file)
            results.append(play(act, stage))
    except KeyboardInterrupt:
        print("\ninterrupted")
    text = summary(results, time.monotonic() - began)
    (options.keep / "summary.txt").write_text(text)
    print(f"\n{text}\nhistories and this summary are in {options.keep}")
    return 1 if any(result.broken for result in results) else 0


def play(act: Act, stage: Stage) -> Result:
    """One act, whatever becomes of it."""
    began = time.monotonic()
    cancelled = ""
    try:
        act(stage)
    except NotPermittedError as why:
        cancelled = str(why)
        stage.say(f"cancelled: {why}")
    except Exception as error:
        traceback.print_exc()
        stage.must(False, f"the act came to its end: {type(error).__name__}: {error}")
    return stage.result(time.monotonic() - began, cancelled)


def _programme(
    acts: Sequence[Act], seed: int, minutes: float | None
) -> Iterator[tuple[int, Act, int]]:
    """Number, act and seed of each to be played: each once, or drawn until time is over."""
    if minutes is None:
        yield from ((number, act, seed) for number, act in enumerate(acts, 1))
        return
    chance, end, number = random.Random(seed), time.monotonic() + minutes * 60, 0
    while True:
        for act in chance.sample(acts, len(acts)):
            if time.monotonic() >= end:
                return
            number += 1
            yield number, act, seed + number


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = {act.__name__: act for act in ACTS}
    parser.add_argument("--list", action="store_true", help="list the acts")
    parser.add_argument(
        "--acts", default=",".join(names), help="the acts to play, separated by commas"
    )
    parser.add_argument("--minutes", type=float, help="play acts in random order for this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=5.0, help="of the clients, in seconds")
    parser.add_argument("--ops-per-s", type=float, default=1000.0, help="of all clients, at most")
    parser.add_argument(
        "--keep", type=Path, default=DEFAULT_FOLDER, help="folder for the histories"
    )
    options = parser.parse_args()
    chosen = options.acts.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no such act: {', '.join(sorted(unknown))}")
    options.acts = [names[name] for name in chosen]
    return options


if __name__ == "__main__":
    sys.exit(main())
