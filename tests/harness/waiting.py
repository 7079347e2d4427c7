"""Waits for a condition, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Nothing takes this long; a machine that is busy with other things may make it seem so."""
POLL_S = 0.01


def wait_until(
    condition: Callable[[], object], what: str = "", *, patience_s: float = PATIENCE_S
) -> None:
    """Wait until ``condition`` holds, which ``what`` names for a failure."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            what = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"in {patience_s:g} s it did not come to this: {what}")
        time.sleep(POLL_S)
