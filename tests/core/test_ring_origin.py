"""Of which founding a data folder is, as the answers of the members show."""

from __future__ import annotations

from tests.core.ring_scene import LINEAGE, listed
from toystore.core.ring.history import NO_HISTORY, History
from toystore.core.ring.origin import Answer, agrees, contradicting, suffices
from toystore.core.ring.record import RingRecord, founding

NAMES = ("n1", "n2", "n3")


def chain(length: int, disks: str = "d") -> list[RingRecord]:
    """The records of one founding, from that on; ``disks``: begins the ids of its disks."""
    records = [founding("test", 8, map(listed, NAMES))]
    members = tuple(listed(name, f"{disks} {name}") for name in NAMES)
    for number in range(length):
        records.append(records[-1].next(LINEAGE, members=members, why=f"change {number}"))
    return records


OURS, THEIRS = chain(5), chain(5, "other")
FOLDER = (OURS[3], LINEAGE, History({one.epoch: one.digest for one in OURS[1:4]}))


def answer(name: str, records: list[RingRecord], disk: str = "") -> Answer:
    """What a member answers whose newest record is the last of these."""
    newest = records[-1]
    after = {one.epoch: one for one in records if one.epoch > 3}
    return Answer(name, disk or f"d {name}", newest.epoch, newest.digest, 3, after)


def test_a_member_of_the_same_founding_agrees_whether_it_has_more_records_or_fewer():
    assert [agrees(answer("n1", OURS[: at + 1]), *FOLDER) for at in range(6)] == [True] * 6


def test_a_member_of_another_founding_does_not():
    seen = [agrees(answer("n1", THEIRS[: at + 1], "other n1"), *FOLDER) for at in range(6)]

    assert seen == [False] * 6


def test_a_folder_that_has_the_founding_only_agrees_with_all():
    for records in (OURS, THEIRS):
        assert agrees(answer("n1", records), OURS[0], LINEAGE, NO_HISTORY) is None


def test_records_that_are_not_kept_any_more_say_nothing():
    later = answer("n1", OURS)._replace(records={5: OURS[5]})

    assert agrees(later, *FOLDER) is None
    assert agrees(answer("n1", OURS[:2]), OURS[3], LINEAGE, NO_HISTORY) is None


def test_a_majority_that_contradicts_suffices_and_one_member_with_an_old_folder_does_not():
    strangers = [answer(name, THEIRS[:2]) for name in ("n1", "n2")]

    assert suffices(contradicting(strangers, *FOLDER))
    assert not suffices(contradicting(strangers[:1], *FOLDER))
    assert not contradicting([*strangers, answer("n3", OURS[:3])], *FOLDER)
    assert not suffices([])


def test_a_member_whose_disk_was_replaced_is_no_majority():
    wiped = answer("n2", OURS[:1], "new")

    assert contradicting([wiped], *FOLDER) == [wiped]
    assert not suffices([wiped])
