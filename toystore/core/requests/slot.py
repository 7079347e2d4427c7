"""A side of a slot of a sloppy quorum: whether a vote for it may come, has come, or will not come.

A slot has one side for each of its nodes: one, or two while its replica moves (place.py).  How the
sides make the vote of the slot is in votes.py.

While the side is OPEN, each node that is lost, refuses or is silent is replaced by the next
fallback.  The side stays OPEN until there is no fallback left, or until

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
    SILENT --a fallback has nothing--> DEFERRED
    SILENT --a node fails over it--> CLOSED
    SILENT --a node has a newer write--> CLOSED
    DEFERRED --the owner says yes--> OWNER
    DEFERRED --a fallback says yes--> FALLBACK
    OVERLOADED --the owner says yes--> OWNER
    OVERLOADED --a fallback says yes--> FALLBACK
    OVERLOADED --a fallback has nothing--> DEFERRED
    CLOSED --the owner says yes--> OWNER
    CLOSED --a fallback says yes--> FALLBACK
    CLOSED --a fallback has nothing--> DEFERRED

A fallback that has nothing says yes as soon as no owner is awaited: each has answered, has failed,
or is silent.  A silent owner is awaited too while nothing was found, for a while (reading.py).

In a slot of two sides one more node takes the place of a fallback for a write, when none is left
and the other side has a vote: a node that has stored its own copy.  Until then the side is OPEN.

In a slot of two sides the old node may have given its replica away, and the new node may lack
records.  After both the new node is asked once more, because it may have become whole in between:

    OPEN --the replica has moved--> MOVED
    SILENT --the replica has moved--> MOVED
    DEFERRED --the replica has moved--> MOVED
    OVERLOADED --the replica has moved--> MOVED
    CLOSED --the replica has moved--> MOVED
    OPEN --the replica is not whole--> BEHIND --it is asked once more--> OPEN
    SILENT --the replica is not whole--> BEHIND --a fallback says yes--> FALLBACK
    BEHIND --a fallback has nothing--> DEFERRED
    SILENT --it is asked once more--> OPEN

In a read no fallback takes the place of a node while the other node of its slot may answer.

The owner may follow a newer ring than the coordinator.  Then the request waits for that ring, by
which it is planned again.  If that was wrong, and the other node has no vote, it is asked again:

    OPEN --the owner has a newer ring--> STALE --a fallback says yes--> FALLBACK
    STALE --a fallback has nothing--> DEFERRED
    STALE --it is asked once more--> OPEN
    SILENT --the owner has a newer ring--> STALE --the write is acknowledged--> OPEN

An input that has no arrow from the present state changes nothing.  Replies are frequent, so
the quorum assigns the states itself; tests compare what it assigns with `TRANSITIONS`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class Side(IntEnum):
    """The state of a side of a slot."""

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
    MOVED = 7
    """The old node has given its replica away: the new node votes alone."""
    BEHIND = 8
    """No vote: the node lacks records, and the other node of its slot may vote."""
    STALE = 9
    """The owner has a newer ring, for which the request waits."""


OPEN, SILENT, DEFERRED, OWNER, FALLBACK, OVERLOADED, CLOSED, MOVED, BEHIND, STALE = Side


class Input(Enum):
    """What moves a side to another state."""

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
    GIVEN_AWAY = "the replica has moved"
    NOT_WHOLE = "the replica is not whole"
    AGAIN = "it is asked once more"
    NEWER_RING = "the owner has a newer ring"


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
    (SILENT, Input.NOTHING): DEFERRED,
    (SILENT, Input.NO_NODE): CLOSED,
    (SILENT, Input.FAILED): CLOSED,
    (SILENT, Input.NEWER): CLOSED,
    (DEFERRED, Input.OWNER_YES): OWNER,
    (DEFERRED, Input.FALLBACK_YES): FALLBACK,
    (DEFERRED, Input.NO_OWNER): FALLBACK,
    (OVERLOADED, Input.OWNER_YES): OWNER,
    (OVERLOADED, Input.FALLBACK_YES): FALLBACK,
    (OVERLOADED, Input.NOTHING): DEFERRED,
    (OVERLOADED, Input.ACKNOWLEDGED): OPEN,
    (CLOSED, Input.OWNER_YES): OWNER,
    (CLOSED, Input.FALLBACK_YES): FALLBACK,
    (CLOSED, Input.NOTHING): DEFERRED,
    (OPEN, Input.GIVEN_AWAY): MOVED,
    (SILENT, Input.GIVEN_AWAY): MOVED,
    (DEFERRED, Input.GIVEN_AWAY): MOVED,
    (OVERLOADED, Input.GIVEN_AWAY): MOVED,
    (CLOSED, Input.GIVEN_AWAY): MOVED,
    (OPEN, Input.NOT_WHOLE): BEHIND,
    (SILENT, Input.NOT_WHOLE): BEHIND,
    (BEHIND, Input.AGAIN): OPEN,
    (SILENT, Input.AGAIN): OPEN,
    (STALE, Input.AGAIN): OPEN,
    (BEHIND, Input.FALLBACK_YES): FALLBACK,
    (BEHIND, Input.NOTHING): DEFERRED,
    (OPEN, Input.NEWER_RING): STALE,
    (SILENT, Input.NEWER_RING): STALE,
    (STALE, Input.FALLBACK_YES): FALLBACK,
    (STALE, Input.NOTHING): DEFERRED,
    (STALE, Input.ACKNOWLEDGED): OPEN,
}
