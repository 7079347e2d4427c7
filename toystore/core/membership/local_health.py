"""Local health: how far this node trusts its own evidence against others (Lifeguard IV-A).

A node that is slow, or badly connected, suspects healthy members.  It can notice that: its
probes fail, the nacks that it should get do not come, and the others suspect it.  Each of
these raises a score, and each probe that succeeds lowers it.  The node then probes less
often, and waits longer, by the factor 1 + score.
"""

from __future__ import annotations

from toystore.core.protocol.machine import Outbox


class LocalHealth:
    """The score of this node; 0 is healthy."""

    __slots__ = ("_max", "_outbox", "score")

    def __init__(self, score_max: int, outbox: Outbox) -> None:
        """``score_max``: the worst score.  With 0 the node always trusts itself."""
        self.score = 0
        self._max = score_max
        self._outbox = outbox

    def scaled(self, time_s: float) -> float:
        """A time of the failure detector, in seconds, as long as this node's health asks for."""
        return time_s * (1 + self.score)

    def worsen(self, by: int, cause: str) -> None:
        """Something went wrong that may be this node's own fault."""
        self._set(min(self._max, self.score + by), cause)

    def improve(self) -> None:
        """A probe has succeeded."""
        if self.score:
            self._set(self.score - 1, "ack")

    def forget(self) -> None:
        """There is no other member that could be taken for dead."""
        self._set(0, "no other member")

    def _set(self, score: int, cause: str) -> None:
        if score != self.score:
            self._outbox.log("health.changed", score=score, before=self.score, cause=cause)
            self.score = score
