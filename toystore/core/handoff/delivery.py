"""One delivery: the hints of one owner on their way to it, and the states of that.

    TAKING --hints--> DELIVERING --taken by the owner--> DELETING --deleted--> TAKING
    TAKING --end of the queue--> TAKING --no hints--> FINISHED
    TAKING --failure--> PAUSED
    DELIVERING --failure--> PAUSED
    DELETING --failure--> PAUSED

A failure is whatever goes wrong on the way: the owner is no longer alive, its link is lost,
an answer does not come in time, a message cannot be sent, or the owner refuses hints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from toystore.core.handoff.batch import Batch, Question


class State(Enum):
    """How far a delivery is: whose answer it waits for."""

    TAKING = "this node's storage reads the next batch of hints"
    DELIVERING = "the owner stores the batch, or the nodes that have its ranges now"
    DELETING = "this node's storage deletes what they have"
    FINISHED = "this node keeps no hints for the owner any more"
    PAUSED = "something went wrong; a later delivery continues"


class Input(Enum):
    """What moves a delivery to another state."""

    HINTS = "hints"
    QUEUE_END = "end of the queue"
    """A delivery that began in the middle of the queue goes on at its beginning."""
    NO_HINTS = "no hints"
    TAKEN = "taken by the owner"
    DELETED = "deleted"
    FAILURE = "failure"


TRANSITIONS: Final = {
    (State.TAKING, Input.HINTS): State.DELIVERING,
    (State.TAKING, Input.QUEUE_END): State.TAKING,
    (State.TAKING, Input.NO_HINTS): State.FINISHED,
    (State.TAKING, Input.FAILURE): State.PAUSED,
    (State.DELIVERING, Input.TAKEN): State.DELETING,
    (State.DELIVERING, Input.FAILURE): State.PAUSED,
    (State.DELETING, Input.DELETED): State.TAKING,
    (State.DELETING, Input.FAILURE): State.PAUSED,
}


@dataclass(slots=True)
class Delivery:
    """The hints of one owner on their way."""

    owner: str
    hints: int
    """How many were kept when the delivery began."""
    size_bytes: int
    """Of their records."""
    after: bytes
    """The digest of the hint behind which the next batch begins; b"": the oldest is next."""
    started_at: float
    """In monotonic seconds, as all times here."""
    deadline: float = 0.0
    """Until when the answer that the state waits for is due."""
    state: State = State.TAKING
    announced: bool = False
    """Whether the log says that this delivery has begun."""
    batch: Batch | None = None
    """The last batch; what was deleted is not in it any more."""
    open: dict[int, Question] = field(default_factory=dict)
    """What was sent and not answered, by the number of the `DeliverHints`."""
    count: int = 0
    """How many hints were taken in all."""

    def move(self, given: Input) -> None:
        """Move as the table says; KeyError if there is no arrow from the present state."""
        self.state = TRANSITIONS[self.state, given]

    def open_to(self, node: str) -> list[int]:
        """The numbers of what was sent to a node and not answered."""
        return [number for number, question in self.open.items() if question.way.to == node]

    def awaits(self, node: str) -> str:
        """Whose answers are due: those of other nodes, or that of ``node``'s own storage."""
        asked = sorted({question.way.to for question in self.open.values()})
        return f"storage of {', '.join(asked) or node}"
