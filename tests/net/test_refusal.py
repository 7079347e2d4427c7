"""A port refuses connections, accepts them, or does not answer."""

from __future__ import annotations

import selectors
import socket as tcp
import time
from collections.abc import Iterator

import pytest
import zmq

from toystore.localcluster.ports import reserve_ports
from toystore.net import listening, refusal
from toystore.net.connection import CONNECT_MS
from toystore.net.endpoint import Endpoint
from toystore.net.refusal import AGAIN_S, CONNECTS_MAX, Answer, Attempt, Refusals

PATIENCE_S = 20.0
TIMED_OUT_S = CONNECT_MS / 1000


@pytest.fixture
def port() -> Iterator[int]:
    guard, base = reserve_ports(1)
    with guard:
        yield base


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as made:
        yield made


def asked(port: int, selector: selectors.BaseSelector, host: str = "127.0.0.1") -> Attempt:
    return Attempt(Endpoint(host, port), selector, 0.0)


def answer(attempt: Attempt, selector: selectors.BaseSelector) -> Answer:
    """Look whenever the selector is ready; no time passes for the attempt."""
    while (found := attempt.look(0.0)) is None:
        assert selector.select(PATIENCE_S), "there is no answer"
    attempt.close()
    assert not selector.get_map()
    return found


def test_a_port_on_which_no_process_listens_refuses(port, selector):
    assert answer(asked(port, selector), selector) is Answer.REFUSED


@pytest.mark.skipif(not listening.is_own("::1"), reason="this machine has no ::1")
def test_a_port_of_an_ipv6_address_refuses(port, selector):
    assert answer(asked(port, selector, "::1"), selector) is Answer.REFUSED


@pytest.mark.parametrize("kind", [zmq.SUB, zmq.ROUTER], ids=["SUB", "ROUTER"])
def test_the_socket_of_a_node_accepts_and_its_port_can_be_bound_again_at_once(port, selector, kind):
    with zmq.Context() as context, context.socket(kind) as node:
        node.bind(str(Endpoint("127.0.0.1", port)))

        assert answer(asked(port, selector), selector) is Answer.ACCEPTED

        assert not node.poll(0)
        node.unbind(str(Endpoint("127.0.0.1", port)))
    with tcp.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_process_that_ends_after_its_system_has_accepted_refuses(port, selector):
    listener = tcp.create_server(("127.0.0.1", port))
    attempt = asked(port, selector)
    assert attempt.look(0.0) is None

    listener.close()

    assert answer(attempt, selector) is Answer.REFUSED


def test_a_process_that_closes_every_connection_leaves_it_open(port, selector):
    with tcp.create_server(("127.0.0.1", port)) as listener:
        attempt = asked(port, selector)
        for _ in range(CONNECTS_MAX):
            assert attempt.look(0.0) is None
            listener.accept()[0].close()
            selector.select(PATIENCE_S)

        assert answer(attempt, selector) is Answer.UNKNOWN


def test_a_process_that_accepts_and_sends_nothing_leaves_it_open(port, selector):
    with tcp.create_server(("127.0.0.1", port)):
        attempt = asked(port, selector)

        assert attempt.look(0.0) is None
        assert attempt.look(TIMED_OUT_S) is Answer.UNKNOWN
        attempt.close()


def test_a_host_that_does_not_answer_leaves_it_open(port, selector):
    # The system drops connections while this queue is full.
    with (
        tcp.create_server(("127.0.0.1", port), backlog=0),
        tcp.socket() as one,
        tcp.socket() as two,
    ):
        one.connect(("127.0.0.1", port))
        two.setblocking(False)
        two.connect_ex(("127.0.0.1", port))
        attempt = asked(port, selector)

        assert attempt.look(0.0) is None
        assert attempt.look(TIMED_OUT_S) is Answer.UNKNOWN
        attempt.close()


@pytest.mark.parametrize("host", ["fe80::1%no-such-zone", "255.255.255.255"])
def test_an_address_to_which_no_connection_is_possible_leaves_it_open(port, selector, host):
    assert answer(asked(port, selector, host), selector) is Answer.UNKNOWN


def test_a_process_without_file_descriptors_learns_nothing_and_goes_on(port, selector, monkeypatch):
    def no_room(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(refusal.tcp, "socket", no_room)

    assert asked(port, selector).look(0.0) is Answer.UNKNOWN


def test_a_connection_to_itself_means_that_no_process_listens(port, selector, monkeypatch):
    """Chance gives a connection the port that it goes to; here it is asked for."""

    class ToItself(tcp.socket):
        def connect(self, address):
            self.bind(address)
            super().connect(address)

    monkeypatch.setattr(refusal.tcp, "socket", ToItself)

    assert answer(asked(port, selector), selector) is Answer.REFUSED
    monkeypatch.undo()
    with tcp.socket() as again:
        again.bind(("127.0.0.1", port))


# --- several ports, each asked twice --------------------------------------------------------


@pytest.fixture
def refusals() -> Iterator[Refusals]:
    made = Refusals()
    yield made
    made.close()


def until_refused(refusals: Refusals, now: float) -> list[str]:
    end = time.monotonic() + PATIENCE_S
    while not (names := refusals.refused(now)):
        assert time.monotonic() < end, "no port refused"
    return names


def test_a_peer_whose_port_refuses_is_returned_once(refusals, port):
    refusals.ask("n2", Endpoint("127.0.0.1", port), 0.0)

    assert until_refused(refusals, 0.0) == ["n2"]
    assert refusals.refused(AGAIN_S) == []
    assert refusals.due is None


def test_a_peer_that_did_not_refuse_is_asked_again_once(refusals, port):
    with zmq.Context() as context, context.socket(zmq.SUB) as node:
        node.bind(str(Endpoint("127.0.0.1", port)))
        refusals.ask("n2", Endpoint("127.0.0.1", port), 0.0)
        while refusals.due != AGAIN_S:
            assert refusals.refused(0.0) == []

        node.unbind(str(Endpoint("127.0.0.1", port)))

    assert refusals.refused(0.9 * AGAIN_S) == []
    assert until_refused(refusals, AGAIN_S) == ["n2"]
    assert refusals.due is None


def test_a_peer_that_never_refuses_is_asked_twice_and_no_more(refusals, port):
    with tcp.create_server(("127.0.0.1", port)):
        refusals.ask("n2", Endpoint("127.0.0.1", port), 0.0)
        assert refusals.refused(0.0) == []
        assert refusals.refused(TIMED_OUT_S) == []
        assert refusals.refused(TIMED_OUT_S) == []
        assert refusals.due == 2 * TIMED_OUT_S

        assert refusals.refused(2 * TIMED_OUT_S) == []

    assert refusals.due is None


def test_a_peer_that_is_back_is_forgotten(refusals, port):
    refusals.ask("n2", Endpoint("127.0.0.1", port), 0.0)
    refusals.ask("n3", Endpoint("127.0.0.1", port), 0.0)

    refusals.forget("n2")

    assert until_refused(refusals, 0.0) == ["n3"]
