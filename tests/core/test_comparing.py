"""Watching and comparing ranges, and where a replaced disk votes."""

import pytest
from storage_disk import FOREVER, Disk, N, digest, range_of, record

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareRangesReply,
    ListStretches,
    QuestionFailedReply,
    SetRange,
    SetRangeReply,
    WatchRanges,
    WatchRangesReply,
)
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.disk import (
    LoadDisks,
    SettleDisk,
    StorageStatus,
)
from toystore.core.protocol.messages.replica import ReadReplica, WriteReplica
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.tree import TREE_BYTES, root_of
from toystore.core.ring.view import fixed_ring
from toystore.core.storage import comparing, sums
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.own_ranges import OwnRanges

NOT_FOUND, NO_VOTE = ReplicaStatus.NOT_FOUND, ReplicaStatus.NO_VOTE
WHOLE, BEHIND, NONE = RangeState.WHOLE, RangeState.BEHIND, RangeState.NONE
EVERY = tuple(Range(N, partition) for partition in range(8))
EMPTY = bytes(TREE_BYTES)
FIVE = ("n1", "n2", "n3", "n4", "n5")


def write(key, time_us=1):
    return WriteReplica(1, digest(key), record(key, time_us), None)


def watch(disk, every=False):
    """The ranges in all the answers until there are no more."""
    seen = []
    while True:
        [reply] = disk.ask(WatchRanges(1, every))
        seen += reply.ranges
        every = False
        if not reply.more:
            return {Range(one.n, one.partition): one for one in seen}


def confirmed(*members):
    """A disk that the cluster knows."""
    disk = Disk(members)
    disk.ask(SettleDisk(True))
    return disk


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def watched(disk):
    """A disk whose ranges were all reported."""
    watch(disk)
    return disk


# --- the watcher ------------------------------------------------------------------------


def test_the_first_answer_is_of_each_owned_range():
    disk = Disk(members=FIVE)

    seen = watch(disk)

    assert set(seen) == disk.ranges.owned
    assert {(one.behind, one.tree) for one in seen.values()} == {(False, EMPTY)}


def test_a_watcher_waits_until_a_range_has_changed(watched):
    assert watched.ask(WatchRanges(7, False)) == []
    assert watched.ask(LoadDisks())[1:] == []

    [_, woken] = watched.ask(write(b"a"))

    assert woken == WatchRangesReply(7, (), True)
    assert list(watch(watched)) == [range_of(b"a")]
    assert watched.ask(WatchRanges(8, False)) == []


def test_a_watcher_is_not_woken_by_a_batch_that_was_undone_and_is_by_the_next(watched):
    watched.ask(WatchRanges(7, False))
    watched.engine.begin()
    watched.feed(write(b"a"))
    watched.abort()
    assert watched.replies() == []

    assert watched.ask(write(b"a"))[1:] == [WatchRangesReply(7, (), True)]


def test_a_report_that_was_undone_is_made_again(watched):
    watched.ask(write(b"a"))
    watched.engine.begin()
    assert watched.feed(WatchRanges(7, False))[0].ranges
    watched.abort()

    assert list(watch(watched)) == [range_of(b"a")]


def test_the_last_watcher_is_the_only_one(watched):
    watched.ask(WatchRanges(7, False), WatchRanges(8, False))

    assert watched.ask(write(b"a"))[1:] == [WatchRangesReply(8, (), True)]


def test_every_range_is_reported_when_that_is_asked(watched):
    assert set(watch(watched, every=True)) == set(EVERY)


def test_an_answer_costs_a_bounded_amount_of_work_and_the_rest_follows(disk, monkeypatch):
    monkeypatch.setattr(sums, "WORK_MAX", 1)

    [reply] = disk.ask(WatchRanges(1, False))

    assert reply == WatchRangesReply(1, (), True)
    assert list(watch(disk)) == list(EVERY)


def test_an_answer_has_a_bounded_number_of_ranges(disk, monkeypatch):
    monkeypatch.setattr(comparing, "RANGES_MAX", 3)

    [reply] = disk.ask(WatchRanges(1, False))

    assert (len(reply.ranges), reply.more) == (3, True)


def test_a_watcher_of_a_machine_that_fails_is_answered(watched):
    watched.ask(WatchRanges(7, False))

    watched.machine.on_failure(Now(1.0, 1))

    [reply] = watched.replies()
    assert isinstance(reply, QuestionFailedReply)
    assert reply.request == 7
    watched.machine.on_failure(Now(1.0, 1))
    assert watched.replies() == []


def test_a_written_record_that_is_no_newer_changes_nothing(watched):
    watched.ask(write(b"a", 5))
    watch(watched)

    watched.ask(write(b"a", 5), write(b"a", 4))

    assert not watched.sums.changed()


# --- comparisons ------------------------------------------------------------------------


def roots(disk):
    seen = watch(disk, every=True)
    return tuple((of.n, of.partition, root_of(one.tree)) for of, one in seen.items())


def test_the_ranges_that_differ_are_answered_with_their_trees():
    disk, other = confirmed("n1"), Disk()
    both, one = [b"a", b"b", b"c"], b"d"
    disk.ask(*map(write, both))
    other.ask(*map(write, [*both, one]))

    [reply] = disk.ask(CompareRanges(1, False, roots(other)))

    tree = watch(disk, every=True)[range_of(one)].tree
    assert reply == CompareRangesReply(1, ((*range_of(one), tree),), (), bytes(len(EVERY)))


def test_what_is_not_owned_or_would_cost_too_much_is_unready(monkeypatch):
    disk = confirmed(*FIVE)
    foreign = [(4, 0), (N, 8), (N, -1), (2**70, 2**70)]
    foreign += [(of.n, of.partition) for of in EVERY if of not in disk.ranges.owned]
    own = [(of.n, of.partition) for of in sorted(disk.ranges.owned)]
    asked = tuple((*of, root_of(EMPTY)) for of in [*foreign, *own])

    assert disk.ask(CompareRanges(1, False, asked)) == [
        CompareRangesReply(
            1, (), tuple(foreign), bytes([NONE] * len(foreign) + [WHOLE] * len(own))
        ),
    ]

    fresh = confirmed(*FIVE)
    monkeypatch.setattr(sums, "WORK_MAX", 1)
    [reply] = fresh.ask(CompareRanges(1, False, asked))
    assert reply.unready == (*foreign, *own)


@pytest.mark.parametrize("rebuilding", [False, True])
def test_a_disk_that_is_not_confirmed_has_perhaps_lost_what_it_counts_as_whole(disk, rebuilding):
    [reply] = disk.ask(CompareRanges(1, rebuilding, ((N, 0, b"other"),), 0, (7,)))

    assert reply == CompareRangesReply(1, (), ((N, 0),))
    disk.ask(SettleDisk(True))
    [reply] = disk.ask(CompareRanges(1, rebuilding, ((N, 0, b"other"),), 0, (7,)))
    assert (reply.states, reply.floors) == (bytes([WHOLE]), (7,))


def test_a_range_that_is_behind_is_compared_only_for_one_who_rebuilds_his_own(disk):
    disk.ask(SettleDisk(False))
    asked = ((N, 0, b"other"),)

    [reply] = disk.ask(CompareRanges(1, False, asked))
    assert reply == CompareRangesReply(1, (), ((N, 0),), bytes([BEHIND]))
    [reply] = disk.ask(CompareRanges(2, True, asked))
    assert reply == CompareRangesReply(2, ((N, 0, EMPTY),), (), bytes([BEHIND]))
    disk.ask(SetRange(3, N, 0, 0, WHOLE))
    [reply] = disk.ask(CompareRanges(4, False, asked))
    assert reply == CompareRangesReply(4, ((N, 0, EMPTY),), (), bytes([WHOLE]))


# --- votes ------------------------------------------------------------------------------


def vote(disk, key, owners=()):
    [reply] = disk.ask(ReadReplica(1, digest(key), owners))
    return reply.status


def status(disk):
    [reply] = disk.ask(StorageStatus(1))
    return reply.status


def test_a_replaced_disk_votes_in_each_range_that_is_whole_again_and_in_the_end_everywhere(disk):
    disk.ask(SettleDisk(False))
    watch(disk)
    done = range_of(b"a")
    missing = next(key for key in (b"b", b"c", b"d") if range_of(key) != done)
    assert status(disk)["ranges_behind"] == status(disk)["ranges"] == 8

    assert disk.ask(SetRange(2, *done, 0, WHOLE)) == [SetRangeReply(2, WHOLE, 7)]

    assert (vote(disk, b"a"), vote(disk, missing)) == (NOT_FOUND, NO_VOTE)
    assert [(of, one.behind) for of, one in watch(disk).items()] == [(done, False)]
    assert status(disk)["votes"] is False
    for of in EVERY:
        disk.ask(SetRange(3, *of, 0, WHOLE))
    assert vote(disk, missing) == NOT_FOUND
    assert (status(disk)["votes"], status(disk)["ranges_behind"]) == (True, 0)
    assert status(disk)["keys"] == 0


def test_a_disk_that_is_said_to_be_replaced_again_goes_on_where_it_was(disk):
    disk.ask(SettleDisk(False), SetRange(2, N, 0, 0, WHOLE), SettleDisk(False), SettleDisk(True))

    assert disk.ask(SetRange(2, N, 1, 0, WHOLE)) == [SetRangeReply(2, WHOLE, 6)]
    [reply] = disk.ask(LoadDisks())
    assert (reply.settled, reply.replaced) == (True, True)


def test_a_disk_that_voted_and_is_said_to_be_replaced_votes_no_more(disk):
    disk.ask(SettleDisk(True))
    assert vote(disk, b"a") == NOT_FOUND

    disk.ask(SettleDisk(False))

    assert vote(disk, b"a") == NO_VOTE
    assert set(watch(disk)) == set(EVERY)


def test_a_replaced_disk_does_not_vote_in_ranges_of_others():
    disk = Disk(members=FIVE)
    disk.ask(SettleDisk(False))
    keys = [b"%d" % number for number in range(50)]
    foreign = next(key for key in keys if range_of(key) not in disk.ranges.owned)
    *first, last = sorted(disk.ranges.owned)

    for of in first:
        disk.ask(SetRange(2, *of, 0, WHOLE))
    assert vote(disk, foreign, ("n2",)) == NO_VOTE
    disk.ask(SetRange(2, *last, 0, WHOLE))

    assert vote(disk, foreign, ("n2",)) == NOT_FOUND
    assert vote(disk, foreign) == NO_VOTE


def test_a_disk_that_is_not_confirmed_yet_does_not_vote_whatever_is_whole(disk):
    assert disk.ask(SetRange(2, N, 0, 0, WHOLE)) == [SetRangeReply(2, WHOLE, 0)]

    assert {vote(disk, b"%d" % number) for number in range(20)} == {NO_VOTE}


def test_a_replaced_disk_of_a_node_that_owns_nothing_has_nothing_to_rebuild(disk):
    disk.engine.begin()
    nothing = OwnRanges(disk.engine, Ranges(fixed_ring([Member("n2")], 8, N), "n1", [N]))
    facts = DiskFacts(disk.engine, nothing)
    facts.replace()
    assert facts.votes()


@pytest.mark.parametrize("of", [(N, 8), (4, 0), (2**70, 0), (N, -1)])
def test_a_range_that_is_not_owned_is_not_marked(disk, of):
    assert disk.ask(SetRange(1, *of, 0, WHOLE)) == [SetRangeReply(1, NONE, 0)]


def test_another_actor_is_answered_itself(disk):
    other = Peer("n2", "antientropy")
    disk.engine.begin()
    disk.machine.receive(
        ListStretches(1, (), 1, FOREVER),
        other,
        Now(1.0, 1),
    )

    assert list(disk.out.sends) == [other]
