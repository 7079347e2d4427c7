"""Those who belong to another cluster, or say so."""

from __future__ import annotations

import pytest
import zmq

from tests.harness.configs import change_config
from tests.harness.programs import last_words
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.messages.disk import StorageStatus
from toystore.core.protocol.messages.gossip import (
    Exchange,
    Ping,
    Refused,
)
from toystore.wire import encode

from .garbage import GARBAGE
from .target import a_put, ask

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("port_name", ["client_port", "peer_port", "exchange_port"])
@pytest.mark.parametrize(
    "difference", [{"cluster": "another"}, {"members_digest": bytes(16)}], ids=["name", "members"]
)
def test_a_foreign_peer_is_told_why_it_is_refused(cluster, port_name, difference):
    member = f"foreigner/{port_name}/{next(iter(difference))}"
    header = cluster.header._replace(sender=Peer(member, STORAGE), **difference)
    with cluster.socket(zmq.DEALER, port_name) as port:
        replies = [ask(port, a_put(forwarded=True), header=header) for _ in range(3)]

    assert all(type(reply) is Refused for [reply] in replies)
    assert ("another" if "cluster" in difference else "member list") in replies[0][0].text
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
    by_datagram = cluster.header._replace(sender=Peer("n9", "by datagram"))
    with cluster.publisher() as outlet:
        for message in (Exchange(1, ()), Refused("go away"), a_put(), StorageStatus(1)):
            outlet.send(b"n1\0" + encode([message], by_datagram))
        wait_until(lambda: cluster.rejected(by_datagram.sender))

    assert len(cluster.rejected(by_datagram.sender)) == 1


def test_a_node_with_another_member_list_is_refused_says_why_and_stops(cluster, tmp_path):
    members = [*cluster.names, "n4"]
    path = change_config(cluster.config_path, into=tmp_path / "stranger.yaml", members=members)

    told = last_words(path, "n4", cluster.data, code=1)

    assert "the member list of n4" in told
    assert "both must be the same" in told
    assert any(cluster.events(name, "member.refused") for name in cluster.names)
