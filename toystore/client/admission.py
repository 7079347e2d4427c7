"""Which requests of a client are open, and which wait for room in the backlog.

At most so many requests are open at once; those of calls about many keys must also fit the
`Window`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toystore.client.backlog import Backlog
from toystore.client.request import BACKLOG, Request
from toystore.client.window import Window
from toystore.core.protocol.messages.client import GetReply


class Admission:
    """Admits the requests of one client."""

    __slots__ = ("_admit", "_filling", "_in_flight_max", "backlog", "open", "window")

    def __init__(self, in_flight_max: int, admit: Callable[[Request[Any], float], None]) -> None:
        """``in_flight_max``: the most open requests.  ``admit`` is called with each of them."""
        self.open: dict[int, Request[Any]] = {}
        """The open requests, by id."""
        self.backlog = Backlog()
        self.window = Window(in_flight_max)
        self._in_flight_max = in_flight_max
        self._admit = admit
        self._filling = False

    def enter(self, request: Request[Any], now: float) -> None:
        """Admit a request if there is room and none waits; else it waits in the backlog."""
        has_room = len(self.open) < self._in_flight_max
        if has_room and not self.backlog.count and self._fits(request):
            self.admit(request, now)
        else:
            self.backlog.add(request)
            self._fill(now)

    def admit(self, request: Request[Any], now: float) -> None:
        """Open a request, whether there is room or not."""
        if request.batch is not None:
            request.start(now)
            request.cost = self._cost(request)
            self.window.enter(request.cost)
        self.open[request.id] = request
        self._admit(request, now)

    def leave(self, request: Request[Any], stage: int, now: float) -> None:
        """A request has ended in this stage: admit the next from the backlog."""
        if stage == BACKLOG:
            self.backlog.remove(request)
            return
        del self.open[request.id]
        if request.batch is not None:
            self.window.leave(request.cost)
        if self.backlog.count:
            self._fill(now)

    def close(self) -> list[Request[Any]]:
        """Admit none until `reopen`; returns all requests."""
        self._filling = True
        return [*self.open.values(), *self.backlog]

    def reopen(self) -> None:
        """Admit requests again."""
        self._filling = False

    def _fill(self, now: float) -> None:
        """Admit requests from the backlog while there is room."""
        if self._filling:  # A request may end as soon as it is admitted, and call this again.
            return
        self._filling = True
        while self.backlog.count and len(self.open) < self._in_flight_max:
            request = self.backlog.take(self._fits)
            if request is None:
                break
            self.admit(request, now)
        self._filling = False

    def _fits(self, request: Request[Any]) -> bool:
        """Whether a request may be sent now, if it is of a call about many keys."""
        return request.batch is None or self.window.fits(self._cost(request))

    def _cost(self, request: Request[Any]) -> int:
        """About how many bytes it and its reply will take."""
        return request.size + (int(self.window.read_bytes) if request.reply is GetReply else 0)
