"""Connections of both clients: who stood at the port, where it is, and why there is none."""

import asyncio
import contextlib
import gc
import os
import socket
import time

import pytest
import zmq

from tests.harness.waiting import wait_until
from toystore import AsyncClient, ToystoreError, Unavailable
from toystore.client import sockets
from toystore.client.dial import Dial
from toystore.net.connection import Monitor
from toystore.net.names import Resolver
from toystore.net.watch import Watch

from .fake import HOLD

PATIENCE_S = 30.0


@contextlib.contextmanager
def standing_at(port, kind):
    """Something at a node's port that is no node."""
    if kind == "a PUB":
        with zmq.Context() as context, context.socket(zmq.PUB) as stranger:
            stranger.linger = 0
            stranger.bind(f"tcp://127.0.0.1:{port}")
            yield
    else:
        with socket.create_server(("127.0.0.1", port)):
            yield  # TCP connects, and nobody says a word


@pytest.mark.parametrize("kind", ["a PUB", "one that is silent"])
def test_a_client_is_well_again_after_others_stood_at_its_port(connect, make_fake, free_port, kind):
    node = make_fake(free_port)
    store = connect(node.endpoint)
    store.put("key", "value")
    node.die()
    with standing_at(free_port, kind), pytest.raises(ToystoreError):
        store.get("key", timeout=0.5)

    make_fake(free_port, node.store)

    end = time.monotonic() + PATIENCE_S
    found = None
    while found is None and time.monotonic() < end:
        with contextlib.suppress(ToystoreError):
            found = store.get("key", timeout=1.0)
    assert found is not None
    assert found.value == b"value"
    assert store.get_many(["key"])["key"].value == b"value"


def test_a_name_that_no_server_answers_for_costs_the_other_endpoints_nothing(
    connect, fake, monkeypatch
):
    def silent(*_, **__):
        time.sleep(60.0)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    monkeypatch.setattr(sockets, "resolver", Resolver)  # one that knows nothing yet
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    store = connect("tcp://away.invalid:7400", fake.endpoint, timeout=60)

    store.put("key", "value")

    assert store.get("key").value == b"value"


def test_a_host_that_certainly_does_not_exist_is_named_at_once(connect, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(Unavailable, match=r"there is no host 'no-such-host\.invalid'") as raised:
        connect("no-such-host.invalid:7400", timeout=60).get("key")

    assert raised.value.definite


def test_an_ipv6_endpoint_that_nobody_listens_at_is_refused_by_its_name(connect, free_port):
    with pytest.raises(Unavailable, match=r"tcp://\[::1\]:\d+") as raised:
        connect(f"[::1]:{free_port}", timeout=60).put("key", "value")

    assert raised.value.definite


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_asynchronous_client_that_nobody_closed_lets_go_when_it_is_collected(fake):
    async def ask() -> None:
        await AsyncClient(fake.endpoint, timeout=60).get("key")

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    def ask_often() -> None:
        for _ in range(20):
            asyncio.run(ask())
        gc.collect()

    asyncio.run(ask())
    before = descriptors()
    with pytest.warns(ResourceWarning, match="unclosed <toystore"):
        ask_often()

    wait_until(lambda: descriptors() <= before + 10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_asynchronous_client_is_collected_while_its_loop_runs_on(fake):
    async def ask() -> None:
        await AsyncClient(fake.endpoint, timeout=60).get("key")

    async def main() -> None:
        await ask()
        end = time.monotonic() + PATIENCE_S
        while not warned.list and time.monotonic() < end:
            await asyncio.sleep(0.01)
            gc.collect()
        assert warned.list, "the loop keeps it"

    with pytest.warns(ResourceWarning, match="unclosed <toystore") as warned:
        asyncio.run(main())


def test_a_request_under_way_is_finished_though_nobody_keeps_its_client(fake):
    fake.script = lambda message: HOLD
    done = []

    async def put() -> None:
        done.append(await AsyncClient(fake.endpoint, timeout=60).put("key", "value"))

    async def main() -> None:
        asyncio.create_task(put())  # noqa: RUF006 - that nobody keeps it is what is tried
        await asyncio.to_thread(wait_until, lambda: fake.seen)
        for _ in range(5):
            gc.collect()
            await asyncio.sleep(0)
        fake.release()
        await asyncio.to_thread(wait_until, lambda: done)

    asyncio.run(main())


def test_a_connection_that_is_about_to_be_made_is_not_replaced(connect, fake, monkeypatch):
    dialled, replaced = [], []
    signs, look, replace = Monitor.signs, Dial.look, Watch.replace

    def late(monitor):
        # libzmq's thread has connected the socket, and has had no processor to say so.
        return signs(monitor) if dialled else iter(())

    def looked(dial):
        ended = look(dial)
        dialled.extend([dial] * ended)
        return ended

    def counted(watch, now):
        is_replaced = replace(watch, now)
        replaced.extend([now] * is_replaced)
        return is_replaced

    monkeypatch.setattr(Monitor, "signs", late)
    monkeypatch.setattr(Dial, "look", looked)
    monkeypatch.setattr(Watch, "replace", counted)

    connect(fake.endpoint).put("key", "value")

    assert len(replaced) == 1  # it was made
