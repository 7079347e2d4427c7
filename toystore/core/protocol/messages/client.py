"""What clients ask of a coordinator, and its replies; a coordinator that forwards is a client."""

from __future__ import annotations

from typing import Any, NamedTuple


class Get(NamedTuple):
    """Read a key.  An ``r`` of None means the bucket's."""

    request: int
    bucket: str
    key: bytes
    r: int | None
    timeout_ms: int


class GetReply(NamedTuple):
    """``values`` is empty if nothing was found; ``context`` is b"" if nothing is known."""

    request: int
    values: tuple[bytes, ...]
    context: bytes
    owners: int
    """How many owners the answer rests on."""
    fallbacks: int
    """How many fallbacks it rests on."""


class Put(NamedTuple):
    """Write a key.  A ``stamp`` of None asks the coordinator to mint one."""

    request: int
    bucket: str
    key: bytes
    value: bytes
    stamp: bytes | None
    context: bytes
    w: int | None
    timeout_ms: int
    forwarded: bool


class Delete(NamedTuple):
    """Write a tombstone.  Fields as of `Put`."""

    request: int
    bucket: str
    key: bytes
    stamp: bytes | None
    context: bytes
    w: int | None
    timeout_ms: int
    forwarded: bool


class WriteReply(NamedTuple):
    """A put or a delete is acknowledged: W replicas have it."""

    request: int
    stamp: bytes
    owners: int
    fallbacks: int


class SupersededReply(NamedTuple):
    """Not acknowledged: a replica holds ``stamp``, which is newer.  Put anew, above it."""

    request: int
    stamp: bytes


class ErrorReply(NamedTuple):
    """The request failed.  ``definite``: it certainly did not happen and will not."""

    request: int
    code: int
    text: str
    definite: bool


class Status(NamedTuple):
    """Tell how the cluster looks from this node."""

    request: int


class StatusReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    status: dict[str, Any]


class Repair(NamedTuple):
    """Scrub and compare this node's ranges with their other owners now; or: how far is ``job``?

    The first message with a ``job`` begins it, later ones ask for its progress.  ``bucket``,
    ``partition``: only the ranges of it; None: all that the node owns.
    """

    request: int
    job: int
    bucket: str | None
    partition: int | None


class RepairReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    progress: dict[str, Any]


class Cluster(NamedTuple):
    """Plan, commit, abort or show a change of the ring, or ask to be taken in.

    docs/PROTOCOL.md lists the commands and their arguments.
    """

    request: int
    command: str
    arguments: dict[str, Any]


class ClusterReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    result: dict[str, Any]


class Owners(NamedTuple):
    """Who owns a key?"""

    request: int
    bucket: str
    key: bytes


class OwnersReply(NamedTuple):
    """The key's partition, its owners in order, and the fallbacks after them."""

    request: int
    partition: int
    owners: tuple[str, ...]
    fallbacks: tuple[str, ...]


class DescribeMembers(NamedTuple):
    """Where do clients reach the members?"""

    request: int


class DescribeMembersReply(NamedTuple):
    """The members of the newest ring record, old and new while ranges move, without the lost."""

    request: int
    epoch: int
    """Of this record."""
    endpoints: tuple[str, ...]
    """For each member ``tcp://HOST:PORT``, as it is listed."""


class RingLoad(NamedTuple):
    """How many partitions does each member own?"""

    request: int


class RingLoadReply(NamedTuple):
    """``load``: for each member its name, partitions owned, partitions owned first."""

    request: int
    partitions: int
    load: tuple[tuple[str, int, int], ...]
