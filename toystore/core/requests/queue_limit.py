"""How many requests may wait for their answers at once.

A long queue is good for a burst, but harmful if it stands: each request in it times out
before its answer comes, so all work is wasted.  The two are told apart as in CoDel (Nichols
and Jacobson, ACM Queue 2012): a queue that was short at any moment of an interval drains by
itself; a queue that took longer than `PATIENCE_S` all through an interval stands.  Each
interval is judged at its end:

    RELAXED --a queue stands--> STRICT --none was refused--> RELAXED
    STRICT --the rate allows the most--> RELAXED

The limit is the configured one while RELAXED.  While STRICT it is the number of requests
that can be answered in `SHORT_S`: by Little's law, the rate of answers times `SHORT_S`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

PATIENCE_S = 0.4
"""A queue that takes longer than this must drain; also the length of an interval."""
SHORT_S = 0.1
"""A queue that stands is cut to what can be answered in this time."""
QUEUE_MIN = 256
"""The limit is never cut below this: some must wait to fill batches and for silent replicas."""


class State(Enum):
    """Whether the limit is cut."""

    RELAXED = "the limit is the configured one"
    STRICT = "the limit is lower, and follows the rate of answers"


class Input(Enum):
    """What an interval has shown."""

    STANDS = "a queue stands"
    NONE_REFUSED = "none was refused"
    FAST = "the rate allows the most"


TRANSITIONS: Final = {
    (State.RELAXED, Input.STANDS): State.STRICT,
    (State.STRICT, Input.NONE_REFUSED): State.RELAXED,
    (State.STRICT, Input.FAST): State.RELAXED,
}


class QueueLimit:
    """A limit on the requests of one coordinator."""

    __slots__ = (
        "_admitted",
        "_began",
        "_most",
        "_shortest",
        "_waiting",
        "limit",
        "refused",
        "state",
    )

    def __init__(self, most: int) -> None:
        """``most``: the limit while relaxed; one of `QUEUE_MIN` or less is never cut."""
        self.limit = self._most = most
        self.state = State.RELAXED
        self.refused = False
        """Whether a request was refused in this interval; the caller sets it."""
        self._began = float("-inf")
        self._admitted = self._waiting = self._shortest = 0

    def observe(self, waiting: int, admitted: int, now: float) -> None:
        """Note how many requests wait, and how many were ever admitted, at a monotonic second."""
        self._shortest = min(self._shortest, waiting)
        lasted_s = now - self._began
        if lasted_s < PATIENCE_S:
            return
        answered = admitted - self._admitted + self._waiting - waiting
        self._judge(answered / lasted_s)
        self.refused = False
        self._began, self._admitted = now, admitted
        self._waiting = self._shortest = waiting

    def _judge(self, per_s: float) -> None:
        """Set the limit after an interval in which so many requests per second were answered."""
        stands = self._shortest > per_s * PATIENCE_S
        if self.refused if self.state is State.STRICT else stands:
            self.limit = min(self._most, max(QUEUE_MIN, int(per_s * SHORT_S)))
        else:
            self.limit = self._most
        self.state = State.STRICT if self.limit < self._most else State.RELAXED
