"""Ring records that a test makes and offers to storages, as the operator of a cluster would."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import zmq

from toystore.config import ClusterConfig, MemberConfig
from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.ring import OfferRings, OfferRingsReply
from toystore.core.ring.cluster_id import cluster_id
from toystore.core.ring.record import Gone, RingRecord
from toystore.net.endpoint import Endpoint
from toystore.wire import Frame, Header, decode, encode

from .sockets import connected


def without(before: RingRecord, lineage: bytes, name: str, disk: str = "") -> RingRecord:
    """The next record, in which a member was removed at once."""
    members = tuple(one for one in before.members if one.name != name)
    gone = (*before.gone, Gone(name, disk, before.epoch + 1))
    return before.next(lineage, members=members, gone=gone, made_by="n1", why=f"remove {name}")


def ask_storage(
    config: ClusterConfig,
    to: MemberConfig,
    message: Message,
    *,
    record: RingRecord | None = None,
    sender: str = "n1",
) -> Frame:
    """What the storage of a node answers to a node whose newest record is ``record``."""
    lineage = config.cluster_id().lineage
    identity = cluster_id(record or config.founding(), lineage, config.copies())
    header = Header(Peer(sender, "operator"), identity)
    with zmq.Context() as context:
        port: Any = connected(context, zmq.DEALER, str(Endpoint(to.host, to.peer_port)))
        with port:
            port.send(encode([message], header))
            return decode(port.recv())


def offer(config: ClusterConfig, to: MemberConfig, records: Iterable[RingRecord]) -> None:
    """Have the storage of a node adopt records that follow each other."""
    packed = [record.packed for record in records]
    frame = ask_storage(config, to, OfferRings(1, tuple(packed)))
    [reply] = frame.messages
    assert isinstance(reply, OfferRingsReply), reply
    assert reply.reason == "", reply
