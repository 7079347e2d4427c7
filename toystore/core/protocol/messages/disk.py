"""What the other actors of a node ask of its storage, and its replies."""

from __future__ import annotations

from typing import Any, NamedTuple


class LoadDisks(NamedTuple):
    """Gossip asks which disk everyone is known to run on; later, whether that has been kept."""


class LoadDisksReply(NamedTuple):
    """``own``: this node's disk id.  ``known``: (member, disk id) each.

    ``settled``: this disk has been in the cluster before; ``replaced``: another one had, and this
    one took its place.
    """

    own: str
    settled: bool
    replaced: bool
    known: tuple[tuple[str, str], ...]


class SaveDisk(NamedTuple):
    """Remember durably which disk a member runs on.  Not answered."""

    member: str
    disk: str


class SettleDisk(NamedTuple):
    """The cluster knows this disk, or never knew another: let it vote (True).

    Or it has replaced another (False): each range is behind, and votes when it was rebuilt.
    """

    votes: bool


class AdoptLineage(NamedTuple):
    """Other nodes have an older lineage than your disk: keep theirs."""

    lineage: bytes


class StorageStatus(NamedTuple):
    """How is the disk?"""

    request: int


class StorageStatusReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    status: dict[str, Any]
