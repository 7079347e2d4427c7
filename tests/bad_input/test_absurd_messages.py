"""What is well-formed and absurd, from somebody who knows the member list."""

from __future__ import annotations

import pytest
import zmq

from toystore.core.data.record import digest_of, pack_record
from toystore.core.protocol.address import GOSSIP, HANDOFF, STORAGE, Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import ReplicaStatus
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
from toystore.wire import decode, encode

from .target import A_STAMP, ask

pytestmark = pytest.mark.cluster

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
    ("exchange_port", GOSSIP, Exchange(1, STATES, "run")),
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
        with cluster.publisher() as outlet:
            outlet.send(b"n1\0" + encode([message], header))
            cluster.await_gossip(outlet)
    else:
        with cluster.socket(zmq.DEALER, port_name) as port:
            port.send(encode([message], header))
            port.send(encode([message], cluster.foreign))
            while type(decode(port.recv()).messages[0]) is not Refused:
                pass

    cluster.until_ready()


def test_a_name_too_long_for_the_disk_harms_nobody(cluster):
    too_long = "x" * 600
    record = pack_record(A_STAMP, "default", b"k", b"v")
    with cluster.socket(zmq.DEALER, "peer_port") as port:
        replies = ask(
            port,
            TakeHints(too_long, 1),
            ReadReplica(1, too_long.encode(), (too_long,)),
            WriteReplica(2, too_long.encode(), record, None),
            WriteReplica(3, digest_of("default", b"k", 3), record, too_long),
            SaveDisk(too_long, ""),
            StorageStatus(4),
            header=cluster.header,
        )

    assert WriteReplicaReply(2, ReplicaStatus.INTERNAL, None) in replies
    assert WriteReplicaReply(3, ReplicaStatus.INTERNAL, None) in replies
    assert StorageStatusReply in map(type, replies)
