"""What must hold of a workload once the faults are over and every hint is home.

`behind`       every copy by itself, before a read can repair it: is it as new as the last
               acknowledged write of its key?
`why_behind`   the one case in which a copy may be behind (DESIGN.md section 5): a
               coordinator that died between answering and hinting
`broken`       every key read back, and the whole history held to what toystore promises
               (toystore/check/promises.py), as the simulator's are
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from toystore.check.history import OK, Row
from toystore.check.promises import (
    ALWAYS,
    Violation,
    everything_is_served,
    nothing_hangs,
    nothing_lost,
    quorums_overlap,
    writes_follow,
)
from toystore.config import ClusterConfig
from toystore.core.data.record import Record

from .replicas import copies
from .workload import Workload

PROMISES = (
    *ALWAYS,
    quorums_overlap,
    writes_follow,
    nothing_hangs,
    nothing_lost,
    everything_is_served,
)
"""What `broken` holds a history to."""
SLACK_S = 10.0
"""So much later than its timeout an answer may be noted, on a machine that is busy."""


def broken(work: Workload) -> list[Violation]:
    """Read every key back, and hold the whole history to every promise."""
    healed_s = time.time()
    work.read_back()
    return [
        *(violation for check in ALWAYS for violation in check(work.rows)),
        *quorums_overlap(work.rows),
        *writes_follow(work.rows, work.minters),
        *nothing_hangs(work.rows, work.timeout_s, SLACK_S),
        *nothing_lost(work.rows, healed_s),
        *everything_is_served(work.rows, healed_s),
    ]


def last_acknowledged(rows: Iterable[Row]) -> dict[str, Row]:
    """Of each key, the acknowledged write that stands above all others."""
    last: dict[str, Row] = {}
    for row in rows:
        if row.writes and row.outcome == OK:
            key = row.key.partition("/")[2]
            if key not in last or last[key].stamp < row.stamp:
                last[key] = row
    return last


class Behind(NamedTuple):
    """A copy that is older than the last acknowledged write of its key."""

    owner: str
    owners: tuple[str, ...]
    held: str
    """The stamp that it has, as hex; "" if it has nothing."""
    write: Row
    """The write that it lacks."""

    def __str__(self) -> str:
        held = self.held or "nothing"
        return f"{self.write.key} at {self.owner} of {self.owners}: {held}, not {self.write}"


Copies = dict[str, dict[str, Record | None]]
"""For each key, what each of its owners holds."""


def behind(config: ClusterConfig, rows: Iterable[Row]) -> tuple[int, list[Behind]]:
    """How many copies were looked at, and those that are behind; the ring has not changed."""
    last = last_acknowledged(rows)
    return behind_of(last, copies(config, last))


def behind_of(last: Mapping[str, Row], held_by: Copies) -> tuple[int, list[Behind]]:
    """How many copies there are, and those that are behind the last write of their key."""
    looked_at = 0
    stale = []
    for key, held in held_by.items():
        looked_at += len(held)
        for owner, record in held.items():
            stamp = "" if record is None else record.stamp.hex()
            if stamp < last[key].stamp:
                stale.append(Behind(owner, tuple(held), stamp, last[key]))
    return looked_at, stale


class Death(NamedTuple):
    """A node that was killed, and until when it was away."""

    node: str
    at_s: float
    back_s: float


SETTLES_S = 3.0
"""How long a write may take from its beginning until every owner has its copy or a hint:
its own patience is cut short by silence, after ``replica_timeout_s`` for each in turn."""


def why_behind(copy: Behind, deaths: Sequence[Death], settles_s: float = SETTLES_S) -> str | None:
    """Whose death explains that ``copy`` is behind; None if nothing does.

    The write that it lacks must have been under way when a node died that may have been
    its coordinator: one that could run it, and is not the owner that lacks it.
    """
    write = copy.write
    for death in deaths:
        may_coordinate = death.node in copy.owners and death.node != copy.owner
        if may_coordinate and write.invoke_s <= death.at_s <= write.return_s + settles_s:
            away = any(
                other.node == copy.owner and other.at_s <= write.return_s <= other.back_s
                for other in deaths
            )
            how = f"{copy.owner} was down" if away else f"its message to {copy.owner} was not out"
            after_ms = (death.at_s - write.return_s) * 1e3
            when = f"{after_ms:.0f} ms after" if after_ms > 0 else f"{-after_ms:.0f} ms before"
            return f"coordinator {death.node} died {when} the answer was read, and {how}"
    return None


def unexplained(copies_behind: Iterable[Behind], deaths: Sequence[Death] = ()) -> list[Behind]:
    """Those that no death explains."""
    return [copy for copy in copies_behind if why_behind(copy, deaths) is None]
