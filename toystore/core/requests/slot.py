"""A slot of a sloppy quorum: whether a vote for it may come, has come, or will not come.

While the slot is OPEN, each node that is lost, refuses or is silent is replaced by the next
fallback.  The slot stays OPEN until there is no fallback left, or until

    OPEN --the owner says yes--> OWNER
    OPEN --a fallback says yes--> FALLBACK
    OPEN --a fallback has nothing--> DEFERRED --no owner is awaited--> FALLBACK
    OPEN --no fallback is left--> SILENT --no node is left--> CLOSED
    OPEN --no node is left--> CLOSED
    OPEN --a queue is full--> OVERLOADED --the write is acknowledged--> OPEN
    OPEN --a node fails over it--> CLOSED
    OPEN --the read is answered--> CLOSED
    OPEN --a node has a newer write--> CLOSED

A node that was replaced may answer after all:

    SILENT --the owner says yes--> OWNER
    SILENT --a fallback says yes--> FALLBACK
    SILENT --a node fails over it--> CLOSED
    SILENT --a node has a newer write--> CLOSED
    DEFERRED --the owner says yes--> OWNER
    OVERLOADED --the owner says yes--> OWNER
    OVERLOADED --a fallback says yes--> FALLBACK
    CLOSED --the owner says yes--> OWNER
    CLOSED --a fallback says yes--> FALLBACK

A fallback that has nothing says yes as soon as no owner is awaited.

An input that has no arrow from the present state changes nothing.  Replies are frequent, so
the quorum assigns the states itself; tests compare what it assigns with `TRANSITIONS`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class Slot(IntEnum):
    """The state of a slot."""

    OPEN = 0
    """A node was asked that is expected to answer."""
    SILENT = 1
    """Every node that was asked and has not answered is silent, and no other can be asked."""
    DEFERRED = 2
    """A fallback has nothing: that is a vote once no owner is awaited."""
    OWNER = 3
    """A vote of the owner."""
    FALLBACK = 4
    """A vote of a fallback."""
    OVERLOADED = 5
    """No vote: the queue to a node is full, and a fallback in its place would not help."""
    CLOSED = 6
    """No vote."""


OPEN, SILENT, DEFERRED, OWNER, FALLBACK, OVERLOADED, CLOSED = Slot


class Input(Enum):
    """What moves a slot to another state."""

    OWNER_YES = "the owner says yes"
    FALLBACK_YES = "a fallback says yes"
    NOTHING = "a fallback has nothing"
    NO_OWNER = "no owner is awaited"
    NO_FALLBACK = "no fallback is left"
    NO_NODE = "no node is left"
    FULL = "a queue is full"
    FAILED = "a node fails over it"
    NEWER = "a node has a newer write"
    ACKNOWLEDGED = "the write is acknowledged"
    ANSWERED = "the read is answered"


TRANSITIONS: Final = {
    (OPEN, Input.OWNER_YES): OWNER,
    (OPEN, Input.FALLBACK_YES): FALLBACK,
    (OPEN, Input.NOTHING): DEFERRED,
    (OPEN, Input.NO_FALLBACK): SILENT,
    (OPEN, Input.NO_NODE): CLOSED,
    (OPEN, Input.FULL): OVERLOADED,
    (OPEN, Input.FAILED): CLOSED,
    (OPEN, Input.ANSWERED): CLOSED,
    (OPEN, Input.NEWER): CLOSED,
    (SILENT, Input.OWNER_YES): OWNER,
    (SILENT, Input.FALLBACK_YES): FALLBACK,
    (SILENT, Input.NO_NODE): CLOSED,
    (SILENT, Input.FAILED): CLOSED,
    (SILENT, Input.NEWER): CLOSED,
    (DEFERRED, Input.OWNER_YES): OWNER,
    (DEFERRED, Input.NO_OWNER): FALLBACK,
    (OVERLOADED, Input.OWNER_YES): OWNER,
    (OVERLOADED, Input.FALLBACK_YES): FALLBACK,
    (OVERLOADED, Input.ACKNOWLEDGED): OPEN,
    (CLOSED, Input.OWNER_YES): OWNER,
    (CLOSED, Input.FALLBACK_YES): FALLBACK,
}
