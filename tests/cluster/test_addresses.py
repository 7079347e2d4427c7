"""Where members are: behind names, on IPv6, and with others at their ports meanwhile."""

from __future__ import annotations

import pytest
import zmq

from tests.harness.cluster import Cluster
from tests.harness.sockets import bound
from tests.harness.waiting import wait_until
from toystore.net import listening
from toystore.net.endpoint import Endpoint


@pytest.mark.skipif(not listening.is_own("::1"), reason="this machine has no ::1")
def test_members_on_ipv4_ipv6_and_behind_names_are_one_cluster(make_cluster):
    members = [
        {"name": "n1", "host": "::1"},
        {"name": "n2", "host": "[::1]", "bind": "::"},
        {"name": "n3"},
        {"name": "n4", "host": "localhost"},
        {"name": "n5", "host": "::1", "bind": "*"},
    ]

    cluster = make_cluster(5, members=members)

    assert cluster.nodes["n2"].endpoint.startswith("tcp://[::1]:")
    for name in cluster.names:
        with cluster.client(name) as store:
            store.put(f"from {name}", name)
    with cluster.client("n3") as store:
        found = {name: store.get(f"from {name}") for name in cluster.names}
    assert {name: one and one.value for name, one in found.items()} == {
        name: name.encode() for name in cluster.names
    }


def test_a_member_behind_a_name_that_no_server_answers_for_costs_the_others_nothing(tmp_path):
    cluster = Cluster(tmp_path, 3, members=["n1", "n2", {"name": "n3", "host": "n3.invalid"}])
    cluster.nodes.pop("n3")  # it is not there at all
    cluster.data.mkdir()
    for name in ("n1", "n2"):
        cluster.set_fault(name, silent_names=60.0)

    with cluster, cluster.client("n1") as one, cluster.client("n2") as other:
        for number in range(50):
            one.put(f"k{number}", b"v")
        found = [other.get(f"k{number}") for number in range(50)]
        wait_until(
            lambda: all(cluster.events(name, "name.unresolved") for name in PEERS),
            "n1 and n2 say so",
        )

    assert all(one is not None and one.value == b"v" for one in found)
    for name, peer in (("n1", "n2"), ("n2", "n1")):
        accused = {event["member"] for event in cluster.events(name, "member.suspect")}
        assert peer not in accused
        (line,) = cluster.events(name, "name.unresolved")
        assert (line["host"], line["cause"]) == ("n3.invalid", "no answer in 2 s")


def test_a_node_is_well_again_after_other_sockets_stood_at_its_ports(make_cluster):
    cluster = make_cluster(3)
    member = cluster.config.member("n3")
    cluster.kill("n3")
    cluster.until_seen("dead", "n3")
    with zmq.Context() as context, cluster.client("n1", "n2") as store:
        squatters = [
            bound(context, kind, str(Endpoint(member.host, port)))
            for kind, port in (
                (zmq.PUB, member.peer_port),
                (zmq.PUB, member.exchange_port),
                (zmq.REP, member.gossip_port),
            )
        ]
        wanted = {"gossip", "link to n3/gossip", "link to n3/storage"}
        wait_until(
            lambda: all(wanted <= {port for _, port in told(cluster, name)} for name in PEERS),
            "n1 and n2 say that who stands there is no node",
        )
        for number in range(20):
            store.put(f"k{number}", b"v")
        for squatter in squatters:
            squatter.close()

    cluster.start("n3")
    cluster.until_drained()
    with cluster.client("n3") as store:
        found = [store.get(f"k{number}") for number in range(20)]

    assert all(one is not None and one.value == b"v" for one in found)
    for name in PEERS:
        assert cluster.members(name)["n3"] == "alive"
        assert len(told(cluster, name)) == len(set(told(cluster, name)))


PEERS = ("n1", "n2")


def told(cluster, name):
    """Which connections a node has told of, by actor and port."""
    return [(one["actor"], one["port"]) for one in cluster.events(name, "link.replaced")]
