"""Storage votes on ring records, keeps those that are decided, and tells its watcher."""

import dataclasses

import pytest

from tests.core.storage_disk import Disk
from toystore.core.protocol.messages.disk import AdoptLineage, SettleDisk
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    AcceptRingReply,
    FetchPlan,
    FetchPlanReply,
    FetchRings,
    FetchRingsReply,
    KeepPlan,
    KeepPlanReply,
    OfferRings,
    OfferRingsReply,
    PrepareRing,
    PrepareRingReply,
    WatchRing,
    WatchRingReply,
)
from toystore.core.ring.record import RingRecord
from toystore.core.storage.layout import DISK, PEER, VOTE

LINEAGE = b"L" * 16
OWN = "d1" * 16
OTHER = "d9" * 16


class Voter(Disk):
    """Node n1 of two, on the disk `OWN`."""

    def __init__(self):
        super().__init__(("n1", "n2"))
        self.engine.put(DISK, OWN.encode())
        self.ask(AdoptLineage(LINEAGE))
        self.founding = self.ranges.ring.record

    def ask_one(self, message):
        [reply] = self.ask(message)
        return reply

    def prepare(self, counter, proposer="n2/1", after=None):
        after = after or self.founding
        parent = after.child_parent(LINEAGE)
        message = PrepareRing(7, after.epoch + 1, parent, counter, proposer)
        reply = self.ask_one(message)
        assert isinstance(reply, PrepareRingReply)
        return reply

    def accept(self, counter, record, proposer="n2/1"):
        message = AcceptRing(8, record.epoch, record.parent, counter, proposer, record.packed)
        reply = self.ask_one(message)
        assert isinstance(reply, AcceptRingReply)
        return reply

    def adopt(self, *records):
        reply = self.ask_one(OfferRings(9, tuple(record.packed for record in records)))
        assert isinstance(reply, OfferRingsReply)
        return reply


@pytest.fixture
def voter():
    disk = Voter()
    disk.ask(SettleDisk(True))
    return disk


def next_after(record, why, **changes) -> RingRecord:
    return record.next(LINEAGE, why=why, **changes)


def on_disk(record, disk):
    """The members of ``record``, n1 with this disk."""
    return {
        "members": tuple(
            one._replace(disk=disk) if one.name == "n1" else one for one in record.members
        )
    }


def test_it_promises_a_ballot_and_then_no_lower_one(voter):
    assert (voter.prepare(2).promised, voter.prepare(2).promised_to) == (2, "n2/1")

    lower, higher = voter.prepare(1, "n9/1"), voter.prepare(2, "n9/1")

    assert (lower.promised, lower.promised_to) == (2, "n2/1")
    assert (higher.promised, higher.promised_to) == (2, "n9/1")
    assert lower.reason == higher.reason == ""


def test_it_accepts_unless_it_has_promised_a_higher_ballot_and_reports_what_it_accepted(voter):
    first, second = next_after(voter.founding, "first"), next_after(voter.founding, "second")
    voter.prepare(2)

    assert voter.accept(1, first).promised == 2
    assert voter.prepare(2).record == b""
    assert voter.accept(2, first).promised == 2
    reply = voter.prepare(5)
    assert (reply.accepted, reply.accepted_from, reply.record) == (2, "n2/1", first.packed)
    assert voter.accept(4, second).promised == 5
    assert voter.accept(6, second).promised == 6
    assert voter.prepare(7).record == second.packed


def test_a_vote_survives_a_restart_and_an_aborted_one_was_never_given(voter):
    record = next_after(voter.founding, "join n3")
    voter.accept(3, record)
    voter.engine.begin()
    voter.feed(AcceptRing(8, 1, LINEAGE, 9, "n2/1", record.packed))
    voter.abort()
    reborn = Voter()
    reborn.engine, before = voter.engine, reborn.engine
    reborn.machine = type(voter.machine)(
        store=voter.engine,
        node="n1",
        ranges=voter.ranges,
        copies={"default": 3},
        hint_bytes_max=1,
        outbox=reborn.out,
        chance=None,
    )

    reply = reborn.prepare(4)

    assert (reply.accepted, reply.record) == (3, record.packed)
    assert before is not voter.engine


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "0.0.0.0", "ports": (7400, 7401, 7402, 7403)},
        {"ports": (7400, 7401, 7402, 99999)},
        {"name": "../n2"},
        {"name": "n1"},
        {"weight": 0},
        {"zone": 7},
    ],
    ids=repr,
)
def test_a_record_that_no_node_could_follow_is_neither_accepted_nor_adopted(voter, fields):
    n1, n2 = voter.founding.members
    bad = next_after(voter.founding, "readdress n2", members=(n1, n2._replace(**fields)))

    accepted, adopted = voter.accept(1, bad), voter.adopt(bad)

    assert "not a ring record" in accepted.reason
    assert "not a ring record" in adopted.reason
    assert (voter.prepare(2).record, adopted.epoch) == (b"", 0)


def test_it_votes_on_the_epoch_after_its_newest_only_and_sends_what_the_asker_lacks(voter):
    first = next_after(voter.founding, "first")
    second = next_after(first, "second")
    voter.adopt(first, second)

    late, early = voter.prepare(1), voter.prepare(1, after=next_after(second, "third"))

    assert late.newer == (first.packed, second.packed)
    assert (late.reason, late.promised, late.epoch) == ("epoch 1 is decided", 0, 2)
    assert (early.reason, early.newer, early.epoch) == ("its newest epoch is 2", (), 2)
    assert voter.accept(1, next_after(first, "another")).reason == "epoch 2 is decided"


def test_it_does_not_vote_on_the_child_of_another_record(voter):
    voter.adopt(next_after(voter.founding, "first"))
    forked = next_after(voter.founding, "other")

    assert voter.prepare(1, after=forked).reason == "it has another record of epoch 1"
    assert voter.accept(1, next_after(forked, "child")).reason == "it has another record of epoch 1"


def test_it_accepts_no_record_that_does_not_follow(voter):
    child = next_after(voter.founding, "child")
    stranger = dataclasses.replace(child, lineage=b"X" * 16)

    assert voter.accept(1, stranger).reason == "the record does not follow epoch 0"
    assert "not a ring record" in voter.ask_one(AcceptRing(8, 1, LINEAGE, 1, "n2/1", b"{")).reason
    assert voter.engine.get(VOTE) is None


def test_at_the_founding_a_disk_votes_only_if_it_was_not_replaced():
    voter = Voter()
    assert "not confirmed" in voter.prepare(1).reason

    voter.ask(SettleDisk(False))
    assert "being rebuilt" in voter.prepare(1).reason

    voter = Voter()
    voter.ask(SettleDisk(True))
    assert voter.prepare(1).reason == ""


def test_later_only_the_disk_votes_that_the_record_lists(voter):
    listed = next_after(voter.founding, "listed", **on_disk(voter.founding, OWN))
    voter.adopt(listed)
    assert voter.prepare(1, after=listed).reason == ""

    other = next_after(listed, "other", **on_disk(voter.founding, OTHER))
    voter.adopt(other)
    reply = voter.prepare(1, after=other)

    assert (reply.reason, reply.disk) == ("its disk is not the one that epoch 2 lists", OWN)


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_node_that_is_no_member_or_is_lost_does_not_vote(voter, is_lost):
    changes = {"lost": ("n1",)} if is_lost else {"members": voter.founding.members[1:]}
    without = next_after(voter.founding, "without n1", **changes)
    voter.adopt(without)

    assert voter.prepare(1, after=without).reason == "it is no voter of epoch 1"


def test_while_ranges_move_the_old_members_vote(voter):
    joining = next_after(
        voter.founding, "leave n1", old=voter.founding.members, members=voter.founding.members[1:]
    )
    voter.adopt(joining)

    assert voter.prepare(1, after=joining).reason == ""


def test_a_vote_that_has_rotted_is_not_one_that_was_never_given(voter):
    voter.prepare(1)
    stored = voter.engine.get(VOTE)
    voter.engine.put(VOTE, stored[:-2] + bytes([stored[-2] ^ 1]) + stored[-1:])

    assert "rotted" in voter.prepare(9).reason
    record = next_after(voter.founding, "decided without it")
    voter.adopt(record)
    assert voter.prepare(1, after=record).reason == ""


def test_a_new_lineage_is_adopted_only_with_the_record_that_begins_it(voter):
    split = next_after(voter.founding, "without n2").split_off()
    forged = dataclasses.replace(split, lineage=b"X" * 16)

    assert voter.adopt(forged).reason
    assert voter.adopt(split).epoch == 1
    assert voter.adopt(split.next(split.lineage, why="next")).epoch == 2
    assert voter.adopt(split.next(LINEAGE, why="of the others")).epoch == 2
    assert split.lineage not in (LINEAGE, b"")


def test_the_watcher_is_told_of_a_vote_that_waits_and_of_its_end(voter):
    record = next_after(voter.founding, "join n3")
    assert voter.ask(WatchRing(1, 0, 0)) == []

    voter.engine.begin()
    accepted = voter.feed(AcceptRing(8, 1, LINEAGE, 1, "n2/1", record.packed))
    voter.commit()
    assert [type(reply) for reply in accepted] == [AcceptRingReply]
    assert voter.replies() == [WatchRingReply(1, (), 0)]
    assert voter.ask(WatchRing(2, 0, 0)) == [WatchRingReply(2, (), 1)]
    assert voter.ask(WatchRing(3, 0, 1)) == []

    *_, woken = voter.ask(OfferRings(9, (record.packed,)))
    assert woken == WatchRingReply(3, (), 0)
    assert voter.ask(WatchRing(4, 0, 1)) == [WatchRingReply(4, (record.packed,), 0)]
    assert voter.ask(WatchRing(5, 1, 0)) == []


def test_a_watcher_is_not_told_of_what_was_aborted_and_asks_the_next_machine(voter):
    record = next_after(voter.founding, "join n3")
    voter.ask(WatchRing(1, 0, 0))
    voter.engine.begin()
    voter.feed(OfferRings(9, (record.packed,)))
    voter.abort()

    assert voter.ask(FetchRings(2, 0)) == [FetchRingsReply(2, ())]
    voter.machine.on_failure(None)
    assert voter.replies() == [WatchRingReply(1, (), 0)]


def test_one_plan_is_kept(voter):
    assert voter.ask(FetchPlan(1)) == [FetchPlanReply(1, b"")]
    assert voter.ask(KeepPlan(2, b"one"), KeepPlan(3, b"two")) == [
        KeepPlanReply(2),
        KeepPlanReply(3),
    ]
    assert voter.ask(FetchPlan(4)) == [FetchPlanReply(4, b"two")]


def on_other_disks(record, **disks):
    """The next record, in which some members have another disk."""
    members = tuple(one._replace(disk=disks.get(one.name, one.disk)) for one in record.members)
    return record.next(LINEAGE, members=members, why="reseat")


def test_a_disk_that_is_new_follows_records_of_disks_that_were_replaced_since(voter):
    first = on_other_disks(voter.founding, n1="d2" * 16, n2="d3" * 16)
    second = on_other_disks(first, n1=OWN, n2=OTHER)
    voter.engine.put(PEER + b"n2", OTHER.encode())

    assert voter.adopt(first).reason == "its records list other disks than this node knows"
    assert voter.adopt(first, second) == OfferRingsReply(9, 2, second.digest, "")
