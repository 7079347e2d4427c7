"""The ring records of a store: a chain without gaps, of which the last `KEPT_MAX` are kept.

The founding is kept beside it, as the record of epoch 0.
"""

from __future__ import annotations

from toystore.core.storage.layout import RING_RECORD, ring_record_key
from toystore.core.storage.store import Store

KEPT_MAX = 1000
"""How many records are kept.  A node that was away for more changes can only join again."""
FETCHED_BYTES_MAX = 1024 * 1024
"""The bytes of the records in one answer; a larger record is alone in it."""


def last_record(store: Store) -> bytes | None:
    """The newest packed record; None if there is none but the founding."""
    low = _first_epoch(store)
    if low is None:
        return None
    high = low + KEPT_MAX
    while high - low > 1:
        middle = (low + high) // 2
        if store.get(ring_record_key(middle)) is None:
            high = middle
        else:
            low = middle
    return store.get(ring_record_key(low))


def _first_epoch(store: Store) -> int | None:
    """The oldest epoch after the founding of which the record is kept."""
    for key, _ in store.scan(RING_RECORD, _start(1)):
        return int.from_bytes(key[len(RING_RECORD) :], "big")
    return None


def records_after(store: Store, epoch: int) -> tuple[bytes, ...]:
    """The packed records of later epochs, in order: the first of them, if they are many bytes."""
    found: list[bytes] = []
    size = 0
    for _, packed in store.scan(RING_RECORD, _start(max(0, epoch + 1))):
        size += len(packed)
        if found and size > FETCHED_BYTES_MAX:
            break
        found.append(packed)
    return tuple(found)


def _start(epoch: int) -> bytes:
    return ring_record_key(epoch)[len(RING_RECORD) :]
