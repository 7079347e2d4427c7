"""One proposal: which voters have promised, accepted or refused, in each round under one ballot.

    PREPARE   a majority has promised ─▶ ACCEPT   a majority has accepted ─▶ decided
        │                                   │
        '── a majority cannot be had ───────'──▶ another round, under a higher ballot

Source: Lamport, *Paxos Made Simple* (2001), section 2.2: the record that is proposed is the one
that was accepted under the highest ballot, if any of the majority has accepted one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from toystore.core.protocol.machine import Now
from toystore.core.ring.record import Listed, RingRecord

Ballot = tuple[int, str]
"""A counter, and the machine that proposes."""


class Result(Enum):
    """How a proposal has ended."""

    DECIDED = "decided"
    """Its record is the next one."""
    OTHER = "other"
    """Another record is the next one."""
    NOTHING = "nothing"
    """It had no record of its own, and no voter had accepted any."""
    UNREACHABLE = "unreachable"
    """Too few voters answered, and none was asked to accept its record: it is not the next one."""
    UNKNOWN = "unknown"
    """Voters were asked to accept its record: it may still be decided."""


Done = Callable[[Result, str, Now], None]
"""Called once, with a text for the operator."""


@dataclass
class Round:
    """The answers of the voters under one ballot."""

    ballot: Ballot
    waiting: set[str]
    """The voters that have not answered in this phase."""
    agreed: set[str] = field(default_factory=set)
    """The voters that have promised, or in the second phase accepted."""
    highest: Ballot = (0, "")
    """The highest ballot of an accepted record among the promises."""
    record: bytes = b""
    """That record; in the second phase, what is proposed."""
    accepting: bool = False
    """Whether this is the second phase."""

    def promised(self, voter: str, ballot: Ballot, record: bytes) -> None:
        """A voter has promised, and has accepted ``record`` before under ``ballot``."""
        self.agreed.add(voter)
        if record and ballot > self.highest:
            self.highest, self.record = ballot, record


@dataclass
class Proposal:
    """See the module's docstring."""

    base: RingRecord
    """The newest record; its voters decide."""
    record: RingRecord | None
    """What is proposed; None: only to finish what another node has begun."""
    voters: Mapping[str, Listed]
    done: Done
    began: float
    """Monotonic seconds."""
    new_lineage: bool = False
    """Whether it is decided without a majority of the listed voters."""
    own: set[bytes] = field(default_factory=set)
    """The forms in which ``record`` was sent to be accepted: with the disks known by then."""
    decided: RingRecord | None = None
    """A record that a majority has accepted; this node's storage has not adopted it yet."""
    round: Round | None = None
    rounds: int = 0
    next_at: float | None = None
    """When the next round begins; None while one is under way, or no more is needed."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why each voter did not agree in the last round."""

    @property
    def epoch(self) -> int:
        """What is decided."""
        return self.base.epoch + 1

    @property
    def majority(self) -> int:
        """How many voters have to agree."""
        return len(self.voters) // 2 + 1

    def listed_disk(self, voter: str) -> str:
        """The disk of a voter; "" if the record does not list it."""
        return self.voters[voter].disk

    def lacking(self) -> str:
        """Why no majority agreed, for the operator."""
        why = ", ".join(f"{name} ({why})" for name, why in sorted(self.refusals.items()))
        return f"{self.majority} of {len(self.voters)} voters are needed; without: {why or 'none'}"

    def is_own(self, packed: Collection[bytes]) -> bool:
        """Whether one of these is the record that was proposed."""
        return any(one in self.own for one in packed)
