"""How the members of the ring change: what the actor `ring` and storages say to each other.

Each epoch is decided by single-decree Paxos (Lamport, *Paxos Made Simple*, 2001): the storages of
the voters are its acceptors, because a promise must be on disk before it is answered, and any
node's `ring` actor may propose.  A ballot is a counter and the node that proposes; (0, "") is below
all others.  A ring record is packed (`toystore.core.ring.record`).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class PrepareRing(NamedTuple):
    """To a voter: promise to accept nothing below this ballot for this epoch."""

    request: int
    epoch: int
    parent: bytes
    """The digest of the record before, or the lineage if that is the founding."""
    counter: int
    proposer: str


class PrepareRingReply(NamedTuple):
    """``promised``: the highest ballot that was promised; the proposer's own if it may go on."""

    request: int
    promised: int
    promised_to: str
    accepted: int
    accepted_from: str
    """The ballot of ``record``; (0, "") if nothing was accepted."""
    record: bytes
    newer: tuple[bytes, ...]
    """The records that the asker lacks; then this voter does not vote."""
    disk: str
    reason: str
    """Why it does not vote, or ""."""
    epoch: int
    """Of its newest record: if that is below the proposer's, it lacks records."""


class AcceptRing(NamedTuple):
    """To a voter: accept this record, unless you have promised a higher ballot."""

    request: int
    epoch: int
    parent: bytes
    counter: int
    proposer: str
    record: bytes


class AcceptRingReply(NamedTuple):
    """Fields as of `PrepareRingReply`; it has accepted if ``promised`` is the asker's ballot."""

    request: int
    promised: int
    promised_to: str
    newer: tuple[bytes, ...]
    disk: str
    reason: str
    epoch: int


class FetchRings(NamedTuple):
    """Which ring records come after this epoch?"""

    request: int
    after: int


class FetchRingsReply(NamedTuple):
    """They follow each other; the last is the newest, unless they have more than 1 MiB."""

    request: int
    records: tuple[bytes, ...]


class OfferRings(NamedTuple):
    """To any storage: these records are decided, and follow each other.  Adopt those you lack."""

    request: int
    records: tuple[bytes, ...]


class OfferRingsReply(NamedTuple):
    """The newest record that the storage has now."""

    request: int
    epoch: int
    digest: bytes
    reason: str
    """Why it has not adopted what was offered, or ""."""
    foreign: bool = False
    """Whether that is because the records are of another founding of the cluster."""


class DescribeMoves(NamedTuple):
    """To any storage: how far are you in this epoch?"""

    request: int
    epoch: int


class DescribeMovesReply(NamedTuple):
    """``epoch``: the newest that it has adopted."""

    request: int
    epoch: int
    disk: str
    behind: int
    """Ranges that it lacks records of."""
    unreleased: int
    """Ranges that it has to give away and still has to."""
    keys_left: int
    """About how many records are still to come to it."""
    bytes_left: int
    """About how many bytes these have."""
    hints: int
    """Hints that it keeps for others, if it leaves; otherwise 0."""
    keys: int
    """Records that it has."""
    bytes: int
    """Bytes of these."""
    votes: bool
    """Whether it lacks nothing: its disk was not replaced, or it has rebuilt each range."""


class WatchRing(NamedTuple):
    """To the own storage: answer as soon as you have records after this epoch, or another vote."""

    request: int
    epoch: int
    undecided: int
    """What the last answer said of the vote; 0 in the first question."""


class WatchRingReply(NamedTuple):
    """What the watcher did not know; ask again.  The records follow each other."""

    request: int
    records: tuple[bytes, ...]
    undecided: int
    """The epoch for which this storage has accepted a record that is not known to be decided; or 0.
    """


class KeepPlan(NamedTuple):
    """To the own storage: keep this plan, JSON, until another takes its place."""

    request: int
    plan: bytes


class KeepPlanReply(NamedTuple):
    """It is on the disk."""

    request: int


class FetchPlan(NamedTuple):
    """To the own storage: which plan is kept?"""

    request: int


class FetchPlanReply(NamedTuple):
    """``plan``: b"" if there is none."""

    request: int
    plan: bytes


class RingChanged(NamedTuple):
    """The `ring` actor sends its node's other actors the record that its storage has adopted."""

    record: bytes


class RingForked(NamedTuple):
    """The `ring` actor sends its node's other actors the digest of a record of another ring.

    The name and the lineage of that ring are the same: a node that has it has a data folder of
    another founding.  The shells refuse its frames from now on.
    """

    digest: bytes


class RingSeen(NamedTuple):
    """A shell or an actor has seen that ``node`` has a newer record: fetch it."""

    node: str
    epoch: int


class RingCommand(NamedTuple):
    """The coordinator passes a client's `Cluster` command to the `ring` actor of its node."""

    request: int
    command: str
    arguments: dict[str, Any]


class RingCommandReply(NamedTuple):
    """``code``: 0, or the `Code` of a failure, which ``text`` describes (`ErrorReply`)."""

    request: int
    result: dict[str, Any]
    code: int
    text: str
    definite: bool
