"""The states of a node from its start until it leaves, and what moves it from one to another.

    STARTING --LoadDisksReply--> JOINING --ExchangeReply--> JOINED --Leave--> LEFT
    JOINING --no other seed has answered--> JOINED
    JOINING --Leave--> LEFT
    STARTING --Leave--> STOPPED

An input that has no arrow from the present state changes nothing.

The node has no row in the member table while it is STARTING, because its disk is not
known.  It ignores the other members then, as it does when it is STOPPED.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """What a node does at present."""

    STARTING = "asks its storage for its disk and for those of the others"
    JOINING = "asks one seed after the other for all it knows"
    JOINED = "probes the members and exchanges its table with theirs"
    LEFT = "has announced that it leaves, and repeats that to each member that writes to it"
    STOPPED = "was stopped before the others knew of it"


class Input(Enum):
    """What moves a node to another state."""

    DISKS_FETCHED = "LoadDisksReply"
    TABLE_RECEIVED = "ExchangeReply"
    ALONE = "no other seed has answered"
    LEAVE = "Leave"


TRANSITIONS: Final = {
    (State.STARTING, Input.DISKS_FETCHED): State.JOINING,
    (State.STARTING, Input.LEAVE): State.STOPPED,
    (State.JOINING, Input.TABLE_RECEIVED): State.JOINED,
    (State.JOINING, Input.ALONE): State.JOINED,
    (State.JOINING, Input.LEAVE): State.LEFT,
    (State.JOINED, Input.LEAVE): State.LEFT,
}


class Lifecycle:
    """The state of this node."""

    __slots__ = ("has_joined", "state")

    def __init__(self) -> None:
        self.state = State.STARTING
        self.has_joined = False
        """Whether the node has been JOINED; it stays true after the node has left."""

    def move(self, given: Input) -> bool:
        """Move as the table says; False if there is no arrow, and nothing has changed."""
        after = TRANSITIONS.get((self.state, given))
        if after is None:
            return False
        self.state = after
        self.has_joined = self.has_joined or after is State.JOINED
        return True
