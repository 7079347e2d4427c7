"""Frames of the wrong size, sockets of the wrong kind, and what is not ZeroMQ at all."""

from __future__ import annotations

import contextlib
import struct

import pytest
import zmq

from toystore.config import PORTS
from toystore.core.protocol.messages.client import (
    Owners,
)
from toystore.core.protocol.messages.codes import Code
from toystore.wire import ARRAYS_MAX, FRAME_BYTES_MAX, decode, encode

from .garbage import GREETING, NOT_ZEROMQ, ready
from .target import FRAME_MAX, VALUE_MAX, a_put, ask, served

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("port_name", PORTS)
def test_a_frame_beyond_all_limits_cuts_its_link_and_no_other(cluster, port_name):
    """Only its head is sent: that is what it is judged by."""
    kind = b"XPUB" if port_name == "gossip_port" else b"DEALER"
    with cluster.connection(port_name) as port:
        port.sendall(GREETING + ready(kind) + b"\x02" + struct.pack(">Q", FRAME_BYTES_MAX + 1))

        while port.recv(4096):
            pass


@pytest.mark.parametrize("times", [2, 100, 1000])
def test_a_request_over_the_limit_is_answered_however_much_it_is(cluster, times):
    with cluster.socket(zmq.DEALER) as port:
        [reply] = ask(port, a_put(value=bytes(times * VALUE_MAX)))

    assert (reply.request, reply.code, reply.definite) == (7, Code.BAD_REQUEST, True)


def test_a_frame_that_would_take_up_many_times_its_size_is_refused_before_it_does(cluster):
    before = cluster.resident_bytes("n1")
    with cluster.socket(zmq.DEALER) as port:
        port.send(b"\x92\x01\xdd" + struct.pack(">I", 2**26) + b"\x80" * 2**26)
        [reply] = decode(port.recv()).messages

    assert reply.code == Code.BAD_REQUEST
    assert cluster.resident_bytes("n1") - before < 1024 * ARRAYS_MAX


def test_a_frame_of_thousands_of_requests_is_answered_in_full(cluster):
    count = 5000
    request_ = [Owners(number, "nope", b"k") for number in range(count)]
    answered: set[int] = set()
    with cluster.socket(zmq.DEALER) as port:
        port.send(encode(request_))
        while len(answered) < count:
            frame = port.recv()
            answered.update(reply.request for reply in decode(frame).messages)
            assert len(frame) <= FRAME_MAX

    assert answered == set(range(count))


WRONG = (zmq.PUB, zmq.SUB, zmq.XPUB, zmq.XSUB, zmq.PUSH, zmq.PULL, zmq.PAIR, zmq.REQ, zmq.REP)


@pytest.mark.parametrize("port_name", PORTS)
def test_sockets_of_every_type_may_connect_anywhere(cluster, port_name):
    with contextlib.ExitStack() as stack:
        for kind in (*WRONG, zmq.DEALER, zmq.ROUTER, zmq.STREAM):
            made = stack.enter_context(cluster.socket(kind, port_name))
            with contextlib.suppress(zmq.ZMQError):  # some cannot send, or not yet
                made.send(b"n1\0garbage", zmq.NOBLOCK)
        assert served(cluster)


@pytest.mark.parametrize("port_name", PORTS)
@pytest.mark.parametrize("garbage", NOT_ZEROMQ.values(), ids=NOT_ZEROMQ.keys())
def test_what_is_not_even_zeromq_harms_nobody(cluster, port_name, garbage):
    """Once hung up on by us, and once left open while others are served."""
    with cluster.connection(port_name) as once, contextlib.suppress(ConnectionError):
        once.sendall(garbage)
    with cluster.connection(port_name) as open_, contextlib.suppress(ConnectionError):
        open_.sendall(garbage)
        assert served(cluster)
