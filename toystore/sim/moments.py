"""Moments at which a process can be killed: at a certain commit of its storage, or at a message.

"before whole"         the batch that sets a range as whole is not committed
"after whole"          it is committed, and no answer has left
"after whole, power"   the same, and the host loses its power
"before raise"         the batch that raises a floor is not committed
"before close"         the batch by which a node agrees to a floor is not committed
"at delivery"          hints are about to be delivered to it
"at decision"          a voter has accepted what it proposes, and no node has learned of it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import RaiseFloors, SetRange, SumDead, SweepRange
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.messages.hints import DeliverHints
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    AcceptRingReply,
    OfferRings,
    PrepareRing,
)
from toystore.core.ring.record import unpack_ring


def _sets(state: RangeState) -> Callable[[Message], bool]:
    return lambda message: isinstance(message, SetRange) and message.state == state


def _is_stable(message: Message) -> bool:
    """Whether it offers a record by which nothing moves any more."""
    offered = message.records if isinstance(message, OfferRings) else ()
    return bool(offered) and not unpack_ring(offered[-1]).moving


COMMITS: dict[str, Callable[[Message], bool]] = {
    "commit": lambda _: True,
    "whole": _sets(RangeState.WHOLE),
    "retired": _sets(RangeState.RETIRED),
    "released": _sets(RangeState.RELEASED),
    "promise": lambda message: isinstance(message, PrepareRing),
    "acceptance": lambda message: isinstance(message, AcceptRing),
    "adoption": lambda message: isinstance(message, OfferRings),
    "stable": _is_stable,
    "sweep": lambda message: isinstance(message, SweepRange),
}
"""By the word that names a commit: whether it is the one of a message."""
REAPING: dict[str, Callable[[Message], bool]] = {
    "close": lambda message: isinstance(message, SumDead) and message.close,
    "raise": lambda message: isinstance(message, RaiseFloors),
}
"""The same for the commits by which tombstones are removed."""
MESSAGES: dict[str, Callable[[Message], bool]] = {
    "at delivery": lambda message: isinstance(message, DeliverHints),
    "at decision": lambda message: isinstance(message, AcceptRingReply),
}
MOVES = tuple(
    f"{when} {name}" for name in COMMITS if name != "commit" for when in ("before", "after")
)
"""The commits of a change of the ring."""


def is_commit(how: str, messages: Iterable[Message]) -> bool:
    """Whether the commit of these messages is the moment."""
    name = how.partition(" ")[2].removesuffix(", power")
    is_it = COMMITS.get(name) or REAPING.get(name)
    return is_it is not None and any(map(is_it, messages))


def is_message(how: str, messages: Iterable[Message]) -> bool:
    """Whether the arrival of one of these messages is the moment."""
    is_it = MESSAGES.get(how)
    return is_it is not None and any(map(is_it, messages))
