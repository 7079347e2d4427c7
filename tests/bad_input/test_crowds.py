"""Those who say nothing, those who never listen, and crowds."""

from __future__ import annotations

import contextlib

import pytest
import zmq

from actors.doors.client_port import CLIENT_FRAMES_MAX, HELD_BYTES_MAX
from tests.harness.waiting import wait_until
from toystore.config import PORTS
from toystore.core.protocol.messages.client import (
    GetReply,
)
from toystore.wire import encode

from .garbage import GREETING
from .target import FRAME_MAX, VALUE_MAX, a_get, ask, served

pytestmark = pytest.mark.cluster


def test_clients_that_connect_and_say_nothing_keep_nobody_waiting(cluster):
    with contextlib.ExitStack() as stack:
        for port_name in PORTS:
            for _ in range(50):
                stack.enter_context(cluster.connection(port_name))
        for _ in range(50):
            stack.enter_context(cluster.socket(zmq.DEALER))
        assert served(cluster)


def test_a_client_that_asks_and_hardly_reads_costs_bounded_memory_and_nobody_else_waits(cluster):
    """It asks a little at a time, so that what is held for it counts and not what is under way.

    It reads one reply of each eight: TCP cuts a client that reads nothing for `SILENT_S_MAX`,
    and what is held for that one is let go.
    """
    asked = 8
    wave = encode([a_get(key=b"large", timeout_ms=60_000)] * asked)
    held_max = CLIENT_FRAMES_MAX * (FRAME_MAX + VALUE_MAX) + HELD_BYTES_MAX
    with (
        cluster.client("n1") as store,
        cluster.socket(zmq.DEALER, RCVHWM=1, RCVBUF=4096) as slow,
    ):
        store.put("large", bytes(VALUE_MAX))
        before = cluster.resident_bytes("n1")

        def is_idle() -> bool:
            requests = store.status()["requests"]
            return requests["held"] + requests["settling"] == 0

        def ask_again() -> bool:
            slow.send(wave)
            wait_until(is_idle)
            assert store.get("large") is not None
            assert cluster.resident_bytes("n1") - before < 2 * held_max
            with contextlib.suppress(zmq.Again):
                slow.recv(zmq.NOBLOCK)
            return True

        wait_until(lambda: ask_again() and cluster.events("n1", "reply.dropped"))
        for _ in range(4 * held_max // (asked * VALUE_MAX)):
            ask_again()


def test_thousands_of_connects_and_disconnects_leave_nothing_behind(cluster):
    with cluster.client("n1") as store:
        store.put("k", b"v")
    descriptors = cluster.descriptors("n1")
    memory = cluster.resident_bytes("n1")

    for at in range(2000):
        with cluster.connection(PORTS[at % len(PORTS)]) as made:
            made.sendall(GREETING[: at % len(GREETING)])
    for _ in range(300):
        with cluster.socket(zmq.DEALER) as made:
            [reply] = ask(made, a_get())
            assert type(reply) is GetReply

    wait_until(lambda: cluster.descriptors("n1") <= descriptors + 10)
    assert cluster.resident_bytes("n1") - memory < 32 * 1024 * 1024
