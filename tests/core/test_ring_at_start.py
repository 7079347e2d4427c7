"""Which ring record a node starts with: what its disk keeps, or what its file says."""

from __future__ import annotations

import pytest

from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.storage.disk_identity import ForeignDataError
from toystore.core.storage.layout import RING_RECORD, ring_record_key
from toystore.core.storage.ring_at_start import differences, newest_on_disk, record_at_start
from toystore.engines.memory import MemoryEngine

LINEAGE = bytes(16)


def listed(name: str, weight: int = 1, host: str = "127.0.0.1") -> Listed:
    first = 10 * int(name[1:])
    return Listed(name, name, "", weight, "", host, tuple(range(first, first + 4)))


def ring(*members: Listed, partitions: int = 8) -> RingRecord:
    return founding("toys", partitions, members)


@pytest.fixture
def disk() -> MemoryEngine:
    return MemoryEngine()


BOTH = ring(listed("n1"), listed("n2"))


def test_an_empty_disk_keeps_the_members_of_the_file(disk):
    assert newest_on_disk(disk) is None
    assert record_at_start(disk, BOTH) == BOTH == newest_on_disk(disk)


def test_addresses_in_the_file_rule_until_the_ring_has_changed(disk):
    record_at_start(disk, BOTH)
    moved = ring(listed("n1", host="10.0.0.1"), listed("n2"))

    assert record_at_start(disk, moved) == moved == newest_on_disk(disk)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (ring(listed("n1"), listed("n3")), "n3 is not a member; n2 is missing"),
        (ring(listed("n1"), listed("n2", weight=2)), "n2 has weight 2, not 1"),
        (ring(listed("n1"), listed("n2"), partitions=16), "partitions: 16, not 8"),
    ],
)
def test_another_ring_in_the_file_is_named_and_the_disk_rules(disk, other, told):
    record_at_start(disk, BOTH)

    assert record_at_start(disk, other) == BOTH == newest_on_disk(disk)
    assert differences(other, BOTH) == told


def test_the_newest_record_rules_once_the_ring_has_changed(disk):
    record_at_start(disk, BOTH)
    newer = BOTH.next(LINEAGE, members=(listed("n1"), listed("n2", host="10.0.0.2")))
    disk.put(ring_record_key(1), newer.packed)

    assert record_at_start(disk, BOTH) == newer
    assert differences(BOTH, newer) == "n2 has host '127.0.0.1', not '10.0.0.2'"
    assert len(list(disk.scan(RING_RECORD))) == 2


def test_a_record_that_rotted_is_named(disk):
    disk.put(ring_record_key(3), b"{}")

    with pytest.raises(ForeignDataError, match="the newest ring record in the folder has rotted"):
        record_at_start(disk, BOTH)


def test_a_long_list_of_differences_is_shortened():
    many = ring(*(listed(f"m{number}") for number in range(20)))

    assert differences(many, BOTH).endswith("; and 14 more")
