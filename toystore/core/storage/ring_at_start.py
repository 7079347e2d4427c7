"""The ring record with which a node starts: what its disk keeps, or what its configuration says.

    nothing on the disk                     the configuration; it is stored as the record of epoch 0
    epoch 0, the same ring is configured    the configuration, in which addresses may have changed
    epoch 0, another ring is configured     the disk
    a later epoch                           the disk: the configuration only described the founding

The ring is decided by names, weights, zones and the number of partitions.
"""

from __future__ import annotations

from collections.abc import Iterator

from toystore.core.ring.history import History
from toystore.core.ring.record import RingRecord, RingRecordError, digest_of, unpack_ring
from toystore.core.storage.disk_identity import ForeignDataError
from toystore.core.storage.layout import RING_RECORD, ring_record_key
from toystore.core.storage.ring_chain import last_record
from toystore.core.storage.store import Store

TOLD_MAX = 8
"""How many differences are named."""


def record_at_start(store: Store, configured: RingRecord) -> RingRecord:
    """The record with which a node starts; ``configured``: the members of its configuration.

    Raises:
        ForeignDataError: a record on the disk is corrupt.
    """
    newest = newest_on_disk(store)
    if newest is None or (not newest.epoch and _placement(newest) == _placement(configured)):
        if newest != configured:
            store.put(ring_record_key(0), configured.packed)
        return configured
    return newest


def newest_on_disk(store: Store) -> RingRecord | None:
    """The newest record in the store, if it has any.  Raises `ForeignDataError`."""
    packed = last_record(store) or store.get(ring_record_key(0))
    try:
        return None if packed is None else unpack_ring(packed)
    except RingRecordError as error:
        raise ForeignDataError(
            f"the newest ring record in the folder has rotted ({error}); restore the folder, or "
            "move it away and let the node be rebuilt from its peers"
        ) from None


def history_on_disk(store: Store) -> History:
    """The digests of the ring records in the store, without the founding."""
    rows = ((int.from_bytes(key[-4:]), packed) for key, packed in store.scan(RING_RECORD))
    return History({epoch: digest_of(packed) for epoch, packed in rows if epoch})


def differences(configured: RingRecord, record: RingRecord) -> str:
    """How the members of a configuration differ from those of a record; "" if they do not."""
    found = list(_differences(configured, record))
    more = len(found) - TOLD_MAX
    return "; ".join(found[:TOLD_MAX]) + (f"; and {more} more" if more > 0 else "")


def _differences(configured: RingRecord, record: RingRecord) -> Iterator[str]:
    if configured.partitions != record.partitions:
        yield f"partitions: {configured.partitions}, not {record.partitions}"
    theirs, ours = configured.all, record.all
    yield from (f"{name} is not a member" for name in sorted(theirs.keys() - ours.keys()))
    yield from (f"{name} is missing" for name in sorted(ours.keys() - theirs.keys()))
    for name in sorted(ours.keys() & theirs.keys()):
        for field in ("weight", "zone", "host", "ports"):
            here, there = getattr(theirs[name], field), getattr(ours[name], field)
            if here != there:
                yield f"{name} has {field} {here!r}, not {there!r}"


def _placement(record: RingRecord) -> tuple[int, frozenset[tuple[str, int, str]]]:
    """What decides the ring of a founding."""
    return record.partitions, frozenset((m.name, m.weight, m.zone) for m in record.members)
