"""The storage machine, rule by rule, on both engines."""

import random
from itertools import permutations
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_disk import content_of

from toystore.core.data.record import digest_of, pack_record, stamp_of
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.failures import refuse_write
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareStretches,
    FetchRecords,
    ListStretches,
    QuestionFailedReply,
    RaiseFloors,
    ScrubLeaf,
    SetRange,
    StoreRecords,
    StoreRecordsReply,
    SumDead,
    SweepRange,
    WatchRanges,
)
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.disk import (
    AdoptLineage,
    LoadDisks,
    LoadDisksReply,
    SaveDisk,
    SettleDisk,
    StorageStatus,
    StorageStatusReply,
)
from toystore.core.protocol.messages.hints import (
    CountHints,
    CountHintsReply,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    DropHintsReply,
    TakeHints,
)
from toystore.core.protocol.messages.local import LinkLost
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    DescribeMoves,
    FetchPlan,
    FetchRings,
    KeepPlan,
    OfferRings,
    PrepareRing,
    WatchRing,
)
from toystore.core.protocol.routes import ROUTE_OF, WIRE, DiskUse
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.disk_identity import ForeignDataError, identify_disk
from toystore.core.storage.layout import DISK, LAYOUT, LINEAGE, PEER, RECORD
from toystore.core.storage.storage import Storage
from toystore.engines import open_engine

OK, SUPERSEDED, NOT_FOUND, NO_VOTE, REFUSED, INTERNAL, STALE, MOVED = ReplicaStatus
ASKER = Peer("n2", "coordinator")
DIGEST = digest_of("default", b"cart", 3)
PAST = (int.from_bytes(DIGEST, "big") + 1).to_bytes(17, "big")
"""The next digest."""


def record(time_us=1, value=b"v", *, key=b"cart", minter=b"minter-1"):
    return pack_record(pack_stamp(time_us, 0, minter), "default", key, value)


def flipped(data, at=-1):
    """``data`` with one bit turned over."""
    rotten = bytearray(data)
    rotten[at] ^= 1
    return bytes(rotten)


class Disk:
    """A storage machine on an engine, each question in a transaction of its own."""

    def __init__(self, engine, hint_bytes_max=1000):
        self.engine = engine
        self.out = Outbox()
        self.wall_us = 1_000_000
        self.machine = Storage(
            store=engine,
            node="n1",
            ranges=Ranges(fixed_ring([Member("n1")], 8, 1), "n1", [3]),
            copies={"default": 3},
            hint_bytes_max=hint_bytes_max,
            outbox=self.out,
            chance=random.Random(1),
        )

    def feed(self, *messages):
        """The replies to a batch, which stays open."""
        self.engine.begin()
        for message in messages:
            self.machine.receive(message, ASKER, Now(self.wall_us / 1e6, self.wall_us))
        replies = self.out.sends.pop(ASKER, [])
        assert not self.out.sends
        return replies

    def ask(self, *messages):
        """The replies to a batch that is committed."""
        replies = self.feed(*messages)
        self.engine.commit()
        self.machine.on_commit()
        return replies

    def write(self, data, owner=None, digest=DIGEST):
        """The status and stamp that answer a write."""
        ((request, *answer),) = self.ask(WriteReplica(7, digest, data, owner))
        assert request == 7
        return tuple(answer)

    def read(self, *owners):
        """The status and record that answer a read."""
        ((request, *answer),) = self.ask(ReadReplica(8, DIGEST, owners))
        assert request == 8
        return tuple(answer)

    def settle(self, votes=True):
        assert self.ask(SettleDisk(votes)) == []

    def take(self, owner="n3", bytes_max=10**6, after=b""):
        ((told, hints),) = self.ask(TakeHints(owner, bytes_max, after))
        assert told == owner
        return hints

    def counts(self):
        ((counts,),) = self.ask(CountHints())
        return counts

    def events(self):
        """What was logged since this was asked last."""
        events, self.out.events = [*self.out.events], []
        return events

    def plant(self, key, value):
        """Change the store behind the machine's back."""
        self.engine.begin()
        self.engine.put(key, value)
        self.engine.commit()

    def content(self):
        return content_of(self.engine)


@pytest.fixture(params=["memory", "async"])
def engine(request, tmp_path):
    engine = open_engine(request.param, tmp_path / "data")
    yield engine
    engine.close()


@pytest.fixture
def disk(engine):
    return Disk(engine)


# --- writes -----------------------------------------------------------------------------


def test_a_written_record_is_read_back_as_it_was(disk):
    assert disk.write(record()) == (OK, None)

    assert disk.read() == (OK, record())


def test_a_newer_record_replaces_an_older_one(disk):
    disk.write(record(1))

    assert disk.write(record(2)) == (OK, None)

    assert disk.read() == (OK, record(2))


def test_an_older_record_is_superseded_and_told_the_stamp_that_is_held(disk):
    disk.write(record(2))

    assert disk.write(record(1)) == (SUPERSEDED, stamp_of(record(2)))

    assert disk.read() == (OK, record(2))


def test_the_same_record_again_is_acknowledged_without_being_written(disk, monkeypatch):
    disk.write(record())
    monkeypatch.setattr(disk.engine, "put", lambda *_: pytest.fail("was written"))

    assert disk.write(record()) == (OK, None)


@pytest.mark.parametrize("order", [*permutations([b"x", b"y"])])
def test_of_two_records_with_one_stamp_the_higher_bytes_stay(disk, order):
    for value in order:
        assert disk.write(record(1, value)) == (OK, None)

    assert disk.read() == (OK, max(record(1, b"x"), record(1, b"y")))


def test_a_record_that_rotted_on_its_way_is_not_written(disk):
    disk.settle()

    assert disk.write(flipped(record())) == (INTERNAL, None)
    assert disk.write(b"no record", "n3") == (INTERNAL, None)

    assert disk.read("n3") == (NOT_FOUND, None)


@pytest.mark.parametrize(
    "held",
    [b"", b"torn", record(9)[:30], flipped(record(1), 0), flipped(record(9)), flipped(record(), 7)],
    ids=["empty", "torn", "cut", "wrong format", "rotten and newer", "its stamp made newer"],
)
def test_a_corrupt_record_is_logged_and_gives_way_to_a_write(disk, held):
    disk.plant(RECORD + DIGEST, held)

    assert disk.write(record(2)) == (OK, None)

    events = disk.events()
    assert [name for name, _ in events] == ["record.corrupt", "record.replaced"]
    assert [fields["digest"] for _, fields in events] == [DIGEST.hex()] * 2
    assert disk.read() == (OK, record(2))


@pytest.mark.parametrize("owner", [None, "n3"])
@pytest.mark.parametrize("time_us", [1, 2, 3])
def test_a_record_of_another_key_is_never_overwritten(disk, owner, time_us):
    disk.write(record(2, key=b"carp"), owner)

    assert disk.write(record(time_us), owner) == (INTERNAL, None)

    assert disk.read("n3") == (OK, record(2, key=b"carp"))


def test_a_repair_keeps_the_newer_record_and_is_not_answered(disk):
    assert disk.ask(RepairReplica(DIGEST, record(2)), RepairReplica(DIGEST, record(1))) == []

    assert disk.read() == (OK, record(2))


def test_delivered_hints_become_records_with_a_status_each(disk):
    other = digest_of("default", b"other", 3)
    disk.write(record(5))
    hints = ((other, record(1, key=b"other")), (DIGEST, record(4)), (DIGEST, flipped(record(6))))

    replies = disk.ask(DeliverHints(3, hints))

    assert replies == [DeliverHintsReply(3, (OK, SUPERSEDED, INTERNAL))]
    assert disk.content() == {RECORD + DIGEST: record(5), RECORD + other: record(1, key=b"other")}


# --- reads ------------------------------------------------------------------------------


def test_nothing_is_not_found_only_on_a_disk_that_votes(disk):
    assert disk.read() == (NO_VOTE, None)
    disk.settle(votes=True)
    assert disk.read() == (NOT_FOUND, None)
    disk.settle(votes=False)
    assert disk.read() == (NO_VOTE, None)


def test_a_corrupt_record_is_logged_and_does_not_count_as_not_found(disk):
    disk.settle()
    disk.plant(RECORD + DIGEST, flipped(record()))

    assert disk.read() == (NO_VOTE, None)

    assert [event for event, _ in disk.events()] == ["record.corrupt"]


def test_a_fallback_answers_with_the_newest_of_its_record_and_the_hints_asked_for(disk):
    disk.settle()
    disk.write(record(2), "n3")
    disk.write(record(3), "n4")

    assert disk.read() == (NOT_FOUND, None)
    assert disk.read("n3") == (OK, record(2))
    assert disk.read("n3", "n4", "n5") == (OK, record(3))
    disk.write(record(4))
    assert disk.read("n3", "n4") == (OK, record(4))


def test_a_sound_hint_is_served_beside_a_corrupt_record(disk):
    disk.write(record(2), "n3")
    disk.plant(RECORD + DIGEST, flipped(record(3)))

    assert disk.read("n3") == (OK, record(2))


# --- hints ------------------------------------------------------------------------------


def test_a_hint_is_no_record_of_this_node(disk):
    disk.settle()

    assert disk.write(record(), "n3") == (OK, None)

    assert disk.read() == (NOT_FOUND, None)
    assert disk.take("n3") == ((DIGEST, record()),)


def test_a_hint_for_this_node_itself_is_a_record(disk):
    disk.write(record(), "n1")

    assert disk.read() == (OK, record())
    assert disk.counts() == ()


def test_a_hint_is_superseded_by_a_newer_hint_or_record(disk):
    disk.write(record(5), "n3")
    assert disk.write(record(4), "n3") == (SUPERSEDED, stamp_of(record(5)))
    assert disk.write(record(4), "n4") == (OK, None)

    disk.write(record(9))
    assert disk.write(record(8), "n3") == (SUPERSEDED, stamp_of(record(9)))


def test_in_the_place_of_a_superseded_hint_the_newer_record_is_kept_for_the_owner(disk):
    """The newer one may never be acknowledged, and the owner would miss both."""
    disk.write(record(9))

    assert disk.write(record(8), "n3") == (SUPERSEDED, stamp_of(record(9)))

    assert disk.take("n3") == ((DIGEST, record(9)),)


def test_without_room_for_the_newer_record_the_hint_is_refused(engine):
    disk = Disk(engine, hint_bytes_max=len(record()) - 1)
    disk.write(record(9))

    assert disk.write(record(8), "n3") == (REFUSED, None)


def test_a_record_that_is_held_as_well_is_still_kept_as_a_hint(disk):
    disk.write(record())

    assert disk.write(record(), "n3") == (OK, None)

    assert disk.take("n3") == ((DIGEST, record()),)


def test_the_first_hint_for_an_owner_is_logged_and_no_other(disk):
    disk.write(record(1), "n3")
    disk.write(record(2), "n3")
    disk.write(record(1, key=b"b"), "n3", digest_of("default", b"b", 3))

    size = len(record(1))
    assert disk.events() == [("hint.stored", {"owner": "n3", "hints": 1, "bytes": size})]


def put_keys(disk, keys, owner="n3"):
    """Hint a key a second; the hints in that order."""
    hints = []
    for key in keys:
        disk.wall_us += 1_000_000
        hints.append((digest_of("default", key, 3), record(1, key=key)))
        assert disk.write(hints[-1][1], owner, hints[-1][0]) == (OK, None)
    return hints


def test_hints_are_taken_oldest_first_up_to_about_so_many_bytes(disk):
    hints = put_keys(disk, [b"k%d" % number for number in range(9)])
    size = len(hints[0][1])

    assert disk.take() == tuple(hints)
    assert disk.take(bytes_max=3 * size) == tuple(hints[:3])
    assert disk.take(bytes_max=3 * size - 1) == tuple(hints[:2])
    assert disk.take(bytes_max=0) == tuple(hints[:1])
    assert disk.take("n4") == ()


def test_hints_can_be_taken_from_behind_one_that_is_kept(disk):
    hints = put_keys(disk, [b"k%d" % number for number in range(4)])
    digests = [digest for digest, _ in hints]

    assert [disk.take(after=digest) for digest in digests] == [
        tuple(hints[at:]) for at in (1, 2, 3, 4)
    ]
    disk.ask(DropHints("n3", ((digests[1], stamp_of(hints[1][1])),)))
    assert disk.take(after=digests[0]) == tuple(hints[2:])
    for not_kept in (digests[1], b"", b"short", bytes(600)):
        assert disk.take(after=not_kept) == (hints[0], *hints[2:])


def test_owners_whose_names_begin_alike_do_not_share_hints(disk):
    (one,) = put_keys(disk, [b"a"], "n3")
    (other,) = put_keys(disk, [b"b"], "n30")

    assert disk.take("n3") == (one,)
    assert disk.take("n30") == (other,)


def test_a_replaced_hint_keeps_its_place_and_its_age(disk):
    first, second = put_keys(disk, [b"a", b"b"])
    (before,) = disk.counts()
    replacement = (first[0], record(2, b"longer", key=b"a"))
    disk.wall_us += 1_000_000

    disk.write(replacement[1], "n3", replacement[0])

    assert disk.take() == (replacement, second)
    ((owner, count, size, oldest_us),) = disk.counts()
    assert (owner, count, oldest_us) == ("n3", 2, before[3])
    assert size == len(replacement[1]) + len(second[1])


def test_a_dropped_hint_leaves_nothing_behind(disk):
    hints = put_keys(disk, [b"a", b"b"])
    delivered = tuple((digest, stamp_of(data)) for digest, data in hints)

    assert disk.ask(DropHints("n3", delivered[:1])) == [DropHintsReply("n3", 1, 1)]
    assert disk.ask(DropHints("n3", delivered)) == [DropHintsReply("n3", 1, 0)]

    assert disk.content() == {}


def test_a_hint_that_was_replaced_meanwhile_is_not_dropped(disk):
    disk.write(record(1), "n3")
    disk.take()
    disk.write(record(2), "n3")

    replies = disk.ask(DropHints("n3", ((DIGEST, stamp_of(record(1))),)))

    assert replies == [DropHintsReply("n3", 0, 1)]
    assert disk.take() == ((DIGEST, record(2)),)


def test_hints_are_counted_by_owner(disk):
    three = put_keys(disk, [b"a", b"b"], "n3")
    put_keys(disk, [b"a"], "n4")

    assert disk.counts() == (
        ("n3", 2, len(three[0][1]) + len(three[1][1]), 2_000_000),
        ("n4", 1, len(three[0][1]), 4_000_000),
    )
    assert disk.ask(CountHints()) == [CountHintsReply(disk.counts())]


@pytest.mark.parametrize("at", [-1, 0, 7], ids=["record", "time, first byte", "time, last byte"])
def test_a_rotten_hint_costs_only_itself(disk, at):
    first, second, third = put_keys(disk, [b"a", b"b", b"c"])
    key = b"Hn3\0" + second[0]
    disk.plant(key, flipped(disk.content()[key], at))
    disk.events()
    left = (first, third) if at == -1 else (first, second, third)

    assert disk.take() == left

    assert [event for event, _ in disk.events()] == ["record.corrupt"][: 3 - len(left)]
    assert disk.counts()[0][1] == len(left)
    drop = tuple((digest, stamp_of(data)) for digest, data in left)
    assert disk.ask(DropHints("n3", drop)) == [DropHintsReply("n3", len(left), 0)]
    assert disk.take() == ()
    assert disk.content() == {}


def test_a_hint_cut_to_nothing_gives_way_to_a_write(disk):
    disk.write(record(1), "n3")
    disk.plant(b"Hn3\0" + DIGEST, b"")

    assert disk.write(record(2), "n3") == (OK, None)

    assert disk.read("n3") == (OK, record(2))


def test_hints_past_their_bytes_are_refused_and_those_kept_are_untouched(engine):
    size = len(record())
    disk = Disk(engine, hint_bytes_max=2 * size)
    a, b = put_keys(disk, [b"aaaa"], "n3") + put_keys(disk, [b"bbbb"], "n4")
    disk.events()

    assert disk.write(record(), "n3") == (REFUSED, None)
    assert disk.write(record(), "n5") == (REFUSED, None)
    assert disk.write(record()) == (OK, None)

    assert disk.take("n3") == (a,)
    assert disk.take("n4") == (b,)
    # A refusal is logged once, until there is room again.
    refused = ("hint.refused", {"owner": "n3", "hints": 2, "bytes": 2 * size})
    assert disk.events() == [refused]
    disk.ask(DropHints("n3", ((a[0], stamp_of(a[1])),)))
    assert disk.write(record(), "n3") == (OK, None)
    assert disk.write(record(), "n5") == (REFUSED, None)
    assert [event for event, _ in disk.events()] == ["hint.stored", "hint.refused"]


def test_a_hint_that_is_kept_already_is_acknowledged_at_the_bound(engine):
    disk = Disk(engine, hint_bytes_max=len(record()))
    disk.write(record(), "n3")

    assert disk.write(record(), "n3") == (OK, None)


def rot_nothing(disk):
    """For comparison."""


def rot_the_total(disk):
    disk.plant(b"tn3", b"three")


def rot_the_total_downwards(disk):
    disk.plant(b"tn3", bytes(7) + b"\x01" + bytes(8))


def rot_the_total_to_none_of_many_bytes(disk):
    disk.plant(b"tn3", bytes(8) + b"\xff" * 8)


def rot_the_total_to_its_end(disk):
    disk.plant(b"tn3", b"\xff" * 16)


def rot_the_queue(disk):
    disk.engine.begin()
    for place, _ in list(disk.engine.scan(b"Qn3\0"))[:2]:
        disk.engine.delete(place)
        disk.engine.put(place[:1] + b"x" + place[2:], b"")
    disk.engine.commit()


def rot_a_time(disk):
    disk.engine.begin()
    key, hint = next(disk.engine.scan(b"Hn3\0"))
    disk.engine.put(key, flipped(hint, 0))
    disk.engine.commit()


@pytest.mark.parametrize(
    "rot",
    [
        rot_nothing,
        rot_the_total,
        rot_the_total_downwards,
        rot_the_total_to_none_of_many_bytes,
        rot_the_total_to_its_end,
        rot_the_queue,
        rot_a_time,
    ],
)
def test_whatever_rots_around_them_sound_hints_are_handed_off_and_then_none_is_counted(disk, rot):
    hints = put_keys(disk, [b"a", b"b", b"c"])
    rot(disk)
    assert [owner for owner, *_ in disk.counts()] == ["n3"]

    delivered = []
    while batch := disk.take(bytes_max=0):
        delivered += batch
        disk.ask(DropHints("n3", tuple((digest, stamp_of(data)) for digest, data in batch)))

    assert sorted(delivered) == sorted(hints)
    assert disk.counts() == ()


def test_the_total_of_an_owner_whose_name_rotted_is_told_to_nobody(disk):
    (hint,) = put_keys(disk, [b"a"])
    disk.plant(b"t\xff", bytes(16))

    assert [(owner, count) for owner, count, *_ in disk.counts()] == [("n3", 1)]
    assert disk.take() == (hint,)


@pytest.mark.parametrize("name", ["x" * 600, "", "n3\0"], ids=["long", "empty", "NUL"])
def test_a_name_that_no_key_has_room_for_is_nobodys(disk, name):
    (hint,) = put_keys(disk, [b"a"])

    assert disk.write(record(), name) == (INTERNAL, None)
    assert disk.take(name) == ()
    assert disk.ask(SaveDisk(name, "aa"), LoadDisks()) == [LoadDisksReply("", False, False, ())]
    assert disk.take() == (hint,)


@pytest.mark.parametrize("size", [0, 16, 18, 600])
@pytest.mark.parametrize("owner", [None, "n3"], ids=["record", "hint"])
def test_what_is_no_digest_is_not_written_under(disk, owner, size):
    assert disk.write(record(), owner, bytes(size)) == (INTERNAL, None)
    assert not disk.content()


# --- the disk ---------------------------------------------------------------------------

FACTS = {
    "cluster": "toys",
    "node": "n1",
    "members_digest": b"\x01\x02",
    "digest": b"digest of 16 b..",
}


def test_disks_are_remembered(disk):
    disk.engine.begin()
    own = identify_disk(disk.engine, **FACTS, chance=random.Random(1)).disk
    disk.engine.commit()
    assert disk.ask(LoadDisks()) == [LoadDisksReply(own, False, False, ())]

    assert disk.ask(SaveDisk("n2", "aa"), SaveDisk("n3", "bb"), SaveDisk("n2", "cc")) == []
    disk.settle(votes=False)

    known = (("n2", "cc"), ("n3", "bb"))
    assert disk.ask(LoadDisks()) == [LoadDisksReply(own, True, True, known)]


def test_what_has_rotted_of_a_disks_facts_is_told_as_far_as_it_can_be_read(disk):
    disk.plant(DISK, b"\xff")
    disk.plant(PEER + b"\xff", b"\xff")

    assert disk.ask(LoadDisks()) == [
        LoadDisksReply("\ufffd", False, False, (("\ufffd", "\ufffd"),))
    ]


def test_the_status_tells_of_the_disk_and_the_hints(disk):
    disk.settle()
    disk.write(record())
    (hint,) = put_keys(disk, [b"a"])
    disk.wall_us += 2_500_000

    assert disk.ask(StorageStatus(4)) == [
        StorageStatusReply(
            4,
            {
                "disk": "",
                "votes": True,
                "ranges": 8,
                "ranges_behind": 0,
                "rotten": 0,
                "keys": 1,
                "disk_bytes": ANY,
                "hints": {"n3": {"count": 1, "bytes": len(hint[1]), "oldest_age_s": 2.5}},
                "hint_bytes_max": 1000,
            },
        )
    ]


def test_news_of_others_is_nothing_to_a_disk(disk):
    assert disk.ask(LinkLost("n2")) == []
    assert disk.machine.next_deadline() is None


def test_an_empty_disk_is_given_an_identity_once(disk):
    disk.engine.begin()
    first = identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    again = identify_disk(disk.engine, **FACTS, chance=random.Random(2))

    assert first == again
    assert len(bytes.fromhex(first.disk)) == 16


def test_a_disk_keeps_the_lineage_of_its_founding_when_addresses_change(disk):
    disk.engine.begin()
    founded = identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    moved = identify_disk(
        disk.engine, **{**FACTS, "digest": b"another digest.."}, chance=random.Random(1)
    )

    assert founded.lineage == moved.lineage == FACTS["digest"]


def test_a_disk_without_a_lineage_begins_with_the_present_digest(disk):
    disk.engine.begin()
    identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    disk.engine.delete(LINEAGE)

    again = identify_disk(
        disk.engine, **{**FACTS, "digest": b"another digest.."}, chance=random.Random(1)
    )

    assert again.lineage == disk.engine.get(LINEAGE) == b"another digest.."


def test_a_disk_adopts_an_older_lineage_for_its_next_start(disk):
    disk.engine.begin()
    identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    disk.engine.commit()

    assert disk.ask(AdoptLineage(b"an older digest.")) == []

    disk.engine.begin()
    again = identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    assert again.lineage == b"an older digest."


def test_a_disk_whose_lineage_rotted_is_refused(disk):
    disk.engine.begin()
    identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    disk.engine.put(LINEAGE, b"")

    with pytest.raises(ForeignDataError, match="the folder's lineage has rotted"):
        identify_disk(disk.engine, **FACTS, chance=random.Random(1))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            {"cluster": "bricks"},
            "belongs to node n1 of cluster 'toys'; give n1 of cluster 'bricks'",
        ),
        ({"node": "n2"}, "belongs to node n1 of cluster 'toys'; give n2 of cluster 'toys'"),
        ({"members_digest": b"\x03"}, r"\(03\) is not the one on disk \(0102\).*restore"),
    ],
)
def test_a_disk_of_another_is_refused(disk, other, says):
    disk.engine.begin()
    identify_disk(disk.engine, **FACTS, chance=random.Random(1))

    with pytest.raises(ForeignDataError, match=says):
        identify_disk(disk.engine, **{**FACTS, **other}, chance=random.Random(1))


def test_a_disk_of_another_layout_is_refused(disk):
    disk.engine.begin()
    identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    disk.engine.put(LAYOUT, b"3")

    with pytest.raises(ForeignDataError, match="is of layout 3, and this toystore reads layout 2"):
        identify_disk(disk.engine, **FACTS, chance=random.Random(1))


def test_a_disk_whose_id_rotted_is_refused(disk):
    disk.engine.begin()
    identify_disk(disk.engine, **FACTS, chance=random.Random(1))
    disk.engine.put(DISK, b"\xff")

    with pytest.raises(ForeignDataError, match="the folder's own id has rotted"):
        identify_disk(disk.engine, **FACTS, chance=random.Random(1))


def test_data_that_no_toystore_wrote_is_refused_and_left_as_it_was(disk):
    disk.plant(b"somebody's", b"data")
    disk.engine.begin()

    with pytest.raises(ForeignDataError, match="no toystore wrote"):
        identify_disk(disk.engine, **FACTS, chance=random.Random(1))

    disk.engine.commit()
    assert disk.content() == {b"somebody's": b"data"}


# --- batches ----------------------------------------------------------------------------


def every_kind_of_message():
    other = digest_of("default", b"other", 3)
    stamp = stamp_of(record(2))
    return [
        WriteReplica(1, DIGEST, record(1), None),
        WriteReplica(2, DIGEST, record(2), "n3"),
        WriteReplica(3, DIGEST, record(3), "n3"),
        WriteReplica(4, DIGEST, record(2), "n4"),
        WriteReplica(5, other, record(1, bytes(2000), key=b"other"), "n4"),
        DeliverHints(6, ((other, record(1, key=b"other")),)),
        RepairReplica(DIGEST, record(5)),
        ReadReplica(7, DIGEST, ("n3",)),
        TakeHints("n3", 1000),
        DropHints("n4", ((DIGEST, stamp),)),
        SaveDisk("n2", "aa"),
        SettleDisk(True),
        AdoptLineage(bytes(16)),
        LoadDisks(),
        CountHints(),
        StorageStatus(8),
        StoreRecords(9, 3, (record(6),)),
        FetchRecords(11, 3, DIGEST[1:], 1000),
        ListStretches(12, ((DIGEST, PAST),), 100, 2**63),
        CompareStretches(13, ((DIGEST, PAST, b""),), 2**63, 1000),
        CompareRanges(14, False, ((3, 0, bytes(8)),)),
        ScrubLeaf(15, 3, 0),
        WatchRanges(16, True),
        FetchRings(17, 0),
        OfferRings(18, ()),
        WatchRing(19, 0, 0),
        PrepareRing(20, 1, b"", 1, "n2/1"),
        AcceptRing(21, 1, b"", 1, "n2/1", b""),
        KeepPlan(22, b"{}"),
        FetchPlan(23),
        DescribeMoves(24, 0),
        SetRange(25, 3, 0, 0, 2),
        SweepRange(26, 3, 0, 0, 100),
        SumDead(27, 0, True, ((3, 0, 1),)),
        RaiseFloors(28, ((3, 0, 1, None),)),
    ]


def test_a_batch_that_was_aborted_and_is_fed_again_ends_the_same(disk):
    put_keys(disk, [b"a", b"b"])
    disk.events()
    before = disk.content()
    batch = every_kind_of_message()
    first = disk.feed(*batch), disk.events()
    disk.engine.abort()
    disk.machine.on_abort()
    assert disk.content() == before

    again = disk.ask(*batch), disk.events()

    assert again == first
    assert disk.content() != before


def test_whatever_is_not_among_the_writes_writes_nothing(disk, monkeypatch):
    put_keys(disk, [b"a", b"b"])
    disk.settle()
    disk.plant(RECORD + DIGEST, flipped(record()))
    for verb in ("put", "delete"):
        monkeypatch.setattr(disk.engine, verb, lambda *_: pytest.fail("wrote"))
    every = every_kind_of_message()
    reads = [message for message in every if ROUTE_OF[type(message)].disk is DiskUse.READS]
    assert {route.type for route in WIRE if route.to == "storage"} == set(map(type, every))

    answered = [message for message in reads if type(message) is not WatchRing]
    assert len(disk.ask(*reads)) == len(answered)


def test_a_write_without_room_is_refused_and_the_others_are_not_answered():
    answers = {message: refuse_write(message) for message in every_kind_of_message()}

    assert list(filter(None, answers.values())) == [
        *(WriteReplicaReply(request, REFUSED, None) for request in range(1, 6)),
        DeliverHintsReply(6, (REFUSED,)),
        StoreRecordsReply(9, (REFUSED,)),
        *(
            QuestionFailedReply(request, "the disk is full")
            for request in (14, 18, 20, 21, 22, 25, 26, 27, 28)
        ),
    ]


records = st.builds(
    record,
    st.integers(1, 3),
    st.sampled_from([b"", b"x", b"y"]),
    key=st.sampled_from([b"a", b"b"]),
    minter=st.sampled_from([b"minter-1", b"minter-2"]),
)
ways = st.sampled_from(["write", "repair", "deliver", "hint"])


def feed_all(writes):
    disk = Disk(open_engine("memory", None))
    for data, way in writes:
        digest = digest_of("default", data[49:50], 3)
        match way:
            case "write":
                disk.ask(WriteReplica(1, digest, data, None))
            case "repair":
                disk.ask(RepairReplica(digest, data))
            case "deliver":
                disk.ask(DeliverHints(1, ((digest, data),)))
            case "hint":
                disk.ask(WriteReplica(1, digest, data, "n3"))
    return disk


@given(st.lists(st.tuples(records, ways.filter(lambda way: way != "hint"))), st.randoms())
def test_any_order_of_the_same_writes_ends_in_the_same_store(writes, chance):
    shuffled = chance.sample(writes, len(writes))

    content = feed_all(writes).content()

    assert feed_all(shuffled).content() == content
    assert feed_all(writes + shuffled).content() == content
    newest = {}
    for data, _ in writes:
        key = RECORD + digest_of("default", data[49:50], 3)
        newest[key] = max(newest.get(key, b""), data, key=lambda one: (one[6:26], one))
    assert content == newest


@given(st.lists(st.tuples(records, ways)))
def test_totals_are_those_of_the_hints_that_are_there(writes):
    disk = feed_all(writes)

    hints = disk.take()
    sizes = [len(data) for _, data in hints]
    assert disk.counts() == ((("n3", len(sizes), sum(sizes), 1_000_000),) if sizes else ())
    disk.ask(DropHints("n3", tuple((digest, stamp_of(data)) for digest, data in hints)))
    assert [key for key in disk.content() if key[:1] != RECORD] == []
