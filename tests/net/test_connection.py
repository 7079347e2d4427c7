"""A connecting socket comes back, whatever stood at its peer's port meanwhile."""

from __future__ import annotations

import contextlib
import socket as tcp
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from toystore.localcluster.ports import reserve_ports
from toystore.net import connection as connections
from toystore.net import listening, watch
from toystore.net.connection import Connection, Monitor
from toystore.net.endpoint import Endpoint
from toystore.net.names import Found, Resolver

PATIENCE_S = 20.0
BYTES_MAX = 1000


class Scene:
    """A connecting socket with one connection, and a port where others come and go."""

    def __init__(self, context: zmq.Context, kind: int, host: str, port: int, resolver=None):
        self.context = context
        self.port = port
        self.socket = context.socket(kind)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, BYTES_MAX)
        self.monitor = Monitor(self.socket)
        self.connection = Connection(
            self.socket, Endpoint(host, port), resolver or Resolver(), time.monotonic()
        )
        self.told: list[str] = []

    def play(self) -> None:
        """What an owner does in each turn."""
        now = time.monotonic()
        for address, sign, descriptor in self.monitor.signs():
            if address.partition(";")[0] == self.connection.address:
                self.connection.hear(sign, descriptor, now)
        self.connection.tend(now)
        if (news := self.connection.news()) is not None:
            self.told.append(news)

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "it did not come to pass"
            self.play()
            self.monitor.socket.poll(10)

    def until_up(self) -> None:
        self.until(lambda: self.connection.up)

    def peer(self, kind: int, host: str = "127.0.0.1") -> zmq.Socket:
        """Bound at the port, as soon as it is free."""
        made = self.context.socket(kind)
        made.linger = 0
        made.ipv6 = ":" in host

        def bound() -> bool:
            try:
                made.bind(str(Endpoint(host, self.port)))
            except zmq.ZMQError:
                return False
            return True

        self.until(bound)
        return made


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def port() -> Iterator[int]:
    guard, base = reserve_ports(1)
    with guard:
        yield base


@pytest.fixture
def scene(context, port) -> Scene:
    return Scene(context, zmq.DEALER, "127.0.0.1", port)


@contextlib.contextmanager
def software(port: int, says: bytes, host: str = "127.0.0.1") -> Iterator[list[tcp.socket]]:
    """Accepts whoever comes and says so much; the connections outlive its listening."""
    callers: list[tcp.socket] = []
    listener = tcp.create_server((host, port))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                callers.append(caller)
                caller.sendall(says)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield callers
    finally:
        listener.shutdown(tcp.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


def answers(scene: Scene, router: zmq.Socket) -> bool:
    """Whether a question gets its answer."""
    scene.socket.send(b"?")
    assert router.poll(PATIENCE_S * 1000)
    router.send_multipart([router.recv_multipart()[0], b"!"])
    scene.socket.rcvtimeo = int(PATIENCE_S * 1000)
    while scene.socket.recv() != b"!":
        pass  # some of what other software says passes for a frame of the first ZMTP
    return True


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.PULL], ids=["PUB", "PULL"])
def test_it_comes_back_after_a_socket_of_another_kind(scene, kind):
    squatter = scene.peer(kind)
    scene.until(lambda: scene.connection.watch.reason)
    squatter.close()

    router = scene.peer(zmq.ROUTER)
    scene.until_up()

    assert answers(scene, router)


@pytest.mark.parametrize(
    "says",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"<html>" * 50, b"\0" * 500, b"\xff" * 500, b""],
    ids=["HTTP", "zeros", "ones", "nothing"],
)
def test_it_comes_back_after_other_software(scene, says, monkeypatch):
    monkeypatch.setattr(watch, "HANDSHAKE_S", 0.5)
    with software(scene.port, says) as callers:
        scene.until(lambda: scene.told)
    # It has let go of the port, and not of its callers.
    router = scene.peer(zmq.ROUTER)
    scene.until_up()

    assert answers(scene, router)
    assert len(scene.told) == 1
    for caller in callers:
        caller.close()


def test_it_comes_back_after_a_frame_that_is_too_large_and_says_so_once(scene):
    router = scene.peer(zmq.ROUTER)
    scene.until_up()
    scene.socket.send(b"?")
    identity, _ = router.recv_multipart()

    router.send_multipart([identity, b"x" * (BYTES_MAX + 1)])
    scene.until(lambda: not scene.connection.up)
    scene.until_up()

    assert answers(scene, router)
    assert scene.told == ["it had ended for good"]


def test_a_publisher_comes_back_too(context, port):
    scene = Scene(context, zmq.XPUB, "127.0.0.1", port)
    squatter = scene.peer(zmq.REP)
    scene.until(lambda: scene.connection.watch.reason)
    squatter.close()

    inbox = scene.peer(zmq.SUB)
    inbox.subscribe(b"n2")

    scene.until(lambda: (inbox.poll(0), scene.socket.poll(0))[1])
    assert scene.socket.recv() == b"\x01n2"


def test_a_connection_to_itself_is_let_go_so_that_the_port_is_free(scene, port, monkeypatch):
    """Chance gives a connection the port that it goes to; here it is asked for."""
    real = connections.connect, connections.disconnect
    from_itself = f";127.0.0.1:{port}"
    monkeypatch.setattr(connections, "connect", lambda of, to: of.connect(to + from_itself))
    monkeypatch.setattr(connections, "disconnect", lambda of, to: of.disconnect(to + from_itself))
    scene.play()
    monkeypatch.setattr(connections, "connect", real[0])
    scene.until(lambda: scene.told)
    monkeypatch.setattr(connections, "disconnect", real[1])

    router = scene.peer(zmq.ROUTER)
    scene.until_up()

    assert answers(scene, router)
    assert scene.told == ["it had reached itself, on the port of a peer that is down"]


def test_the_port_of_a_connection_to_itself_is_free_as_soon_as_it_is_closed(port):
    with tcp.socket() as itself, tcp.create_server(("127.0.0.1", port + 1)) as other:
        itself.bind(("127.0.0.1", port))
        itself.connect(("127.0.0.1", port))
        assert connections.reaches_itself(itself.fileno())
        with tcp.create_connection(other.getsockname()) as usual:
            assert not connections.reaches_itself(usual.fileno())

    with tcp.socket() as again:
        again.bind(("127.0.0.1", port))


class Book(Resolver):
    """Finds what a test wrote into it."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.found = Found(addresses)

    def find(self, host: str) -> Found:
        return self.found


def test_it_waits_for_its_name_and_follows_it(context, port):
    book = Book()
    scene = Scene(context, zmq.DEALER, "n2.example", port, book)
    first = scene.peer(zmq.ROUTER)
    for _ in range(5):
        scene.play()
    assert scene.connection.address is None
    book.found = Found(("127.0.0.1",))
    scene.until_up()

    first.close()
    book.found = Found(("127.0.0.2",))
    second = scene.peer(zmq.ROUTER, "127.0.0.2")
    scene.until(lambda: scene.connection.up and "127.0.0.2" in scene.connection.address)

    assert answers(scene, second)


def test_a_name_that_has_no_number_is_connected_to_once_it_has_one(context, port):
    book = Book()
    scene = Scene(context, zmq.DEALER, "n2.example", port, book)
    book.found = Found((), "Name or service not known", True)

    scene.until(lambda: scene.connection.tend(time.monotonic()))

    assert scene.connection.address is None
    book.found = Found(("127.0.0.1",))
    router = scene.peer(zmq.ROUTER)
    scene.until_up()
    assert answers(scene, router)


def test_the_addresses_of_a_name_are_tried_in_turn(context, port):
    scene = Scene(context, zmq.DEALER, "n2", port, Book("127.0.0.3", "127.0.0.2", "127.0.0.1"))
    router = scene.peer(zmq.ROUTER, "127.0.0.1")

    scene.until_up()

    assert answers(scene, router)


def test_an_address_that_nobody_can_connect_to_is_a_fault_and_no_crash(context, port):
    scene = Scene(context, zmq.DEALER, "n2", port, Book("fe80::1%no-such-zone", "127.0.0.1"))
    router = scene.peer(zmq.ROUTER, "127.0.0.1")

    scene.until_up()

    assert answers(scene, router)


@pytest.mark.skipif(not listening.is_own("::1"), reason="this machine has no ::1")
def test_one_socket_may_connect_to_ipv4_and_ipv6(context, port):
    scene = Scene(context, zmq.XPUB, "::1", port)
    other = Connection(scene.socket, Endpoint("127.0.0.1", port), Resolver(), time.monotonic())
    inboxes = [scene.peer(zmq.SUB, "::1"), scene.peer(zmq.SUB)]
    for number, inbox in enumerate(inboxes):
        inbox.subscribe(b"%d" % number)
    other.tend(time.monotonic())

    heard = set()

    def both() -> bool:
        for inbox in inboxes:
            inbox.poll(0)
        while scene.socket.poll(0):
            heard.add(scene.socket.recv())
        return heard == {b"\x010", b"\x011"}

    scene.until(both)
    scene.until_up()
