"""Looks at each replica by itself: a peer that asks storages what they hold."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import zmq

from toystore.config import ClusterConfig, MemberConfig
from toystore.core.data.record import Record, digest_of, unpack_record
from toystore.core.protocol.address import COORDINATOR, Peer
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.replica import ReadReplica, ReadReplicaReply
from toystore.core.ring.ring import Ring
from toystore.net.endpoint import Endpoint
from toystore.wire import Header, decode, encode

_ASKED_AT_ONCE = 200


def owners_of(config: ClusterConfig, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The owners of each key, as the ring has them."""
    n = config.buckets["default"].n
    ring = Ring(config.ring_members(), config.partitions, n)
    digests = {key: digest_of("default", key.encode()) for key in keys}
    return {key: ring.order(ring.partition_of(digests[key]))[:n] for key in digests}


def copies(
    config: ClusterConfig, keys: Iterable[str], *, timeout_s: float = 30.0
) -> dict[str, dict[str, Record | None]]:
    """For each key, what each of its owners holds."""
    owners = owners_of(config, keys)
    held: dict[str, dict[str, Record | None]] = {key: {} for key in owners}
    for member in config.members:
        asked = [key for key in owners if member.name in owners[key]]
        replies = _ask(
            config,
            member,
            [ReadReplica(at, digest_of("default", k.encode()), ()) for at, k in enumerate(asked)],
            timeout_s,
        )
        for at, key in enumerate(asked):
            reply = replies[at]
            found = reply.status == ReplicaStatus.OK and reply.record is not None
            held[key][member.name] = unpack_record(reply.record) if found else None
    return held


def _ask(
    config: ClusterConfig, member: MemberConfig, requests: list[ReadReplica], timeout_s: float
) -> dict[int, ReadReplicaReply]:
    """Ask one storage as the coordinator of some node would, a few at a time."""
    replies: dict[int, ReadReplicaReply] = {}
    header = Header(Peer("checker", COORDINATOR), config.cluster, config.members_digest())
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.identity = b"checker/" + os.urandom(4)
    try:
        socket.connect(str(Endpoint(member.host, member.peer_port)))
        for start in range(0, len(requests), _ASKED_AT_ONCE):
            chunk = requests[start : start + _ASKED_AT_ONCE]
            socket.send(encode(chunk, header))
            end = time.monotonic() + timeout_s
            while len(replies) < start + len(chunk):
                if not socket.poll(max(0, int((end - time.monotonic()) * 1000))):
                    raise TimeoutError(f"storage of {member.name} has not answered")
                for message in decode(socket.recv()).messages:
                    assert isinstance(message, ReadReplicaReply), message
                    replies[message.request] = message
    finally:
        socket.close()
        context.term()
    return replies
