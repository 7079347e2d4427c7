"""Looks at each replica by itself: a peer that asks storages what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq

from tests.harness.disks import records_of
from tests.harness.sockets import connected
from toystore.config import ClusterConfig, MemberConfig
from toystore.core.data.record import Record, digest_of, unpack_record
from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.replica import ReadReplica, WriteReplica
from toystore.core.ring.ring import Ring
from toystore.core.ring.view import RingView
from toystore.net.endpoint import Endpoint
from toystore.wire import Header, decode, encode

_ASKED_AT_ONCE = 200


def owners_of(config: ClusterConfig, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The owners of each key, as the ring has them."""
    n = config.buckets["default"].n
    ring = Ring(config.ring_members(), config.partitions, n)
    digests = {key: digest_of("default", key.encode(), 3) for key in keys}
    return {key: ring.order(ring.partition_of(digests[key]))[:n] for key in digests}


def copies(config: ClusterConfig, keys: Iterable[str]) -> dict[str, dict[str, Record | None]]:
    """For each key, what each of its owners holds."""
    owners = owners_of(config, keys)
    held: dict[str, dict[str, Record | None]] = {key: {} for key in owners}
    for member in config.members:
        asked = [key for key in owners if member.name in owners[key]]
        reads = [
            ReadReplica(at, digest_of("default", k.encode(), 3), ()) for at, k in enumerate(asked)
        ]
        replies = ask(config, member, reads)
        for at, key in enumerate(asked):
            reply = replies[at]
            found = reply.status == ReplicaStatus.OK and reply.record is not None
            held[key][member.name] = unpack_record(reply.record) if found else None
    return held


def copies_on_disks(
    ring: RingView, folders: Mapping[str, Path], keys: Iterable[str]
) -> dict[str, dict[str, Record | None]]:
    """For each key, what each of its owners by a ring has on its disk.

    ``folders``: of the nodes that run.
    """
    digests = {key: digest_of("default", key.encode(), 3) for key in keys}
    held = {name: records_of(folder, digests.values()) for name, folder in folders.items()}

    def copy(owner: str, digest: bytes) -> Record | None:
        record = held.get(owner, {}).get(digest)
        return None if record is None else unpack_record(record)

    return {
        key: {owner: copy(owner, digest) for owner in ring.owners(ring.partition_of(digest), 3)}
        for key, digest in digests.items()
    }


def ask(
    config: ClusterConfig, member: MemberConfig, requests: Sequence[ReadReplica | WriteReplica]
) -> dict[int, Any]:
    """Ask one storage as the coordinator of some node would, a few at a time: each reply."""
    replies: dict[int, Any] = {}
    header = Header(Peer(config.members[0].name, "checker"), config.cluster_id())
    address = str(Endpoint(member.host, member.peer_port))
    identity = b"checker/" + os.urandom(4)
    with (
        zmq.Context() as context,
        connected(context, zmq.DEALER, address, ROUTING_ID=identity) as socket,
    ):
        for start in range(0, len(requests), _ASKED_AT_ONCE):
            chunk = requests[start : start + _ASKED_AT_ONCE]
            socket.send(encode(chunk, header))
            while len(replies) < start + len(chunk):
                replies |= {reply.request: reply for reply in decode(socket.recv()).messages}
    return replies
