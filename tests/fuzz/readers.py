"""How each decoder is called with nothing but bytes, and what must be true of what it reads.

For every row of the table in decoders.py there are up to three functions here:

    read_x   calls the decoder as the product does; it raises what the decoder raises
    check_x  the law that holds for whatever was read; it asserts
    x_seeds  valid inputs, made by the product itself, so that they follow its formats

What has no single input (a store and the messages that meet it, a message of several
frames, files) is packed into one by msgpack; bytes that are no such pack say nothing of
the decoder and raise `NotAnInputError`.
"""

from __future__ import annotations

import builtins
import fcntl
import functools
import math
import os
import random
import tempfile
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import zmq

from actors import log
from actors.node import Node as NodeProcess
from actors.sockets import ClientPort, Door, Mailbox
from actors.surroundings import Surroundings
from toystore.client.call import make_terms
from toystore.client.errors import ToystoreError
from toystore.client.machine import ClientMachine
from toystore.client.request import (
    DeleteRequest,
    GetRequest,
    OwnersRequest,
    PutRequest,
    Request,
    RingRequest,
    StatusRequest,
)
from toystore.config import ClusterConfig, Step, load, parse
from toystore.core import record as records
from toystore.core.context import pack_context, unpack_context
from toystore.core.hints import Hints
from toystore.core.machine import GOSSIP, STORAGE, Event, Now, Outbox, Peer
from toystore.core.messages import (
    WIRE,
    Code,
    DropHints,
    ErrorReply,
    Message,
    ReadReplica,
    ReadReplicaReply,
    Refused,
    ReplicaStatus,
    SaveDisk,
    SettleDisk,
    SupersededReply,
    TakeHintsReply,
    WriteReplica,
    WriteReplicaReply,
    takes,
)
from toystore.core.record import (
    CorruptRecordError,
    Record,
    digest_of,
    newer,
    pack_record,
    same_key,
    stamp_of,
    unpack_record,
)
from toystore.core.ring import Ring
from toystore.core.stamp import (
    MINTER_BYTES,
    TIME_US_MAX,
    HybridLogicalClock,
    Stamp,
    pack_stamp,
    unpack_stamp,
)
from toystore.core.storage import Storage, found
from toystore.engines.memory import MemoryEngine
from toystore.localcluster.cluster import Node
from toystore.localcluster.preflight import LOCK, held
from toystore.localcluster.scenario import Played
from toystore.localcluster.summary import read_logs, summary
from toystore.wire import Frame, Header, decode, encode

NOW = Now(1000.0, 1_700_000_000_000_000)
STAMP = pack_stamp(NOW.wall_us, 3, b"minter 1")
CONTEXT = pack_context(STAMP)
DIGEST = digest_of("default", b"cart:7")
RECORD = pack_record(STAMP, "default", b"cart:7", b"milk, bread")
TOMBSTONE = pack_record(STAMP, "default", b"cart:7", b"", tombstone=True)


class NotAnInputError(Exception):
    """The bytes do not come apart into what the decoder is given."""


def unpacked(data: bytes) -> Any:
    """What an input of several parts is made of."""
    try:
        return msgpack.unpackb(data, use_list=True)
    except Exception as error:
        raise NotAnInputError(f"no pack: {type(error).__name__}") from None


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when this process ends."""
    return tempfile.TemporaryDirectory()


def file_of(name: str, data: bytes) -> Path:
    """A file that holds ``data``."""
    path = Path(_folder().name) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def listed(value: Any) -> list[Any]:
    """A list that is in an input."""
    if not isinstance(value, list):
        raise NotAnInputError(f"{type(value).__name__}, not a list")
    return value


# --- frames -----------------------------------------------------------------------------


def read_frame(data: bytes) -> Frame:
    return decode(data)


def check_frame(frame: Frame) -> None:
    """What was let in is what its annotations say, can be sent on, and arrives as it was."""
    assert all(fits(message, type(message)) for message in frame.messages)
    assert frame.header is None or fits(frame.header, Header)
    assert repr(decode(encode(*frame))) == repr(frame)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of a type as it may be annotated in messages.py."""
    inner = typing.get_args(annotation)
    match typing.get_origin(annotation) or annotation:
        case typing.Any:
            return True
        case types.UnionType:
            return any(fits(value, each) for each in inner)
        case builtins.dict:
            return type(value) is dict and all(type(key) is str for key in value)
        case builtins.tuple if inner[-1] is ...:
            return type(value) is tuple and all(fits(item, inner[0]) for item in value)
        case builtins.tuple:
            return type(value) is tuple and _fit(value, inner)
        case kind if issubclass(kind, tuple):
            return type(value) is kind and _fit(value, typing.get_type_hints(kind).values())
        case kind:
            return type(value) is kind


def _fit(values: Sequence[Any], annotations: Collection[Any]) -> bool:
    return len(values) == len(annotations) and all(map(fits, values, annotations))


def frame_seeds() -> Iterator[bytes]:
    """Every message there is, and some of them between nodes."""
    for route in WIRE:
        yield encode([sample(route.type)])
    for of in range(4):
        yield encode([sample(route.type) for route in WIRE[of::4]], HEADER)


NAMED: dict[str, Any] = {
    "digest": DIGEST,
    "stamp": STAMP,
    "context": CONTEXT,
    "record": RECORD,
    "bucket": "default",
    "owner": "n3",
    "hint_owner": "n3",
    "hint_owners": ("n3",),
    "hints": ((DIGEST, RECORD),),
    "delivered": ((DIGEST, STAMP),),
    "request": 1,
}
"""Fields that not just any value of their type will do for."""
TYPED: dict[Any, Any] = {
    int: 2,
    str: "n2",
    bytes: b"cart:7",
    bool: True,
    type(None): None,
    dict: {"n2": {"count": 1, "age_s": 0.5, "of": [None, b"x"]}},
}


def sample(annotation: Any, name: str = "") -> Any:
    """A valid value of a message's field, or a whole message, by its annotations."""
    if name in NAMED:
        return NAMED[name]
    if isinstance(annotation, types.UnionType):
        return sample(annotation.__args__[0])
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in TYPED:
        return TYPED[origin]
    if origin is not tuple:
        hints = typing.get_type_hints(annotation)
        return annotation(*(sample(hint, field) for field, hint in hints.items()))
    return (sample(inner[0]),) * 2 if inner[-1] is Ellipsis else tuple(map(sample, inner))


# --- the configuration ------------------------------------------------------------------

PARTITIONS_TRIED = 2**14
"""A ring of more (partitions times members) takes too long to be tried each time."""


def read_config(data: bytes) -> ClusterConfig:
    return load(file_of("cluster.yaml", data))


def check_config(config: ClusterConfig) -> None:
    """Nobody has to check anything again: a node can be made of it."""
    for member in config.members:
        assert config.member(member.name) is member
    assert len(config.members_digest()) == 16
    config.swim_settings(), config.coordinator_settings(), config.handoff_settings()
    members, n = config.ring_members(), config.buckets["default"].n
    if config.partitions * len(members) <= PARTITIONS_TRIED:
        Ring(members, config.partitions, n)


def config_seeds() -> Iterator[bytes]:
    yield b"cluster: small\nmembers: [n1, n2, n3]\npartitions: 8\n"
    yield b"cluster: alike\nmembers: [n1, &two {name: n2, weight: 2}, {<<: *two, name: n3}]\n"
    yield WHOLE_CONFIG


WHOLE_CONFIG = b"""\
cluster: whole
host: 127.0.0.1
base_port: 7400
partitions: 8
durability: async
sync_interval_ms: 50
members:
  - n1
  - {name: n2, host: localhost, bind: 0.0.0.0, weight: 2, zone: east}
  - {name: n3, client_port: 9000}
seeds: [n1, n3]
buckets: {default: {n: 3, r: 2, w: 2}, carts: {n: 1, r: 1, w: 1}}
swim: {probe_period_s: 0.5, probe_timeout_s: 0.2}
requests: {replica_timeout_s: 0.3}
limits: {key_bytes_max: 64, value_bytes_max: 1024}
handoff: {retry_s: 1.0}
log: {level: debug}
scenario: [{at: 1, do: pause, node: n2, for: 2.5}, {at: 3, do: kill, node: n1}]
load: {clients: 2, value_bytes: 32}
"""


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
    versions = pack_record(STAMP, "", b"\0", bytes(64), expiry_us=2**64 - 1, versions=b"v" * 9)
    return RECORD, TOMBSTONE, versions


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
            hint_bytes_max=4096,
            outbox=self.out,
            chance=random.Random(1),
        )

    def tell(self, messages: Iterable[Message]) -> list[Message]:
        """The replies to those of the messages that are for storage, which must all be sendable."""
        for message in messages:
            if takes(STORAGE, type(message)):
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
    facts = {"cluster": "small", "node": "n1", "members_digest": bytes(16)}
    found(replica.disk, **facts, chance=random.Random(1))
    replica.tell([SettleDisk(True), SaveDisk("n2", "0" * 32), SaveDisk("n3", "f" * 32)])
    for owner in (None, "n3", "n4"):
        for at in range(3):
            key = b"cart:%d" % at
            record = pack_record(STAMP, "default", key, b"milk")
            replica.tell([WriteReplica(1, digest_of("default", key), record, owner)])
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
                assert not hints.drop(owner, digest, bytes(20)) or not any(stamp_of(record))
                hints.drop(owner, digest, records.check_record(record))
                taken.add((owner, digest))
        else:
            raise AssertionError(f"the hints for {owner} come to no end")
    return Drained(sound, taken, hints.totals())


def check_hints(drained: Drained) -> None:
    """No sound hint was lost, and the disk knows that it holds none any more."""
    assert drained.sound <= drained.taken
    assert not drained.left


def _sound_hints(disk: Disk) -> Iterator[tuple[str, bytes]]:
    for key, value in disk.scan(b"h"):
        owner, digest = key[1:-17], key[-16:]
        try:
            records.check_record(value[8:])
            if key[-17:-16] == b"\0" and b"\0" not in owner:
                yield owner.decode(), digest
        except (CorruptRecordError, UnicodeDecodeError):
            continue


def hints_seeds() -> Iterator[bytes]:
    yield msgpack.packb([row for row in used_disk().rows() if row[0][:1] in b"hqt"])


def read_facts(data: bytes) -> str:
    """``rows``: whose disk is it?"""
    rows = listed(unpacked(data))
    facts = {"cluster": "small", "node": "n1", "members_digest": bytes(16)}
    return found(Disk(rows), **facts, chance=random.Random(1))


def check_facts(disk: str) -> None:
    """A disk's id is 32 hex digits."""
    assert len(bytes.fromhex(disk)) == 16


def facts_seeds() -> Iterator[bytes]:
    rows = used_disk().rows()
    yield msgpack.packb([row for row in rows if row[0][:1] == b"m"])
    yield msgpack.packb(rows)
    yield msgpack.packb([])


# --- files of a local cluster -----------------------------------------------------------

STARTED = datetime(2024, 5, 1, 12, tzinfo=UTC)


def read_log(data: bytes) -> list[str]:
    """A node's log, for the story of a scenario and for the last words of one that died."""
    folder = file_of("n1/log.jsonl", data).parent
    notices = read_logs(folder.parent, ["n1"], STARTED)
    played = Played(Step.model_validate({"at": 1, "do": "kill", "node": "n4"}), STARTED)
    return [*summary([played], notices), Node(CONFIG.member("n1"), folder).last_words()]


def check_log(told: list[str]) -> None:
    """It is told in whole lines."""
    assert all(isinstance(line, str) for line in told)


def log_seeds() -> Iterable[bytes]:
    line = b'{"timestamp":"2024-05-01T12:00:0%dZ","level":"%b","event":"%b","node":"n1",%b}\n'
    lines = (
        line % (1, b"info", b"link.lost", b'"actor":"gossip","member":"n4"'),
        line % (2, b"warning", b"member.dead", b'"member":"n4","cause":"missed ping","took_s":1.5'),
        line % (3, b"info", b"hint.stored", b'"owner":"n4","hints":1,"bytes":71'),
        line % (4, b"info", b"handoff.finished", b'"owner":"n4","hints":62,"took_s":0.1'),
        line % (5, b"error", b"actor.failed", b'"error":"ValueError: no"'),
    )
    return b"".join(lines), lines[1][:-20], lines[4]


def read_lock(data: bytes) -> None:
    """The lock file of a data folder that another run_cluster.py holds."""
    lock = file_of(LOCK, data)
    with lock.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with held(lock.parent):
            pass


def check_lock(_: None) -> None:
    """Whatever is in the file, the folder is not held twice."""
    raise AssertionError("the folder was held twice")


def lock_seeds() -> Iterable[bytes]:
    return ()


def read_pid(data: bytes) -> tuple[bytes, bool]:
    """The pid file of a node that ends, and whether it left it there."""
    file = file_of("pid", data)
    NodeProcess._remove_pid_file(types.SimpleNamespace(pid_file=file))
    return data, file.exists()


def check_pid(read: tuple[bytes, bool]) -> None:
    """It removes its own, and no other."""
    data, left = read
    assert left == (data != b"%d\n" % os.getpid())


def pid_seeds() -> Iterable[bytes]:
    return b"1\n", b"%d\n" % os.getpid()


# --- doors ------------------------------------------------------------------------------

REPLY_TEXT_MAX = 500
MESSAGES_MAX = 100
"""Of one input: fewer than any queue holds."""
CONFIG = parse(
    {"cluster": "small", "members": ["n1", "n2"], "buckets": {"default": {"n": 1, "r": 1, "w": 1}}}
)
HEADER = Header(Peer("n2", GOSSIP), CONFIG.cluster, CONFIG.members_digest())


class Before(NamedTuple):
    """A door of n1's, and the socket of whoever stands before it."""

    door: Door
    takes: frozenset[type[Any]]
    socket: zmq.Socket[bytes]


class Heard(NamedTuple):
    """What came in through a door, what may, and what was said to whoever stood before it."""

    messages: list[Message]
    takes: frozenset[type[Any]]
    said: list[Message]


def read_client_port(data: bytes) -> Heard:
    return _heard(_before_client_port(math.inf), data)


def read_full_client_port(data: bytes) -> Heard:
    return _heard(_before_client_port(0), data)


def read_mailbox(data: bytes) -> Heard:
    return _heard(_before_mailbox(), data)


@functools.cache
def _before_client_port(room: float) -> Before:
    address = f"inproc://client port with room for {room}"
    return _before(ClientPort(_around(), address, lambda: room), ClientPort.ACCEPTS, address)


@functools.cache
def _before_mailbox() -> Before:
    takes_ = frozenset(route.type for route in WIRE if takes(STORAGE, route.type))
    return _before(Mailbox(_around(), STORAGE, "inproc://mailbox"), takes_, "inproc://mailbox")


def _around() -> Surroundings:
    return Surroundings(CONFIG, CONFIG.member("n1"), zmq.Context.instance(), "boot0001")


def _before(door: Door, takes_: frozenset[type[Any]], address: str) -> Before:
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(address)
    return Before(door, takes_, socket)


def _heard(before: Before, data: bytes) -> Heard:
    """``[[frame, ...], ...]``: messages of several frames each, as a DEALER sends them."""
    log.configure(None, node="n1", level="critical", rotate_bytes=1, rotate_files=1)
    for message in listed(unpacked(data))[:MESSAGES_MAX]:
        frames = [frame for frame in listed(message) if type(frame) is bytes]
        if frames:
            before.socket.send_multipart(frames, zmq.NOBLOCK)
    heard = [message for message, _ in before.door.drain()]
    said: list[Message] = []
    while before.socket.poll(0):
        said += decode(before.socket.recv_multipart()[-1]).messages
    return Heard(heard, before.takes, said)


def check_heard(heard: Heard) -> None:
    """Only what the door takes comes in; what goes out refuses, and is short."""
    assert {type(message) for message in heard.messages} <= heard.takes
    assert all(isinstance(reply, ErrorReply | Refused) for reply in heard.said)
    assert all(len(reply.text) < REPLY_TEXT_MAX for reply in heard.said)


check_client_port = check_full_client_port = check_mailbox = check_heard


def client_port_seeds() -> Iterator[bytes]:
    for route in WIRE:
        message = sample(route.type)
        yield msgpack.packb([[encode([message])], [b"", encode([message], HEADER)]])
    foreign = HEADER._replace(cluster="another")
    yield msgpack.packb([[encode([], foreign)], [b"x"] * 9, [b""], [b"req 1", b"", b"\xc1"]])


full_client_port_seeds = mailbox_seeds = client_port_seeds


# --- the client -------------------------------------------------------------------------


class Clock:
    """A clock of this test's own, on a wall that stands still."""

    def __init__(self) -> None:
        self._clock = HybridLogicalClock(bytes(MINTER_BYTES))

    def mint(self) -> bytes:
        return self._clock.mint(NOW.wall_us)

    def merge(self, stamp: bytes) -> None:
        self._clock.merge(stamp)


class Served(NamedTuple):
    """A client whose one endpoint said something."""

    machine: ClientMachine
    requests: list[Request[Any]]
    clock: Clock


def read_replies(data: bytes) -> Served:
    """Six requests are in flight when the frame comes."""
    clock = Clock()
    machine = ClientMachine(["tcp://a", "tcp://b"], clock, 100)
    terms = make_terms("default", None, None, 2.0, None)
    requests: list[Request[Any]] = [
        GetRequest(terms, 0.0, b"k"),
        PutRequest(terms, 0.0, b"k", b"v", context=b"", clock=clock),
        DeleteRequest(terms, 0.0, b"k", context=b"", clock=clock),
        StatusRequest(terms, 0.0),
        OwnersRequest(terms, 0.0, b"k"),
        RingRequest(terms, 0.0),
    ]
    for request in requests:
        machine.begin(request, 0.0)
    machine.flush(0, lambda _: True, 0.0)
    machine.receive(data, 0, 0.1)
    return Served(machine, requests, clock)


def check_replies(served: Served) -> None:
    """The client goes on: it sends, its clock ticks, and every request has an end in time."""
    machine, requests, clock = served
    assert clock.mint() < clock.mint()
    for endpoint in (0, 1):
        machine.flush(endpoint, lambda frame: bool(decode(frame)), 0.2)
    machine.on_deadline(3.0)
    assert not machine.busy
    assert {id(request) for request in machine.finished} == {id(request) for request in requests}
    for request in requests:
        if isinstance(request.outcome, ToystoreError):
            assert isinstance(request.outcome.definite, bool)


def replies_seeds() -> Iterator[bytes]:
    of_client = [sample(route.type) for route in WIRE if route.to == "client"]
    for request in range(1, 7):
        yield encode([reply._replace(request=request) for reply in of_client])
        yield encode([SupersededReply(request, STAMP)])
        yield encode([ErrorReply(request, code, "no", True) for code in Code])
