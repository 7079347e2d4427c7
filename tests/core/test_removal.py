"""What a ring record says of a node: whether it is a member, or since when it is not."""

from __future__ import annotations

from toystore.core.reconfiguration.successors import aborted, without
from toystore.core.ring.record import Gone, Listed, RingRecord, founding

OLD, NEW = "0" * 32, "1" * 32


def listed(name: str, disk: str = OLD) -> Listed:
    return Listed(name, name, disk, 1, "", "127.0.0.1", ())


def record(*members: Listed, **changes) -> RingRecord:
    made = founding("toys", 8, members)
    return made.next(bytes(16), made_by="n1", why="remove n3", **changes) if changes else made


def test_a_listed_node_is_a_member_with_any_disk_that_was_not_removed():
    ring = record(listed("n1"), listed("n3", NEW), gone=(Gone("n3", OLD, 1),))

    assert ring.removal("n1", OLD) is None
    assert ring.removal("n1", NEW) is None  # its disk was replaced
    assert ring.removal("n3", NEW) is None
    assert ring.removal("n3", OLD) is not None


def test_a_removal_names_the_epoch_and_the_reason_if_they_are_known():
    first = record(listed("n1"), gone=(Gone("n3", OLD, 1),))
    later = first.next(bytes(16), why="join n4", made_by="n2")

    told = "n3 is no member of cluster 'toys' since epoch 1"
    assert first.removal("n3", OLD) == f"{told} (remove n3)"
    assert later.removal("n3", OLD) == told


def test_a_lost_node_is_no_member_while_the_ranges_move():
    ring = record(listed("n1"), old=(listed("n1"), listed("n3")), lost=("n3",))

    assert ring.removal("n3", OLD) is not None


def test_a_change_is_aborted_without_a_lost_newcomer_but_not_once_an_old_member_is_lost():
    old = tuple(map(listed, ("n1", "n2", "n3")))
    moving = record(*old[1:], listed("n4"), listed("n5"), old=old)

    back = aborted(moving.next(b"", **without(moving, ["n4"])))
    assert (back["members"], back["lost"]) == (old, ("n4",))
    assert aborted(moving.next(b"", **without(moving, ["n1"]))) is None
    assert aborted(moving.next(b"", **without(moving, ["n2"]))) is None
