"""Members that are declared dead and come back several times in a short time."""

from __future__ import annotations

from collections import deque

FLAPS = 3
"""A member flaps if it returns this often within `FLAPS_WITHIN_S`."""
FLAPS_WITHIN_S = 60.0


class Flapping:
    """When each member has come back from the dead, in monotonic seconds."""

    __slots__ = ("_returns",)

    def __init__(self) -> None:
        self._returns: dict[str, deque[float]] = {}

    def forget(self, name: str) -> None:
        """A member was removed."""
        self._returns.pop(name, None)

    def on_return(self, name: str, now: float) -> bool:
        """A dead member is alive; returns whether it flaps: once for each `FLAPS` returns."""
        returns = self._returns.setdefault(name, deque())
        returns.append(now)
        while returns[0] < now - FLAPS_WITHIN_S:
            returns.popleft()
        if len(returns) < FLAPS:
            return False
        returns.clear()
        return True
