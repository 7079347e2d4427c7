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

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from toystore.core.data.record import stamp_of
from toystore.core.protocol.messages.codes import ReplicaStatus

_SAFE = (ReplicaStatus.OK, ReplicaStatus.SUPERSEDED)
"""An owner's answers for a hint that can be deleted: it has it, or something newer."""


class State(Enum):
    """How far a delivery is: whose answer it waits for."""

    TAKING = "this node's storage reads the next batch of hints"
    DELIVERING = "the owner stores the batch"
    DELETING = "this node's storage deletes what the owner has"
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
    request: int = 0
    """The number of the `DeliverHints` that was sent last."""
    batch: tuple[tuple[bytes, bytes], ...] = ()
    """The hints of the last batch that the owner has not taken: (digest, record) each."""
    count: int = 0
    """How many hints the owner has taken in all."""

    def move(self, given: Input) -> None:
        """Move as the table says; KeyError if there is no arrow from the present state."""
        self.state = TRANSITIONS[self.state, given]

    def take_out(self, statuses: Iterable[int]) -> tuple[tuple[bytes, bytes], ...]:
        """Take the hints that the owner has out of the batch; returns (digest, stamp) of each.

        ``statuses``: the owner's answers, in the order of the batch.
        """
        answers = list(zip(self.batch, statuses, strict=False))
        safe = {digest: stamp_of(record) for (digest, record), s in answers if s in _SAFE}
        self.batch = tuple(hint for hint in self.batch if hint[0] not in safe)
        self.count += len(safe)
        return tuple(safe.items())

    def awaits(self, node: str) -> str:
        """Whose answer is due: the owner's, or that of ``node``'s own storage."""
        return f"storage of {self.owner if self.state is State.DELIVERING else node}"
