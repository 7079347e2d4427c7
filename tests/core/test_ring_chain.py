"""The chain of ring records in a store: the last thousand are kept, and fetched in parts."""

from __future__ import annotations

import pytest

from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.record import Listed, RingRecord, founding, unpack_ring
from toystore.core.storage.layout import ring_record_key
from toystore.core.storage.ring_at_start import newest_on_disk
from toystore.core.storage.ring_chain import (
    FETCHED_BYTES_MAX,
    KEPT_MAX,
    last_record,
    records_after,
)
from toystore.core.storage.ring_records import RingRecords
from toystore.engines import MemoryEngine

FOUNDING = founding("toys", 8, [Listed("n1", "n1", "", 1, "", "", ())])


def chain(length: int, why: str = "") -> list[RingRecord]:
    """The records after the founding."""
    records = [FOUNDING]
    while len(records) <= length:
        records.append(records[-1].next(b"", why=why))
    return records[1:]


def rings(store: MemoryEngine) -> RingRecords:
    return RingRecords(store, "n1", FOUNDING, Outbox())


def offer(store: MemoryEngine, records: list[RingRecord]) -> tuple[str, bool]:
    """Why a storage does not adopt them, and whether they are of another founding."""
    reply, _ = rings(store).offer(OfferRings(1, tuple(one.packed for one in records)))
    return reply.reason, reply.foreign


@pytest.fixture
def store() -> MemoryEngine:
    engine = MemoryEngine()
    engine.put(ring_record_key(0), FOUNDING.packed)
    return engine


@pytest.mark.parametrize("length", [0, 1, 2, 3, KEPT_MAX - 1, KEPT_MAX, KEPT_MAX + 1])
def test_the_newest_record_is_found(store, length):
    records = chain(length)
    offer(store, records)

    last = last_record(store)

    assert (None if last is None else unpack_ring(last)) == (records[-1] if records else None)
    assert newest_on_disk(store) == [FOUNDING, *records][-1]
    assert rings(store).newest() == [FOUNDING, *records][-1]


def test_the_last_thousand_records_are_kept_and_the_founding(store):
    records = chain(KEPT_MAX + 50)
    offer(store, records)

    kept = [unpack_ring(packed).epoch for packed in records_after(store, 0)]
    assert kept[0] == 51
    assert store.get(ring_record_key(0)) == FOUNDING.packed
    assert kept == list(range(51, 51 + len(kept)))


def test_many_bytes_are_fetched_in_parts(store):
    records = chain(5, why="x" * (FETCHED_BYTES_MAX // 2))
    offer(store, records)

    parts, after = [], 0
    while part := records_after(store, after):
        parts.append([unpack_ring(packed).epoch for packed in part])
        after = parts[-1][-1]

    assert parts == [[1], [2], [3], [4], [5]]
    assert len(records_after(store, -1)) == 2


def test_a_node_that_was_away_for_more_changes_than_are_kept_is_told_so(store):
    records = chain(KEPT_MAX + 50)
    offer(store, records[:3])

    reason, foreign = offer(store, records[50:])

    assert not foreign
    assert reason.startswith("epoch 51 does not follow this node's 3")
    assert "empty folder" in reason


def test_a_record_that_the_store_has_in_another_form_is_of_another_founding(store):
    offer(store, chain(3))

    assert offer(store, chain(3)) == ("", False)
    assert offer(store, chain(2, why="another")) == ("it has another record of epoch 1", True)
    assert offer(store, [chain(4, why="another")[3]]) == (
        "its record of epoch 4 does not follow this node's of epoch 3",
        True,
    )
