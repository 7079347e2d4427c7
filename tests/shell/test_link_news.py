"""What a link says of itself when it fails, and how it comes back."""

from __future__ import annotations

import time

import pytest
import zmq
from shell_scene import config, surroundings

from actors.doors.link import Link
from actors.surroundings import tcp
from tests.harness.logs import logged
from tests.harness.sockets import bound
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.messages.hints import CountHints
from toystore.core.protocol.messages.local import LinkLost, LinkUp, SendFailed
from toystore.net import connection, watch
from toystore.wire import decode


def test_a_send_to_a_peer_that_has_just_died_is_unreachable_and_not_overloaded() -> None:
    with zmq.Context() as context:
        settings = config("n1", "n2")
        address = tcp("127.0.0.1", settings.member("n2").peer_port)
        peer = bound(context, zmq.ROUTER, address)
        to = Peer("n2", STORAGE)
        link = Link(surroundings(settings, "n1", context), COORDINATOR, to, address)
        heard = []
        wait_until(lambda: heard.extend(link.drain()) or heard)
        assert heard == [(LinkUp("n2"), to)]

        peer.close()
        wait_until(lambda: link.monitor is not None and link.monitor.socket.poll(0))
        wait_until(lambda: not link.socket.poll(0, zmq.POLLOUT))
        news = link.send(to, [CountHints()])

        assert news == [
            (LinkLost("n2"), to),
            (SendFailed("n2", STORAGE, CountHints(), False), to),
        ]
        link.close()


def test_a_connection_that_is_up_is_not_replaced_because_that_was_not_noticed_in_time(
    context, monkeypatch
):
    monkeypatch.setattr(connection, "disconnect", lambda *_: pytest.fail("replaced"))
    settings = config("n1", "n2")
    address = tcp("127.0.0.1", settings.member("n2").peer_port)
    peer = bound(context, zmq.ROUTER, address)
    to = Peer("n2", STORAGE)
    link = Link(surroundings(settings, "n1", context), COORDINATOR, to, address)
    wait_until(lambda: link.socket.poll(0, zmq.POLLOUT))  # a slow process has not drained it yet

    link.tend(link.connections["n2"].due)
    heard = []
    wait_until(lambda: heard.extend(link.drain()) or heard)
    link.send(to, [CountHints()])
    peer.recv_multipart()
    heard.extend(link.drain())

    assert heard == [(LinkUp("n2"), to)]
    link.close()


def turning(link, heard):
    """Wait for a condition as an actor does: the link is drained and tended."""

    def turn():
        heard.extend(link.drain())
        link.tend(time.monotonic())

    return lambda condition: wait_until(lambda: (turn(), condition())[1])


@pytest.mark.parametrize("squatter", [zmq.PUB, zmq.PULL], ids=["PUB", "PULL"])
def test_a_link_comes_back_after_another_socket_stood_at_its_port_and_logs_it_once(
    context, log_path, squatter
):
    settings = config("n1", "n2")
    address = tcp("127.0.0.1", settings.member("n2").peer_port)
    to = Peer("n2", STORAGE)
    other = bound(context, squatter, address)
    link = Link(surroundings(settings, "n1", context), COORDINATOR, to, address)
    heard = []
    until = turning(link, heard)

    until(lambda: logged(log_path, "link.replaced"))
    sent = link.send(to, [CountHints()])
    other.close()
    peer = bound(context, zmq.ROUTER, address)
    until(lambda: heard)

    assert sent == [(SendFailed("n2", STORAGE, CountHints(), False), to)]
    assert heard == [(LinkUp("n2"), to)]
    assert link.send(to, [CountHints()]) == []
    assert decode(peer.recv_multipart()[1]).messages == [CountHints()]
    (line,) = logged(log_path, "link.replaced")
    assert line["member"] == "n2"
    assert line["cause"] == "who answers there does not speak as a node does"
    link.close()


def test_a_link_comes_back_after_a_frame_that_was_too_large(context, log_path, monkeypatch):
    monkeypatch.setattr(watch, "_REVIVED_S", watch.HANDSHAKE_S)  # a busy machine is slow
    settings = config("n1", "n2")
    address = tcp("127.0.0.1", settings.member("n2").peer_port)
    to = Peer("n2", STORAGE)
    peer = bound(context, zmq.ROUTER, address)
    link = Link(surroundings(settings, "n1", context), COORDINATOR, to, address)
    heard = []
    until = turning(link, heard)

    until(lambda: heard == [(LinkUp("n2"), to)])
    link.send(to, [CountHints()])
    identity, _ = peer.recv_multipart()
    peer.send_multipart([identity, bytes(link.socket.getsockopt(zmq.MAXMSGSIZE) + 1)])
    wait_until(lambda: heard.extend(link.drain()) or len(heard) == 2)
    due = link.connections["n2"].due
    wait_until(lambda: time.monotonic() >= due)
    link.tend(due)  # only once: a busy machine is slow, and would replace it again
    wait_until(lambda: heard.extend(link.drain()) or len(heard) == 3)

    assert heard == [(LinkUp("n2"), to), (LinkLost("n2"), to), (LinkUp("n2"), to)]
    assert [line["cause"] for line in logged(log_path, "link.replaced")] == [
        "it had ended for good"
    ]
    link.close()
