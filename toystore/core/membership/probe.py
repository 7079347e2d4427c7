"""One probe: the question whether a member is there, and the states of that question.

    DIRECT --timeout--> INDIRECT --timeout--> FAILED
    DIRECT --ping not sent--> INDIRECT
    INDIRECT --no way left--> FAILED
    DIRECT --ack--> ACKED
    INDIRECT --ack--> ACKED
    DIRECT --void--> CANCELLED
    INDIRECT --void--> CANCELLED

An input that has no arrow from the present state changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class ProbeState(Enum):
    """How far a probe is."""

    DIRECT = "this node has pinged the member"
    INDIRECT = "K other members were asked to ping it, too"
    ACKED = "it is there"
    FAILED = "there was no ack in time, or none can come: it is suspected"
    CANCELLED = "what came of the probe would prove nothing"


class ProbeInput(Enum):
    """What moves a probe to another state."""

    TIMEOUT = "timeout"
    UNSENT = "ping not sent"
    HOPELESS = "no way left"
    """This node has no link to the member, whose host refuses a new one; and all that were asked
    have sent a nack."""
    ACK = "ack"
    VOID = "void"
    """This process was stalled, or the member has refuted, come back or was removed since."""


TRANSITIONS: Final = {
    (ProbeState.DIRECT, ProbeInput.TIMEOUT): ProbeState.INDIRECT,
    (ProbeState.DIRECT, ProbeInput.UNSENT): ProbeState.INDIRECT,
    (ProbeState.DIRECT, ProbeInput.ACK): ProbeState.ACKED,
    (ProbeState.DIRECT, ProbeInput.VOID): ProbeState.CANCELLED,
    (ProbeState.INDIRECT, ProbeInput.TIMEOUT): ProbeState.FAILED,
    (ProbeState.INDIRECT, ProbeInput.HOPELESS): ProbeState.FAILED,
    (ProbeState.INDIRECT, ProbeInput.ACK): ProbeState.ACKED,
    (ProbeState.INDIRECT, ProbeInput.VOID): ProbeState.CANCELLED,
}


@dataclass(slots=True)
class Probe:
    """A member that was pinged; times are in monotonic seconds."""

    target: str
    sequence: int
    cause: str
    """Why it is suspected if the probe fails."""
    started: float
    ends: float
    """The probe does not time out before, however early other members were asked."""
    others: Iterator[str]
    """The members that can still be asked to ping it."""
    unsent: bool = False
    """Whether this node has no link to the member."""
    asked: set[str] = field(default_factory=set)
    """The members that were asked to ping it, and could be."""
    silent: set[str] = field(default_factory=set)
    """Those of them that have not sent a nack."""
    state: ProbeState = ProbeState.DIRECT

    def move(self, given: ProbeInput) -> bool:
        """Move as the table says; False if there is no arrow, and nothing has changed."""
        after = TRANSITIONS.get((self.state, given))
        if after is None:
            return False
        self.state = after
        return True
