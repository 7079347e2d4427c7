"""Names are found in threads of their own; nobody waits who must not."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.harness.waiting import wait_until
from toystore.net import listening, names
from toystore.net.names import Found, Resolver

PATIENCE_S = 10.0


class NameServer:
    """Stands in for the system's: answers what a test says, or is silent until let go."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str] | Exception] = {}
        self.asked: list[str] = []
        self.speaks = threading.Event()
        self.speaks.set()

    def getaddrinfo(self, host, port, *args, **more):
        self.asked.append(host)
        self.speaks.wait(PATIENCE_S)
        answer = self.answers[host]
        if isinstance(answer, Exception):
            raise answer
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, 0))
            for one in answer
            for _ in range(2)
        ]


@pytest.fixture
def server(monkeypatch):
    made = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    monkeypatch.setattr(names, "RETRY_S", 0.02)
    monkeypatch.setattr(names, "FRESH_S", 0.02)
    yield made
    made.speaks.set()


def test_an_address_is_its_own_answer_and_nobody_is_asked(server):
    assert Resolver().find("127.0.0.1") == Found(("127.0.0.1",))
    assert Resolver().find("::1") == Found(("::1",))
    assert server.asked == []


def test_who_asks_for_a_name_gets_what_is_known_so_far(server):
    server.answers["n3"] = ["10.0.0.3", "fd00::3"]
    server.speaks.clear()
    resolver = Resolver()

    early = [resolver.find("n3") for _ in range(100)]
    server.speaks.set()

    assert set(early) == {Found()}
    assert resolver.wait("n3", PATIENCE_S) == Found(("10.0.0.3", "fd00::3"))
    assert server.asked == ["n3"]


def test_a_silent_name_server_holds_up_no_other_name_and_is_found_at_fault(server, monkeypatch):
    monkeypatch.setattr(names, "LOOKUP_S", 0.05)
    server.answers["n3"] = ["10.0.0.3"]
    server.speaks.clear()
    faults = []
    resolver = Resolver(lambda *fault: faults.append(fault))

    silent = resolver.wait("n3", 0.2)

    assert silent == Found((), "no answer in 0.05 s")
    assert resolver.find("127.0.0.1").addresses
    assert faults == [("n3", "no answer in 0.05 s")]
    assert server.asked == ["n3"]
    server.speaks.set()
    wait_until(lambda: resolver.find("n3") == Found(("10.0.0.3",)))


def test_a_change_of_address_is_followed(server):
    server.answers["n3"] = ["10.0.0.3"]
    resolver = Resolver()
    assert resolver.wait("n3", PATIENCE_S).addresses == ("10.0.0.3",)

    server.answers["n3"] = ["10.0.0.4"]

    wait_until(lambda: resolver.find("n3").addresses == ("10.0.0.4",))


@pytest.mark.parametrize("error", [socket.EAI_AGAIN, socket.EAI_NONAME], ids=str)
def test_an_old_answer_is_used_while_there_is_no_new_one(server, error):
    server.answers["n3"] = ["10.0.0.3"]
    resolver = Resolver()
    resolver.wait("n3", PATIENCE_S)

    server.answers["n3"] = socket.gaierror(error, "so it is")

    wait_until(lambda: resolver.find("n3").reason == "so it is")
    assert resolver.find("n3").addresses == ("10.0.0.3",)


def test_a_name_that_is_not_there_is_asked_for_again_with_back_off_and_told_once(server):
    server.answers["n3"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    faults = []
    resolver = Resolver(lambda *fault: faults.append(fault))

    found = resolver.wait("n3", PATIENCE_S)
    asked_at = []
    while len(asked_at) < 4:
        resolver.find("n3")
        if len(server.asked) > len(asked_at):
            asked_at.append(time.monotonic())
        time.sleep(0.001)
    server.answers["n3"] = ["10.0.0.3"]

    assert found == Found((), "Name or service not known", True)
    assert asked_at[3] - asked_at[2] > names.RETRY_S
    wait_until(lambda: resolver.find("n3") == Found(("10.0.0.3",)))
    assert faults == [("n3", "Name or service not known")]


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
def test_a_name_that_cannot_even_be_asked_for_is_a_certain_fault(host):
    found = Resolver().wait(host, PATIENCE_S)

    assert found.addresses == ()
    assert found.reason is not None
    assert found.certain


def test_to_wait_has_an_end(server):
    server.answers["n3"] = ["10.0.0.3"]
    server.speaks.clear()
    began = time.monotonic()

    assert not Resolver().wait("n3", 0.1).addresses

    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_name_to_bind_stands_for_those_of_its_addresses_that_are_of_this_machine(server):
    server.answers["n1"] = ["203.0.113.7", "127.0.0.1"]

    assert listening.hosts("n1", Resolver()) == ("127.0.0.1",)
    assert listening.hosts("*", Resolver()) == ("*",)
    assert listening.hosts("::", Resolver()) == ("::",)
    assert listening.hosts("lo", Resolver()) == ("lo",)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (["203.0.113.7"], "cannot bind n1: it is 203.0.113.7, which is not of this machine"),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "cannot bind n1: the name cannot be resolved (Name or service not known); "
            "give, as bind, an address of this machine",
        ),
    ],
    ids=["elsewhere", "unknown"],
)
def test_a_name_that_cannot_be_bound_is_an_error_that_says_why(server, answer, why):
    server.answers["n1"] = answer

    with pytest.raises(listening.ListenError) as raised:
        listening.hosts("n1", Resolver())

    assert str(raised.value) == why


def test_a_silent_name_server_ends_a_start_in_time(server, monkeypatch):
    monkeypatch.setattr(listening, "NAME_S_MAX", 0.1)
    server.answers["n1"] = ["127.0.0.1"]
    server.speaks.clear()

    with pytest.raises(listening.ListenError, match="no answer"):
        listening.hosts("n1", Resolver())


def test_a_port_is_tried_as_it_will_be_bound():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0", "*"):
            with pytest.raises(OSError, match="in use"):
                listening.probe(host, port)
    listening.probe("127.0.0.1", port)
    listening.probe("*", port)
