"""Limits that are lowered by a rolling restart: what was stored before is served, and moved."""

import os

import pytest

from tests.harness.configs import change_config
from toystore import BadRequest
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.replica import WriteReplica, WriteReplicaReply

from .replicas import ask, copies, owners_of

pytestmark = pytest.mark.cluster

MB = 1_000_000
HIGH = {"value_bytes_max": 16 * 1024 * 1024, "key_bytes_max": 4096}
LONG_KEY = "long" * 1000


def a_key(cluster, name, *, owned):
    """A key that a node owns, or does not."""
    keys = [f"large{number}" for number in range(100)]
    owners = owners_of(cluster.config, keys)
    return next(key for key in keys if (name in owners[key]) is owned)


def write_one_copy(cluster, key, value):
    """One owner alone holds a record: the others are to be repaired."""
    owner = cluster.config.member(owners_of(cluster.config, [key])[key][0])
    digest, stamp = digest_of("default", key.encode(), 3), pack_stamp(1, 0, b"minter__")
    write = WriteReplica(1, digest, pack_record(stamp, "default", key.encode(), value), None)

    replies = ask(cluster.config, owner, [write])

    assert replies == {1: WriteReplicaReply(1, ReplicaStatus.OK, None)}


def lower(cluster, *names):
    """Restart nodes, one after the other, with the limits that a file has by default."""
    lowered = cluster.config_path.with_name("lowered.yaml")
    path = change_config(cluster.config_path, into=lowered, limits={})
    for name in names:
        if cluster.nodes[name] in cluster.running():
            cluster.stop(name)
        cluster.set_fault(name, config=str(path))
        cluster.start(name)


def test_what_was_stored_under_higher_limits_is_served_repaired_and_handed_off_under_lower_ones(
    make_cluster,
):
    # A forwarding node waits for the answer, however long 8 MB take on a busy machine.
    cluster = make_cluster(4, limits=HIGH, requests={"replica_timeout_s": 20.0})
    hinted = a_key(cluster, "n3", owned=True)
    forwarded = a_key(cluster, "n4", owned=False)
    value = os.urandom(8 * MB)
    with cluster.client("n1", "n2", "n4") as store:
        cluster.stop("n3")
        cluster.until_seen("left", "n3")
        assert store.put(hinted, value).fallbacks <= 1
        store.put(LONG_KEY, b"x")
    write_one_copy(cluster, "torn", value)

    lower(cluster, "n1", "n2", "n3")
    patient = cluster.client("n4", attempt_timeout=30)
    with patient as store, pytest.raises(BadRequest, match="at most 1048576") as told:
        store.put(forwarded, bytes(15 * MB))
    lower(cluster, "n4")
    cluster.until_drained()

    assert told.value.definite
    for name in cluster.names:
        with cluster.client(name, attempt_timeout=10) as store:
            assert store.get(hinted).value == value
            assert store.get("torn", r=3).value == value
            assert store.get(LONG_KEY).value == b"x"
            with pytest.raises(BadRequest):
                store.put(hinted, bytes(8 * MB))
            assert store.put(name, b"small", w=3).owners == 3
    with cluster.client("n2", attempt_timeout=30) as store:
        store.delete(LONG_KEY)
        largest = {f"{number:0>1024}": bytes([number]) * 1024**2 for number in range(20)}
        store.put_many(largest)
        found = store.get_many(list(largest))
        for key, value_ in (("k" * 1025, b""), ("k", bytes(1024**2 + 1))):
            with pytest.raises(BadRequest):
                store.put(key, value_)
    assert {key: each.value for key, each in found.items()} == largest

    def all_have_it():
        held = copies(cluster.config, [hinted, "torn"])
        return all(
            record and record.value == value for row in held.values() for record in row.values()
        )

    cluster.until(all_have_it, "every owner has its copy")
    lost = {
        (name, line["member"]): line["timestamp"]
        for name in cluster.names
        for line in cluster.events(name, "link.lost")
    }
    restarted = {name: cluster.events(name, "node.started")[-1] for name in cluster.names}
    assert all(when < restarted["n4"]["timestamp"] for when in lost.values()), lost
