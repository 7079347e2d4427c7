"""One probe: the question whether a member is there, and the states of that question.

    DIRECT --timeout--> INDIRECT --timeout--> FAILED
    DIRECT --ping not sent--> INDIRECT
    DIRECT --ack--> ACKED
    INDIRECT --ack--> ACKED
    DIRECT --void--> CANCELLED
    INDIRECT --void--> CANCELLED

An input that has no arrow from the present state changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class ProbeState(Enum):
    """How far a probe is."""

    DIRECT = "this node has pinged the member"
    INDIRECT = "K other members were asked to ping it, too"
    ACKED = "it is there"
    FAILED = "there was no ack in time: it is suspected"
    CANCELLED = "what came of the probe would prove nothing"


class ProbeInput(Enum):
    """What moves a probe to another state."""

    TIMEOUT = "timeout"
    UNSENT = "ping not sent"
    ACK = "ack"
    VOID = "void"
    """This process was stalled, or the member has refuted or come back in the meantime."""


TRANSITIONS: Final = {
    (ProbeState.DIRECT, ProbeInput.TIMEOUT): ProbeState.INDIRECT,
    (ProbeState.DIRECT, ProbeInput.UNSENT): ProbeState.INDIRECT,
    (ProbeState.DIRECT, ProbeInput.ACK): ProbeState.ACKED,
    (ProbeState.DIRECT, ProbeInput.VOID): ProbeState.CANCELLED,
    (ProbeState.INDIRECT, ProbeInput.TIMEOUT): ProbeState.FAILED,
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
    due: float
    """When the present state times out."""
    ends: float
    """The probe does not fail before, however early other members were asked."""
    state: ProbeState = ProbeState.DIRECT

    def move(self, given: ProbeInput) -> bool:
        """Move as the table says; False if there is no arrow, and nothing has changed."""
        after = TRANSITIONS.get((self.state, given))
        if after is None:
            return False
        self.state = after
        return True
