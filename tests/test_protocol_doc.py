"""docs/PROTOCOL.md says what the code does.

Run as a program it writes the table of messages anew.
"""

from __future__ import annotations

import random
import re
import threading
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import zmq

from toystore import wire
from toystore.core.antientropy.antientropy import Antientropy
from toystore.core.data.context import pack_context
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import COORDINATOR, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import (
    AntientropyStatus,
    AntientropyStatusReply,
    RepairRanges,
    RepairRangesReply,
)
from toystore.core.protocol.messages.client import Get, GetReply, Put, WriteReply
from toystore.core.protocol.messages.codes import Code, MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.routes import WIRE, Priority, Route
from toystore.core.protocol.settings import (
    ARRAY_ITEMS_CAP,
    KEY_BYTES_CAP,
    AntientropySettings,
    CoordinatorSettings,
    LimitSettings,
)
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.storage import Storage
from toystore.engines.memory import MemoryEngine
from toystore.wire import ARRAYS_MAX, FRAME_BYTES_MAX

DOCUMENT = Path(__file__).parent.parent / "docs" / "PROTOCOL.md"
TABLE = re.compile(r"(?<=-->\n)(.*)(?=<!-- end -->)", re.DOTALL)

STAMP = pack_stamp(1_714_564_800_000_000, 0, bytes(range(1, 9)))
PUT = Put(7, "default", b"cart:7", b"milk", None, b"", None, 2000, False)
WRITTEN = WriteReply(7, STAMP, 2, 0)


def message_table() -> str:
    """The table of messages, as `WIRE` and their annotations have it."""
    head = "| tag | message | taken by | fields |\n|---|---|---|---|\n"
    return head + "".join(map(row, WIRE))


def row(route: Route) -> str:
    to = route.to + (", background" if route.priority is Priority.BACKGROUND else "")
    hints = typing.get_type_hints(route.type)
    fields = ", ".join(f"{name}: {spelt(hint)}" for name, hint in hints.items())
    return f"| {route.tag} | {route.type.__name__} | {to} | {f'`{fields}`' if fields else ''} |\n"


def spelt(annotation: Any) -> str:
    """A type in msgpack's words."""
    if isinstance(annotation, types.UnionType):
        return " or ".join(map(spelt, annotation.__args__))
    if typing.get_origin(annotation) is tuple:
        inner = typing.get_args(annotation)
        if inner[-1] is Ellipsis:
            return f"[{spelt(inner[0])} ...]"
        return f"[{', '.join(map(spelt, inner))}]"
    plain = typing.get_origin(annotation) or annotation
    return _WORDS.get(plain) or str(plain.__name__)


_WORDS = {bytes: "bin", dict: "map", types.NoneType: "nil", MemberState: "member"}


def document() -> str:
    return DOCUMENT.read_text("utf-8")


def section(title: str) -> str:
    """What stands under a heading, up to the next."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", document(), re.M | re.S)
    assert found, f"no section {title!r}"
    return found[1]


def rows_of(text: str) -> list[list[str]]:
    """The rows of the tables in ``text``, without the heads."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in rows]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document(), re.M | re.S)


def test_every_message_is_listed_with_its_tag_its_taker_and_its_fields() -> None:
    written = TABLE.search(document())
    assert written
    assert written[1] == message_table(), "run: python tests/test_protocol_doc.py"


def test_a_member_is_described_with_its_fields() -> None:
    hints = typing.get_type_hints(MemberState)
    fields = ", ".join(f"{name}: {spelt(hint)}" for name, hint in hints.items())
    assert f"A *member* is `[{fields}]`" in document()


@pytest.mark.parametrize(
    ("title", "numbers"),
    [
        ("Codes of ErrorReply", Code),
        ("Statuses of a replica", ReplicaStatus),
        ("Statuses of a member", MemberStatus),
    ],
)
def test_every_number_is_listed_with_its_name(title: str, numbers: type[IntEnum]) -> None:
    listed = [tuple(cells[:2]) for cells in rows_of(section(title))[2:]]
    assert listed == [(str(int(number)), number.name) for number in numbers]


def test_the_map_of_storage_is_listed_key_by_key() -> None:
    out, asker = Outbox(), Peer("n1", COORDINATOR)
    storage = Storage(
        store=MemoryEngine(),
        node="n1",
        ranges=Ranges(fixed_ring([Member("n1")], 1, 1), "n1", ()),
        copies={},
        hint_bytes_max=1,
        outbox=out,
        chance=random.Random(1),
    )
    storage.receive(StorageStatus(1), asker, Now(0.0, 0))
    [reply] = out.sends[asker]
    assert isinstance(reply, StorageStatusReply)
    _, table = section("The maps in StatusReply and StorageStatusReply").split(
        "StorageStatusReply:"
    )
    listed = {key.strip("`") for key, _ in rows_of(table)[2:]}
    assert listed == {*reply.status, "error"}


def test_the_maps_of_anti_entropy_are_listed_key_by_key() -> None:
    ring = fixed_ring([Member("n1")], partitions=8, n=1)
    out, asker = Outbox(), Peer("n1", COORDINATOR)
    machine = Antientropy(
        node="n1",
        ranges=Ranges(ring, "n1", [1]),
        settings=AntientropySettings(),
        outbox=out,
        chance=random.Random(1),
    )
    machine.receive(AntientropyStatus(1), asker, Now(0.0, 0))
    machine.receive(RepairRanges(2, 3, None, None), asker, Now(0.0, 0))
    status, repair = out.sends[asker]
    assert isinstance(status, AntientropyStatusReply)
    assert isinstance(repair, RepairRangesReply)
    for title, told in (
        ("The map in AntientropyStatusReply", status.status),
        ("The map in RepairReply and RepairRangesReply", repair.progress),
    ):
        cells = (cells[0] for cells in rows_of(section(title))[2:])
        listed = {key.strip("`") for keys in cells for key in keys.split(", ")}
        assert listed == {*told, "error"}


def test_the_limits_are_the_defaults() -> None:
    text, limits, requests = section("Limits"), LimitSettings(), CoordinatorSettings()
    mib = 1024 * 1024
    for said in (
        f"1 to {limits.key_bytes_max:,} bytes",
        f"1 to {KEY_BYTES_CAP:,} bytes",
        f"{FRAME_BYTES_MAX:,} bytes",
        f"{ARRAYS_MAX:,}, of {ARRAY_ITEMS_CAP:,} items each",
        f"{limits.value_bytes_max:,} bytes",
        f"frames of {limits.frame_bytes_max // mib} MiB",
        f"{limits.requests_max:,}, and {limits.request_bytes_max // mib} MiB",
        f"{limits.hint_bytes_max // (1024 * mib)} GiB",
        f"| {requests.timeout_max_s:g} s |",
        f"| {requests.clock_ahead_max_s:g} s |",
    ):
        assert said in text


@pytest.mark.parametrize(("at", "message", "epoch"), [(0, PUT, None), (1, WRITTEN, 5)])
def test_the_example_in_bytes_is_what_the_wire_makes(
    at: int, message: Message, epoch: int | None
) -> None:
    lines = blocks("hex")[at].splitlines()
    data = bytes.fromhex("".join(re.split(" {2,}", line.strip())[0] for line in lines))
    assert data == wire.encode([message], None, epoch)
    assert wire.decode(data) == wire.Frame([message], None, epoch)


def test_the_layouts_are_those_of_the_code() -> None:
    """Each field of the tables is cut out at its offset, and is what went in."""
    stamps, records = (rows_of(part)[2:] for part in section("Layouts").split("A **record**"))
    cut = cutter(STAMP, stamps)
    assert cut("microseconds") == (1_714_564_800_000_000).to_bytes(8, "big")
    assert cut("counter") == bytes(4)
    assert cut("minter") == bytes(range(1, 9))
    record = pack_record(STAMP, "b", b"keys", b"value", expiry_us=9, versions=b"vv", tombstone=True)
    cut = cutter(record, records)
    assert cut("format") == cut("flags") == b"\1"
    assert cut("stamp") == STAMP
    assert cut("expiry") == (9).to_bytes(8, "big")
    lengths = ("length of the bucket", "length of the key", "length of the versions")
    assert [int.from_bytes(cut(name), "big") for name in lengths] == [1, 4, 2]
    assert cut("bucket (UTF-8)") == b"bkeysvvvalue"
    assert f"It is {len(pack_context(STAMP))} bytes" in section("Layouts")


def cutter(data: bytes, table: list[list[str]]) -> Callable[[str], bytes]:
    """A function that cuts a field, named by how its row begins, out of ``data``."""

    def cut(name: str) -> bytes:
        [(at, size)] = [(at, size) for at, size, field in table if field.startswith(name)]
        return data[int(at) : int(at) + int(size) if size else None]

    return cut


def test_the_digest_is_made_as_written() -> None:
    assert "`7:defaultcart:7`" in section("Layouts")
    digest = blake2b(b"7:defaultcart:7", digest_size=16).digest()
    assert b"\x03" + digest == digest_of("default", b"cart:7", 3)


def test_the_small_client_is_no_longer_than_it_says_and_works() -> None:
    [code] = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    with node_of_a_dict() as endpoint:
        scope: dict[str, Any] = {}
        try:
            exec(code.replace("tcp://127.0.0.1:7400", endpoint), scope)
            assert scope["values"] == [b"milk"]
            assert (scope["owners"], scope["fallbacks"]) == (2, 0)
        finally:
            scope["socket"].context.destroy(linger=0)


@contextmanager
def node_of_a_dict() -> Iterator[str]:
    """A client port with a dict behind it; the real wire, and one put and get of patience."""
    context: zmq.Context[Any] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    router.rcvtimeo = 5000
    held: dict[bytes, bytes] = {}

    def answer(message: Message) -> Message:
        if isinstance(message, Put):
            held[message.key] = message.value
            return WriteReply(message.request, STAMP, 2, 0)
        assert isinstance(message, Get)
        return GetReply(message.request, (held[message.key],), pack_context(STAMP), 2, 0)

    def serve() -> None:
        for _ in range(2):
            *envelope, body = router.recv_multipart()
            replies = [answer(message) for message in wire.decode(body).messages]
            router.send_multipart([*envelope, wire.encode(replies, None, 5)])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        thread.join()
        router.close(linger=0)
        context.term()


if __name__ == "__main__":
    DOCUMENT.write_text(TABLE.sub(lambda _: message_table(), document()), "utf-8")
