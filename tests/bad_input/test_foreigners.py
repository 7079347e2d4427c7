"""Those who belong to another cluster, or say so."""

from __future__ import annotations

import pytest
import zmq

from tests.harness.configs import change_config
from tests.harness.programs import last_words
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.messages.client import ErrorReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.disk import StorageStatus
from toystore.core.protocol.messages.gossip import (
    Exchange,
    Ping,
    Refused,
)
from toystore.core.ring.digest import bucket_table
from toystore.wire import VERSION, Header, decode, encode

from .garbage import GARBAGE
from .target import a_put, ask

pytestmark = pytest.mark.cluster

SPEAKS = f"protocol version 1; this node speaks {VERSION}: install the same version of toystore"
PUT_1 = bytes.fromhex(
    "9b 03 07 a7 64656661756c74 c406 636172743a37 c404 6d696c6b c0 c400 c0 c0 cd07d0"
)
"""Of version 1, up to `forwarded`: tag 3, request 7, "default", "cart:7", "milk", and so on."""
STORAGE_STATUS_1, EXCHANGE_1, PING_1 = b"\x92\x2c\x07", b"\x93\x36\x07\x90", b"\x93\x32\x07\x90"
BY_CLIENT, FORWARDED = b"\xc2", b"\xc3"


def frame_1(message: bytes, node: str) -> bytes:
    """A frame of version 1, as a node of toystore 0.1.0 sends it."""
    texts = (node, "gossip", "bad_input")
    names = b"".join(bytes([0xA0 + len(text)]) + text.encode() for text in texts)
    return b"\x96\x01\x91" + message + names + b"\xc4\x10" + bytes(16)


@pytest.mark.parametrize(
    ("port_name", "message"),
    [
        ("client_port", PUT_1 + FORWARDED),
        ("peer_port", STORAGE_STATUS_1),
        ("exchange_port", EXCHANGE_1),
    ],
)
def test_a_node_of_version_1_is_told_so_and_is_logged_by_its_name(cluster, port_name, message):
    node = f"old at {port_name}"
    with cluster.socket(zmq.DEALER, port_name) as port:
        for _ in range(2):
            port.send(frame_1(message, node))
            [reply] = decode(port.recv()).messages

    assert type(reply) is (ErrorReply if port_name == "client_port" else Refused)
    assert SPEAKS in reply.text
    [logged] = cluster.refused(node)
    assert logged["reason"] == reply.text


def test_a_client_of_version_1_is_told_so(cluster):
    with cluster.socket(zmq.DEALER, "client_port") as port:
        port.send(b"\x92\x01\x91" + PUT_1 + BY_CLIENT)
        [reply] = decode(port.recv()).messages

    assert (type(reply), reply.code, reply.definite) == (ErrorReply, Code.BAD_REQUEST, True)
    assert SPEAKS in reply.text


def test_datagrams_of_version_1_are_dropped_and_their_node_is_logged_by_its_name(cluster):
    with cluster.publisher() as outlet:
        for _ in range(2):
            outlet.send(b"n1\0" + frame_1(PING_1, "old by datagram"))
        cluster.await_gossip(outlet)

    [logged] = cluster.refused("old by datagram")
    assert SPEAKS in logged["reason"]


@pytest.mark.parametrize("port_name", ["client_port", "peer_port", "exchange_port"])
@pytest.mark.parametrize(
    ("difference", "told"),
    [
        ({"name": "another"}, "cluster 'another' is not"),
        ({"lineage": bytes(16), "digest": bytes(16)}, "another lineage"),
        ({"buckets": bucket_table({"pair": 3})}, "bucket 'pair' has n=3 there and n=2 here"),
    ],
    ids=["name", "members", "buckets"],
)
def test_a_foreign_peer_is_told_why_it_is_refused(cluster, port_name, difference, told):
    member = f"foreigner/{port_name}/{next(iter(difference))}"
    header = Header(Peer(member, STORAGE), cluster.header.cluster._replace(**difference))
    with cluster.socket(zmq.DEALER, port_name) as port:
        replies = [ask(port, a_put(forwarded=True), header=header) for _ in range(3)]

    assert all(type(reply) is Refused for [reply] in replies)
    assert told in replies[0][0].text
    assert [line["reason"] for line in cluster.refused(member)] == [replies[0][0].text]


def test_bad_datagrams_are_dropped_and_logged_once(cluster):
    last = cluster.foreign._replace(sender=Peer("a foreigner by datagram", GOSSIP))
    with cluster.publisher() as outlet:
        for _ in range(2):
            for garbage in GARBAGE.values():
                outlet.send(b"n1\0" + garbage)
            outlet.send(b"n1\0" + encode([Ping(1, ())]))  # no header
            outlet.send_multipart([b"n1\0", encode([Ping(1, ())], cluster.header)])
            outlet.send(b"*\0" + encode([Ping(1, ())], last))
        wait_until(lambda: cluster.refused("a foreigner by datagram"))

    assert len(cluster.refused("a foreigner by datagram")) == 1
    assert len(cluster.rejected("datagram")) == 1


def test_what_is_no_datagram_is_not_taken_from_one(cluster):
    by_datagram = cluster.header._replace(sender=Peer("n3", "by datagram"))
    with cluster.publisher() as outlet:
        for message in (Exchange(1, (), "run"), Refused("go away"), a_put(), StorageStatus(1)):
            outlet.send(b"n1\0" + encode([message], by_datagram))
        wait_until(lambda: cluster.rejected(by_datagram.sender))

    assert len(cluster.rejected(by_datagram.sender)) == 1


def test_a_node_with_another_member_list_is_refused_says_why_and_stops(cluster, tmp_path):
    members = [*cluster.names, "n4"]
    path = change_config(cluster.config_path, into=tmp_path / "stranger.yaml", members=members)

    told = last_words(path, "n4", cluster.data, code=1)

    assert "another lineage of cluster" in told
    assert "must be the same in both configurations" in told
    assert any(cluster.events(name, "member.refused") for name in cluster.names)
