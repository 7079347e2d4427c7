"""The identity of a disk: a store belongs to one node of one cluster, and to one member list."""

from __future__ import annotations

import random
import re

from toystore.core.storage.layout import CLUSTER, DISK, LAYOUT, LAYOUT_VERSION, MEMBERS, NODE
from toystore.core.storage.store import Store


class ForeignDataError(ValueError):
    """The data belongs to another node, cluster or member list; the text says what to do."""


def identify_disk(
    store: Store, *, cluster: str, node: str, members_digest: bytes, chance: random.Random
) -> str:
    """The id of the disk, 32 hex digits.

    A node runs this once, at its start, in its own transaction.  An empty store is
    initialised for the node, with an id from ``chance``.  The facts of any other store are
    compared with the configuration.

    Raises:
        ForeignDataError: the store was initialised for another node, cluster or member list.
    """
    facts = {
        LAYOUT: LAYOUT_VERSION,
        CLUSTER: cluster.encode(),
        NODE: node.encode(),
        MEMBERS: members_digest,
    }
    if next(store.scan(b""), None) is None:
        store.put(DISK, chance.randbytes(16).hex().encode())
        for name, value in facts.items():
            store.put(name, value)
    _compare(facts, {name: store.get(name) for name in (*facts, DISK)})
    disk = store.get(DISK) or b""
    if not re.fullmatch(rb"[0-9a-f]{32}", disk):
        raise ForeignDataError(
            f"the folder's own id has rotted ({disk!r:.80}); restore the folder, or move it away "
            "and let the node be rebuilt from its peers"
        )
    return disk.decode()


def _compare(given: dict[bytes, bytes], stored: dict[bytes, bytes | None]) -> None:
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
    if given[MEMBERS] != stored[MEMBERS]:
        raise ForeignDataError(
            f"the member list in the configuration ({given[MEMBERS].hex()}) is not the one on "
            f"disk ({(stored[MEMBERS] or b'').hex()}), by which the data was placed: restore the "
            "names, weights, zones and partitions that it had, or begin with empty folders"
        )
