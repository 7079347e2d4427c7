"""Suspicions: until when each suspected member can refute (SWIM section 4.2).

Lifeguard's suspicion timeout, which shrinks with each independent confirmation, is a
change of this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from toystore.core.membership.members import Members
from toystore.core.protocol.settings import SwimSettings


class Suspicions:
    """The suspected members, and when each is declared dead, in monotonic seconds."""

    __slots__ = ("_due", "_members", "_settings")

    def __init__(self, members: Members, settings: SwimSettings) -> None:
        self._members = members
        self._settings = settings
        self._due: dict[str, float] = {}

    def start(self, name: str, now: float) -> None:
        """A member is suspected, from now on or in a higher incarnation than before."""
        self._due[name] = now + self._timeout_s()

    def stop(self, name: str) -> None:
        """A member is not suspected, or not any more."""
        self._due.pop(name, None)

    def extend(self, more_s: float) -> None:
        """Give each suspected member ``more_s`` seconds more."""
        for name in self._due:
            self._due[name] += more_s

    def overdue(self, now: float) -> list[str]:
        """The members that have not refuted in time."""
        return [name for name, due in self._due.items() if due <= now]

    def deadlines(self) -> Iterable[float]:
        """When each suspicion ends."""
        return self._due.values()

    def _timeout_s(self) -> float:
        settings = self._settings
        living = self._members.living_count
        return suspicion_s(settings.suspicion_mult, living, settings.probe_period_s)


def suspicion_s(suspicion_mult: float, members: int, probe_period_s: float) -> float:
    """How long a suspected member can refute before it is dead, in seconds (SWIM section 4.2)."""
    return suspicion_mult * max(1.0, math.log10(max(1, members))) * probe_period_s
