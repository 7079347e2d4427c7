"""The queue of updates: which rows of the member table are still to be sent.

An update is attached to messages that are sent anyway.  The updates that were sent least
go first.  After ceil(lambda * ln(N + 1)) sends an update has reached every member with high
probability, and is removed from the queue (SWIM sections 4.1 and 4.3).
"""

from __future__ import annotations

import math


class Updates:
    """The names of the members whose rows are to be sent, and how often each was."""

    __slots__ = ("_sends",)

    def __init__(self) -> None:
        self._sends: dict[str, int] = {}
        """By name; the update that was added last is the last one."""

    def add(self, name: str) -> None:
        """Queue the row of a member, as if it had never been sent."""
        self._sends.pop(name, None)
        self._sends[name] = 0

    def take(self, updates_max: int, sends_max: int) -> list[str]:
        """The updates for one message: the least sent first, and of these the newest."""
        if not self._sends:
            return []
        newest_first = list(reversed(self._sends))
        chosen = sorted(newest_first, key=self._sends.__getitem__)[:updates_max]
        for name in chosen:
            self._sends[name] += 1
            if self._sends[name] >= sends_max:
                del self._sends[name]
        return chosen


def sends_max(retransmit_mult: float, members: int) -> int:
    """How often an update is sent by each member: lambda * ln(N + 1) (SWIM section 4.1)."""
    return math.ceil(retransmit_mult * math.log(members + 1))
