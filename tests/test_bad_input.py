"""Bad input, at every port of real nodes: they stay up, serve others, and say what is wrong.

One cluster of three with lowered limits serves the whole file.  Whatever a test sends to
n1, afterwards every process must still be there, no machine may have failed, and others
must be served as before (`unharmed`).  Tests never wait for an answer that should *not*
come: they send something after it that is answered, and look at what came first.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import yaml
import zmq

from actors.doors.client_port import CLIENT_FRAMES_MAX, HELD_BYTES_MAX
from toystore import BadRequest, Client, ToystoreError
from toystore.config import PORTS, load
from toystore.core.data.context import pack_context
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import GOSSIP, HANDOFF, STORAGE, Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import (
    Delete,
    ErrorReply,
    Get,
    GetReply,
    Owners,
    OwnersReply,
    Put,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.disk import SaveDisk, StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    Exchange,
    Gossip,
    MemberState,
    Ping,
    PingReq,
    Refused,
)
from toystore.core.protocol.messages.hints import DeliverHints, DropHints, TakeHints
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.localcluster.ports import reserve_ports
from toystore.wire import ARRAYS_MAX, FRAME_BYTES_MAX, VERSION, Header, decode, encode

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("n1", "n2", "n3")
PATIENCE_S = 20.0
KEY_MAX = 64
VALUE_MAX = FRAME_MAX = 64 * 1024
SEED = 20240501


class Cluster:
    """Three node processes, and sockets that talk to them in ways no client would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guard, base_port = reserve_ports(len(NAMES) + 1)  # one more, for a stranger
        self.path = write_config(folder / "cluster.yaml", base_port)
        self.config = load(self.path)
        self.header = Header(Peer("n9", STORAGE), self.config.cluster, self.config.members_digest())
        self.foreign = self.header._replace(cluster="another")
        self.context: zmq.Context[Any] = zmq.Context()
        self.processes = {name: self.start(self.path, name) for name in NAMES}

    def start(self, path: Path, name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "actors", str(path), name, "--data-dir", str(self.folder)]
        # What is freed goes back to the system at once, so that what is resident is held.
        env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "65536"}
        return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)

    def port(self, port: str = "client_port", name: str = "n1") -> int:
        return int(getattr(self.config.member(name), port))

    def endpoint(self, port: str = "client_port", name: str = "n1") -> str:
        return f"tcp://127.0.0.1:{self.port(port, name)}"

    def client(self, *names: str, **options: Any) -> Client:
        endpoints = [self.endpoint(name=name) for name in names or ("n1",)]
        return Client(endpoints, **{"timeout": PATIENCE_S} | options)

    def socket(self, kind: int, port: str = "client_port", **options: Any) -> zmq.Socket[bytes]:
        """A raw socket, connected to a port of n1; options are set before it connects."""
        made: zmq.Socket[bytes] = self.context.socket(kind)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = int(PATIENCE_S * 1000)
        for option, value in options.items():
            made.set(getattr(zmq, option), value)
        made.connect(self.endpoint(port))
        return made

    def rss_bytes(self, name: str = "n1") -> int:
        pages = Path(f"/proc/{self.processes[name].pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self, name: str = "n1") -> int:
        return len(os.listdir(f"/proc/{self.processes[name].pid}/fd"))

    def log(self, event: str, name: str = "n1") -> list[dict[str, Any]]:
        lines = (self.folder / name / "log.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def rejected(self, sender: bytes) -> list[dict[str, Any]]:
        return [line for line in self.log("frame.rejected") if line["sender"] == str(sender)]

    def refused(self, member: str) -> list[dict[str, Any]]:
        return [line for line in self.log("member.refused") if line["member"] == member]

    def end(self) -> list[int]:
        self.context.destroy(linger=0)
        for process in self.processes.values():
            process.terminate()
        try:
            return [process.wait(PATIENCE_S) for process in self.processes.values()]
        finally:
            for process in self.processes.values():
                process.kill()
                process.communicate()
            self.guard.close()


def write_config(path: Path, base_port: int) -> Path:
    """Small limits, so that going beyond them is cheap."""
    raw: dict[str, Any] = {
        "cluster": "bad_input",
        "base_port": base_port,
        "members": list(NAMES),
        "durability": "async",
        "buckets": {"default": {"n": 3, "r": 2, "w": 2}, "pair": {"n": 2, "r": 1, "w": 1}},
        "limits": {
            "key_bytes_max": KEY_MAX,
            "value_bytes_max": VALUE_MAX,
            "frame_bytes_max": FRAME_MAX,
        },
        "swim": {"probe_period_s": 0.5, "probe_timeout_s": 0.2},
    }
    path.write_text(yaml.safe_dump(raw))
    return path


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def all_see_all(cluster: Cluster) -> bool:
    return all(sees_all(cluster, name) for name in NAMES)


def sees_all(cluster: Cluster, name: str) -> bool:
    try:
        with cluster.client(name, timeout=1) as store:
            status = store.status()
    except ToystoreError:
        return False
    return bool(status["serving"]) and all(member["reachable"] for member in status["members"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Ready, and at the end every node must stop cleanly."""
    made = Cluster(tmp_path_factory.mktemp("bad_input"))
    try:
        wait_until(lambda: all_see_all(made))
        yield made
    finally:
        codes = made.end()
    assert codes == [0, 0, 0]


@pytest.fixture(autouse=True)
def unharmed(cluster: Cluster) -> Iterator[None]:
    """Nobody died, nothing raised that should not, and others are served."""
    yield
    assert [p.poll() for p in cluster.processes.values()] == [None, None, None]
    assert not [line["error"] for name in NAMES for line in cluster.log("actor.failed", name)]
    for writer, reader in (("n1", "n2"), ("n3", "n1")):
        assert served(cluster, writer, reader)


def served(cluster: Cluster, writer: str = "n2", reader: str = "n1") -> bool:
    value = os.urandom(8)
    with cluster.client(writer) as store:
        store.put("witness", value)
    with cluster.client(reader) as store:
        found = store.get("witness")
    return found is not None and found.value == value


def ask(port: zmq.Socket[bytes], *messages: Message, header: Header | None = None) -> list[Message]:
    """Send a frame, and take the next."""
    port.send(encode(messages, header))
    return decode(port.recv()).messages


# --- requests that cannot be run --------------------------------------------------------

NOW_US = time.time_ns() // 1000
A_STAMP = pack_stamp(NOW_US, 0, b"minter__")
FAR_AHEAD = pack_stamp(NOW_US + 3600 * 1_000_000, 0, b"minter__")


def a_get(**changes: Any) -> Get:
    return Get(7, "default", b"k", None, None, 2000)._replace(**changes)


def a_put(**changes: Any) -> Put:
    whole = Put(7, "default", b"k", b"v", None, b"", None, None, 2000, False)
    return whole._replace(**changes)


def a_delete(**changes: Any) -> Delete:
    whole = Delete(7, "default", b"k", None, b"", None, None, 2000, False)
    return whole._replace(**changes)


BAD_REQUESTS = {
    "empty key, get": (a_get(key=b""), "a key of 0 bytes; 1 to 65535"),
    "empty key, put": (a_put(key=b""), "a key of 0 bytes; 1 to 64"),
    "empty key, delete": (a_delete(key=b""), "a key of 0 bytes; 1 to 65535"),
    "empty key, owners": (Owners(7, "default", b""), "a key of 0 bytes; 1 to 65535"),
    "long key": (a_put(key=bytes(KEY_MAX + 1)), "a key of 65 bytes; 1 to 64"),
    "large value": (a_put(value=bytes(VALUE_MAX + 1)), "a value of 65537 bytes; at most 65536"),
    "no such bucket, get": (a_get(bucket="nope"), "no bucket 'nope'; there are default, pair"),
    "no such bucket, owners": (Owners(7, "", b"k"), "no bucket ''"),
    "long bucket": (a_put(bucket="b" * 1000), "no bucket 'bbb"),
    "r above n": (a_get(r=4), "r is 4; with n=3 it can be 1 to 3"),
    "r above the n asked for": (a_get(n=1, r=2), "r is 2; with n=1"),
    "w above n": (a_put(w=4), "w is 4; with n=3 it can be 1 to 3"),
    "w above n, delete": (a_delete(w=4), "w is 4; with n=3"),
    "w above the bucket's n": (a_put(bucket="pair", w=3), "w is 3; with n=2"),
    "n above the bucket's": (a_get(bucket="pair", n=3), "n is 3; bucket 'pair' takes 1 to 2"),
    "n of 0": (a_put(n=0), "n is 0"),
    "n below 0": (a_get(n=-1), "n is -1"),
    "r of 0": (a_get(r=0), "r is 0"),
    "w beyond all numbers": (a_put(w=2**64 - 1), "w is 18446744073709551615"),
    "w below all numbers": (a_put(w=-(2**63)), "w is -9223372036854775808"),
    "no time": (a_get(timeout_ms=0), "timeout_ms is 0; it must be above 0"),
    "less than no time": (a_put(timeout_ms=-1), "timeout_ms is -1"),
    "a context that is a guess": (a_put(context=b"guess"), "not one that a get returned"),
    "a context of the right size": (a_delete(context=bytes(25)), "not one that a get returned"),
    "a context cut off": (a_put(context=pack_context(A_STAMP)[:-1]), "not one that a get returned"),
    "a context as large as a value": (a_put(context=bytes(VALUE_MAX)), "not one that a get"),
    "a short stamp": (a_put(stamp=A_STAMP[:-1]), "a stamp of 19 bytes; one has 20"),
    "a long stamp": (a_delete(stamp=A_STAMP + b"!"), "a stamp of 21 bytes; one has 20"),
    "an empty stamp": (a_put(stamp=b""), "a stamp of 0 bytes"),
}


@pytest.mark.parametrize(("request_", "text"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_request_that_cannot_be_run_is_refused_with_what_would_be_right(cluster, request_, text):
    with cluster.socket(zmq.DEALER) as port:
        [reply] = ask(port, request_)

    assert isinstance(reply, ErrorReply)
    assert (reply.request, reply.code, reply.definite) == (7, Code.BAD_REQUEST, True)
    assert text in reply.text
    assert len(reply.text) < 300


@pytest.mark.parametrize("stamp", [FAR_AHEAD, b"\xff" * 20], ids=["an hour", "for ever"])
def test_a_stamp_far_ahead_is_refused_so_that_it_cannot_win_for_ever(cluster, stamp):
    with cluster.socket(zmq.DEALER) as port:
        [put] = ask(port, a_put(stamp=stamp))
        [delete] = ask(port, a_delete(stamp=stamp))

    assert [put.code, delete.code] == [Code.CLOCK_AHEAD] * 2
    assert put.definite
    assert delete.definite
    assert "ahead of the clock of n1" in put.text


def test_a_context_made_up_of_the_last_stamp_there_is_harms_nobody(cluster):
    """Its checksum is right, so it may come from a get; above it there is nothing to mint."""
    context = pack_context(b"\xff" * 20)
    with cluster.socket(zmq.DEALER) as port:
        replies = [ask(port, a_put(key=b"doomed", context=context))[0] for _ in range(3)]

    assert {type(reply) for reply in replies} == {ErrorReply}
    assert {reply.code for reply in replies} == {Code.BAD_REQUEST}


def test_one_bad_request_does_not_spoil_the_others_in_its_frame(cluster):
    good, bad = a_get(request=1), a_get(request=2, key=b"")
    replies: dict[int, Message] = {}
    with cluster.socket(zmq.DEALER) as port:
        port.send(encode([bad, good, Owners(3, "default", b"k"), GetReply(4, (), b"", 0, 0)]))
        while len(replies) < 4:
            replies |= {reply.request: reply for reply in decode(port.recv()).messages}

    assert type(replies[1]) is GetReply
    assert type(replies[2]) is ErrorReply
    assert type(replies[3]) is OwnersReply
    assert replies[0] == ErrorReply(0, Code.BAD_REQUEST, "GetReply is not a request", True)


@pytest.mark.parametrize("key", [b"\xff\xfe\x00", bytes(KEY_MAX), b"\0", b"\n"])
def test_any_bytes_up_to_the_limit_are_a_key(cluster, key):
    with cluster.client("n1", "n2") as store:
        store.put(key, key * 3)
        assert store.get(key).value == key * 3
        store.delete(key)
        assert store.get(key) is None


def test_the_largest_value_is_taken_and_given_back(cluster):
    value = random.Random(SEED).randbytes(VALUE_MAX)
    with cluster.client() as store:
        store.put(b"k" * KEY_MAX, value)
        assert store.get(b"k" * KEY_MAX).value == value


def test_applications_get_a_bad_request_and_one_bad_key_does_not_spoil_the_rest(cluster):
    with cluster.client() as store:
        with pytest.raises(BadRequest, match="no bucket"):
            store.get("k", bucket="nope")
        with pytest.raises(BadRequest, match="value of 65537 bytes") as caught:
            store.put("k", bytes(VALUE_MAX + 1))
        items = {"good": b"1", "x" * (KEY_MAX + 1): b"2", "fine": b"3"}
        answers = store.put_many(items, errors="return")

    assert caught.value.definite
    kinds = [isinstance(answer, BadRequest) for answer in answers.values()]
    assert kinds == [False, True, False]


# --- frames that are none ---------------------------------------------------------------

A_FRAME = encode([a_put()])
DEEP = b"\x91" * 5000 + b"\x90"
GARBAGE = {
    "nothing": b"",
    "reserved byte": b"\xc1",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "noise": random.Random(SEED).randbytes(1000),
    "a number": msgpack.packb(1),
    "an empty array": msgpack.packb([]),
    "a map": msgpack.packb({1: []}),
    "no messages": msgpack.packb([VERSION]),
    "messages are text": msgpack.packb([VERSION, "put"]),
    "a message is a number": msgpack.packb([VERSION, [3]]),
    "an empty message": msgpack.packb([VERSION, [[]]]),
    "an unknown tag": msgpack.packb([VERSION, [[999, 1]]]),
    "a tag that is text": msgpack.packb([VERSION, [["Put", 1]]]),
    "too few fields": msgpack.packb([VERSION, [[1, 1]]]),
    "a key that is text": msgpack.packb([VERSION, [[1, 1, "default", "k", None, None, 9]]]),
    "a number that is a float": msgpack.packb([VERSION, [[1, 1.5, "default", b"k", 1, 1, 9]]]),
    "a header cut short": msgpack.packb([VERSION, [], "n2", "storage"]),
    "a header of other types": msgpack.packb([VERSION, [], "n2", "storage", "bad_input", "x"]),
    "a later version": msgpack.packb([VERSION + 1, []]),
    "version 0": msgpack.packb([0, []]),
    "a bucket that is not UTF-8": A_FRAME.replace(b"default", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9"),
    "nested too deep": DEEP,
    "nested too deep inside": msgpack.packb([VERSION, [[3]]])[:-1] + DEEP,
    "an array that claims to be huge": b"\xdd\xff\xff\xff\xff",
    "bytes that claim to be huge": b"\x92\x01\xc6\xff\xff\xff\xff",
    "two frames in one": A_FRAME * 2,
    "a timestamp": msgpack.packb([VERSION, [[8, msgpack.Timestamp(1)]]]),
    **{f"cut off at {at}": A_FRAME[:at] for at in range(1, len(A_FRAME), 7)},
}
whatever = pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())


@whatever
@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER], ids=["REQ", "DEALER"])
def test_garbage_at_the_client_port_is_answered_with_what_is_wrong_with_it(cluster, kind, garbage):
    with cluster.socket(kind) as port:
        port.send(garbage)
        [reply] = decode(port.recv()).messages

    assert isinstance(reply, ErrorReply)
    assert (reply.request, reply.code, reply.definite) == (0, Code.BAD_REQUEST, True)
    assert 0 < len(reply.text) < 300


@pytest.mark.parametrize("port_name", ["peer_port", "exchange_port"])
def test_garbage_between_nodes_is_dropped_and_logged_once_per_sender(cluster, port_name):
    sender = f"misfit/{port_name}".encode()
    with cluster.socket(zmq.DEALER, port_name, ROUTING_ID=sender) as port:
        for garbage in GARBAGE.values():
            port.send(garbage)
        port.send(encode([StorageStatus(1)]))  # no header
        port.send_multipart([b"", encode([StorageStatus(2)], cluster.header)])  # an envelope
        [first] = ask(port, StorageStatus(3), header=cluster.foreign)

    assert type(first) is Refused
    assert len(cluster.rejected(sender)) == 1


def test_garbage_from_one_client_is_logged_once_and_answered_each_time(cluster):
    with cluster.socket(zmq.DEALER, ROUTING_ID=b"babbler") as port:
        for garbage in GARBAGE.values():
            port.send(garbage)
        replies = [decode(port.recv()).messages for _ in GARBAGE]

    assert all(type(reply) is ErrorReply for [reply] in replies)
    assert len(cluster.rejected(b"babbler")) == 1


@pytest.mark.parametrize("frames", [9, 500])
def test_an_endless_envelope_is_dropped(cluster, frames):
    sender = b"postman %d" % frames
    with cluster.socket(zmq.DEALER, ROUTING_ID=sender) as port:
        port.send_multipart([b"stamp"] * frames + [encode([a_get(request=1)])])
        [reply] = ask(port, a_get(request=2))

    assert reply.request == 2
    assert len(cluster.rejected(sender)) == 1


OUT_OF_PLACE = [
    ("client_port", StorageStatus(1)),
    ("client_port", WriteReplica(1, bytes(16), b"record", None)),
    ("client_port", WriteReply(1, A_STAMP, 1, 0)),
    ("client_port", Exchange(1, ())),
    ("client_port", Refused("no")),
]


@pytest.mark.parametrize(("port_name", "message"), OUT_OF_PLACE)
def test_what_is_no_request_is_answered_at_the_client_port(cluster, port_name, message):
    with cluster.socket(zmq.DEALER, port_name) as port:
        [bare] = ask(port, message)
        [with_header] = ask(port, message, header=cluster.header)

    name = type(message).__name__
    assert bare == with_header == ErrorReply(0, Code.BAD_REQUEST, f"{name} is not a request", True)


@pytest.mark.parametrize("request_", [a_put(forwarded=True), a_delete(forwarded=True)])
def test_only_a_member_forwards(cluster, request_):
    with cluster.socket(zmq.DEALER) as port:
        [reply] = ask(port, request_)

    assert reply == ErrorReply(0, Code.BAD_REQUEST, "forwarded: only a member forwards", True)


def test_a_message_for_another_actor_is_dropped_and_the_rest_of_its_frame_served(cluster):
    strays = [a_get(), Ping(1, ()), WriteReply(1, A_STAMP, 1, 0)]
    with cluster.socket(zmq.DEALER, "peer_port", ROUTING_ID=b"stray") as port:
        [reply] = ask(port, *strays, StorageStatus(5), *strays, header=cluster.header)

    assert (type(reply), reply.request) == (StorageStatusReply, 5)
    assert len(cluster.rejected(b"stray")) == 1


# --- foreigners -------------------------------------------------------------------------


@pytest.mark.parametrize("port_name", ["client_port", "peer_port", "exchange_port"])
@pytest.mark.parametrize(
    "difference", [{"cluster": "another"}, {"members_digest": bytes(16)}], ids=["name", "members"]
)
def test_a_foreign_peer_is_told_why_it_is_refused(cluster, port_name, difference):
    member = f"foreigner/{port_name}/{next(iter(difference))}"
    header = cluster.header._replace(sender=Peer(member, STORAGE), **difference)
    with cluster.socket(zmq.DEALER, port_name) as port:
        replies = [ask(port, a_put(forwarded=True), header=header) for _ in range(3)]

    assert all(type(reply) is Refused for [reply] in replies)
    assert ("another" if "cluster" in difference else "member list") in replies[0][0].text
    assert [line["reason"] for line in cluster.refused(member)] == [replies[0][0].text]


@contextlib.contextmanager
def publisher(cluster: Cluster) -> Iterator[zmq.Socket[bytes]]:
    """An XPUB that n1's inbox has subscribed to."""
    with cluster.socket(zmq.XPUB, "gossip_port") as outlet:
        topics = {outlet.recv(), outlet.recv()}
        assert topics == {b"\x01n1\0", b"\x01*\0"}
        yield outlet


def test_bad_datagrams_are_dropped_and_logged_once(cluster):
    last = cluster.foreign._replace(sender=Peer("a foreigner by datagram", GOSSIP))
    with publisher(cluster) as outlet:
        for _ in range(2):
            for garbage in GARBAGE.values():
                outlet.send(b"n1\0" + garbage)
            outlet.send(b"n1\0" + encode([Ping(1, ())]))  # no header
            outlet.send_multipart([b"n1\0", encode([Ping(1, ())], cluster.header)])
            outlet.send(b"*\0" + encode([Ping(1, ())], last))
        wait_until(lambda: cluster.refused("a foreigner by datagram"))

    assert len(cluster.refused("a foreigner by datagram")) == 1
    assert len([r for r in cluster.log("frame.rejected") if r["sender"] == "datagram"]) == 1


def test_what_is_no_datagram_is_not_taken_from_one(cluster):
    by_datagram = cluster.header._replace(sender=Peer("n9", "by datagram"))
    with publisher(cluster) as outlet:
        for message in (Exchange(1, ()), Refused("go away"), a_put(), StorageStatus(1)):
            outlet.send(b"n1\0" + encode([message], by_datagram))
        wait_until(
            lambda: [r for r in cluster.log("frame.rejected") if "by datagram" in r["sender"]]
        )

    assert len([r for r in cluster.log("frame.rejected") if "by datagram" in r["sender"]]) == 1


def test_a_node_with_another_member_list_is_refused_says_why_and_stops(cluster, tmp_path):
    raw = yaml.safe_load(cluster.path.read_text())
    raw["members"].append("n4")
    path = tmp_path / "stranger.yaml"
    path.write_text(yaml.safe_dump(raw))

    stranger = cluster.start(path, "n4")
    try:
        _, told = stranger.communicate(timeout=PATIENCE_S)
    finally:
        stranger.kill()

    assert stranger.returncode == 1
    assert "the member list of n4" in told
    assert "both must be the same" in told
    assert any(cluster.log("member.refused", name) for name in NAMES)


# --- well-formed and absurd, from somebody who knows the member list --------------------

STATES = tuple(
    MemberState(name, status, incarnation, disk)
    for name in ("n2", "n9", "", "n2\0", "x" * 1000)
    for status in (-1, 4, 99)
    for incarnation in (-1, 2**63)
    for disk in ("", "not hex")
)
ABSURD: list[tuple[str, str, Message]] = [
    ("peer_port", STORAGE, WriteReplica(1, bytes(16), b"", None)),
    ("peer_port", STORAGE, WriteReplica(1, bytes(16), b"no record", None)),
    ("peer_port", STORAGE, WriteReplica(1, b"", b"no record", "n2")),
    ("peer_port", STORAGE, RepairReplica(bytes(16), b"no record")),
    ("peer_port", STORAGE, ReadReplica(1, b"", ())),
    ("peer_port", STORAGE, ReadReplica(1, bytes(16), ("", "n9", "\0"))),
    ("peer_port", STORAGE, TakeHints("", -1)),
    ("peer_port", STORAGE, TakeHints("n9\0", 2**63)),
    ("peer_port", STORAGE, DeliverHints(1, ((b"", b""), (bytes(16), b"no record")))),
    ("peer_port", STORAGE, DropHints("n9", ((b"", b""), (bytes(16), bytes(3))))),
    ("exchange_port", GOSSIP, Exchange(1, STATES)),
    ("exchange_port", GOSSIP, Refused("n1 is not wanted")),
    ("gossip_port", GOSSIP, Ping(-1, STATES)),
    ("gossip_port", GOSSIP, PingReq(1, "n9", STATES)),
    ("gossip_port", GOSSIP, PingReq(1, "n1", ())),
    ("gossip_port", GOSSIP, Ack(2**63, "n9", STATES)),
    ("gossip_port", GOSSIP, Gossip(STATES)),
]


@pytest.mark.parametrize("sender", ["n2", "n9", ""])
@pytest.mark.parametrize(
    ("port_name", "actor", "message"),
    ABSURD,
    ids=[f"{type(message).__name__} {at}" for at, (_, _, message) in enumerate(ABSURD)],
)
def test_absurd_messages_between_nodes_end_nothing(cluster, port_name, actor, message, sender):
    header = cluster.header._replace(sender=Peer(sender, HANDOFF if actor == STORAGE else GOSSIP))
    if port_name == "gossip_port":
        with publisher(cluster) as outlet:
            outlet.send(b"n1\0" + encode([message], header))
            await_gossip(cluster, outlet)
    else:
        with cluster.socket(zmq.DEALER, port_name) as port:
            port.send(encode([message], header))
            port.send(encode([], cluster.foreign))
            while type(decode(port.recv()).messages[0]) is not Refused:
                pass

    wait_until(lambda: all_see_all(cluster))


def await_gossip(cluster: Cluster, outlet: zmq.Socket[bytes]) -> None:
    """Until n1 has taken in what was published so far."""
    marker = f"marker {os.urandom(4).hex()}"
    header = cluster.foreign._replace(sender=Peer(marker, GOSSIP))
    outlet.send(b"n1\0" + encode([], header))
    wait_until(lambda: cluster.refused(marker))


def test_a_name_too_long_for_the_disk_harms_nobody(cluster):
    too_long = "x" * 600
    record = pack_record(A_STAMP, "default", b"k", b"v")
    with cluster.socket(zmq.DEALER, "peer_port") as port:
        replies = ask(
            port,
            TakeHints(too_long, 1),
            ReadReplica(1, too_long.encode(), (too_long,)),
            WriteReplica(2, too_long.encode(), record, None),
            WriteReplica(3, digest_of("default", b"k"), record, too_long),
            SaveDisk(too_long, ""),
            StorageStatus(4),
            header=cluster.header,
        )

    assert WriteReplicaReply(2, ReplicaStatus.INTERNAL, None) in replies
    assert WriteReplicaReply(3, ReplicaStatus.INTERNAL, None) in replies
    assert StorageStatusReply in map(type, replies)


# --- the wrong size, the wrong socket, and no ZeroMQ at all -----------------------------


@pytest.mark.parametrize("port_name", PORTS)
def test_a_frame_beyond_all_limits_cuts_its_link_and_no_other(cluster, port_name):
    """Only its head is sent: that is what it is judged by."""
    kind = b"XPUB" if port_name == "gossip_port" else b"DEALER"
    address = ("127.0.0.1", cluster.port(port_name))
    with socket.create_connection(address) as port:
        port.settimeout(PATIENCE_S)
        port.sendall(GREETING + ready(kind) + b"\x02" + struct.pack(">Q", FRAME_BYTES_MAX + 1))

        while port.recv(4096):
            pass


@pytest.mark.parametrize("times", [2, 100, 1000])
def test_a_request_over_the_limit_is_answered_however_much_it_is(cluster, times):
    with cluster.socket(zmq.DEALER) as port:
        [reply] = ask(port, a_put(value=bytes(times * VALUE_MAX)))

    assert (reply.request, reply.code, reply.definite) == (7, Code.BAD_REQUEST, True)


def test_a_frame_that_would_take_up_many_times_its_size_is_refused_before_it_does(cluster):
    before = cluster.rss_bytes()
    with cluster.socket(zmq.DEALER) as port:
        port.send(b"\x92\x01\xdd" + struct.pack(">I", 2**26) + b"\x80" * 2**26)
        [reply] = decode(port.recv()).messages

    assert reply.code == Code.BAD_REQUEST
    assert cluster.rss_bytes() - before < 1024 * ARRAYS_MAX


def test_a_frame_of_thousands_of_requests_is_answered_in_full(cluster):
    count = 5000
    request_ = [Owners(number, "nope", b"k") for number in range(count)]
    answered: set[int] = set()
    with cluster.socket(zmq.DEALER) as port:
        port.send(encode(request_))
        while len(answered) < count:
            frame = port.recv()
            answered.update(reply.request for reply in decode(frame).messages)
            assert len(frame) <= FRAME_MAX

    assert answered == set(range(count))


WRONG = (zmq.PUB, zmq.SUB, zmq.XPUB, zmq.XSUB, zmq.PUSH, zmq.PULL, zmq.PAIR, zmq.REQ, zmq.REP)


@pytest.mark.parametrize("port_name", PORTS)
def test_sockets_of_every_type_may_connect_anywhere(cluster, port_name):
    with contextlib.ExitStack() as stack:
        for kind in (*WRONG, zmq.DEALER, zmq.ROUTER, zmq.STREAM):
            made = stack.enter_context(cluster.socket(kind, port_name))
            with contextlib.suppress(zmq.ZMQError):  # some cannot send, or not yet
                made.send(b"n1\0garbage", zmq.NOBLOCK)
        assert served(cluster)


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)


def ready(kind: bytes) -> bytes:
    """The command that ends a handshake, from a socket of some kind without an identity."""
    named = ((b"Socket-Type", kind), (b"Identity", b""))
    sized = (b"%c%b%b%b" % (len(k), k, struct.pack(">I", len(v)), v) for k, v in named)
    body = b"\x05READY" + b"".join(sized)
    return b"\x04%c%b" % (len(body), body)


READY = ready(b"DEALER")
NOT_ZEROMQ = {
    "nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: toystore\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "noise": random.Random(SEED).randbytes(100_000),
    "half a greeting": GREETING[:20],
    "a greeting and noise": GREETING + random.Random(SEED).randbytes(10_000),
    "a greeting and a huge command": GREETING + b"\x06" + struct.pack(">Q", 2**62),
    "a handshake and a huge frame": GREETING + READY + b"\x02" + struct.pack(">Q", 2**62),
    "a handshake and half a frame": GREETING + READY + b"\x00\xff" + b"half",
}


@pytest.mark.parametrize("port_name", PORTS)
@pytest.mark.parametrize("garbage", NOT_ZEROMQ.values(), ids=NOT_ZEROMQ.keys())
def test_what_is_not_even_zeromq_harms_nobody(cluster, port_name, garbage):
    """Once hung up on by us, and once left open while others are served."""
    address = ("127.0.0.1", cluster.port(port_name))
    with socket.create_connection(address) as once, contextlib.suppress(ConnectionError):
        once.sendall(garbage)
    with socket.create_connection(address) as open_, contextlib.suppress(ConnectionError):
        open_.sendall(garbage)
        assert served(cluster)


# --- those who say nothing, those who never listen, and crowds --------------------------


def test_clients_that_connect_and_say_nothing_keep_nobody_waiting(cluster):
    with contextlib.ExitStack() as stack:
        for port_name in PORTS:
            address = ("127.0.0.1", cluster.port(port_name))
            for _ in range(50):
                stack.enter_context(socket.create_connection(address))
        for _ in range(50):
            stack.enter_context(cluster.socket(zmq.DEALER))
        assert served(cluster)


def test_a_client_that_asks_and_hardly_reads_costs_bounded_memory_and_nobody_else_waits(cluster):
    """It asks a little at a time, so that what is held for it counts and not what is under way.

    It reads one reply of each eight: TCP cuts a client that reads nothing for `SILENT_S_MAX`,
    and what is held for that one is let go.
    """
    asked = 8
    wave = encode([a_get(key=b"large", timeout_ms=60_000)] * asked)
    held_max = CLIENT_FRAMES_MAX * (FRAME_MAX + VALUE_MAX) + HELD_BYTES_MAX
    with (
        cluster.client() as store,
        cluster.socket(zmq.DEALER, RCVHWM=1, RCVBUF=4096) as slow,
    ):
        store.put("large", bytes(VALUE_MAX))
        before = cluster.rss_bytes()

        def is_idle() -> bool:
            requests = store.status()["requests"]
            return requests["held"] + requests["settling"] == 0

        def ask_again() -> bool:
            slow.send(wave)
            wait_until(is_idle)
            assert store.get("large") is not None
            assert cluster.rss_bytes() - before < 2 * held_max
            with contextlib.suppress(zmq.Again):
                slow.recv(zmq.NOBLOCK)
            return True

        wait_until(lambda: ask_again() and cluster.log("reply.dropped"))
        for _ in range(4 * held_max // (asked * VALUE_MAX)):
            ask_again()


def test_thousands_of_connects_and_disconnects_leave_nothing_behind(cluster):
    with cluster.client() as store:
        store.put("k", b"v")
    descriptors = cluster.descriptors()
    memory = cluster.rss_bytes()

    for at in range(2000):
        port = cluster.port(PORTS[at % len(PORTS)])
        with socket.create_connection(("127.0.0.1", port)) as made:
            made.sendall(GREETING[: at % len(GREETING)])
    for _ in range(300):
        with cluster.socket(zmq.DEALER) as made:
            [reply] = ask(made, a_get())
            assert type(reply) is GetReply

    wait_until(lambda: cluster.descriptors() <= descriptors + 10)
    assert cluster.rss_bytes() - memory < 32 * 1024 * 1024
