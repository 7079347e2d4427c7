"""Floors, rule by rule, on both engines: what is refused below them, and what they delete."""

import random

import pytest
from storage_disk import content_of

from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareStretches,
    FetchRecords,
    RaiseFloors,
    SetRange,
    StoreRecords,
    SumDead,
    SweepRange,
    WatchRanges,
)
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.disk import SettleDisk
from toystore.core.protocol.messages.hints import DeliverHints, TakeHints
from toystore.core.protocol.messages.replica import ReadReplica, RepairReplica, WriteReplica
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.tree import root_of
from toystore.core.ring.view import fixed_ring
from toystore.core.storage import tombstones
from toystore.core.storage.layout import CLOSED, FLOOR, RECORD
from toystore.core.storage.storage import Storage
from toystore.engines import open_engine

WHOLE, BEHIND, RETIRED, RELEASED, STRAY, NONE = RangeState
OK, SUPERSEDED, NOT_FOUND, NO_VOTE, REFUSED, INTERNAL, STALE, MOVED = ReplicaStatus
ASKER = Peer("n2", "antientropy")
N = 2
REAP_AFTER_S = 10.0
NOW_US = 100_000_000
LATEST_US = NOW_US - 5_000_000
"""The latest floor that a node agrees to."""
FLOOR_US = 50_000_000
OLD_US, NEW_US = FLOOR_US - 1, FLOOR_US
AT_FLOOR = pack_stamp(FLOOR_US, 0, bytes(8))
RANGES = Ranges(fixed_ring(map(Member, ("n1", "n2", "n3")), 8, N), "n1", [N])
NAMES = [b"%d" % number for number in range(1000)]


def digest(key):
    return digest_of("default", key, N)


def range_of(key):
    return RANGES.range_of(digest(key))


KEY = next(key for key in NAMES if range_of(key) in RANGES.owned)
OF = range_of(KEY)
KEYS = [key for key in NAMES if range_of(key) == OF]
"""Keys of one range; the first is KEY."""
FOREIGN = next(key for key in NAMES if range_of(key) not in RANGES.owned)


def value(key=KEY, time_us=OLD_US):
    return pack_record(pack_stamp(time_us, 0, b"minter-1"), "default", key, b"value")


def tombstone(key=KEY, time_us=OLD_US):
    return pack_record(pack_stamp(time_us, 0, b"minter-1"), "default", key, b"", tombstone=True)


class Disk:
    """The storage of n1, which owns some ranges, on one engine."""

    def __init__(self, engine):
        self.engine = engine
        self.out = Outbox()
        self.start()

    def start(self):
        """A new process."""
        self.machine = Storage(
            store=self.engine,
            node="n1",
            ranges=RANGES,
            copies={"default": N},
            hint_bytes_max=10**6,
            outbox=self.out,
            chance=random.Random(1),
            reap_after_s=REAP_AFTER_S,
        )

    def feed(self, *messages, now_us=NOW_US):
        self.engine.begin()
        for message in messages:
            self.machine.receive(message, ASKER, Now(1.0, now_us))
        return self.out.sends.pop(ASKER, [])

    def ask(self, *messages, now_us=NOW_US):
        replies = self.feed(*messages, now_us=now_us)
        self.engine.commit()
        self.machine.on_commit()
        return replies

    def undo(self, *messages):
        """A batch that is undone."""
        self.feed(*messages)
        self.engine.abort()
        self.machine.on_abort()
        self.out.clear()

    def write(self, record, key=KEY, owner=None):
        [reply] = self.ask(WriteReplica(1, digest(key), record, owner))
        return reply.status, reply.stamp

    def store(self, *records, floor=0):
        floors = ((OF.partition, floor),) if floor else ()
        [reply] = self.ask(StoreRecords(1, N, records, floors))
        return reply.statuses

    def sum(self, *floors, close=False, epoch=0, of=OF, now_us=NOW_US):
        ranges = tuple((*of, floor) for floor in floors)
        [reply] = self.ask(SumDead(1, epoch, close, ranges), now_us=now_us)
        return reply.sums

    def raise_(self, floor=FLOOR_US, xor=None, epoch=0, of=OF):
        """The floor afterwards, and how many records were deleted."""
        [reply] = self.ask(RaiseFloors(1, ((*of, floor, xor),), epoch))
        return reply.floors[0], reply.deleted

    def reap(self, floor=FLOOR_US):
        """As if all members had agreed on what is dead here."""
        [(_, _, xor, _)] = self.sum(floor)
        return self.raise_(floor, xor)

    def changes(self):
        """The ranges of which anti-entropy has not been told."""
        [reply] = self.ask(WatchRanges(1, False))
        return {(one.n, one.partition): one for one in reply.ranges}

    def stored(self, key=KEY):
        return self.engine_get(RECORD + digest(key))

    def engine_get(self, key):
        self.engine.begin()
        found = self.engine.get(key)
        self.engine.commit()
        return found

    def content(self):
        return content_of(self.engine)


@pytest.fixture(params=["memory", "async"])
def disk(request, tmp_path):
    engine = open_engine(request.param, tmp_path / "data")
    disk = Disk(engine)
    disk.ask(SettleDisk(True))
    yield disk
    engine.close()


# --- a floor for new writes -------------------------------------------------------------


def test_a_new_write_below_the_closed_floor_is_told_to_be_stamped_again_above_it(disk):
    disk.sum(FLOOR_US, close=True)

    assert disk.write(value()) == (SUPERSEDED, AT_FLOOR)
    assert disk.write(tombstone()) == (SUPERSEDED, AT_FLOOR)
    assert disk.stored() is None
    assert disk.write(value(time_us=NEW_US)) == (OK, None)


def test_a_late_tombstone_over_an_older_value_is_refused_below_the_closed_floor(disk):
    disk.write(value(time_us=OLD_US - 1))
    disk.sum(FLOOR_US, close=True)

    assert disk.write(tombstone()) == (SUPERSEDED, AT_FLOOR)
    assert disk.stored() == value(time_us=OLD_US - 1)


def test_a_write_that_would_not_be_stored_is_answered_as_ever(disk):
    disk.write(value(time_us=OLD_US))
    disk.sum(FLOOR_US, close=True)

    assert disk.write(value(time_us=OLD_US)) == (OK, None)
    assert disk.write(value(time_us=OLD_US - 1)) == (
        SUPERSEDED,
        pack_stamp(OLD_US, 0, b"minter-1"),
    )


def test_new_hints_are_refused_below_the_closed_floor_but_not_those_that_are_handed_over(disk):
    disk.sum(FLOOR_US, close=True)

    assert disk.write(value(), owner="n3") == (SUPERSEDED, AT_FLOOR)
    assert disk.ask(TakeHints("n3", 10**6)) == [("n3", ())]
    [handed] = disk.ask(DeliverHints(1, ((digest(KEY), value()),), "n3"))
    assert handed.statuses == (OK,)
    assert disk.write(value(KEYS[1], NEW_US), KEYS[1], owner="n3") == (OK, None)


def test_copies_are_stored_below_the_closed_floor(disk):
    disk.sum(FLOOR_US, close=True)

    [hint] = disk.ask(DeliverHints(1, ((digest(KEYS[0]), value(KEYS[0])),)))
    disk.ask(RepairReplica(digest(KEYS[1]), value(KEYS[1])))
    assert (hint.statuses, disk.store(value(KEYS[2]))) == ((OK,), (OK,))
    assert all(map(disk.stored, KEYS[:3]))


def test_the_closed_floor_only_rises_and_outlasts_a_restart_and_an_undone_batch(disk):
    disk.sum(FLOOR_US, close=True)
    disk.sum(FLOOR_US - 5, close=True)
    disk.undo(SumDead(1, 0, True, ((*OF, FLOOR_US + 5),)))
    disk.start()

    assert disk.engine_get(CLOSED) == AT_FLOOR[:8]
    assert disk.write(value()) == (SUPERSEDED, AT_FLOOR)
    assert disk.write(value(time_us=NEW_US)) == (OK, None)


def test_a_floor_that_was_only_summed_closes_nothing(disk):
    disk.sum(FLOOR_US)

    assert disk.write(value()) == (OK, None)


# --- the floor of a range ---------------------------------------------------------------


def test_nothing_is_stored_below_the_floor_of_its_range(disk):
    disk.write(tombstone())
    assert disk.reap() == (FLOOR_US, 1)

    [hint] = disk.ask(DeliverHints(1, ((digest(KEY), value()),)))
    disk.ask(RepairReplica(digest(KEY), value()))
    assert hint.statuses == (SUPERSEDED,)
    assert disk.write(value()) == (SUPERSEDED, AT_FLOOR)
    assert disk.store(value()) == (SUPERSEDED,)
    assert disk.store(value(), floor=FLOOR_US - 1) == (SUPERSEDED,)
    assert disk.stored() is None


def test_what_was_read_at_the_same_floor_or_above_it_lives(disk):
    disk.raise_()

    assert disk.store(value(KEYS[0]), floor=FLOOR_US) == (OK,)
    assert disk.store(value(KEYS[1]), floor=FLOOR_US + 1) == (OK,)


def test_other_ranges_are_not_bound_by_the_floor_of_one(disk):
    other = next(key for key in NAMES if range_of(key) in RANGES.owned - {OF})
    disk.raise_()

    assert disk.store(value(other)) == (OK,)


def test_records_are_sent_with_the_floors_of_their_ranges(disk):
    other = next(key for key in NAMES if range_of(key) in RANGES.owned - {OF})
    disk.store(value(KEY), value(other))
    disk.raise_()
    leaf = RANGES.leaf_of(digest(KEY))
    stretch = RANGES.first_of(leaf), RANGES.end_of(leaf), b""

    [compared] = disk.ask(CompareStretches(1, (stretch,), 2**62, 1000))
    [fetched] = disk.ask(FetchRecords(1, N, digest(KEY)[1:] + digest(other)[1:], 1000))
    assert compared.records == (value(),)
    assert compared.floors == fetched.floors == ((OF.partition, FLOOR_US),)


# --- agreeing ---------------------------------------------------------------------------


def test_the_sound_tombstones_below_a_floor_are_summed(disk):
    assert disk.sum(FLOOR_US) == ((FLOOR_US, 0, 0, False),)
    disk.store(tombstone(KEYS[0]), tombstone(KEYS[1], NEW_US), value(KEYS[2]))
    [(_, dead, xor, _)] = disk.sum(FLOOR_US)
    assert (dead, xor != 0) == (1, True)
    disk.store(tombstone(KEYS[3]))
    [(_, dead, more, _)] = disk.sum(FLOOR_US)

    assert (dead, more != xor) == (2, True)
    rotten = bytearray(tombstone(KEYS[3]))
    rotten[-1] ^= 1
    disk.engine.begin()
    disk.engine.put(RECORD + digest(KEYS[3]), bytes(rotten))
    disk.engine.commit()
    disk.start()
    assert disk.sum(FLOOR_US) == ((FLOOR_US, 1, xor, False),)


def test_equal_tombstones_have_equal_sums_whatever_else_is_stored(disk, tmp_path):
    other = Disk(open_engine("memory", tmp_path))
    other.ask(SettleDisk(True))
    disk.store(*map(tombstone, KEYS[:9]))
    other.store(*map(tombstone, reversed(KEYS[:9])), value(KEYS[10]))

    assert disk.sum(FLOOR_US) == other.sum(FLOOR_US)


@pytest.mark.parametrize(
    ("floor", "epoch"), [(LATEST_US + 1, 0), (FLOOR_US, 1), (0, 0), (-1, 0), (2**70, 0)]
)
def test_a_floor_that_is_too_late_or_of_another_ring_is_refused(disk, floor, epoch):
    assert disk.sum(floor, epoch=epoch, close=True) == ((0, 0, 0, False),)
    assert disk.engine_get(CLOSED) is None


def test_the_latest_floor_is_half_of_the_age_ago(disk):
    assert disk.sum(LATEST_US) == ((LATEST_US, 0, 0, False),)


@pytest.mark.parametrize("of", [(3, 0), (N, 8), (N, -1), (0, 0), (2**70, 2**70)])
def test_a_range_that_does_not_exist_is_refused(disk, of):
    assert disk.sum(FLOOR_US, of=of) == ((0, 0, 0, False),)
    assert disk.raise_(of=of) == (0, 0)


def test_no_floor_is_agreed_on_while_ranges_move(disk):
    record = RANGES.ring.record
    moving = record.next(b"", old=record.members, members=record.members[:2])
    disk.ask(OfferRings(1, (moving.packed,)))

    assert disk.sum(FLOOR_US, epoch=1) == ((0, 0, 0, False),)
    assert disk.raise_(xor=0, epoch=1) == (0, 0)


def test_a_node_that_lacks_records_of_a_range_agrees_to_no_floor(disk, tmp_path):
    disk.ask(SettleDisk(False))
    assert disk.sum(FLOOR_US) == ((0, 0, 0, False),)

    unconfirmed = Disk(open_engine("memory", tmp_path))
    assert unconfirmed.sum(FLOOR_US) == ((0, 0, 0, False),)


def test_a_hint_below_the_floor_holds_it_up(disk):
    disk.write(value(KEYS[1], NEW_US), KEYS[1], owner="n3")
    assert disk.sum(FLOOR_US) == ((FLOOR_US, 0, 0, False),)
    disk.write(value(KEYS[2]), KEYS[2], owner="n2")

    assert disk.sum(FLOOR_US) == ((FLOOR_US, 0, 0, True),)
    assert disk.raise_(xor=0) == (0, 0)


def test_hints_of_other_ranges_hold_nothing_up(disk):
    disk.write(value(FOREIGN), FOREIGN, owner="n3")

    assert disk.sum(FLOOR_US) == ((FLOOR_US, 0, 0, False),)
    assert disk.sum(FLOOR_US, of=range_of(FOREIGN)) == ((FLOOR_US, 0, 0, True),)


def test_a_record_where_the_node_owns_nothing_holds_the_floor_up(disk):
    assert disk.sum(FLOOR_US, of=range_of(FOREIGN)) == ((FLOOR_US, 0, 0, False),)
    disk.engine.begin()
    disk.engine.put(RECORD + digest(FOREIGN), value(FOREIGN))
    disk.engine.commit()

    assert disk.sum(FLOOR_US, of=range_of(FOREIGN)) == ((FLOOR_US, 0, 0, True),)


def test_the_floor_is_lowered_if_there_are_too_many_tombstones(disk, monkeypatch):
    monkeypatch.setattr(tombstones, "REAPED_MAX", 3)
    disk.store(*(tombstone(key, 100 + at) for at, key in enumerate(KEYS[:6])))
    disk.store(*(tombstone(key, 200) for key in KEYS[6:12]))

    assert [summed[:2] for summed in disk.sum(FLOOR_US)] == [(103, 3)]
    assert disk.raise_(103, disk.sum(103)[0][2]) == (103, 3)
    assert [summed[:2] for summed in disk.sum(FLOOR_US)] == [(200, 3)]
    assert disk.raise_(200, disk.sum(200)[0][2]) == (200, 3)
    assert [summed[:2] for summed in disk.sum(FLOOR_US)] == [(201, 6)]
    assert disk.reap(201) == (201, 6)
    assert disk.sum(FLOOR_US) == ((FLOOR_US, 0, 0, False),)


def test_a_question_costs_a_bounded_amount_of_work_but_one_range_is_always_summed(
    disk, monkeypatch
):
    monkeypatch.setattr("toystore.core.storage.sums.WORK_MAX", 1)
    disk.store(tombstone())

    assert len(disk.sum(FLOOR_US, FLOOR_US)) == 1
    [raised] = disk.ask(RaiseFloors(1, ((*OF, FLOOR_US, None), (*OF, FLOOR_US + 1, None)), 0))
    assert raised.floors == (FLOOR_US, FLOOR_US)


def test_hints_that_are_read_are_work_too(disk, monkeypatch):
    monkeypatch.setattr("toystore.core.storage.sums.WORK_MAX", 30)
    for key in KEYS[:10]:
        disk.write(value(key, NEW_US), key, owner="n3")
    disk.sum(FLOOR_US)  # knows by now which leaves have tombstones

    assert len(disk.sum(*[FLOOR_US] * 10)) == 2


# --- raising ----------------------------------------------------------------------------


def test_a_floor_on_which_all_agree_deletes_the_tombstones_below_it(disk):
    disk.store(tombstone(KEYS[0]), tombstone(KEYS[1], NEW_US), value(KEYS[2]))
    disk.changes()

    assert disk.reap() == (FLOOR_US, 1)
    assert list(map(disk.stored, KEYS[:3])) == [None, tombstone(KEYS[1], NEW_US), value(KEYS[2])]
    told = disk.changes()[OF]
    assert (told.floor, told.tombstones) == (FLOOR_US, 1)
    assert disk.write(value(KEYS[5]), KEYS[5]) == (SUPERSEDED, AT_FLOOR)


def test_a_floor_is_not_raised_if_other_tombstones_are_here_by_now(disk):
    disk.store(tombstone(KEYS[0]))
    [(_, _, xor, _)] = disk.sum(FLOOR_US)
    disk.store(tombstone(KEYS[1]))

    assert disk.raise_(xor=xor) == (0, 0)
    assert disk.raise_(xor=xor, epoch=1) == (0, 0)
    assert disk.stored(KEYS[0]) == tombstone(KEYS[0])


def test_a_floor_only_rises(disk):
    disk.store(tombstone())
    assert disk.raise_() == (FLOOR_US, 1)
    disk.store(tombstone(), floor=FLOOR_US)

    assert disk.raise_() == (FLOOR_US, 0)
    assert disk.raise_(FLOOR_US - 1) == (FLOOR_US, 0)
    assert disk.stored() == tombstone()


@pytest.mark.parametrize("agreed", [False, True])
def test_a_floor_that_is_too_late_by_the_own_clock_is_not_raised(disk, agreed):
    disk.store(tombstone(KEYS[0], LATEST_US))
    [(_, _, xor, _)] = disk.sum(LATEST_US + 1, now_us=NOW_US + 1)
    given = xor if agreed else None

    assert disk.raise_(LATEST_US + 1, given) == (0, 0)
    assert disk.raise_(2**63, given) == (0, 0)
    [reply] = disk.ask(RaiseFloors(1, ((*OF, LATEST_US + 1, given),)), now_us=NOW_US + 1)
    assert (reply.floors, reply.deleted) == ((LATEST_US + 1,), 1)


def rot(disk, key, at=-1):
    """One byte of a stored record changes."""
    stored = bytearray(disk.stored(key))
    stored[at] ^= 1
    disk.engine.begin()
    disk.engine.put(RECORD + digest(key), bytes(stored))
    disk.engine.commit()


def status(disk, key):
    [reply] = disk.ask(ReadReplica(1, digest(key), ()))
    return reply.status


@pytest.mark.parametrize("is_found", [False, True])
def test_a_tombstone_that_became_corrupt_after_it_was_summed_is_deleted_with_the_others(
    disk, is_found
):
    disk.store(*map(tombstone, KEYS[:3]), value(KEYS[3]))
    disk.sum(FLOOR_US)
    for key in KEYS[:2]:
        rot(disk, key)
    if is_found:
        assert status(disk, KEYS[0]) == NO_VOTE

    assert disk.raise_() == (FLOOR_US, 3)
    assert {status(disk, key) for key in KEYS[:3]} == {NOT_FOUND}
    assert (disk.machine.sums.rotten, disk.stored(KEYS[3])) == (0, value(KEYS[3]))


@pytest.mark.parametrize(
    "what", ["a value", "its head", "after a restart", "another floor", "not summed"]
)
def test_a_corrupt_record_stays_unless_it_is_proven_to_be_a_tombstone_that_was_summed(disk, what):
    disk.store((value if what == "a value" else tombstone)(KEYS[0]), tombstone(KEYS[1]))
    if what == "not summed":
        rot(disk, KEYS[0])
    disk.sum(FLOOR_US + 1 if what == "another floor" else FLOOR_US)
    if what != "not summed":
        rot(disk, KEYS[0], at=13 if what == "its head" else -1)
    if what == "after a restart":
        disk.start()

    assert disk.raise_() == (FLOOR_US, 1)
    assert status(disk, KEYS[0]) == NO_VOTE
    assert status(disk, KEYS[1]) == NOT_FOUND


def test_a_range_that_is_behind_loses_all_that_it_has_below_the_floor_of_another(disk):
    disk.store(tombstone(KEYS[0]), value(KEYS[1]), value(KEYS[2], NEW_US))
    disk.ask(SettleDisk(False))

    assert disk.raise_(xor=0) == (0, 0)
    assert disk.raise_() == (FLOOR_US, 2)
    assert list(map(disk.stored, KEYS[:3])) == [None, None, value(KEYS[2], NEW_US)]


def test_a_range_becomes_whole_only_if_it_was_filled_at_the_floor_that_it_has(disk):
    disk.ask(SettleDisk(False))
    disk.raise_()

    [too_early] = disk.ask(SetRange(1, *OF, 0, WHOLE))
    [whole] = disk.ask(SetRange(1, *OF, 0, WHOLE, FLOOR_US))
    assert (too_early.state, whole.state) == (BEHIND, WHOLE)


def test_a_range_that_is_not_owned_gets_no_floor(disk):
    assert disk.raise_(of=range_of(FOREIGN)) == (0, 0)


def test_floors_outlast_a_restart_and_an_undone_batch(disk):
    disk.store(tombstone())
    before = disk.content()
    disk.undo(RaiseFloors(1, ((*OF, FLOOR_US, None),), 0))
    assert (disk.content(), disk.write(value(KEYS[3]), KEYS[3])) == (before, (OK, None))

    disk.raise_()
    disk.undo(RaiseFloors(1, ((*OF, FLOOR_US + 5, None),), 0))
    disk.start()
    assert disk.raise_(FLOOR_US - 1) == (FLOOR_US, 0)
    assert disk.store(value()) == (SUPERSEDED,)
    assert disk.store(value(time_us=NEW_US)) == (OK,)


def test_the_sums_follow_what_is_deleted(disk):
    disk.store(*map(tombstone, KEYS[:20]), *map(value, KEYS[20:30]))
    disk.changes()
    disk.raise_()
    told = disk.changes()[OF]
    disk.start()

    [fresh] = [one for one in disk.ask(WatchRanges(1, True))[0].ranges if one[:2] == OF]
    assert (told.tree, told.floor, told.tombstones) == (fresh.tree, FLOOR_US, 0)


def test_a_read_finds_nothing_where_a_tombstone_was_deleted(disk):
    disk.store(tombstone())
    disk.raise_()

    assert disk.ask(ReadReplica(1, digest(KEY), ())) == [(1, NOT_FOUND, None)]


# --- comparing --------------------------------------------------------------------------


def compare(disk, floor, root=b"", *, rebuilding=False):
    [reply] = disk.ask(CompareRanges(1, rebuilding, ((*OF, root),), 0, (floor,)))
    return reply


def test_a_comparison_raises_a_lower_floor_first(disk):
    disk.store(tombstone(KEYS[0]), value(KEYS[1]))
    reply = compare(disk, FLOOR_US)
    [(_, _, tree)] = reply.differing

    assert (reply.floors, reply.unready) == ((FLOOR_US,), ())
    assert disk.stored(KEYS[0]) is None
    assert compare(disk, FLOOR_US, root_of(tree)).differing == ()
    assert disk.changes()[OF].floor == FLOOR_US


def test_a_higher_floor_is_told_and_stays(disk):
    disk.raise_()

    assert compare(disk, FLOOR_US - 1).floors == (FLOOR_US,)
    assert compare(disk, 0).floors == (FLOOR_US,)
    assert disk.ask(CompareRanges(1, False, ((*OF, b""),)))[0].floors == (FLOOR_US,)


def test_without_floors_none_are_told(disk):
    assert compare(disk, 0).floors == ()


def test_a_range_that_is_behind_is_not_raised_by_a_comparison(disk):
    disk.store(tombstone())
    disk.ask(SettleDisk(False))

    asked = compare(disk, FLOOR_US)
    rebuilt = compare(disk, FLOOR_US, rebuilding=True)
    assert (asked.unready, asked.floors) == ((OF,), ())
    assert (rebuilt.unready, len(rebuilt.differing)) == ((), 1)
    assert disk.stored() == tombstone()


@pytest.mark.parametrize("rebuilding", [False, True])
def test_a_range_whose_floor_at_the_asker_is_too_late_is_unready_which_is_logged_once(
    disk, rebuilding
):
    disk.store(tombstone(), value(KEYS[1]))

    for _ in range(2):
        reply = compare(disk, LATEST_US + 2_000_000, rebuilding=rebuilding)
        assert (reply.unready, reply.differing, reply.floors) == ((OF,), (), ())
    assert disk.stored() == tombstone()
    late = [event.fields for event in disk.out.events if event.name == "floor.refused"]
    assert late == [{"member": "n2", "late_s": 2.0}]
    assert compare(disk, LATEST_US).floors == (LATEST_US,)


def test_a_range_for_which_there_is_no_work_left_is_unready(disk, monkeypatch):
    monkeypatch.setattr("toystore.core.storage.sums.WORK_MAX", 0)
    disk.store(tombstone())

    reply = compare(disk, FLOOR_US)
    assert (reply.unready, reply.floors) == ((OF,), ())


def test_floors_that_are_not_those_of_the_ranges_are_refused(disk):
    [reply] = disk.ask(CompareRanges(1, False, ((*OF, b""),), 0, (1, 2)))

    assert reply.text == "2 floors of 1 ranges"


# --- what else is on the disk -----------------------------------------------------------


def test_a_floor_is_deleted_with_the_last_of_its_range(disk):
    disk.store(value())
    disk.raise_()
    record = RANGES.ring.record
    moving = record.next(b"", old=record.members, members=record.members[1:])
    stable = moving.next(b"", old=(), members=record.members[1:])
    disk.ask(OfferRings(1, (moving.packed,)))
    for state in (RETIRED, RELEASED):
        [reply] = disk.ask(SetRange(1, *OF, 1, state))
        assert reply.state == state
    disk.ask(OfferRings(1, (stable.packed,)))
    floors = [key for key in disk.content() if key.startswith(FLOOR)]
    assert len(floors) == 1

    [swept] = disk.ask(SweepRange(1, *OF, 2, 100))
    assert (swept.records, swept.more) == (1, False)
    assert [key for key in disk.content() if key.startswith(FLOOR)] == []
