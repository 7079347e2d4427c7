"""What becomes of a range at one node while ranges move from owner to owner.

Two things change its state.  The node's anti-entropy reports what it has done (`TRANSITIONS`):

    BEHIND --every source was compared--> WHOLE --its new owner is whole--> RETIRED
    RETIRED --all was pushed--> RELEASED
    BEHIND --its new owner is whole--> RETIRED
    STRAY --all was pushed--> RELEASED

And a new ring record says which part the node has in the range (`FOLLOWED`).  A range that is
WHOLE before stays so, because it has each write that was acknowledged; what has stopped to vote
must be compared again before it votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.view import Slot

_WHOLE, _BEHIND, _RETIRED = RangeState.WHOLE, RangeState.BEHIND, RangeState.RETIRED
_RELEASED, _STRAY, _NONE = RangeState.RELEASED, RangeState.STRAY, RangeState.NONE


class Ownership(Enum):
    """Which part a node has in a range, by one ring record."""

    BOTH = "it owns the range, and did so before"
    NEW = "it owns the range once nothing moves any more"
    OLD = "the range moves away from it"
    NONE = "it is no owner"


class Input(Enum):
    """What anti-entropy reports."""

    FILLED = "every source was compared"
    REPLACED = "its new owner is whole"
    PUSHED = "all was pushed"


TRANSITIONS: Final = {
    (_BEHIND, Input.FILLED): _WHOLE,
    (_WHOLE, Input.REPLACED): _RETIRED,
    (_RETIRED, Input.PUSHED): _RELEASED,
    (_BEHIND, Input.REPLACED): _RETIRED,
    (_STRAY, Input.PUSHED): _RELEASED,
}

_MAY: Final = {
    Input.FILLED: (Ownership.BOTH, Ownership.NEW, Ownership.OLD),
    Input.REPLACED: (Ownership.OLD,),
    Input.PUSHED: (Ownership.OLD, Ownership.NONE),
}
"""Who may report it: an owner that stays never gives a range away."""

_INPUT_OF: Final = {(before, after): given for (before, given), after in TRANSITIONS.items()}


def may_become(before: RangeState, after: RangeState, ownership: Ownership) -> bool:
    """Whether a range may be set from one state to another by a node with this part in it."""
    given = _INPUT_OF.get((before, after))
    return given is not None and ownership in _MAY[given]


FOLLOWED: Final[Mapping[RangeState, Mapping[Ownership, RangeState]]] = {
    before: dict(zip(Ownership, after, strict=True))
    for before, after in {
        #           BOTH     NEW      OLD        NONE
        _WHOLE: (_WHOLE, _WHOLE, _WHOLE, _STRAY),
        _BEHIND: (_BEHIND, _BEHIND, _BEHIND, _STRAY),
        _RETIRED: (_BEHIND, _BEHIND, _RETIRED, _STRAY),
        _RELEASED: (_BEHIND, _BEHIND, _RELEASED, _RELEASED),
        _STRAY: (_BEHIND, _BEHIND, _BEHIND, _STRAY),
        _NONE: (_BEHIND, _BEHIND, _BEHIND, _NONE),
    }.items()
}
"""The state of a range after a record is adopted, by the state before it and the part in it."""


def ownership(slots: Iterable[Slot], node: str) -> Ownership:
    """Which part ``node`` has in a range with these slots."""
    parts = {(slot.old == node, slot.new == node) for slot in slots}
    old, new = (any(part[at] for part in parts) for at in (0, 1))
    if old and new:
        return Ownership.BOTH
    if new:
        return Ownership.NEW
    return Ownership.OLD if old else Ownership.NONE


def has_successor(slots: Iterable[Slot], node: str) -> bool:
    """Whether a range that moves away from ``node`` has a new owner in its place."""
    return any(slot.old == node and slot.new is not None for slot in slots)
