"""Looks at each replica by itself: a peer that asks storages what they hold."""

from __future__ import annotations

import os
import time
from collections import Counter

import zmq

from toystore.config import ClusterConfig
from toystore.core.machine import COORDINATOR, Peer
from toystore.core.messages import ReadReplica, ReadReplicaReply, ReplicaStatus
from toystore.core.record import digest_of, unpack_record
from toystore.core.ring import Ring
from toystore.wire import Header, decode, encode


def copies(
    config: ClusterConfig, keys: list[str], *, timeout_s: float = 10.0
) -> dict[str, dict[str, bytes | None]]:
    """For each key, what each of its owners holds: the value, or None."""
    n = config.buckets["default"].n
    ring = Ring(config.ring_members(), config.partitions, n)
    digests = {key: digest_of("default", key.encode()) for key in keys}
    owners = {key: ring.order(ring.partition_of(digests[key]))[:n] for key in keys}
    held: dict[str, dict[str, bytes | None]] = {key: {} for key in keys}
    for member in config.members:
        asked = [key for key in keys if member.name in owners[key]]
        replies = _ask(
            config,
            f"tcp://{member.host}:{member.peer_port}",
            [ReadReplica(at, digests[key], ()) for at, key in enumerate(asked)],
            timeout_s,
        )
        for at, key in enumerate(asked):
            reply = replies[at]
            found = reply.status == ReplicaStatus.OK and reply.record is not None
            held[key][member.name] = unpack_record(reply.record).value if found else None
    return held


def behind(
    config: ClusterConfig, acknowledged: dict[str, int]
) -> tuple[int, int, Counter[str], list[str]]:
    """Copies looked at, copies older than the last acknowledged write, by owner, and which."""
    total = 0
    by_owner: Counter[str] = Counter()
    which = []
    for key, owners in copies(config, sorted(acknowledged)).items():
        for owner, value in owners.items():
            total += 1
            if int(value or 0) < acknowledged[key]:
                by_owner[owner] += 1
                which.append(f"{key} at {owner}: {value!r}, acknowledged {acknowledged[key]}")
    return total, sum(by_owner.values()), by_owner, which


def _ask(
    config: ClusterConfig, address: str, requests: list[ReadReplica], timeout_s: float
) -> dict[int, ReadReplicaReply]:
    """Ask one storage, as a coordinator of no node would, a few at a time."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.identity = b"checker/" + os.urandom(4)
    header = Header(Peer("checker", COORDINATOR), config.cluster, config.members_digest())
    replies: dict[int, ReadReplicaReply] = {}
    try:
        socket.connect(address)
        for start in range(0, len(requests), 100):
            chunk = requests[start : start + 100]
            socket.send(encode(chunk, header))
            end = time.monotonic() + timeout_s
            while len(replies) < start + len(chunk):
                if not socket.poll(max(0, int((end - time.monotonic()) * 1000))):
                    raise TimeoutError(f"{address} has not answered")
                for message in decode(socket.recv()).messages:
                    assert isinstance(message, ReadReplicaReply), message
                    replies[message.request] = message
    finally:
        socket.close()
        context.term()
    return replies
