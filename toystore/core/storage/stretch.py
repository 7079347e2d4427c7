"""Stretches of records: those from one digest on and before another, in order."""

from __future__ import annotations

from collections.abc import Iterator

from toystore.core.data.record import DIGEST_BYTES
from toystore.core.storage.layout import RECORD
from toystore.core.storage.store import Store

_KEY_BYTES = len(RECORD) + DIGEST_BYTES


def scan_stretch(store: Store, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The digest and the record of each, as it is stored.

    A put or a delete ends its validity.  Keys that are no record's, as on a corrupt disk, are left
    out.
    """
    limit = RECORD + end
    for key, record in store.scan(RECORD, start):
        if key >= limit:
            return
        if len(key) == _KEY_BYTES:
            yield key[len(RECORD) :], record
