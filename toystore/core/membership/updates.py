"""The queue of updates: which rows of the member table are still to be sent.

An update is attached to messages that are sent anyway.  The updates that were sent least
go first.  After ceil(lambda * ln(N + 1)) sends an update has reached every member with high
probability, and is removed from the queue (SWIM sections 4.1 and 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Collection

from toystore.core.protocol.messages.gossip import MemberState


class Updates:
    """The rows that are to be sent, and how often each was."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: list[dict[str, MemberState]] = []
        """The rows by how often each was sent; the newest update of each queue is its last one."""

    def add(self, state: MemberState) -> None:
        """Queue the row of a member in place of an older one, as if it had never been sent."""
        for queue in self._queues:
            if queue.pop(state.name, None) is not None:
                break
        if not self._queues:
            self._queues.append({})
        self._queues[0][state.name] = state

    def discard(self, statuses: Collection[int]) -> None:
        """Do not send the queued rows that have one of these statuses."""
        self._queues = [
            {name: row for name, row in queue.items() if row.status not in statuses}
            for queue in self._queues
        ]

    def forget(self, names: Collection[str]) -> None:
        """Do not send the queued rows of these members."""
        for queue in self._queues:
            for name in names:
                queue.pop(name, None)

    def take(self, updates_max: int, sends_max: int) -> list[MemberState]:
        """The updates for one message: the least sent first, and of these the newest."""
        chosen: list[MemberState] = []
        again: list[tuple[int, dict[str, MemberState]]] = []
        room = updates_max
        for sends, queue in enumerate(self._queues, 1):
            if not queue:
                continue
            if room <= 0:
                break
            taken = queue
            if len(queue) <= room:
                self._queues[sends - 1] = {}
            else:
                taken = dict(reversed([queue.popitem() for _ in range(room)]))
            chosen.extend(reversed(taken.values()))
            room -= len(taken)
            if sends < sends_max:
                again.append((sends, taken))
        for sends, taken in again:
            if sends == len(self._queues):
                self._queues.append({})
            self._queues[sends].update(taken)
        return chosen


def sends_max(retransmit_mult: float, members: int) -> int:
    """How often an update is sent by each member: lambda * ln(N + 1) (SWIM section 4.1)."""
    return math.ceil(retransmit_mult * math.log(members + 1))
