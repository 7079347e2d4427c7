"""The keys of the store, byte by byte: disks that exist have them, so they never change."""

import pytest

from toystore.core.ring.ranges import Range
from toystore.core.storage import layout
from toystore.core.storage.layout import (
    fits_a_key,
    floor_key,
    hint_key,
    queue_prefix,
    state_key,
    total_key,
)

DIGEST = bytes(range(17))


def test_each_kind_of_key_has_its_first_byte():
    kinds = (
        layout.RECORD,
        layout.HINT,
        layout.QUEUE,
        layout.STATE,
        layout.FLOOR,
        layout.TOTAL,
        layout.FACT,
    )

    assert kinds == (b"R", b"H", b"Q", b"B", b"F", b"t", b"m")


def test_a_hint_is_under_its_owner_and_digest():
    assert hint_key("n3", DIGEST) == b"Hn3\0" + DIGEST
    assert queue_prefix("n3") == b"Qn3\0"
    assert total_key("n3") == b"tn3"


def test_the_state_and_the_floor_of_a_range_are_under_its_n_and_its_partition():
    assert state_key(Range(3, 258)) == b"B\x03\0\0\x01\x02"
    assert floor_key(Range(3, 258)) == b"F\x03\0\0\x01\x02"


def test_facts_have_these_names():
    names = (
        "LAYOUT",
        "DISK",
        "CLUSTER",
        "NODE",
        "MEMBERS",
        "LINEAGE",
        "SETTLED",
        "VOTES",
        "CLOSED",
        "REFUSING",
    )

    for name in names:
        assert getattr(layout, name) == layout.FACT + name.lower().encode()
    assert layout.PEER == b"mpeer:"
    assert (layout.YES, layout.NO, layout.LAYOUT_VERSION) == (b"yes", b"no", b"2")


@pytest.mark.parametrize(
    ("name", "fits"),
    [("n1", True), ("", False), ("n\0", False), ("x" * 255, True), ("\u00e9" * 128, False)],
)
def test_a_name_fits_a_key_by_its_bytes(name, fits):
    assert fits_a_key(name) is fits
