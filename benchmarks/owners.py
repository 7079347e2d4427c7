"""Does each owner of a key answer a get, and does it have what was acknowledged?

A get with R=1 rests on the one owner whose answer comes first, and clients cannot choose it.  So
each owner is asked by itself, with the question that a coordinator asks (`ReadReplica`).  Its
answer has to be a vote: it is not one while the owner lacks records, or has given them away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from checked_load import number_in

from tests.cluster.replicas import ask
from toystore.core.data.record import digest_of, unpack_record
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.replica import ReadReplica, ReadReplicaReply
from toystore.core.ring.view import RingView
from toystore.localcluster.cluster import LocalCluster


class Asked(NamedTuple):
    """What became of the questions."""

    questions: int
    """How many: one for each key and owner."""
    unread: list[str]
    """The answers that are wrong."""


def ask_owners(cluster: LocalCluster, ring: RingView, written: Mapping[str, range]) -> Asked:
    """Ask each owner for all of its keys.

    ``written``: for each key, the writes of which an answer must be one.
    """
    n = cluster.config.buckets["default"].n
    keys_of: defaultdict[str, list[str]] = defaultdict(list)
    for key in written:
        partition = ring.partition_of(digest_of("default", key.encode(), n))
        for owner in ring.owners(partition, n):
            keys_of[owner].append(key)
    unread = [
        f"{owner}: {key} {fault}"
        for owner, keys in keys_of.items()
        for key, reply in zip(keys, _replies(cluster, owner, keys, n), strict=True)
        if (fault := _fault(reply, written[key]))
    ]
    return Asked(sum(map(len, keys_of.values())), unread)


def _replies(
    cluster: LocalCluster, owner: str, keys: Sequence[str], n: int
) -> list[ReadReplicaReply]:
    """What an owner answers to a coordinator, for each of its keys."""
    questions = [
        ReadReplica(number, digest_of("default", key.encode(), n), ())
        for number, key in enumerate(keys)
    ]
    replies = ask(cluster.config, cluster.nodes[owner].member, questions)
    return [replies[number] for number in range(len(keys))]


def _fault(reply: ReadReplicaReply, allowed: range) -> str:
    """What is wrong with an owner's answer; "" if it is right."""
    if reply.status != ReplicaStatus.OK or reply.record is None:
        return f"is answered {ReplicaStatus(reply.status).name}"
    number = number_in(unpack_record(reply.record).value)
    return "" if number in allowed else f"is write {number}, of {allowed}"
