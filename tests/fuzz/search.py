"""The long search for an input that a decoder cannot take.

    python tests/fuzz/search.py [--seconds 60] [--seed N] [DECODER ...]

Guided by coverage: a mutant that makes the product run a line that none before it had run
is itself mutated from then on.  What is found is cut down to what does it, added to the
corpus, where the tests replay it, and printed; the exit code is 1 then.

Each decoder is searched in a process of its own, with a bound on its memory.  The input
that it is at stands in memory that both processes share, so that it is known even if the
process is killed over it.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from decoders import DECODERS, Decoder, FaultError, inputs, judge, keep
from mutations import INPUT_BYTES_MAX, mutated, smaller

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCT = (f"{ROOT}/toystore/", f"{ROOT}/actors/")
MEMORY_BYTES_MAX = 4 * 1024**3
SHRINK_S_MAX = 10.0
FAULTS_MAX = 10
"""Of one decoder, in one search."""


def search(decoder: Decoder, seconds: float, seed: int) -> int:
    """Search in a process of its own; how many faults were found."""
    at = mmap.mmap(-1, 4 + INPUT_BYTES_MAX)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            code = Search(decoder, random.Random(seed), at).run(seconds)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        data = at[4 : 4 + int.from_bytes(at[:4], "big")]
        kind = f"killed by {signal.Signals(-code).name}"
        print(f"{decoder.name}: {kind}; kept as {keep(decoder, data, kind)}")
    return abs(code)


class Search:
    """The search for faults of one decoder."""

    def __init__(self, decoder: Decoder, chance: random.Random, at: mmap.mmap) -> None:
        """``at``: where to note each input before it is tried."""
        self.decoder = decoder
        self.chance = chance
        self.at = at
        self.pool = inputs(decoder)
        self.lines = 0
        """Of the product, that were run so far."""
        self.left: dict[CodeType, set[int]] = {}
        """The lines of each function that were not; none, if it is not the product's."""
        self.kinds: set[str] = set()

    def run(self, seconds: float) -> int:
        """Search for so long; how many faults were found."""
        began, tried = time.monotonic(), 0
        while time.monotonic() < began + seconds and len(self.kinds) < FAULTS_MAX:
            one, other = self.chance.choices(self.pool, k=2)
            data = mutated(one, other, self.decoder.form, self.chance)
            known = self.lines
            self.attempt(data)
            tried += 1
            if self.lines > known:
                self.pool.append(data)
        rate = tried / (time.monotonic() - began)
        told = f"{self.lines:,} lines, {len(self.kinds)} faults"
        print(f"{self.decoder.name:<17}{tried:>11,} inputs {rate:>8,.0f}/s   {told}")
        return len(self.kinds)

    def attempt(self, data: bytes) -> None:
        """Try an input; a fault of a new kind is kept."""
        self.at[: 4 + len(data)] = len(data).to_bytes(4, "big") + data
        sys.settrace(self._on_call)
        try:
            judge(self.decoder, data)
        except FaultError as fault:
            sys.settrace(None)
            if fault.kind not in self.kinds:
                self.kinds.add(fault.kind)
                path = keep(self.decoder, shrunk(self.decoder, data, fault.kind), fault.kind)
                print(f"{self.decoder.name}: {fault}; kept as {path}")
        finally:
            sys.settrace(None)

    def _on_call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        if code not in self.left:
            lines = {line for _, _, line in code.co_lines() if line is not None}
            self.left[code] = lines if code.co_filename.startswith(PRODUCT) else set()
        return self._on_line if self.left[code] else None

    def _on_line(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        left = self.left[frame.f_code]
        if frame.f_lineno in left:
            left.remove(frame.f_lineno)
            self.lines += 1
        return self._on_line


def shrunk(decoder: Decoder, data: bytes, kind: str) -> bytes:
    """A smaller input with the same fault, as far as one is found in time."""
    give_up = time.monotonic() + SHRINK_S_MAX
    found: bytes | None = data
    while found is not None:
        data, found = found, None
        for candidate in smaller(data, decoder.form):
            if time.monotonic() > give_up:
                return data
            try:
                judge(decoder, candidate)
            except FaultError as fault:
                if fault.kind == kind:
                    found = candidate
                    break
    return data


def main(arguments: Sequence[str] | None = None) -> int:
    """Search as the command line says."""
    parser = argparse.ArgumentParser(
        description="Search for inputs that a decoder handles wrongly."
    )
    names = [decoder.name for decoder in DECODERS]
    parser.add_argument("decoders", nargs="*", metavar="DECODER", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of them [60]")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args(arguments)
    if unknown := set(options.decoders).difference(names):
        parser.error(f"no decoder {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [each for each in DECODERS if each.name in (options.decoders or names)]
    print(f"seed {options.seed}")
    faults = sum(search(each, options.seconds / len(chosen), options.seed) for each in chosen)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
