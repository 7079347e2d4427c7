"""What anti-entropy asks of its own storage and of an owner's, and their replies (Dynamo 4.7).

A range is (N, partition), a leaf a sixteenth of it (`toystore.core.ring.ranges`).  Fields:
``tree`` is the sums of a range's leaves, ``root`` the digest of the tree (storage/sums.py).
``hashes`` are digests without their first byte, N, 16 bytes each.  ``rows`` describe records, 41
bytes each: the hash, and the record's flags, checksum and stamp (bytes 1 to 25).  A stretch is the
records from the digest ``start`` on, before the digest ``end``, all of one range.  Records whose
stamp is later than ``until_us`` are left out.

A floor is a time in microseconds since 1970, or 0: below the floor of a range, what is not stored
is dead (storage/floors.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class WatchRanges(NamedTuple):
    """To the own storage: tell me of the ranges that have changed, as soon as there are any.

    ``every``: of each owned range, for the first time.
    """

    request: int
    every: bool


class RangeSum(NamedTuple):
    """One range as its storage has it."""

    n: int
    partition: int
    behind: bool
    """Whether it lacks records: it does not vote."""
    tree: bytes
    state: int = 0
    """A `RangeState`."""
    floor: int = 0
    tombstones: int = 0
    """How many it has."""


class WatchRangesReply(NamedTuple):
    """Those that have changed since the last reply, or some of them."""

    request: int
    ranges: tuple[RangeSum, ...]
    more: bool
    """Whether others have changed, too: ask again."""


class CompareRanges(NamedTuple):
    """To another owner: which of these ranges differ from yours?

    ``rebuilding``: the asker is behind in all of them, and the receiver answers if it has anything
    of a range.  Otherwise a range in which the receiver is not whole is unready: it is compared
    when the receiver rebuilds it, and not twice.
    """

    request: int
    rebuilding: bool
    roots: tuple[tuple[int, int, bytes], ...]
    """N, partition and root of each."""
    epoch: int = 0
    """Of the asker's ring: a receiver that has not adopted it is unready."""
    floors: tuple[int, ...] = ()
    """The floor of each range at the asker, in order; empty if all are 0.  A receiver that is whole
    raises a lower one."""


class CompareRangesReply(NamedTuple):
    """The ranges that differ; those in neither part are equal."""

    request: int
    differing: tuple[tuple[int, int, bytes], ...]
    """N, partition and tree of each."""
    unready: tuple[tuple[int, int], ...]
    """Their sums are not known yet, the owner is behind there, or its disk is not confirmed: ask
    again later."""
    states: bytes = b""
    """The `RangeState` of each range that was asked for, in order."""
    floors: tuple[int, ...] = ()
    """The floor of each, in order; empty if all are 0.  Where the asker's is lower, the asker has
    to raise it before the records are compared."""


class ListStretches(NamedTuple):
    """To the own storage: the rows of these stretches, ``rows_max`` at most.

    ``stretches``: start and end of each, all of one N.
    """

    request: int
    stretches: tuple[tuple[bytes, bytes], ...]
    rows_max: int
    until_us: int


class ListStretchesReply(NamedTuple):
    """``listed``: start, end and rows of the first of them; the last one may have been cut off."""

    request: int
    listed: tuple[tuple[bytes, bytes, bytes], ...]


class CompareStretches(NamedTuple):
    """To another owner: in these stretches I have these rows; what do you have that is newer?"""

    request: int
    listed: tuple[tuple[bytes, bytes, bytes], ...]
    until_us: int
    bytes_max: int
    push: bool = False
    """Whether the asker wants to know only which of its records are newer."""


class CompareStretchesReply(NamedTuple):
    """What the asker lacks, and what this owner lacks, of the first stretches."""

    request: int
    records: tuple[bytes, ...]
    """At most about ``bytes_max``, but at least one if there is any."""
    wanted: bytes
    """The hashes of the asker's records that are newer than this owner's."""
    compared: tuple[tuple[bytes, int], ...]
    """Of each of the first stretches: up to where it was compared, and how many of the records are
    from it.  The last one may have been cut off."""
    floors: tuple[tuple[int, int], ...] = ()
    """The partition and the floor of each range that has a floor, as these records were read."""


class FetchRecords(NamedTuple):
    """To the own storage: read out these records, up to about ``bytes_max``, but at least one."""

    request: int
    n: int
    hashes: bytes
    bytes_max: int


class FetchRecordsReply(NamedTuple):
    """``served``: how many of the hashes were looked up; ``records``: those that are sound."""

    request: int
    records: tuple[bytes, ...]
    served: int
    floors: tuple[tuple[int, int], ...] = ()
    """The partition and the floor of each range that has a floor, as these records were read."""


class StoreRecords(NamedTuple):
    """To an owner: keep those of these records that are newer than yours.

    Records below the receiver's floor are refused if the range had a lower floor where they were
    read.
    """

    request: int
    n: int
    records: tuple[bytes, ...]
    floors: tuple[tuple[int, int], ...] = ()
    """The partition and the floor of each range that had a floor there."""


class StoreRecordsReply(NamedTuple):
    """One `ReplicaStatus` for each, in order."""

    request: int
    statuses: tuple[int, ...]


class SetRange(NamedTuple):
    """To the own storage: a range is ``state`` from now on, if ``epoch`` is the newest adopted."""

    request: int
    n: int
    partition: int
    epoch: int
    state: int
    """A `RangeState`: WHOLE after BEHIND, RETIRED after WHOLE, or RELEASED after any but WHOLE."""
    floor: int = 0
    """The floor of the range since its sources were asked.  If it was raised after that, what lives
    below it was deleted, too, and the range cannot be WHOLE yet."""


class SetRangeReply(NamedTuple):
    """It is on the disk."""

    request: int
    state: int
    """The `RangeState` that the range has now: another one if it could not be set."""
    behind: int
    """How many ranges are behind still."""


class SweepRange(NamedTuple):
    """To the own storage: delete some records of a RELEASED range, if the ring is stable."""

    request: int
    n: int
    partition: int
    epoch: int
    records_max: int


class SweepRangeReply(NamedTuple):
    """What was deleted.  ``more``: whether the range is there still."""

    request: int
    records: int
    bytes: int
    more: bool


class SumDead(NamedTuple):
    """To any member: which tombstones do you have in these ranges below this floor?

    ``close``: and from now on store no new write below the highest of these floors.
    """

    request: int
    epoch: int
    """Of the asker's ring, which is stable."""
    close: bool
    ranges: tuple[tuple[int, int, int], ...]
    """N, partition and floor of each."""


class SumDeadReply(NamedTuple):
    """Of the first of the ranges, in order: floor, number of tombstones, XOR of their hashes, and
    whether a hint, or a record of another owner, is kept below the floor.

    The floor is 0 if it is refused: the range is not whole, the ring is another one, or the floor
    is too late by the own clock.  It is lower than asked for if there are too many tombstones.
    """

    request: int
    sums: tuple[tuple[int, int, int, bool], ...]


class RaiseFloors(NamedTuple):
    """To the own storage: raise these floors, and delete what is dead below them.

    ``floors``: N, partition, floor, and the XOR of the hashes of the tombstones on which all
    members agreed, or None if another owner has this floor already.  ``epoch``: of the asker's
    ring; a floor on which all agreed is raised only if this is the newest adopted, and stable.
    """

    request: int
    floors: tuple[tuple[int, int, int, int | None], ...]
    epoch: int = 0


class RaiseFloorsReply(NamedTuple):
    """The floors of the ranges as they are now, in order, and how many records were deleted."""

    request: int
    floors: tuple[int, ...]
    deleted: int


class Overloaded(NamedTuple):
    """From the own coordinator, once a second at most: it refuses requests, so leave it room."""

    unanswered: int
    """How many it has not answered."""


class ScrubLeaf(NamedTuple):
    """To the own storage: read each record of a leaf, and check and sum it."""

    request: int
    n: int
    leaf: int


class ScrubLeafReply(NamedTuple):
    """What was read.  ``drifted``: the sum was not that of the records."""

    request: int
    records: int
    bytes: int
    rotten: int
    drifted: bool


class QuestionFailedReply(NamedTuple):
    """Instead of any other reply of a storage: it failed over the question."""

    request: int
    text: str


class AntientropyStatus(NamedTuple):
    """How far are rebuilding, comparing and scrubbing?"""

    request: int


class AntientropyStatusReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    status: dict[str, Any]


class RepairRanges(NamedTuple):
    """To the own anti-entropy: scrub and compare these ranges now; or: how far is job ``job``?

    ``n``, ``partition``: only the ranges with it; None: all that this node owns.
    """

    request: int
    job: int
    n: int | None
    partition: int | None


class RepairRangesReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    progress: dict[str, Any]
