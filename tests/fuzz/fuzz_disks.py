"""What rests on disks: records, stamps and contexts, and whole disks on which anything rotted.

The three functions of each decoder are described in fuzz_sockets.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgpack
from fuzz_inputs import CONTEXT, NOW, RECORD, STAMP, NotAnInputError, listed, sample, unpacked

from toystore.core.data import record as records
from toystore.core.data.context import pack_context, unpack_context
from toystore.core.data.record import (
    CorruptRecordError,
    Record,
    digest_of,
    newer,
    pack_record,
    same_key,
    stamp_of,
    unpack_record,
)
from toystore.core.data.stamp import (
    MINTER_BYTES,
    TIME_US_MAX,
    HybridLogicalClock,
    Stamp,
    pack_stamp,
    unpack_stamp,
)
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Event, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.disk import SaveDisk, SettleDisk
from toystore.core.protocol.messages.hints import DropHints, TakeHintsReply
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.protocol.routes import WIRE, taken_by
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.disk_identity import DiskIdentity, identify_disk
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import FACT, HINT, QUEUE, TOTAL
from toystore.core.storage.storage import Storage
from toystore.engines.memory import MemoryEngine
from toystore.wire import decode, encode

# --- records, stamps and contexts -------------------------------------------------------


def read_record(data: bytes) -> tuple[bytes, Record]:
    """As storage does, which compares a record with rotten ones before it has checked them."""
    stamp_of(data)
    assert same_key(data, data)
    assert same_key(data, RECORD) == same_key(RECORD, data)
    return data, unpack_record(data)


def check_record(read: tuple[bytes, Record]) -> None:
    """It is what it says, and takes its place among the others."""
    data, record = read
    stamp, tombstone, expiry_us, bucket, key, versions, value = record
    flags = {"tombstone": tombstone, "expiry_us": expiry_us, "versions": versions}
    assert records.check_record(data) == stamp
    assert pack_record(stamp, bucket, key, value, **flags)[6:] == data[6:]
    assert same_key(data, RECORD) == ((bucket, key) == ("default", b"cart:7"))
    assert newer(data, RECORD) == newer(RECORD, data)


def record_seeds() -> Iterable[bytes]:
    tombstone = pack_record(STAMP, "default", b"cart:7", b"", tombstone=True)
    versions = pack_record(STAMP, "", b"\0", bytes(64), expiry_us=2**64 - 1, versions=b"v" * 9)
    return RECORD, tombstone, versions


def read_stamp(data: bytes) -> tuple[bytes, Stamp]:
    """Taken apart, and shown to a clock."""
    HybridLogicalClock(bytes(MINTER_BYTES)).merge(data)
    return data, unpack_stamp(data)


def check_stamp(read: tuple[bytes, Stamp]) -> None:
    """It goes together again; a clock that was shown it goes on, above it if it can be one."""
    data, stamp = read
    assert pack_stamp(*stamp) == data
    clock = HybridLogicalClock(bytes(MINTER_BYTES))
    clock.merge(data)
    minted = clock.mint(0)
    assert minted < clock.mint(0)
    assert minted > data or stamp.time_us > TIME_US_MAX


def stamp_seeds() -> Iterable[bytes]:
    return STAMP, pack_stamp(2**63 - 1, 2**32 - 1, b"\xff" * 8), bytes(20)


def read_context(data: bytes) -> bytes:
    return unpack_context(data)


def check_context(stamp: bytes) -> None:
    """A context holds a stamp and nothing else."""
    assert len(stamp) == len(STAMP)


def context_seeds() -> Iterable[bytes]:
    return CONTEXT, pack_context(b"\xff" * 20)


# --- a rotten disk ----------------------------------------------------------------------

KEY_BYTES_MAX = 511
"""LMDB's."""
ASKER = Peer("n2", "coordinator")


class Disk(MemoryEngine):
    """In memory, but with keys no longer than LMDB would take; it holds what rows it can."""

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        super().__init__()
        for row in rows:
            match row:
                case [bytes(key), bytes(value)] if 0 < len(key) <= KEY_BYTES_MAX:
                    self.put(key, value)

    def put(self, key: bytes, value: bytes) -> None:
        if not 0 < len(key) <= KEY_BYTES_MAX:
            raise ValueError(f"a key is 1 to {KEY_BYTES_MAX} bytes")
        super().put(key, value)

    def rows(self) -> list[tuple[bytes, bytes]]:
        return list(self.scan(b""))


class Replica:
    """A storage machine on a disk that holds anything."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.out = Outbox()
        self.machine = Storage(
            store=disk,
            node="n1",
            ranges=Ranges(fixed_ring([Member("n1")], 8, 1), "n1", [3]),
            copies={"default": 3},
            hint_bytes_max=4096,
            outbox=self.out,
            chance=random.Random(1),
        )

    def tell(self, messages: Iterable[Message]) -> list[Message]:
        """The replies to those of the messages that are for storage, which must all be sendable."""
        for message in messages:
            if type(message) in taken_by(STORAGE):
                self.machine.receive(message, ASKER, NOW)
        replies = self.out.sends.pop(ASKER, [])
        assert not self.out.sends
        return replies


class Asked(NamedTuple):
    """What a replica was asked, what it answered, and the replica."""

    messages: list[Message]
    replies: list[Message]
    replica: Replica


def read_storage(data: bytes) -> Asked:
    """``[rows of the disk, frame]``."""
    match unpacked(data):
        case [list(rows), bytes(frame)]:
            messages = decode(frame).messages
        case _:
            raise NotAnInputError("not rows and a frame")
    replica = Replica(Disk(rows))
    return Asked(messages, replica.tell(messages), replica)


def check_storage(asked: Asked) -> None:
    """Every answer can be sent; what is served is sound; what an answer rests on can be read."""
    messages, replies, replica = asked
    assert len(decode(encode(replies)).messages) == len(replies)
    assert all(isinstance(event, Event) for event in replica.out.events)
    served = [r.record for r in replies if isinstance(r, ReadReplicaReply) and r.record is not None]
    served += [data for r in replies if isinstance(r, TakeHintsReply) for _, data in r.hints]
    for record in served:
        records.check_record(record)
    writes = [message for message in messages if isinstance(message, WriteReplica)]
    answers = [reply for reply in replies if isinstance(reply, WriteReplicaReply)]
    drops = any(isinstance(message, DropHints) for message in messages)
    for write, answer in zip(writes, answers, strict=True):
        if not (drops and write.hint_owner):
            _check_write(write, answer, replica)


def _check_write(write: WriteReplica, answer: WriteReplicaReply, replica: Replica) -> None:
    """What was acknowledged is there, or something newer; what is newer is there too."""
    if answer.status in (ReplicaStatus.OK, ReplicaStatus.SUPERSEDED):
        owners = (write.hint_owner,) if write.hint_owner else ()
        [reply] = replica.tell([ReadReplica(1, write.digest, owners)])
        assert reply.status == ReplicaStatus.OK
        assert stamp_of(reply.record) >= (answer.stamp or stamp_of(write.record))


def used_disk() -> Disk:
    """A disk on which there is something of everything."""
    replica = Replica(Disk())
    facts = {"cluster": "small", "node": "n1", "members_digest": bytes(16), "digest": bytes(16)}
    identify_disk(replica.disk, **facts, chance=random.Random(1))
    replica.tell([SettleDisk(True), SaveDisk("n2", "0" * 32), SaveDisk("n3", "f" * 32)])
    for owner in (None, "n3", "n4"):
        for at in range(3):
            key = b"cart:%d" % at
            record = pack_record(STAMP, "default", key, b"milk")
            replica.tell([WriteReplica(1, digest_of("default", key, 3), record, owner)])
    return replica.disk


def storage_seeds() -> Iterator[bytes]:
    rows = used_disk().rows()
    of_storage = [sample(route.type) for route in WIRE if route.to == STORAGE]
    for message in of_storage:
        yield msgpack.packb([rows, encode([message])])
    yield msgpack.packb([rows, encode(of_storage)])
    yield msgpack.packb([[], encode(of_storage)])


class Drained(NamedTuple):
    """What came off a disk when every hint that it told of was taken and dropped."""

    sound: set[tuple[str, bytes]]
    """The sound hints that it held for the owners it told of: (owner, digest) each."""
    taken: set[tuple[str, bytes]]
    left: dict[str, Any]


def read_hints(data: bytes) -> Drained:
    """``rows``: every owner's hints are handed off, as hand-off does it, until none is left."""
    rows = listed(unpacked(data))
    disk = Disk(rows)
    hints = Hints(disk)
    taken: set[tuple[str, bytes]] = set()
    told = hints.totals()
    sound = {hint for hint in _sound_hints(disk) if hint[0] in told}
    assert hints.total_of_all().hints == sum(total.hints for total in told.values())
    for owner in told:
        assert 0 <= hints.oldest_us(owner) < 2**64
        for _ in range(len(rows) + 2):
            batch, _ = hints.oldest(owner, 100)
            if not batch:
                break
            for digest, record in batch:
                assert hints.find(owner, digest) == record
                assert not hints.delete(owner, digest, bytes(20)) or not any(stamp_of(record))
                hints.delete(owner, digest, records.check_record(record))
                taken.add((owner, digest))
        else:
            raise AssertionError(f"the hints for {owner} come to no end")
    return Drained(sound, taken, hints.totals())


def check_hints(drained: Drained) -> None:
    """No sound hint was lost, and the disk knows that it holds none any more."""
    assert drained.sound <= drained.taken
    assert not drained.left


def _sound_hints(disk: Disk) -> Iterator[tuple[str, bytes]]:
    for key, value in disk.scan(HINT):
        owner, digest = key[1:-17], key[-16:]
        try:
            records.check_record(value[8:])
            if key[-17:-16] == b"\0" and b"\0" not in owner:
                yield owner.decode(), digest
        except (CorruptRecordError, UnicodeDecodeError):
            continue


def hints_seeds() -> Iterator[bytes]:
    yield msgpack.packb([row for row in used_disk().rows() if row[0][:1] in (HINT, QUEUE, TOTAL)])


def read_facts(data: bytes) -> DiskIdentity:
    """``rows``: whose disk is it?"""
    rows = listed(unpacked(data))
    facts = {"cluster": "small", "node": "n1", "members_digest": bytes(16), "digest": bytes(16)}
    return identify_disk(Disk(rows), **facts, chance=random.Random(1))


def check_facts(read: DiskIdentity) -> None:
    """A disk's id is 32 hex digits, and its lineage is a digest."""
    assert len(bytes.fromhex(read.disk)) == len(read.lineage) == 16


def facts_seeds() -> Iterator[bytes]:
    rows = used_disk().rows()
    yield msgpack.packb([row for row in rows if row[0][:1] == FACT])
    yield msgpack.packb(rows)
    yield msgpack.packb([])
