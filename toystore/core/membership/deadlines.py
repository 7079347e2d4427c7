"""When each of many things is due.  The first one is found without looking at the others."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """A heap of deadlines, by their keys; times are in monotonic seconds."""

    __slots__ = ("_due", "_heap", "_number")

    def __init__(self) -> None:
        self._due: dict[K, tuple[float, int, K]] = {}
        self._heap: list[tuple[float, int, K]] = []
        """May contain deadlines that were stopped or replaced: these are not in `_due`."""
        self._number = 0

    def set(self, key: K, at: float) -> None:
        """``key`` is due at ``at``, and not at the time that was set before."""
        self._number += 1
        self._due[key] = deadline = (at, self._number, key)
        heappush(self._heap, deadline)

    def stop(self, key: K) -> bool:
        """``key`` is not due any more; returns whether it was."""
        return self._due.pop(key, None) is not None

    def extend(self, more_s: float) -> None:
        """Everything is due ``more_s`` seconds later."""
        self._due = {key: (at + more_s, n, key) for key, (at, n, _) in self._due.items()}
        self._heap = list(self._due.values())
        heapify(self._heap)

    def first(self) -> float | None:
        """When the first one is due; None if there is none."""
        heap = self._heap
        while heap:
            deadline = heap[0]
            if self._due.get(deadline[2]) is deadline:
                return deadline[0]
            heappop(heap)
        return None

    def take_due(self, now: float) -> list[K]:
        """Remove those that are due at ``now``; returns them in the order of their times."""
        taken: list[K] = []
        while (at := self.first()) is not None and at <= now:
            *_, key = heappop(self._heap)
            del self._due[key]
            taken.append(key)
        return taken
