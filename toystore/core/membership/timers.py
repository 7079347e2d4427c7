"""The timers of `Swim`, by name.  The failure detector keeps its own deadlines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum


class Timer(Enum):
    """What is done at a set time.  Timers that are due together are served in this order."""

    FETCH_DISKS = "ask storage for the known disks again"
    ASK_SEED = "ask the next seed that has not answered"
    EXCHANGE = "exchange tables with a random member"
    SAVE_DISKS = "ask storage whether it has saved the disks that it was sent"


class Timers:
    """When each timer is due, in monotonic seconds."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[Timer, float] = {}

    def set(self, timer: Timer, at: float) -> None:
        """Have ``timer`` served at ``at``, and not at the time that was set before."""
        self._due[timer] = at

    def stop(self, timer: Timer) -> None:
        """Do not serve ``timer``."""
        self._due.pop(timer, None)

    def stop_all(self) -> None:
        """Serve no timer."""
        self._due.clear()

    def due(self, now: float) -> list[Timer]:
        """The timers that are due at ``now``, in the order in which they are served."""
        return [timer for timer in Timer if self._due.get(timer, math.inf) <= now]

    def deadlines(self) -> Iterable[float]:
        """When each timer that is set is due."""
        return self._due.values()
