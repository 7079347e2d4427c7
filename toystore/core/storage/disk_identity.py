"""The identity of a disk: a store belongs to one node of one cluster.

The first start on an empty store founds it.  It keeps the digest that the cluster had then, its
*lineage*, which the node sends in every header from then on.  Who the other members are is in the
ring records (ring_at_start.py); a store without any belongs to one member list.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from toystore.core.ring.digest import DIGEST_BYTES
from toystore.core.storage.layout import (
    CLUSTER,
    DISK,
    LAYOUT,
    LAYOUT_VERSION,
    LINEAGE,
    MEMBERS,
    NODE,
    RING_RECORD,
)
from toystore.core.storage.store import Store


class ForeignDataError(ValueError):
    """The data belongs to another node, cluster or member list; the text says what to do."""


class DiskIdentity(NamedTuple):
    """What identifies a disk."""

    disk: str
    """Its id, 32 hex digits."""
    lineage: bytes
    """The lineage of its cluster."""


def identify_disk(
    store: Store,
    *,
    cluster: str,
    node: str,
    members_digest: bytes,
    digest: bytes,
    chance: random.Random,
    disk: str = "",
) -> DiskIdentity:
    """The identity of the disk of a node.

    ``members_digest`` is of all that decides the ring, ``digest`` of the whole cluster now.  A
    node runs this once, at its start, in its own transaction.  An empty store is initialised for
    the node, with the id ``disk``, or one from ``chance``.  The facts of any other store are
    compared with the configuration.

    Raises:
        ForeignDataError: the store was initialised for another node or cluster, or it has no ring
            record and was initialised for another member list.
    """
    facts = {
        LAYOUT: LAYOUT_VERSION,
        CLUSTER: cluster.encode(),
        NODE: node.encode(),
        MEMBERS: members_digest,
    }
    if next(store.scan(b""), None) is None:
        store.put(DISK, (disk or chance.randbytes(16).hex()).encode())
        for name, value in facts.items():
            store.put(name, value)
    if next(store.scan(RING_RECORD), None) is not None:
        del facts[MEMBERS]
    compare_facts(facts, {name: store.get(name) for name in (*facts, DISK)})
    own = store.get(DISK) or b""
    if not re.fullmatch(rb"[0-9a-f]{32}", own):
        raise ForeignDataError(
            f"the folder's own id has rotted ({own!r:.80}); restore the folder, or move it away "
            "and let the node be rebuilt from its peers"
        )
    return DiskIdentity(own.decode(), _lineage(store, digest))


def _lineage(store: Store, digest: bytes) -> bytes:
    """The lineage in the store; a store without one begins with the cluster's present digest."""
    lineage = store.get(LINEAGE)
    if lineage is None:
        store.put(LINEAGE, digest)
        return digest
    if len(lineage) != DIGEST_BYTES:
        raise ForeignDataError(
            f"the folder's lineage has rotted ({lineage!r:.80}); restore the folder, or move it "
            "away and let the node be rebuilt from its peers"
        )
    return lineage


def compare_facts(given: dict[bytes, bytes], stored: dict[bytes, bytes | None]) -> None:
    """Raise `ForeignDataError` over the first difference that matters."""
    if None in stored.values():
        raise ForeignDataError(
            "the folder holds data that no toystore wrote; give the node an empty folder"
        )
    told = {name: (value or b"").decode(errors="replace") for name, value in stored.items()}
    if given[LAYOUT] != stored[LAYOUT]:
        raise ForeignDataError(
            f"the folder is of layout {told[LAYOUT]}, and this toystore reads layout "
            f"{LAYOUT_VERSION.decode()}; run the version that wrote it"
        )
    if (given[CLUSTER], given[NODE]) != (stored[CLUSTER], stored[NODE]):
        raise ForeignDataError(
            f"the folder belongs to node {told[NODE]} of cluster {told[CLUSTER]!r}; give "
            f"{given[NODE].decode()} of cluster {given[CLUSTER].decode()!r} a folder of its own"
        )
    if MEMBERS in given and given[MEMBERS] != stored[MEMBERS]:
        raise ForeignDataError(
            f"the member list in the configuration ({given[MEMBERS].hex()}) is not the one on "
            f"disk ({(stored[MEMBERS] or b'').hex()}), by which the data was placed: restore the "
            "names, weights, zones and partitions that it had, or begin with empty folders"
        )
