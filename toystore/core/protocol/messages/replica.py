"""What a coordinator asks of the storage of a replica, and its replies."""

from __future__ import annotations

from typing import NamedTuple


class WriteReplica(NamedTuple):
    """Keep this record; as a hint for ``hint_owner`` unless that is None."""

    request: int
    digest: bytes
    record: bytes
    hint_owner: str | None
    epoch: int = 0
    """Of the ring by which the coordinator has chosen this replica."""


class WriteReplicaReply(NamedTuple):
    """``stamp`` is what the replica holds, if it is newer (`SUPERSEDED`)."""

    request: int
    status: int
    stamp: bytes | None


class ReadReplica(NamedTuple):
    """What do you hold?  A fallback looks among its hints for ``hint_owners`` as well."""

    request: int
    digest: bytes
    hint_owners: tuple[str, ...]


class ReadReplicaReply(NamedTuple):
    """``record`` with `OK`; None with any other status."""

    request: int
    status: int
    record: bytes | None


class RepairReplica(NamedTuple):
    """Read repair: keep this record if it is newer.  Not answered."""

    digest: bytes
    record: bytes
