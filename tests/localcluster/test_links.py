"""The links of a local cluster: what a step does to which ways, and the proxy that does it."""

import contextlib
import math
import socket
import struct

import pytest
import zmq

from tests.harness.waiting import PATIENCE_S, wait_until
from toystore.config import ConfigError, load, parse
from toystore.localcluster.faults import Faults, blocks, together
from toystore.localcluster.links import Links, LinksError
from toystore.localcluster.node import ROOT
from toystore.localcluster.scenario import words
from toystore.localcluster.ways import Impairment

from .stand_ins import NAMES

END = b"n2\0end"
SCENARIOS = sorted((ROOT / "configs" / "scenarios").glob("*.yaml"))


def step(**keys):
    raw = {"cluster": "c", "members": [*NAMES], "scenario": [{"at": 0, **keys}]}
    return parse(raw).scenario[0]


def loss(**links):
    return step(do="loss", share=0.3, **{"for": 5}, **links)


@pytest.mark.parametrize(
    ("given", "ways", "said"),
    [
        (loss(node="n1"), "n1>n2 n1>n3 n2>n1 n3>n1", "loss n1 ↔ all: 30% for 5 s"),
        (loss(between=["n1", "n3"]), "n1>n3 n3>n1", "loss n1 ↔ n3: 30% for 5 s"),
        (loss(**{"from": "n1", "to": "n2"}), "n1>n2", "loss n1 → n2: 30% for 5 s"),
        (loss(**{"from": ["n1", "n2"]}), "n1>n3 n2>n3", "loss n1, n2 → all: 30% for 5 s"),
        (loss(to="n2"), "n1>n2 n3>n2", "loss all → n2: 30% for 5 s"),
        (
            step(do="split", groups=[["n1"]], reset=True, **{"for": 5}),
            "n1>n2 n1>n3 n2>n1 n3>n1",
            "split n1 | the others, with resets, for 5 s",
        ),
        (
            step(do="split", groups=["n1", "n2", "n3"], **{"for": 5}),
            "n1>n2 n1>n3 n2>n1 n2>n3 n3>n1 n3>n2",
            "split n1 | n2 | n3 for 5 s",
        ),
        (
            step(do="delay", node="n2", delay_s=0.1, jitter_s=0.05, **{"for": 5}),
            "n1>n2 n2>n1 n2>n3 n3>n2",
            "delay n2 ↔ all: 100 ms + 0 to 50 ms for 5 s",
        ),
        (step(do="reset", between=["n1", "n2"]), "n1>n2 n2>n1", "reset n1 ↔ n2"),
    ],
    ids=lambda value: value if isinstance(value, str) and ">" not in value else "",
)
def test_a_step_concerns_the_ways_that_it_names(given, ways, said):
    found = {f"{a}>{b}" for block in blocks(given, NAMES) for a, b in block.ways}

    assert found == set(ways.split())
    assert words(given) == said


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"do": "kill"}, "'kill' needs 'node', the name of a node"),
        (
            {"do": "kill", "node": "n1", "share": 0.1},
            "'kill' takes no 'share'; its keys are at, do, node",
        ),
        ({"do": "loss", "node": "n1", "for": 1}, "'loss' needs 'share', the fraction that is lost"),
        (
            {"do": "cut", "for": 1},
            "'cut' needs its links in one way: 'node' (every link of a node), "
            "'between' (both ways) or 'from' and 'to' (one way)",
        ),
        (
            {"do": "cut", "for": 1, "node": "n1", "to": "n2"},
            "'cut' needs its links in one way: 'node' (every link of a node), "
            "'between' (both ways) or 'from' and 'to' (one way)",
        ),
        (
            {"do": "cut", "for": 1, "between": ["n1"]},
            "'between' names n1 alone; should name two nodes or more",
        ),
        (
            {"do": "cut", "for": 1, "from": "n1", "to": "n1"},
            "from n1 to n1 is no link; should be two nodes",
        ),
        (
            {"do": "split", "for": 1, "groups": [["n1", "n2"], ["n2"]]},
            "'groups' names n2 twice; should name a node once",
        ),
        (
            {"do": "split", "for": 1, "groups": [["n1", "n2", "n3"]]},
            "'groups' makes one side only; should list two groups, or leave nodes out",
        ),
    ],
)
def test_a_step_that_cannot_be_done_is_an_error_that_says_what_would_be_right(keys, fault):
    with pytest.raises(ConfigError) as caught:
        step(**keys)

    assert list(caught.value.faults) == [f"scenario[0]: {fault}"]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_is_valid_short_and_says_how_to_run_it(path):
    config = load(path)

    assert config.cluster == path.stem
    assert max(step.ends_at for step in config.scenario) <= 40
    assert f"\n#   python run_cluster.py configs/scenarios/{path.name}\n" in path.read_text()


def test_faults_of_one_way_add_up():
    one = Impairment(delay_s=0.1, loss=0.5)
    other = Impairment(delay_s=0.2, jitter_s=0.1, loss=0.5, hole=True)

    both = together([one, other])

    assert (both.loss, both.hole, both.cut) == (0.75, True, False)
    assert math.isclose(both.delay_s, 0.3)
    assert together([]) == Impairment()


# --- the proxy --------------------------------------------------------------------------


@pytest.fixture
def links(config_path):
    with Links(load(config_path), config_path) as links:
        yield links


@pytest.fixture
def seen(links, tmp_path):
    """The configuration of n1, which meets n2 through the proxy."""
    return load(links.write_configs(tmp_path / "links")["n1"])


def pair(config_path, seen):
    """Both ends of a connection from n1 to the peer port of n2."""
    real = load(config_path).member("n2")
    with socket.create_server((real.host, real.peer_port)) as server:
        near = socket.create_connection(seen.member("n2").reached_at("peer_port"))
        far, _ = server.accept()
    for end in (near, far):
        end.settimeout(PATIENCE_S)
    return near, far


def test_a_node_keeps_its_own_ports_and_finds_the_others_at_the_proxy(config_path, seen):
    own = load(config_path)

    assert seen.members[0] == own.members[0]
    assert seen.member("n2").ports == own.member("n2").ports
    assert seen.member("n2").reached_at("client_port") == own.member("n2").reached_at("client_port")
    assert seen.member("n2").reached_at("peer_port") != own.member("n2").reached_at("peer_port")
    assert seen.cluster_id() == own.cluster_id()


def test_what_is_sent_into_a_hole_arrives_when_it_ends_and_the_other_way_is_free(
    config_path, links, seen
):
    near, far = pair(config_path, seen)
    with near, far:
        links.impair(Impairment(hole=True), [("n1", "n2")])
        near.sendall(b"late")
        far.sendall(b"at once")
        assert near.recv(100) == b"at once"
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(100)
        far.settimeout(PATIENCE_S)

        links.impair(Impairment(), [("n1", "n2")])

        assert far.recv(100) == b"late"


def test_connections_that_end_in_a_hole_end_at_the_other_side_when_it_is_over(
    config_path, links, seen
):
    pairs = [pair(config_path, seen) for _ in range(3)]
    links.impair(Impairment(hole=True), [("n1", "n2")])
    for near, _ in pairs:
        near.sendall(b"last words")
        near.close()

    links.impair(Impairment(), [("n1", "n2")])

    for _, far in pairs:
        with far:
            assert far.recv(100) == b"last words"
            assert far.recv(100) == b""


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_cut_and_a_reset_are_resets_at_both_ends(config_path, links, seen, how):
    near, far = pair(config_path, seen)
    with near, far:
        near.sendall(b"x")
        assert far.recv(1) == b"x"

        if how == "cut":
            links.impair(Impairment(cut=True), [("n2", "n1")])
        else:
            links.reset([("n1", "n2")])

        for end in (near, far):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_what_tcp_loses_it_sends_again_so_that_all_arrives_in_order(config_path, links, seen):
    near, far = pair(config_path, seen)
    with near, far:
        links.impair(Impairment(loss=0.1), [("n1", "n2")])
        sent = bytes(range(256)) * 1000
        near.sendall(sent)
        near.shutdown(socket.SHUT_WR)

        found = b"".join(iter(lambda: far.recv(65536), b""))

        assert found == sent


def refused(address):
    """Whether a port refuses connections."""
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_node_that_refuses_connections_is_seen_to_refuse_until_it_listens_again(
    config_path, links, seen
):
    address = seen.member("n2").reached_at("peer_port")
    with socket.create_connection(address) as alone:
        alone.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionResetError):
            alone.recv(1)
    assert refused(address)

    real = load(config_path).member("n2")
    with socket.create_server((real.host, real.peer_port)) as server:
        wait_until(lambda: not refused(address))
        with socket.create_connection(address) as near:
            near.sendall(b"hello")
            assert b"hello" in iter(lambda: first_bytes(server), None)


def first_bytes(server):
    """What the next connection brings; nothing if it was only an attempt."""
    far, _ = server.accept()
    with far, contextlib.suppress(ConnectionResetError):
        far.settimeout(PATIENCE_S)
        return far.recv(5)
    return b""


def test_nothing_comes_back_through_a_hole_from_a_node_that_is_gone(links, seen):
    address = seen.member("n2").reached_at("peer_port")
    links.impair(Impairment(hole=True), [("n2", "n1")])
    with socket.create_connection(address) as alone:
        links.impair(Impairment(hole=True), [("n1", "n2")])  # it has tried to connect by then
        alone.setblocking(False)
        with pytest.raises(BlockingIOError):
            alone.recv(1)
    assert not refused(address)


def test_a_lossy_way_loses_some_datagrams_whole_and_no_subscription(config_path, links, seen):
    real, met = load(config_path).member("n2"), seen.member("n2").reached_at("gossip_port")
    context = zmq.Context()
    inbox, outlet = context.socket(zmq.SUB), context.socket(zmq.XPUB)
    try:
        for each in (inbox, outlet):
            each.set_hwm(0)
            each.rcvtimeo = int(PATIENCE_S * 1000)
        inbox.subscribe(b"n2\0")
        inbox.bind(f"tcp://{real.host}:{real.gossip_port}")
        links.impair(Impairment(loss=0.5), [("n1", "n2"), ("n2", "n1")])
        outlet.connect(str(met))
        wait_until(lambda: inbox.poll(0) or outlet.poll(0))  # each works while it is asked
        assert outlet.recv() == b"\x01n2\0"

        sent = [b"n2\0" + struct.pack("I", number) for number in range(400)]
        for each in sent:
            outlet.send(each)
        found: list[bytes] = []
        while found[-1:] != [END]:
            while not inbox.poll(10):
                outlet.send(END)
            found.append(inbox.recv())

        arrived = found[:-1]
        assert set(arrived) <= set(sent)
        assert arrived == sorted(arrived, key=sent.index)
        assert 100 < len(arrived) < 300
    finally:
        for each in (inbox, outlet):
            each.close(0)
        context.term()


def test_if_the_proxy_ends_the_next_step_says_so(links):
    faults = Faults(links)
    links._process.kill()

    with pytest.raises(LinksError, match=r"the proxy of the links has ended \(exit -9\)"):
        faults.begin(step(do="reset", node="n1"))
    wait_until(lambda: links._process.poll() is not None)
