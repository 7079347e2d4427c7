"""What a node sends of its cluster in the header of each frame, and whose frames it accepts.

    name      of the cluster
    lineage   the digest of the cluster at its founding, which the disk keeps
    epoch     of the newest ring record; 0: as at the founding
    digest    of that record; in epoch 0 of the cluster in the configuration, addresses included
    buckets   N of each bucket

A frame is accepted if the names are equal, the lineages are equal, no bucket has two different N,
and the other's record is not known to be of another founding (`is_fork`).  An older or a newer
epoch is accepted: the node that has the older record fetches the newer one.

In epoch 0 equal digests will do, too.  So addresses may be changed node by node: nodes of one
lineage accept each other.  A cluster whose configuration is a copy in which an address was left
over has another lineage and another digest.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

from toystore.core.ring.digest import Place, bucket_table, cluster_digest, other_copies
from toystore.core.ring.history import History
from toystore.core.ring.record import RingRecord

NAME_TOLD_MAX = 64
"""How much of a foreign cluster's name is reported; no configured name is longer."""


class ClusterId(NamedTuple):
    """See the module's docstring."""

    name: str
    lineage: bytes
    epoch: int
    digest: bytes
    buckets: bytes


def cluster_id(record: RingRecord, lineage: bytes | None, copies: Mapping[str, int]) -> ClusterId:
    """What a node sends whose newest record is ``record``.

    ``lineage``: what its disk keeps, or None for a cluster that begins; a later record names it
    itself.  ``copies``: N of each bucket.
    """
    digest = record.digest if record.epoch else founding_digest(record)
    founded = record.lineage or (digest if lineage is None else lineage)
    return ClusterId(record.cluster, founded, record.epoch, digest, bucket_table(copies))


def founding_digest(record: RingRecord) -> bytes:
    """The digest of a cluster in epoch 0: of all that decides the ring, names and addresses."""
    places = ((one.placed, Place(one.host, one.ports)) for one in record.members)
    return cluster_digest(record.cluster, places, record.partitions)


def why_foreign(
    own: ClusterId, other: ClusterId, copies: Mapping[str, int], history: History
) -> str | None:
    """Why a node refuses another's frames; None if it accepts them.

    ``copies``: N of each bucket here.  ``history``: of the own records.
    """
    if other.name != own.name:
        return f"cluster {other.name[:NAME_TOLD_MAX]!r} is not {own.name!r}"
    founding = own.epoch == other.epoch == 0
    if other.lineage != own.lineage and not (founding and other.digest == own.digest):
        return (
            f"another lineage of cluster {own.name!r}: {_short(other)} there and {_short(own)} "
            "here; names, addresses, weights, zones and partitions of all members must be the "
            "same in both configurations (if these are two clusters, rename one)"
        )
    if is_fork(own, other, history):
        return (
            f"another ring record of epoch {other.epoch}: {other.digest[:4].hex()} there is not of "
            f"the ring here (epoch {own.epoch}, {own.digest[:4].hex()}); the data folder of one of "
            "them is of another founding of the cluster, or a change was committed without a "
            "majority: stop the nodes of one of the two rings, for ever"
        )
    different = other_copies(other.buckets, copies)
    if different is not None:
        bucket, n = different
        return (
            f"bucket {bucket!r} has n={n} there and n={copies[bucket]} here; both must be the same"
        )
    return None


def is_fork(own: ClusterId, other: ClusterId, history: History) -> bool:
    """Whether the record of a node of the same lineage is not of this node's ring."""
    if other.lineage != own.lineage:
        return False
    if other.epoch == own.epoch > 0 and other.digest != own.digest:
        return True
    return history.contradicts(other.epoch, other.digest)


def is_newer(own: ClusterId, other: ClusterId) -> bool:
    """Whether a node of this cluster and lineage has a newer ring record."""
    return other.epoch > own.epoch and other[:2] == own[:2]


def why_unlisted(own: ClusterId, other: ClusterId, node: str, listed: Container[str]) -> str | None:
    """Why an accepted sender is no member by the own record; None if it may be one.

    ``listed``: the members by that record.  In epoch 0 the header says whether it is.  A node with
    a newer record may be listed there.
    """
    if node in listed or not own.epoch or other.epoch > own.epoch:
        return None
    return f"{node[:NAME_TOLD_MAX]} is not a member of cluster {own.name!r} in epoch {own.epoch}"


def older_lineage(own: ClusterId, other: ClusterId) -> bytes | None:
    """The lineage that a node adopts from another whose frames it accepts; None to keep its own.

    Only in epoch 0.  A node whose disk was empty when the addresses had changed has the present
    digest as its lineage, and the others have an older one.  With the others' lineage, it stays
    one of them when addresses change again.
    """
    if own.epoch or other.epoch or other.digest != own.digest or other.lineage == own.lineage:
        return None
    return other.lineage if _age(other) < _age(own) else None


def _age(of: ClusterId) -> tuple[bool, bytes]:
    """An order of lineages in which the present digest is last, the same on all nodes."""
    return of.lineage == of.digest, of.lineage


def _short(of: ClusterId) -> str:
    return of.lineage[:4].hex()
