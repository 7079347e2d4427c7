"""Whether a node serves clients, and what moves it from one phase to another.

    STARTING --joined, and its links are up or overdue--> SERVING --Leave--> LEAVING
    STARTING --Leave--> LEAVING
    STARTING --the ring no longer has it--> LEAVING
    SERVING --the ring no longer has it--> LEAVING

An input that has no arrow from the present phase changes nothing.

A node that has joined waits until it is linked to every living member, but for `LINKS_WAIT_S`
at most.  A node that stops answers its open requests as they come to their end.  One that the ring
no longer has answers them at once, because no other node answers it any more.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

LINKS_WAIT_S = 1.0
"""A node that has joined serves after this time even if links to living members are down."""


class Phase(Enum):
    """What a node does with the requests of clients."""

    STARTING = "refuses them, because it has not joined or its links are not up yet"
    SERVING = "serves them"
    LEAVING = "answers those that it holds, and refuses others"


class Input(Enum):
    """What moves a node to another phase."""

    READY = "joined, and its links are up or overdue"
    LEAVE = "Leave"
    REMOVED = "the ring no longer has it"


TRANSITIONS: Final = {
    (Phase.STARTING, Input.READY): Phase.SERVING,
    (Phase.STARTING, Input.LEAVE): Phase.LEAVING,
    (Phase.SERVING, Input.LEAVE): Phase.LEAVING,
    (Phase.STARTING, Input.REMOVED): Phase.LEAVING,
    (Phase.SERVING, Input.REMOVED): Phase.LEAVING,
}


class Serving:
    """The phase of one node, and how long it waits for its links."""

    __slots__ = ("links_due_s", "phase")

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.links_due_s: float | None = None
        """While the node has joined and waits for its links: the monotonic second of the end."""

    def joined(self, now_s: float) -> None:
        """The node is a member at monotonic second ``now_s``: begin to wait for its links."""
        if self.phase is Phase.STARTING and self.links_due_s is None:
            self.links_due_s = now_s + LINKS_WAIT_S

    def move(self, given: Input) -> None:
        """Move as the table says."""
        self.phase = TRANSITIONS.get((self.phase, given), self.phase)
        self.links_due_s = None
