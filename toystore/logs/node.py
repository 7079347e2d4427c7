"""What is known about one node, apart from its episodes."""

from __future__ import annotations

from collections import deque

from toystore.logs.episode import Absence, Accusation, Seen

REMEMBERED = 32
"""The number of absences, and of stalls, that are kept for each node."""
ACCUSED_MAX = 512
"""The number of accusations that are kept for each accuser."""


class Node:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.last_at: float | None = None
        """The time of its last line; None: it has no log."""
        self.previous_at: float | None = None
        """The time of the line before."""
        self.up = False
        """Whether it runs now."""
        self.watched = False
        """Whether a runner logs what happens to its process."""
        self.joined: Seen | None = None
        """When it last joined, and through which node."""
        self.stalls: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        """The times in which it was stalled, from its own log."""
        self.health_worst = 0
        """The highest score of its local health, from its own log; 0 is healthy."""
        self.absences: deque[Absence] = deque(maxlen=REMEMBERED)
        self.accused: deque[Accusation] = deque(maxlen=ACCUSED_MAX)
        """Its own accusations of others."""
