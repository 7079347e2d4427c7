"""What crosses sockets: frames, doors of a node, replies to a client.

Of each decoder NAME there are three functions, which its row in decoders.py finds:

    read_NAME   calls the decoder as the product does; it raises what the decoder raises
    check_NAME  the law of whatever was read; it asserts
    NAME_seeds  inputs that must be read, made by the product, so that they follow its formats
"""

from __future__ import annotations

import builtins
import functools
import random
import types
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgpack
import zmq
from fuzz_inputs import CONFIG, HEADER, NOW, STAMP, listed, sample, unpacked

from actors import log
from actors.doors.client_port import ClientPort
from actors.doors.door import Door
from actors.doors.mailbox import Mailbox
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
from toystore.core.data.stamp import MINTER_BYTES, HybridLogicalClock
from toystore.core.protocol.address import STORAGE
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import ErrorReply, SupersededReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.routes import WIRE, taken_by
from toystore.core.protocol.settings import CoordinatorSettings, LimitSettings
from toystore.core.requests.admission import Admission
from toystore.core.requests.desk import Desk
from toystore.core.requests.serving import Input, Serving
from toystore.wire import Frame, Header, decode, encode

# --- frames -----------------------------------------------------------------------------


def read_frame(data: bytes) -> Frame:
    return decode(data)


def check_frame(frame: Frame) -> None:
    """What was let in is what its annotations say, can be sent on, and arrives as it was."""
    assert all(fits(message, type(message)) for message in frame.messages)
    assert frame.header is None or fits(frame.header, Header)
    assert repr(decode(encode(*frame))) == repr(frame)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of a type as it may be annotated in a message."""
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


# --- doors ------------------------------------------------------------------------------

REPLY_TEXT_MAX = 500
MESSAGES_MAX = 100
"""Of one input: fewer than any queue holds."""


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
    return _heard(_before_client_port(full=False), data)


def read_full_client_port(data: bytes) -> Heard:
    return _heard(_before_client_port(full=True), data)


def read_mailbox(data: bytes) -> Heard:
    return _heard(_before_mailbox(), data)


@functools.cache
def _before_client_port(*, full: bool) -> Before:
    address = f"inproc://client port, full: {full}"
    admission = _admission(full=full)
    port = ClientPort(_around(), (address,), lambda: admission)
    return _before(port, ClientPort.ACCEPTS, address)


@functools.cache
def _before_mailbox() -> Before:
    takes_ = taken_by(STORAGE)
    return _before(Mailbox(_around(), STORAGE, "inproc://mailbox"), takes_, "inproc://mailbox")


def _admission(*, full: bool) -> Admission:
    """One without room, or that of a node that does not serve, which has room for all."""
    serving = Serving()
    if full:
        serving.move(Input.READY)
    settings = CoordinatorSettings(limits=LimitSettings(requests_max=0))
    desk = Desk("n1", ("n1", "n2"), settings, Outbox(), random.Random(1))
    return Admission(desk, serving, settings)


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
    foreign = HEADER._replace(cluster=HEADER.cluster._replace(name="another"))
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
    terms = make_terms("default", None, 2.0, None)
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
