"""Requests that wait in the client for room, and whose turn is next.

Single requests go first, in order; their time runs while they wait.  The requests of calls
about many keys come after them, from each call in turn, and the time of one of these starts
when it is taken on.  So no key of a long list times out for having stood in line; yet a
call ends: when none of its keys has been answered for a whole timeout, nor will the rest be.
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
        self._singles: dict[int, Request[Any]] = {}
        self._batches: deque[Batch] = deque()
        self._singles_due = _NEVER
        """None of them is due before; it may be early, as what it came from is over."""

    def add(self, request: Request[Any]) -> None:
        """Put a request at the end of its line."""
        batch = request.batch
        if batch is None:
            self._singles[request.id] = request
            self._singles_due = min(self._singles_due, request.due)
            return
        if not batch.queue:
            self._batches.append(batch)
        batch.queue[request.id] = request

    def remove(self, request: Request[Any]) -> None:
        """Take a request out of its line."""
        batch = request.batch
        if batch is None:
            del self._singles[request.id]
            return
        del batch.queue[request.id]
        if not batch.queue:
            self._batches.remove(batch)

    def take(self, fits: Callable[[Request[Any]], bool]) -> Request[Any] | None:
        """Take out whose turn it is; one of many only if it ``fits``, or None."""
        for request in self._singles.values():
            del self._singles[request.id]
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
        """When something here is due at the earliest."""
        if not self._batches:
            return self._singles_due
        return min(self._singles_due, *(batch.due for batch in self._batches))

    def overdue(self, now: float) -> list[Request[Any]]:
        """What has waited for too long; it stays in line."""
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
