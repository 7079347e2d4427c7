"""The storage actor: what becomes of a batch when the disk, or the machine, fails in it."""

from __future__ import annotations

import threading
import time

import pytest
from shell_scene import OtherActor, Supervised, config, surroundings

from actors.actor import Command
from actors.storage import StorageActor
from actors.surroundings import inproc
from tests.harness.logs import logged
from tests.harness.waiting import wait_until
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import ANTIENTROPY, COORDINATOR, HANDOFF, STORAGE, Peer
from toystore.core.protocol.machine import Event
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareRangesReply,
    WatchRanges,
)
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.hints import DeliverHints, DeliverHintsReply
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.protocol.turn import RESTARTS_MAX
from toystore.core.storage.disk_identity import identify_disk
from toystore.core.storage.layout import RECORD
from toystore.core.storage.storage import Storage
from toystore.core.storage.store import StoreFullError
from toystore.engines import EngineError, MapFullError, group_commit
from toystore.engines.group_commit import BACKGROUND_ALONE, BACKGROUND_BESIDE_FOREGROUND
from toystore.engines.memory import MemoryEngine

OK, REFUSED, INTERNAL = ReplicaStatus.OK, ReplicaStatus.REFUSED, ReplicaStatus.INTERNAL


class FaultyEngine(MemoryEngine):
    """Memory that fails where a test says, and remembers each transaction that it kept."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: list[list[bytes]] = []
        self.grown = 0
        self.puts_max: int | None = None
        """How many puts one transaction takes before the map is full."""
        self.full = False
        self.full_at_commit = False
        self.cannot_grow = False
        self.broken = False
        self.may_begin = threading.Event()
        self.may_begin.set()
        self._puts: list[bytes] = []

    def begin(self) -> None:
        assert self.may_begin.wait(10)
        super().begin()
        self._puts = []

    def put(self, key: bytes, value: bytes) -> None:
        if self.broken:
            raise EngineError("the disk has gone")
        if self.full:
            raise StoreFullError("no room")
        if self.puts_max is not None and len(self._puts) >= self.puts_max:
            raise MapFullError("the map is full")
        super().put(key, value)
        self._puts.append(key)

    def commit(self) -> None:
        if self._puts and self.full_at_commit:
            raise StoreFullError("no room")
        super().commit()
        self.committed.append(self._puts)

    def grow(self) -> int:
        if self.cannot_grow:
            raise StoreFullError("no room to grow")
        assert self.puts_max is not None
        self.grown += 1
        self.puts_max *= 2
        return self.puts_max

    @property
    def records(self) -> set[bytes]:
        """The digests of the records that are kept."""
        return {key[1:] for key in self._kinds[RECORD].values} if RECORD in self._kinds else set()


class Delicate(Storage):
    """Fails over a read of the digest b"poison"."""

    def receive(self, message, sender, now):
        if POISON in message[:2]:
            raise RuntimeError("swallowed it")
        super().receive(message, sender, now)


class DelicateActor(StorageActor):
    def make_machine(self, outbox):
        return Delicate(
            store=self.engine,
            node="n1",
            ranges=self.surroundings.blueprint.ranges,
            copies={"default": 3},
            hint_bytes_max=10**9,
            outbox=outbox,
            chance=self.surroundings.chance(),
        )


POISON = b"poison"


def a_record(number: int) -> tuple[bytes, bytes]:
    """A digest and its record."""
    key = b"key %d" % number
    stamp = pack_stamp(1_000_000, number, b"minter__")
    return digest_of("default", key, 3), pack_record(stamp, "default", key, b"value")


def write(number: int) -> WriteReplica:
    return WriteReplica(number, *a_record(number), None)


def read(number: int, of: int) -> ReadReplica:
    return ReadReplica(number, a_record(of)[0], ())


def repair(number: int) -> RepairReplica:
    return RepairReplica(*a_record(number))


def statuses(replies) -> dict[int, int]:
    return {reply.request: reply.status for reply in replies}


@pytest.fixture
def around(context, log_path):
    return surroundings(config("n1"), "n1", context)


@pytest.fixture
def engine(around):
    made = FaultyEngine()
    made.begin()
    identify_disk(
        made,
        cluster="shell",
        node="n1",
        members_digest=around.config.members_digest(),
        digest=around.config.digest(),
        chance=around.chance(),
    )
    made.commit()
    made.committed.clear()
    return made


@pytest.fixture
def storage(around, engine):
    with Supervised(DelicateActor(around, engine)) as stage:
        yield stage


@pytest.fixture
def asker(around, storage):
    return OtherActor(around, Peer("n1", COORDINATOR), inproc(STORAGE))


# --- group commit -----------------------------------------------------------------------


def test_a_drained_batch_is_one_transaction_and_its_answers_one_frame(asker, engine):
    asker.send(*map(write, range(50)))

    replies = asker.frame()

    assert statuses(replies) == dict.fromkeys(range(50), OK)
    assert [len(puts) for puts in engine.committed] == [50]


def test_frames_of_several_askers_share_a_transaction(around, asker, engine):
    other = OtherActor(around, Peer("n2", COORDINATOR), inproc(STORAGE))
    engine.may_begin.clear()
    asker.send(write(0))  # holds storage up, while the others arrive
    wait_until(lambda: asker.socket.poll(0) == 0)
    for number in range(1, 4):
        asker.send(write(number))
        other.send(write(number + 10))
    engine.may_begin.set()

    assert set(statuses(asker.take(4))) == {0, 1, 2, 3}
    assert set(statuses(other.take(3))) == {11, 12, 13}
    assert len(engine.committed) <= 2


def test_nothing_is_answered_before_it_is_committed(asker, engine):
    engine.may_begin.clear()
    asker.send(write(1))
    early = asker.socket.poll(50)
    engine.may_begin.set()

    assert not early
    assert statuses(asker.take(1)) == {1: OK}


# --- the map is full --------------------------------------------------------------------


def test_a_full_map_grows_and_the_batch_is_fed_again_without_a_double_answer(
    asker, engine, log_path
):
    engine.puts_max = 10
    asker.send(*map(write, range(35)), read(100, of=3))

    replies = asker.frame()

    assert [reply.request for reply in replies] == [*range(35), 100]
    assert set(statuses(replies).values()) == {OK}
    assert [len(puts) for puts in engine.committed] == [35]
    wait_until(lambda: len(logged(log_path, "disk.grown")) == 2)
    assert [line["bytes"] for line in logged(log_path, "disk.grown")] == [20, 40]


def test_a_full_map_that_cannot_grow_refuses_writes_and_answers_reads(storage, asker, engine):
    asker.send(write(1))
    asker.take(1)
    engine.puts_max, engine.cannot_grow = 0, True
    asker.send(write(2), read(3, of=1))
    wait_until(lambda: asker.socket.poll(0) or not storage.actor.is_alive())

    assert storage.actor.is_alive(), storage.report()
    assert statuses(asker.take(2)) == {2: REFUSED, 3: OK}


# --- the disk is full -------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["full", "full_at_commit"])
def test_a_full_disk_refuses_writes_and_answers_reads(asker, engine, log_path, fault):
    asker.send(write(1))
    asker.take(1)
    setattr(engine, fault, True)

    asker.send(write(2), read(3, of=1), DeliverHints(4, (a_record(5), a_record(6))), read(7, of=2))
    replies = {type(reply): reply for reply in asker.take(4) if type(reply) is not ReadReplicaReply}
    asker.send(write(8))
    [later] = asker.take(1)

    assert replies[WriteReplicaReply] == WriteReplicaReply(2, REFUSED, None)
    assert replies[DeliverHintsReply] == DeliverHintsReply(4, (REFUSED, REFUSED))
    assert later == WriteReplicaReply(8, REFUSED, None)
    assert engine.records == {a_record(1)[0]}
    assert len(logged(log_path, "disk.full")) == 1


def test_a_full_disk_refuses_no_comparison_because_of_the_writes_beside_it(asker, engine):
    asker.send(write(1))
    asker.take(1)
    engine.full = True

    asker.send(write(2), CompareRanges(3, True, ((3, 0, b""),)))

    assert {type(reply) for reply in asker.take(2)} == {WriteReplicaReply, CompareRangesReply}


def test_reads_beside_refused_writes_see_what_is_really_there(asker, engine):
    asker.send(write(1))
    asker.take(1)
    engine.full = True

    asker.send(write(2), read(3, of=1), read(4, of=2))

    assert statuses(asker.take(3)) == {2: REFUSED, 3: OK, 4: ReplicaStatus.NO_VOTE}


def test_once_there_is_room_again_writes_are_taken_and_it_is_said_once(asker, engine, log_path):
    engine.full = True
    asker.send(write(1))
    asker.take(1)
    engine.full = False

    asker.send(read(2, of=1))
    asker.take(1)
    said_for_a_read = logged(log_path, "disk.writable")
    for number in (3, 4):
        asker.send(write(number))
        assert statuses(asker.take(1)) == {number: OK}

    assert said_for_a_read == []
    assert len(logged(log_path, "disk.writable")) == 1


# --- the machine fails ------------------------------------------------------------------


def test_a_poisoned_message_is_set_aside_and_the_rest_of_its_batch_committed(
    asker, engine, log_path
):
    asker.send(write(1), ReadReplica(2, POISON, ()), write(3), ReadReplica(4, POISON, ()), write(5))

    replies = asker.take(5)

    assert statuses(replies) == {1: OK, 3: OK, 5: OK, 2: INTERNAL, 4: INTERNAL}
    assert len(replies) == 5
    assert [len(puts) for puts in engine.committed] == [3]
    assert [line["message"] for line in logged(log_path, "actor.failed")] == ["ReadReplica"] * 2


def test_a_poisoned_message_that_wants_no_answer_is_just_set_aside(asker, engine):
    asker.send(RepairReplica(POISON, b""), write(1))

    assert statuses(asker.take(1)) == {1: OK}
    assert engine.records == {a_record(1)[0]}


def test_a_batch_may_meet_a_full_map_and_poison_at_once(asker, engine):
    engine.puts_max = 2
    asker.send(write(1), write(2), ReadReplica(3, POISON, ()), write(4))

    assert statuses(asker.take(4)) == {1: OK, 2: OK, 3: INTERNAL, 4: OK}
    assert engine.grown == 1


def test_the_machine_is_told_of_each_commit_and_each_abort(asker, engine, monkeypatch):
    told = []
    for when in ("on_commit", "on_abort"):
        monkeypatch.setattr(Delicate, when, lambda _, when=when: told.append(when))
    engine.puts_max = 1
    asker.send(write(1), write(2), ReadReplica(3, POISON, ()))

    assert statuses(asker.take(3)) == {1: OK, 2: OK, 3: INTERNAL}

    assert told == ["on_abort", "on_abort", "on_commit"]


def test_too_much_poison_ends_the_node(storage, asker):
    asker.send(*(ReadReplica(number, POISON, ()) for number in range(RESTARTS_MAX + 1)))

    assert storage.report() == "failed RuntimeError: swallowed it"


def test_a_disk_that_cannot_be_trusted_ends_the_node(storage, asker, engine):
    engine.broken = True
    asker.send(write(1))

    assert storage.report() == "failed EngineError: the disk has gone"
    assert asker.socket.poll(0) == 0  # and never was the write acknowledged


# --- foreground first -------------------------------------------------------------------


def test_requests_go_before_repair_of_which_each_turn_takes_a_share(asker, engine):
    engine.may_begin.clear()
    asker.send(*map(repair, range(100)), write(1000))
    engine.may_begin.set()
    asker.take(1)
    wait_until(lambda: len(engine.records) == 101)

    first, *rest = engine.committed
    assert first[0] == RECORD + a_record(1000)[0]
    assert len(first) == 1 + BACKGROUND_BESIDE_FOREGROUND
    assert sum(map(len, rest)) == 100 - BACKGROUND_BESIDE_FOREGROUND


def test_alone_repair_is_served_in_large_batches_without_waiting_for_anything(asker, engine):
    count = 3 * BACKGROUND_ALONE
    asker.send(*map(repair, range(count)))

    wait_until(lambda: len(engine.records) == count)

    assert max(map(len, engine.committed)) == BACKGROUND_ALONE


def test_repair_beyond_what_may_wait_is_dropped_and_requests_are_not(asker, engine, monkeypatch):
    monkeypatch.setattr(group_commit, "BACKGROUND_MAX", 5)
    asker.send(*map(repair, range(100)), *map(write, range(1000, 1050)))

    assert len(asker.take(50)) == 50
    asker.send(StorageStatus(1))
    asker.take(1)

    assert len(engine.records) == 50 + 5


def test_what_waits_in_the_background_is_bounded_in_bytes_too(around, engine):
    """Batches of hints, such as a whole cluster brings to a node that comes back."""
    turn = DelicateActor(around, engine).make_turn()
    sender = Peer("n2", HANDOFF)
    batch = DeliverHints(1, ((bytes(16), bytes(1024 * 1024)),))

    turn.choose([(write(0), sender)] + [(batch, sender)] * 1000)

    assert turn.waiting <= 256


def test_the_question_that_is_open_for_ever_is_never_dropped(around, engine, monkeypatch):
    """Nothing would ask again."""
    monkeypatch.setattr(group_commit, "BACKGROUND_MAX", 5)
    turn = DelicateActor(around, engine).make_turn()
    watcher = Peer("n1", ANTIENTROPY)

    for _ in range(5):
        turn._queue((repair(1), watcher))
    turn._queue((WatchRanges(1, True), watcher))
    turn._queue((repair(2), watcher))

    assert turn.waiting == 6


def test_a_repair_larger_than_all_that_may_wait_is_served_when_its_turn_comes(
    asker, engine, monkeypatch
):
    """It was stored under a higher limit, and comes again whenever it is dropped."""
    size = len(a_record(0)[1])
    monkeypatch.setattr(group_commit, "BACKGROUND_BYTES_MAX", size - 1)

    asker.send(repair(0), repair(1), write(2))
    asker.take(1)
    wait_until(lambda: len(engine.records) == 2)
    asker.send(DeliverHints(1, (a_record(3), a_record(4))))

    assert asker.take(1) == [DeliverHintsReply(1, (ReplicaStatus.OK, ReplicaStatus.OK))]
    assert engine.records == {a_record(number)[0] for number in (0, 2, 3, 4)}


# --- syncs and stops --------------------------------------------------------------------


def test_a_sync_that_was_put_off_is_made_when_it_is_due(around):
    class Lazy(FaultyEngine):
        due: float | None = None
        synced = 0

        def commit(self) -> None:
            super().commit()
            self.due = self.due or time.monotonic() + 0.02

        def due_s(self) -> float | None:
            return self.due

        def tend(self) -> list[Event]:
            assert self.due is not None
            assert time.monotonic() >= self.due
            self.due = None
            self.synced += 1
            return []

    engine = Lazy()
    with Supervised(DelicateActor(around, engine)):
        asker = OtherActor(around, Peer("n1", COORDINATOR), inproc(STORAGE))
        asker.send(write(1))
        asker.take(1)
        wait_until(lambda: engine.synced == 1)


def test_storage_answers_until_it_is_told_to_stop(storage, asker):
    asker.send(StorageStatus(1))
    assert type(asker.take(1)[0]) is StorageStatusReply

    storage.tell(Command.STOP)

    assert storage.report() == "stopped"
