"""What must hold of a workload's history once the faults are over.

`missing`      every acknowledged write is read, with R=2, and nothing that was never tried
`behind`       the same of every copy by itself
`why_behind`   the one case in which a copy may be behind (DESIGN.md section 5): a
               coordinator that died between answering and hinting
`went_back`    reads that gave less than their own client knew to be written; a sloppy
               quorum does not promise that there are none while nodes fail
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from toystore import Client, ToystoreError
from toystore.config import ClusterConfig

from .replicas import copies
from .workload import GET, OK, PUT, Operation, Workload

READ_S = 60.0
READ_AT_ONCE = 1000


def missing(workload: Workload, endpoints: Sequence[str], *, r: int = 2) -> list[str]:
    """Every key that does not hold its last acknowledged write or a later one."""
    complaints = []
    keys = sorted(workload.tried)
    with Client(endpoints, timeout=READ_S) as client:
        for start in range(0, len(keys), READ_AT_ONCE):
            found = client.get_many(keys[start : start + READ_AT_ONCE], r=r)
            for key, answer in found.items():
                if isinstance(answer, ToystoreError):
                    complaints.append(f"{key}: {type(answer).__name__}: {answer}")
                    continue
                held = 0 if answer is None else int(answer.value)
                if not _last(workload, str(key)) <= held <= workload.tried[str(key)]:
                    complaints.append(f"{key}: holds {held}, {_limits(workload, str(key))}")
    return complaints


class Behind(NamedTuple):
    """A copy that is older than the last acknowledged write of its key."""

    key: str
    owner: str
    owners: tuple[str, ...]
    held: int
    write: Operation
    """The write that it lacks."""


def behind(config: ClusterConfig, workload: Workload) -> tuple[int, list[Behind]]:
    """How many copies were looked at, and those that are behind."""
    looked_at = 0
    stale = []
    for key, held in copies(config, workload.acknowledged).items():
        write = workload.acknowledged[key]
        assert write.value is not None
        for owner, record in held.items():
            looked_at += 1
            number = 0 if record is None else int(record.value)
            assert number <= workload.tried[key], f"{key}: {number} was never written"
            if number < write.value:
                stale.append(Behind(key, owner, tuple(held), number, write))
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


def went_back(workload: Workload) -> list[str]:
    """Reads of a client's own key that gave less than it had been told is written."""
    complaints = []
    acknowledged: dict[str, int] = {}
    for op in workload.history:
        if op.outcome != OK:
            continue
        if op.operation == PUT:
            acknowledged[op.key] = op.value or 0
        elif op.operation == GET and (op.value or 0) < acknowledged.get(op.key, 0):
            complaints.append(f"{op.key}: read {op.value}, acknowledged {acknowledged[op.key]}")
    return complaints


def _last(workload: Workload, key: str) -> int:
    """The last number acknowledged; 0 if none was."""
    write = workload.acknowledged.get(key)
    return 0 if write is None else write.value or 0


def _limits(workload: Workload, key: str) -> str:
    return f"acknowledged {_last(workload, key)}, tried {workload.tried[key]}"
