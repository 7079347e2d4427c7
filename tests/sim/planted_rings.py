"""Faults planted into changes of the ring.  test_rings.py leads to each: random seeds seldom do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toystore.core.protocol.messages.antientropy import SweepRange
from toystore.core.storage.range_moves import RangeMoves

from .seams import Patch, replace


def a_released_range_is_never_swept(patch: Patch) -> None:
    def faulty(sweep: Any, self: RangeMoves, message: SweepRange) -> Any:
        return sweep(self, message._replace(epoch=message.epoch - 1))

    replace(patch, RangeMoves, "sweep", faulty)


PLANTED: dict[str, Callable[[Patch], None]] = {
    plant.__name__: plant for plant in (a_released_range_is_never_swept,)
}
"""The faults, by name."""
