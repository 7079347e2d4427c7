"""Frames that are none, and messages that are out of place."""

from __future__ import annotations

import pytest
import zmq

from toystore.core.protocol.messages.client import (
    ErrorReply,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.gossip import (
    Exchange,
    Ping,
    Refused,
)
from toystore.core.protocol.messages.replica import (
    WriteReplica,
)
from toystore.wire import decode, encode

from .garbage import GARBAGE
from .target import A_STAMP, a_delete, a_get, a_put, ask

pytestmark = pytest.mark.cluster

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
    ("client_port", Exchange(1, (), "run")),
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
