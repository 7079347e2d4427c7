"""Requests that wait in the client for room, and which of them is next.

Single requests go first, in order; their time runs while they wait.  The requests of calls
about many keys come after them, from each call in turn, and their time starts when they
leave the backlog.  So no key of a long list times out because it waited here.  But such a
call ends if none of its keys was answered for a whole timeout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from toystore.client.request import Batch, Request

SWEEP_S_MIN = 0.002
"""Sweeps over all requests for those that are due are at least this far apart."""
_NEVER = float("inf")


class Backlog:
    """All requests of one client that wait for room, by id."""

    def __init__(self) -> None:
        self.count = 0
        """How many requests wait."""
        self._singles: dict[int, Request[Any]] = {}
        self._batches: deque[Batch] = deque()
        self._singles_due = _NEVER
        """None of them is due before.  It may be too early: its request may have ended."""

    def add(self, request: Request[Any]) -> None:
        """Put a request at the end of its queue."""
        self.count += 1
        batch = request.batch
        if batch is None:
            self._singles[request.id] = request
            self._singles_due = min(self._singles_due, request.due)
            return
        if not batch.queue:
            self._batches.append(batch)
        batch.queue[request.id] = request

    def remove(self, request: Request[Any]) -> None:
        """Take a request out of its queue."""
        self.count -= 1
        batch = request.batch
        if batch is None:
            del self._singles[request.id]
            return
        del batch.queue[request.id]
        if not batch.queue:
            self._batches.remove(batch)

    def take(self, fits: Callable[[Request[Any]], bool]) -> Request[Any] | None:
        """Take out the next request, or None.  One of many must ``fit``."""
        for request in self._singles.values():
            self.remove(request)
            return request
        if not self._batches:
            return None
        request = next(iter(self._batches[0].queue.values()))
        if not fits(request):
            return None
        self.remove(request)
        self._batches.rotate(-1)
        return request

    def next_deadline(self) -> float:
        """The earliest time at which a request here may be due."""
        if not self._batches:
            return self._singles_due
        return min(self._singles_due, *(batch.due for batch in self._batches))

    def overdue(self, now: float) -> list[Request[Any]]:
        """The requests that have waited too long; they stay in their queues."""
        late: list[Request[Any]] = []
        if now >= self._singles_due:
            late += [request for request in self._singles.values() if request.due <= now]
            left = (request.due for request in self._singles.values() if request.due > now)
            self._singles_due = max(min(left, default=_NEVER), now + SWEEP_S_MIN)
        for batch in self._batches:
            if batch.due <= now:
                late += batch.queue.values()
        return late

    def __iter__(self) -> Iterator[Request[Any]]:
        yield from self._singles.values()
        for batch in self._batches:
            yield from batch.queue.values()
