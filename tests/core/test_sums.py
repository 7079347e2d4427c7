"""Sums of leaves, against sums that are computed from the store alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_disk import Disk, N, digest, flipped, leaf_of, range_of, record

from toystore.core.data.record import CorruptRecordError, check_record
from toystore.core.protocol.messages.antientropy import (
    QuestionFailedReply,
    ScrubLeaf,
    ScrubLeafReply,
    WatchRanges,
)
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.disk import StorageStatus
from toystore.core.protocol.messages.replica import ReadReplica, WriteReplica
from toystore.core.ring.ranges import Range
from toystore.core.storage import sums

KEYS = [b"%d" % number for number in range(40)]


def is_sound(stored):
    try:
        check_record(stored)
    except CorruptRecordError:
        return False
    return True


def write(key, time_us=1):
    return WriteReplica(1, digest(key), record(key, time_us), None)


def read(key):
    return ReadReplica(2, digest(key), ())


class Checked(Disk):
    """A disk whose sums, and whose reports of changes, are compared with its store."""

    def __init__(self):
        super().__init__()
        self.unmet = set()
        """The keys of corrupt records that nothing has read yet."""
        self.reported = {}

    def rot(self, key):
        stored = self.stored(key)
        if stored is not None and is_sound(stored):
            self.plant(key, flipped(stored, len(stored) // 2))
            self.unmet.add(key)

    def watch(self):
        [*replies] = self.feed(WatchRanges(3, False))
        return {Range(one.n, one.partition): one.tree for reply in replies for one in reply.ranges}

    def tree(self, of):
        while True:
            tree = self.sums.tree(of, sums.Work())
            if tree is not None:
                return tree

    def check(self):
        """Each sum is true, and each change is reported or about to be."""
        self.unmet = {key for key in self.unmet if not is_sound(self.stored(key))}
        doubtful = {range_of(key) for key in self.unmet}
        for of in self.ranges.owned - doubtful:
            true = self.recomputed(of, is_sound)
            assert self.reported.get(of) == true or of in self.sums.changed()
            assert self.tree(of) == true


keys = st.sampled_from(KEYS)
acts = st.one_of(
    st.tuples(st.just("write"), keys, st.integers(1, 9)),
    st.tuples(st.sampled_from(["read", "rot", "tree", "scrub"]), keys, st.just(0)),
    st.tuples(st.just("watch"), st.just(b""), st.just(0)),
)
batches = st.lists(st.tuples(st.lists(acts, max_size=8), st.booleans(), st.booleans()), max_size=8)


@given(batches)
def test_sums_are_those_of_the_records_after_any_batches(batches):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "NOTES_MAX", 2)
        patch.setattr(sums, "WORK_MAX", 5)
        disk = Checked()
        for batch, aborts, checks in batches:
            for act, key, _ in batch:
                if act == "rot":
                    disk.rot(key)
            run(disk, batch, aborts)
            if checks:
                disk.engine.begin()
                disk.check()
                disk.commit()
        scrub_all(disk)
        disk.unmet.clear()
        disk.engine.begin()
        disk.check()
        corrupt = [key for key in KEYS if disk.stored(key) and not is_sound(disk.stored(key))]
        assert disk.sums.rotten == len(corrupt)


def run(disk, batch, aborts):
    """One transaction."""
    reported, met = {}, set()
    disk.engine.begin()
    for act, key, time_us in batch:
        match act:
            case "write":
                disk.feed(write(key, time_us))
            case "read":
                disk.feed(read(key))
                met.add(key)
            case "tree":
                disk.sums.tree(range_of(key), sums.Work())
            case "scrub":
                disk.feed(ScrubLeaf(4, N, leaf_of(key)))
                met |= {other for other in KEYS if leaf_of(other) == leaf_of(key)}
            case "watch":
                reported |= disk.watch()
    if aborts:
        disk.abort()
    else:
        disk.commit()
        disk.replies()
        disk.reported |= reported
        disk.unmet -= met


def scrub_all(disk):
    for leaf in {leaf_of(key) for key in KEYS}:
        disk.ask(ScrubLeaf(4, N, leaf))


@pytest.fixture
def disk():
    """A disk with a record under each key, all summed."""
    disk = Checked()
    disk.ask(*map(write, KEYS))
    scrub_all(disk)
    disk.events()
    return disk


def status(disk):
    [reply] = disk.ask(StorageStatus(5))
    return reply.status


KEY = KEYS[0]


def test_a_corrupt_record_that_is_read_leaves_the_sum_and_is_counted_until_it_is_replaced(disk):
    disk.rot(KEY)
    [reply] = disk.ask(read(KEY))
    assert reply.status == ReplicaStatus.NO_VOTE
    disk.unmet.clear()
    disk.check()
    assert status(disk)["rotten"] == 1
    assert disk.events() == ["record.corrupt"]

    disk.ask(read(KEY), write(KEY, 9))

    assert disk.events() == ["record.replaced"]
    disk.check()
    assert status(disk)["rotten"] == 0


def test_a_corrupt_record_that_is_read_again_changes_nothing_more(disk):
    disk.rot(KEY)
    disk.ask(read(KEY))
    disk.engine.begin()
    disk.tree(range_of(KEY))
    disk.watch()
    while disk.sums.changed():
        disk.watch()
    disk.commit()
    disk.replies()

    disk.ask(read(KEY))

    assert not disk.sums.changed()


def test_a_corrupt_record_whose_replacement_was_undone_is_counted_again(disk):
    disk.rot(KEY)
    disk.ask(read(KEY))
    disk.engine.begin()
    disk.feed(write(KEY, 9))
    disk.abort()
    assert status(disk)["rotten"] == 1
    disk.events()

    disk.ask(write(KEY, 9))

    assert disk.events() == ["record.replaced"]
    assert status(disk)["rotten"] == 0


def test_a_scrub_finds_what_rotted_and_tells_it_from_a_sum_that_drifted(disk):
    same = [key for key in KEYS if leaf_of(key) == leaf_of(KEY)]
    size = sum(len(disk.stored(key)) for key in same)
    assert disk.ask(ScrubLeaf(1, N, leaf_of(KEY))) == [ScrubLeafReply(1, len(same), size, 0, False)]
    disk.rot(KEY)

    assert disk.ask(ScrubLeaf(2, N, leaf_of(KEY))) == [ScrubLeafReply(2, len(same), size, 1, False)]

    assert disk.events() == ["record.corrupt"]
    disk.plant(KEY, record(KEY, 7))
    [reply] = disk.ask(ScrubLeaf(3, N, leaf_of(KEY)))
    assert (reply.rotten, reply.drifted) == (0, True)
    assert disk.events() == ["sums.drifted"]
    assert range_of(KEY) in disk.sums.changed()


def test_a_record_that_a_bug_deleted_is_missed_by_a_scrub(disk):
    disk.plant(KEY, None)

    [reply] = disk.ask(ScrubLeaf(3, N, leaf_of(KEY)))

    assert reply.drifted
    disk.check()


@pytest.mark.parametrize(("n", "leaf"), [(N, 128), (N, -1), (N, 2**70), (4, 0), (300, 0), (-1, 0)])
def test_a_leaf_that_is_not_owned_is_not_scrubbed(disk, n, leaf):
    [reply] = disk.ask(ScrubLeaf(3, n, leaf))
    assert isinstance(reply, QuestionFailedReply)
    assert "does not own partition" in reply.text
