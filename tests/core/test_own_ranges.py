"""The states of one node's ranges, while ring records are adopted, undone and read again."""

import pytest
from storage_disk import EVERY_KEY, Disk, N, digest, range_of, record

from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    SetRange,
    SetRangeReply,
    StoreRecords,
    SweepRange,
    SweepRangeReply,
    WatchRanges,
)
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.disk import SettleDisk, StorageStatus
from toystore.core.protocol.messages.hints import DeliverHints
from toystore.core.protocol.messages.replica import ReadReplica, RepairReplica, WriteReplica
from toystore.core.protocol.messages.ring import DescribeMoves, OfferRings
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.record import Listed
from toystore.core.storage.disk_facts import begin_run
from toystore.core.storage.layout import ADOPTED, STATE, ring_record_key, state_key
from toystore.core.storage.own_ranges import OwnRanges

WHOLE, BEHIND, RETIRED, RELEASED, STRAY, NONE = RangeState
OK, SUPERSEDED, NOT_FOUND, NO_VOTE, REFUSED, INTERNAL, STALE, MOVED = ReplicaStatus
FOUR = ("n1", "n2", "n3", "n4")
"""The members, before and after n5 joins."""
FIVE = (*FOUR, "n5")


def listed(*names):
    return tuple(Listed(name, name, "", 1, "", "", ()) for name in names)


class Node(Disk):
    """Node n1 of a ring that changes."""

    def __init__(self, members=FOUR):
        super().__init__(members)
        self.record = self.ranges.ring.record
        self.records = []

    def offer(self, *changes):
        """The records of these changes are offered at once."""
        for change in changes:
            self.record = self.record.next(b"", **change)
            self.records.append(self.record)
        return OfferRings(1, tuple(one.packed for one in self.records[-len(changes) :]))

    def adopt(self, *changes):
        [reply] = self.ask(self.offer(*changes))
        assert (reply.epoch, reply.reason) == (self.record.epoch, "")

    def state(self, of):
        return self.own.state(of)

    def states(self):
        """Those that are in the store."""
        states = {}
        for key, value in self.engine.scan(STATE):
            states[Range(key[1], int.from_bytes(key[2:], "big"))] = RangeState(value[0])
        return states

    @property
    def own(self):
        self.engine.begin()
        own = OwnRanges(self.engine, self.ranges)
        own.read()
        self.engine.commit()
        return own

    def set(self, of, state):
        [reply] = self.ask(SetRange(1, *of, self.record.epoch, state))
        return reply.state

    def write(self, key, epoch, time_us=1):
        [reply] = self.ask(WriteReplica(1, digest(key), record(key, time_us), None, epoch))
        return reply.status

    def read(self, key, owners=()):
        [reply] = self.ask(ReadReplica(1, digest(key), owners))
        return reply.status, reply.record

    def fill(self):
        """A record under each key of an owned range."""
        for key in EVERY_KEY:
            if range_of(key) in self.ranges.owned:
                assert self.write(key, self.record.epoch) == OK


def moving(old, new, **changes):
    return {"old": listed(*old), "members": listed(*new), **changes}


def stable(*members):
    return {"old": (), "members": listed(*members)}


JOIN = moving(FOUR, FIVE)
"""n5 takes ranges from the others."""


@pytest.fixture
def node():
    """n1 with a record in each range that it owns, and a confirmed disk."""
    node = Node()
    node.ask(SettleDisk(True))
    node.fill()
    return node


def leaving_of(node):
    """The ranges that move away."""
    ring = node.ranges.ring
    return [
        of
        for of in sorted(node.ranges.owned)
        if not any(slot.new == "n1" for slot in ring.slots(of.partition, of.n))
    ]


def keys_of(ranges):
    return [key for key in EVERY_KEY if range_of(key) in ranges]


# --- adoption ---------------------------------------------------------------------------


def test_a_range_that_moves_away_stays_whole_until_its_new_owner_is(node):
    node.adopt(JOIN)

    assert leaving_of(node)
    assert node.states() == {}


def test_a_range_that_comes_is_behind_and_an_old_one_stays_whole():
    node = Node(FIVE)
    before = node.ranges.owned
    node.adopt(moving(FIVE, FOUR))

    assert set(node.states().values()) == {BEHIND}
    assert node.states().keys() == node.ranges.owned - before


@pytest.mark.parametrize("kept", [True, False])
def test_a_disk_that_is_not_confirmed_lacks_all_that_the_node_keeps_as_far_as_anyone_knows(kept):
    node = Node()
    node.adopt(JOIN)

    [unknown] = node.ask(DescribeMoves(1, 1))
    [known] = node.ask(SettleDisk(kept), DescribeMoves(1, 1))

    staying = len(node.ranges.owned) - len(leaving_of(node))
    assert (unknown.behind, known.behind) == (staying, 0 if kept else staying)
    assert unknown.unreleased == known.unreleased == len(leaving_of(node))


def test_a_change_that_is_undone_leaves_whole_what_was_whole(node):
    node.adopt(JOIN)
    first, *others = leaving_of(node)
    assert node.set(first, RETIRED) == RETIRED

    node.adopt(moving(FIVE, FOUR))

    assert node.states() == {first: BEHIND}
    node.adopt(stable(*FOUR))
    assert {node.state(of) for of in others} == {WHOLE}


def test_records_are_adopted_one_after_another_in_one_transaction():
    """A range that left and came back in between lacks what was written in between."""
    node, twin = Node(), Node()
    for one in (node, twin):
        one.ask(SettleDisk(True))
    changes = [JOIN, stable(*FIVE), moving(FIVE, FOUR), stable(*FOUR)]
    node.adopt(*changes)
    for change in changes:
        twin.adopt(change)

    assert node.states() == twin.states()
    gone = Ranges(node.ranges.ring.follow(node.records[1]), "n1", [N]).owned
    assert node.states() == dict.fromkeys(node.ranges.owned - gone, BEHIND)


def test_a_batch_that_is_undone_leaves_the_old_ring(node):
    owned = node.ranges.owned
    node.engine.begin()
    node.feed(node.offer(JOIN))
    assert node.ranges.ring.record.moving
    node.abort()

    [reply] = node.ask(DescribeMoves(1, 0))

    assert (reply.epoch, node.ranges.owned, node.states()) == (0, owned, {})
    node.ask(OfferRings(1, (node.record.packed,)))
    assert node.ranges.ring.record == node.record


def test_a_machine_that_is_made_anew_follows_the_newest_record(node):
    node.adopt(JOIN)
    first, *_ = leaving_of(node)
    node.set(first, RETIRED)
    node.make_machine()

    assert node.write(keys_of([first])[0], 1, 9) == MOVED

    assert node.ranges.ring.record == node.record


# --- setting a state --------------------------------------------------------------------


def test_a_state_is_set_only_in_the_epoch_in_which_it_was_decided_on(node):
    node.adopt(JOIN)
    of = leaving_of(node)[0]

    assert node.ask(SetRange(7, *of, 0, RETIRED)) == [SetRangeReply(7, WHOLE, 0)]
    assert node.ask(SetRange(8, *of, 1, RETIRED)) == [SetRangeReply(8, RETIRED, 0)]
    assert node.ask(SetRange(9, *of, 1, 99)) == [SetRangeReply(9, RETIRED, 0)]


def test_an_owner_that_stays_gives_nothing_away(node):
    node.adopt(JOIN)
    of = next(of for of in sorted(node.ranges.owned) if of not in leaving_of(node))

    assert node.set(of, RETIRED) == WHOLE


def test_a_disk_that_is_not_confirmed_retires_nothing():
    node = Node()
    node.adopt(JOIN)

    assert node.set(leaving_of(node)[0], RETIRED) == WHOLE


def test_a_replaced_disk_votes_everywhere_once_what_is_left_is_whole(node):
    node.adopt(JOIN)
    node.ask(SettleDisk(False))
    leaving = leaving_of(node)
    for of in sorted(node.ranges.owned):
        assert node.set(of, RETIRED if of in leaving else WHOLE) != BEHIND

    [reply] = node.ask(StorageStatus(1))

    assert reply.status["votes"]
    assert (reply.status["ranges_behind"], reply.status["ranges"]) == (0, len(node.ranges.owned))


def test_ranges_that_come_take_no_vote_from_a_disk():
    node = Node(FIVE)
    node.ask(SettleDisk(True))
    node.adopt(moving(FIVE, FOUR))

    [reply] = node.ask(StorageStatus(1))

    assert reply.status["votes"]
    assert reply.status["ranges_behind"] == len(node.states()) > 0


# --- answers ----------------------------------------------------------------------------


def test_an_owner_s_write_from_before_ranges_moved_is_stale_and_not_stored(node):
    node.adopt(JOIN, stable(*FIVE))
    key = keys_of(node.ranges.owned)[0]

    assert node.write(key, 0, 9) == STALE
    assert node.stored(key) == record(key, 1)
    assert node.write(key, 1, 9) == OK


def test_a_hint_is_kept_whatever_epoch_it_is_of(node):
    node.adopt(JOIN)
    key = EVERY_KEY[0]

    [reply] = node.ask(WriteReplica(1, digest(key), record(key, 9), "n2", 0))

    assert reply.status == OK


@pytest.mark.parametrize("state", [RETIRED, RELEASED])
def test_a_range_that_was_given_away_stores_nothing_and_says_so(node, state):
    node.adopt(JOIN)
    of = leaving_of(node)[0]
    for step in (RETIRED, RELEASED)[: state - 1]:
        assert node.set(of, step) == step
    key, newer = keys_of([of])[0], record(keys_of([of])[0], 9)

    assert node.write(key, 1, 9) == MOVED
    assert node.read(key) == (MOVED, None)
    [hints, stored] = node.ask(
        RepairReplica(digest(key), newer),
        DeliverHints(1, ((digest(key), newer),)),
        StoreRecords(2, N, (newer,)),
    )
    assert (hints.statuses, stored.statuses) == ((MOVED,), (MOVED,))
    assert node.stored(key) == record(key, 1)


def test_a_coordinator_with_a_newer_ring_is_believed(node):
    node.adopt(JOIN)
    of = leaving_of(node)[0]
    node.set(of, RETIRED)
    key = keys_of([of])[0]

    assert node.write(key, 2, 9) == OK
    assert node.stored(key) == record(key, 9)


def test_a_range_that_is_behind_stores_and_shows_but_does_not_vote():
    node = Node(FIVE)
    node.ask(SettleDisk(True))
    node.adopt(moving(FIVE, FOUR))
    key, other, *_ = keys_of(node.states())

    assert node.write(key, 1) == OK
    assert node.read(key) == (NO_VOTE, record(key, 1))
    assert node.read(other) == (NO_VOTE, None)
    newer = record(key, 9)
    [hints, stored] = node.ask(
        DeliverHints(1, ((digest(key), newer),)), StoreRecords(2, N, (newer,))
    )
    assert (hints.statuses, stored.statuses) == ((OK,), (OK,))


def test_a_range_that_is_not_owned_yet_does_not_vote(node):
    node.adopt(JOIN, stable(*FIVE))
    foreign = next(key for key in EVERY_KEY if node.state(range_of(key)) == NONE)

    assert node.read(foreign) == (NO_VOTE, None)
    assert node.read(foreign, ("n2",)) == (NOT_FOUND, None)


def test_a_comparison_by_a_newer_ring_has_to_wait(node):
    [reply] = node.ask(CompareRanges(1, True, ((N, 0, b"other"),), 1))

    assert (reply.unready, reply.states) == (((N, 0),), b"")


# --- deletion ---------------------------------------------------------------------------


def release_all(node):
    leaving = leaving_of(node)
    for of in leaving:
        node.set(of, RETIRED)
        assert node.set(of, RELEASED) == RELEASED
    return leaving


def sweep(node, of, records_max=1000):
    [reply] = node.ask(SweepRange(1, *of, node.record.epoch, records_max))
    return reply


def test_nothing_is_deleted_before_the_ring_is_stable(node):
    node.adopt(JOIN)
    of = release_all(node)[0]

    assert sweep(node, of) == SweepRangeReply(1, 0, 0, True)

    node.adopt(stable(*FIVE))
    assert node.ask(SweepRange(1, *of, 1, 10)) == [SweepRangeReply(1, 0, 0, True)]
    keys = keys_of([of])
    size = sum(len(record(key)) for key in keys)
    assert sweep(node, of) == SweepRangeReply(1, len(keys), size, False)
    assert {node.stored(key) for key in keys} == {None}
    assert of not in node.states()


def test_a_write_by_a_newer_ring_is_not_deleted_with_what_was_released(node):
    node.adopt(JOIN)
    of = release_all(node)[0]
    node.adopt(stable(*FIVE))
    key = keys_of([of])[0]
    assert node.write(key, epoch=3, time_us=9) == OK

    assert sweep(node, of) == SweepRangeReply(1, 0, 0, True)

    node.adopt(moving(FIVE, FOUR))
    assert node.state(of) == BEHIND
    assert node.stored(key) == record(key, 9)


def test_only_what_was_released_is_deleted(node):
    node.adopt(JOIN, stable(*FIVE))
    strays = [of for of, state in node.states().items() if state == STRAY]
    assert strays

    for of in [strays[0], sorted(node.ranges.owned)[0]]:
        assert sweep(node, of) == SweepRangeReply(1, 0, 0, True)


def test_a_range_is_deleted_in_small_steps_and_its_state_at_last(node):
    node.adopt(JOIN)
    of = max(release_all(node), key=lambda one: len(keys_of([one])))
    node.adopt(stable(*FIVE))
    count = len(keys_of([of]))
    assert count > 1

    for left in range(count, 0, -1):
        assert node.states()[of] == RELEASED
        assert sweep(node, of, 1).records == 1
        assert len([key for key in keys_of([of]) if node.stored(key)]) == left - 1
    assert sweep(node, of, 1).more is False

    assert of not in node.states()
    assert sweep(node, of) == SweepRangeReply(1, 0, 0, False)


def test_sums_are_true_after_a_deletion_that_was_undone(node):
    node.adopt(JOIN)
    of = release_all(node)[0]
    node.adopt(stable(*FIVE))
    node.engine.begin()
    node.feed(SweepRange(1, *of, 2, 1))
    node.abort()

    [reply] = node.ask(CompareRanges(1, True, ((*of, b"other"),), 2))

    assert reply.differing == ((*of, node.recomputed(of, bool)),)


# --- strays and starts ------------------------------------------------------------------


def test_records_where_nothing_is_owned_are_found_at_a_start_and_can_be_released(node):
    node.adopt(JOIN, stable(*FIVE))
    own, ranges = node.own, node.ranges
    foreign = next(Range(N, at) for at in range(8) if Range(N, at) not in own.known)
    key = keys_of([foreign])[0]
    node.plant(key, record(key))
    node.engine.begin()
    begin_run(node.engine, ranges)
    node.engine.commit()
    node.make_machine()

    assert node.states()[foreign] == STRAY
    assert node.set(foreign, RELEASED) == RELEASED
    assert sweep(node, foreign).records == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_a_record_of_a_coordinator_with_a_newer_ring_is_stray_if_the_next_ring_is_another(restarts):
    node = Node(FOUR)
    node.ask(SettleDisk(True))
    foreign = next(Range(N, at) for at in range(8) if Range(N, at) not in node.own.known)
    assert node.write(keys_of([foreign])[0], epoch=2) == OK
    if restarts:
        node.make_machine()

    node.adopt({})

    assert node.states() == {foreign: STRAY}
    assert "ranges.stray" in node.events()


def test_a_new_ring_is_told_to_the_watcher_only_where_a_state_is_new():
    node = Node(FIVE)
    node.ask(SettleDisk(True), WatchRanges(1, False))
    node.adopt(moving(FIVE, FOUR))

    [told] = node.ask(WatchRanges(2, False))

    assert {Range(one.n, one.partition): one.state for one in told.ranges} == node.states()
    assert set(node.states().values()) == {BEHIND}


def test_a_newcomer_begins_behind_in_each_range():
    node = Node(FOUR)
    changes = [moving(FOUR, FIVE)]
    record_ = node.ranges.ring.record.next(b"", **changes[0])
    fresh = Disk(("n2",))
    fresh.engine.begin()
    fresh.engine.put(ring_record_key(1), record_.packed)
    ranges = Ranges(node.ranges.ring.follow(record_), "n5", [N])
    begin_run(fresh.engine, ranges)

    assert fresh.engine.get(ADOPTED) == b"1,1"
    assert ranges.owned
    for of in ranges.owned:
        assert fresh.engine.get(state_key(of)) == bytes([BEHIND])


# --- figures ----------------------------------------------------------------------------


def test_the_figures_say_what_is_left(node):
    node.adopt(JOIN)
    leaving = leaving_of(node)

    [reply] = node.ask(DescribeMoves(1, 1))

    assert (reply.epoch, reply.behind, reply.unreleased) == (1, 0, len(leaving))
    assert reply.keys == len(keys_of(node.ranges.owned))
    assert (reply.hints, reply.votes) == (0, True)
    release_all(node)
    [reply] = node.ask(DescribeMoves(1, 1))
    assert reply.unreleased == 0


def test_the_figures_are_asked_often_and_look_at_no_slot_again(node, monkeypatch):
    node.adopt(JOIN)
    node.ask(DescribeMoves(1, 1))
    asked = []
    monkeypatch.setattr(node.own.ranges.ring, "slots", lambda *of: asked.append(of))

    [reply] = node.ask(DescribeMoves(1, 1))

    assert reply.unreleased
    assert not asked


def test_the_hints_of_a_node_that_leaves_are_counted():
    node = Node(FIVE)
    key = EVERY_KEY[0]
    node.ask(WriteReplica(1, digest(key), record(key), "n2", 0))
    node.adopt(moving(FIVE, FIVE[1:]))

    [reply] = node.ask(DescribeMoves(1, 1))

    assert reply.hints == 1


def a_leaver():
    """n1, which leaves, with a key of a range that it gives away and one that it never owned."""
    node = Node(FIVE)
    node.ask(SettleDisk(True))
    given = next(key for key in EVERY_KEY if range_of(key) in node.ranges.owned)
    other = next(key for key in EVERY_KEY if range_of(key) not in node.ranges.owned)
    node.adopt(moving(FIVE, FIVE[1:]))
    return node, given, other


def keeps(node, key):
    """Whether the node keeps a hint, and how many it has to deliver then."""
    [reply] = node.ask(WriteReplica(1, digest(key), record(key), "n2", 0))
    return reply.status, node.ask(DescribeMoves(1, 1))[0].hints


def test_a_node_that_leaves_keeps_hints_of_a_range_that_it_has_not_released():
    node, given, _ = a_leaver()

    assert keeps(node, given) == (OK, 1)
    assert node.set(range_of(given), RETIRED) == RETIRED
    assert keeps(node, given) == (OK, 1)


def test_a_node_that_leaves_keeps_no_more_hints_of_other_ranges():
    node, given, other = a_leaver()

    assert keeps(node, other) == (REFUSED, 0)
    node.set(range_of(given), RETIRED)
    assert node.set(range_of(given), RELEASED) == RELEASED
    assert keeps(node, given) == (REFUSED, 0)


def test_a_node_that_was_removed_keeps_no_hint_at_all():
    node, given, other = a_leaver()
    node.adopt(stable(*FIVE[1:]))

    assert keeps(node, given) == keeps(node, other) == (REFUSED, 0)


def test_a_question_about_a_range_that_is_unknown_is_answered(node):
    assert node.ask(SetRange(1, 2**70, 2**70, 0, WHOLE)) == [SetRangeReply(1, NONE, 0)]


def test_what_is_kept_in_memory_is_what_is_in_the_store(node):
    node.adopt(JOIN)
    moved = sorted(leaving_of(node))[0]
    node.ask(SetRange(1, *moved, 1, RETIRED))
    node.ask(SetRange(1, *moved, 1, RELEASED))

    again = OwnRanges(node.engine, node.own.ranges)
    again.read()

    assert again.known == node.own.known
    assert again._now == node.own._now
