"""What a link says of itself when a send fails before its monitor was heard."""

from __future__ import annotations

import zmq
from shell_scene import bound, config, surroundings, wait_until

from actors.sockets import Link
from actors.surroundings import tcp
from toystore.core.machine import COORDINATOR, STORAGE, Peer
from toystore.core.messages import CountHints, LinkLost, LinkUp, SendFailed


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
        wait_until(lambda: link.monitor is not None and link.monitor.poll(0))
        wait_until(lambda: not link.socket.poll(0, zmq.POLLOUT))
        news = link.send(to, [CountHints()])

        assert news == [
            (LinkLost("n2"), to),
            (SendFailed("n2", STORAGE, CountHints(), False), to),
        ]
        link.close()
