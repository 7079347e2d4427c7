"""The queue of updates: which rows of the member table are still to be sent.

An update is attached to messages that are sent anyway.  The updates that were sent least
go first.  After ceil(lambda * ln(N + 1)) sends an update has reached every member with high
probability, and is removed from the queue (SWIM sections 4.1 and 4.3).
"""

from __future__ import annotations

import math


class Updates:
    """The names of the members whose rows are to be sent, and how often each was."""

    __slots__ = ("_queues", "_sends")

    def __init__(self) -> None:
        self._sends: dict[str, int] = {}
        """How often each update was sent, by name."""
        self._queues: list[dict[str, None]] = []
        """The names by that number of sends; the newest update of each queue is its last one."""

    def add(self, name: str) -> None:
        """Queue the row of a member, as if it had never been sent."""
        sends = self._sends.get(name)
        if sends is not None:
            del self._queues[sends][name]
        self._put(name, 0)

    def take(self, updates_max: int, sends_max: int) -> list[str]:
        """The updates for one message: the least sent first, and of these the newest."""
        chosen: list[str] = []
        if not self._sends:
            return chosen
        for queue in self._queues:
            while queue and len(chosen) < updates_max:
                chosen.append(queue.popitem()[0])
        for name in reversed(chosen):
            sends = self._sends[name] + 1
            if sends < sends_max:
                self._put(name, sends)
            else:
                del self._sends[name]
        return chosen

    def _put(self, name: str, sends: int) -> None:
        if sends == len(self._queues):
            self._queues.append({})
        self._queues[sends][name] = None
        self._sends[name] = sends


def sends_max(retransmit_mult: float, members: int) -> int:
    """How often an update is sent by each member: lambda * ln(N + 1) (SWIM section 4.1)."""
    return math.ceil(retransmit_mult * math.log(members + 1))
