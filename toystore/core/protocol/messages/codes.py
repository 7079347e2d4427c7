"""Numbers that say how a request, a replica or a member fares."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Why a request failed; numbers are append-only, like tags."""

    BAD_REQUEST = 1
    UNAVAILABLE = 2
    OVERLOADED = 3
    TIMEOUT = 4
    CONFLICT = 5
    INTERNAL = 6
    CLOCK_AHEAD = 7
    """The stamp is too far ahead of the coordinator's clock: put again without one."""
    NOT_SERVING = 8
    """The node is starting or stopping: nothing was done, ask another."""
    CLOCK_BEHIND = 9
    """The stamp is too old by the coordinator's clock: nothing was done, ask another."""


class ReplicaStatus(IntEnum):
    """What a replica says of one write or one read."""

    OK = 0
    SUPERSEDED = 1
    """It holds something newer: no acknowledgement."""
    NOT_FOUND = 2
    NO_VOTE = 3
    """It has nothing, but its disk was replaced, so that proves nothing."""
    REFUSED = 4
    """No room: a full disk, or hints at their byte bound.  Ask the next fallback."""
    INTERNAL = 5
    """It failed over this message: try no other with it."""
    STALE = 6
    """The write is of an earlier epoch, before ranges began to move: fetch the ring."""
    MOVED = 7
    """The replica is no longer here: its new owner has it."""


class RangeState(IntEnum):
    """What a range is at one node; it is on the node's disk."""

    WHOLE = 0
    """An owner's, with all records: it votes."""
    BEHIND = 1
    """An owner's that lacks records; they are fetched."""
    RETIRED = 2
    """The slot's new owner votes instead; what that lacks is pushed to it."""
    RELEASED = 3
    """Everything was pushed: it is deleted once the ring is stable."""
    STRAY = 4
    """Records where the node is no owner: they are pushed to the owners."""
    NONE = 5
    """Nothing of it is here, and the node is no owner."""


class MemberStatus(IntEnum):
    """What SWIM says of a member (SWIM section 4.2), and `LEFT` for who said goodbye."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3
