"""A client learns the members of its cluster: the rules without sockets, then both clients."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import pytest

from tests.harness.waiting import wait_until
from toystore import AsyncClient, Unavailable
from toystore.client import learning
from toystore.client.attempts import CONNECT_S
from toystore.client.endpoints import Endpoints
from toystore.client.learning import ASK_S, REFRESH_S, Learning
from toystore.client.machine import ClientMachine
from toystore.client.request import DONE, LEARN_S, SENT, WAITING, GetRequest, Terms
from toystore.core.protocol.messages.client import (
    DescribeMembers,
    DescribeMembersReply,
    Get,
    GetReply,
)
from toystore.wire import decode, encode

from .fake import SkewedClock

GIVEN = ("tcp://a:1", "tcp://b:1")
TERMS = Terms("default", None, 4.0, 1.0)


class Cluster:
    """A machine, and the nodes that answer it at once."""

    def __init__(self, *given: str, learns: bool = True) -> None:
        self.machine = ClientMachine(given or GIVEN, SkewedClock(0), 100, learns=learns)
        self.epoch = 1
        self.members = list(given or GIVEN)
        self.now = 0.0
        self.asked: list[str] = []
        """The endpoints that were asked for the members."""
        self.closed: list[int] = []

    def get(self) -> GetRequest:
        request = GetRequest(TERMS, self.now, b"key")
        self.machine.begin(request, self.now)
        return request

    def answers(self, at: int) -> list[Get]:
        """What is sent to an endpoint is answered; so is what the client asks after that."""
        machine, gets = self.machine, []
        for message in self.sent(at):
            gets.append(message)
            self.receives(at, GetReply(message.request, (), b"", 2, 0))
        if machine.begin_learning(self.now) is not None:
            self.describes(at)
        machine.close_left(self.closed.append)
        return gets

    def describes(self, at: int) -> None:
        [question] = self.sent(at)
        assert type(question) is DescribeMembers
        self.asked.append(self.machine.name(at))
        self.receives(at, DescribeMembersReply(question.request, self.epoch, tuple(self.members)))

    def receives(self, at: int, reply: object) -> None:
        self.machine.receive(encode([reply], None, self.epoch), at, self.now)

    def sent(self, at: int) -> list:
        frames: list[bytes] = []
        self.machine.on_connected(at)
        self.machine.flush(at, lambda frame: frames.append(frame) or True, self.now)
        return [message for frame in frames for message in decode(frame).messages]

    def serves(self) -> str:
        """A request is served by the endpoint that it prefers."""
        at = self.get().endpoint
        name = self.machine.name(at)
        assert len(self.answers(at)) == 1
        return name

    def ends(self, at: int) -> None:
        """No node is at the endpoint any more."""
        self.machine.on_disconnected(at, "connection refused", self.now, certain=True)

    @property
    def endpoints(self) -> set[str]:
        return {self.machine.name(at) for at in self.machine.waiting}


def test_the_first_answer_tells_of_the_members():
    cluster = Cluster()
    cluster.members = ["tcp://a:1", "tcp://c:1"]

    cluster.serves()

    assert cluster.asked == ["tcp://a:1"]
    assert cluster.endpoints == {*GIVEN, "tcp://c:1"}


def test_a_client_that_is_not_to_learn_asks_nothing():
    cluster = Cluster(learns=False)

    cluster.serves()

    assert cluster.asked == []


def test_members_are_asked_for_when_the_epoch_is_higher_and_now_and_then():
    cluster = Cluster()
    cluster.serves()

    cluster.now += ASK_S
    cluster.serves()
    assert len(cluster.asked) == 1
    cluster.epoch += 1
    cluster.serves()
    assert len(cluster.asked) == 2
    cluster.epoch += 1
    cluster.serves()
    assert len(cluster.asked) == 2, "not twice in a second"
    cluster.now += REFRESH_S
    cluster.serves()

    assert len(cluster.asked) == 3


def test_when_every_given_node_has_left_the_members_are_used():
    cluster = Cluster()
    cluster.members = ["tcp://a:1", "tcp://b:1", "tcp://c:1"]
    cluster.serves()
    request = cluster.get()
    assert cluster.sent(0)

    cluster.ends(0)
    cluster.ends(1)

    assert cluster.machine.name(request.endpoint) == "tcp://c:1"
    assert len(cluster.answers(request.endpoint)) == 1
    assert cluster.serves() == "tcp://c:1"


def test_every_machine_may_be_replaced_in_turn():
    cluster = Cluster()
    cluster.serves()

    for number in range(10):
        oldest, newest = cluster.members[0], f"tcp://new{number}:1"
        cluster.now += ASK_S
        cluster.epoch += 1
        cluster.members.append(newest)
        cluster.serves()
        cluster.now += ASK_S
        cluster.epoch += 1
        cluster.members.remove(oldest)
        serving = cluster.serves()
        if serving == oldest:
            request = cluster.get()
            if cluster.machine.name(request.endpoint) == oldest:
                cluster.ends(request.endpoint)
            assert len(cluster.answers(request.endpoint)) == 1
        assert cluster.serves() in cluster.members

    assert cluster.endpoints == {*GIVEN, *cluster.members}
    assert len(cluster.closed) == 8, "those that were learned and have left"


def test_an_endpoint_that_has_left_is_forgotten_once_nothing_awaits_its_answer():
    cluster = Cluster("tcp://a:1")
    cluster.members = ["tcp://a:1", "tcp://c:1"]
    cluster.serves()
    cluster.machine.on_connected(1)
    cluster.machine.rotate(cluster.now)
    late = cluster.get()
    assert (late.endpoint, len(cluster.sent(1))) == (1, 1)
    waits = cluster.get()

    cluster.machine.rotate(cluster.now)
    cluster.now, cluster.epoch, cluster.members = ASK_S, 2, ["tcp://a:1"]
    cluster.serves()
    assert (late.stage, waits.stage, waits.endpoint) == (SENT, WAITING, 0)
    assert cluster.closed == []
    cluster.receives(1, GetReply(late.id, (), b"", 2, 0))
    cluster.machine.close_left(cluster.closed.append)

    assert cluster.closed == [1]
    assert cluster.endpoints == {"tcp://a:1"}


def test_a_member_that_was_never_connected_is_not_asked_while_a_given_endpoint_serves():
    cluster = Cluster()
    cluster.members = ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"]
    cluster.serves()

    for _ in range(10):
        cluster.machine.rotate(cluster.now)
        assert cluster.serves() in GIVEN
    cluster.ends(cluster.machine.preferred)

    assert cluster.serves() in GIVEN


def test_members_that_never_answer_let_a_request_fail_at_once_but_for_the_first_time():
    cluster = Cluster()
    cluster.members = ["tcp://10.0.0.1:1"]
    cluster.serves()
    first = cluster.get()
    cluster.ends(0)
    cluster.ends(1)
    assert cluster.machine.name(first.endpoint) == "tcp://10.0.0.1:1"
    cluster.now += CONNECT_S
    cluster.machine.on_deadline(cluster.now)

    second = cluster.get()
    cluster.ends(0)
    cluster.ends(1)

    assert isinstance(second.outcome, Unavailable)


def test_a_given_endpoint_that_is_not_listed_is_the_last_if_the_list_works():
    cluster = Cluster()
    cluster.members = ["tcp://a:1", "tcp://c:1"]
    cluster.serves()
    cluster.ends(0)
    request = cluster.get()
    assert cluster.machine.name(request.endpoint) == "tcp://c:1"
    cluster.answers(request.endpoint)

    cluster.machine.on_closed(0)
    cluster.machine.rotate(cluster.now)

    assert cluster.machine.name(cluster.machine.preferred) == "tcp://a:1"
    cluster.machine.rotate(cluster.now)
    assert cluster.machine.name(cluster.machine.preferred) == "tcp://c:1"


def test_given_endpoints_are_used_although_others_are_at_the_listed_addresses_and_never_answer():
    cluster = Cluster()
    cluster.members = ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"]
    cluster.serves()
    for at in range(4):
        cluster.machine.on_connected(at)
    request = cluster.get()
    cluster.ends(0)
    cluster.ends(1)
    for at in (0, 1):
        cluster.machine.on_connected(at)

    asked = []
    while request.stage != DONE and len(asked) < 10:
        asked.append(cluster.machine.name(request.endpoint))
        cluster.sent(request.endpoint)
        cluster.now = request.due
        cluster.machine.on_deadline(cluster.now)

    assert set(asked) & set(GIVEN), asked


def test_a_node_that_does_not_answer_which_members_there_are_is_asked_again_later():
    cluster = Cluster()
    cluster.get()
    cluster.receives(0, GetReply(cluster.sent(0)[0].request, (), b"", 2, 0))
    request = cluster.machine.begin_learning(0.0)
    assert request is not None

    cluster.now = LEARN_S
    cluster.machine.on_deadline(cluster.now)
    assert not cluster.machine.busy
    assert cluster.machine.finished == [one for one in cluster.machine.finished if one != request]
    cluster.now = ASK_S
    cluster.serves()

    assert cluster.asked == ["tcp://a:1"]


def test_the_question_for_the_members_ends_with_the_call():
    cluster = Cluster()
    cluster.get()
    cluster.receives(0, GetReply(cluster.sent(0)[0].request, (), b"", 2, 0))

    request = cluster.machine.begin_learning(0.0, LEARN_S / 2)

    assert request is not None
    assert request.due == LEARN_S / 2
    cluster.machine.on_deadline(LEARN_S / 2)
    assert not cluster.machine.busy


def test_an_idle_client_asks_for_the_members_now_and_then():
    cluster = Cluster()
    assert cluster.machine.refresh_due == float("inf"), "before it knows any"
    cluster.serves()

    assert cluster.machine.refresh_due == REFRESH_S
    assert cluster.machine.begin_learning(REFRESH_S - 1) is None
    cluster.now, cluster.members = REFRESH_S, ["tcp://c:1"]
    request = cluster.machine.begin_learning(cluster.now)
    assert request is not None
    cluster.ends(request.endpoint)
    cluster.describes(request.endpoint)

    assert cluster.asked == ["tcp://a:1", "tcp://b:1"]
    assert cluster.endpoints == {*GIVEN, "tcp://c:1"}


def told(epoch: int, *endpoints: str) -> DescribeMembersReply:
    return DescribeMembersReply(1, epoch, endpoints)


def test_the_members_that_a_node_behind_knows_are_not_believed_soon():
    learning = Learning(random.Random(1), on=True)
    assert learning.learn(told(5, "tcp://a:1"), 0.0)

    assert learning.learn(told(4, "tcp://b:1"), REFRESH_S - 1) == []
    assert learning.learn(told(4, "tcp://b:1"), REFRESH_S) == ["tcp://b:1"]


def test_what_is_no_endpoint_is_left_out():
    learning = Learning(random.Random(1), on=True)

    assert learning.learn(told(0, "simulated", "", "tcp://[::1]:7400", "tcp://a:0"), 0.0) == [
        "tcp://[::1]:7400"
    ]
    assert learning.learn(told(1, "simulated"), 0.0) == []


def test_an_endpoint_has_one_number_for_ever():
    endpoints = Endpoints(GIVEN)
    endpoints.follow(["tcp://c:1"], 0.0)
    endpoints.follow(["tcp://d:1"], 0.0)
    endpoints.remove(2)
    endpoints.follow(["tcp://c:1", "tcp://d:1"], 0.0)

    assert [(at, endpoints.name(at)) for at in endpoints.in_use[2:]] == [
        (3, "tcp://d:1"),
        (4, "tcp://c:1"),
    ]


# --- clients -----------------------------------------------------------------------


def members(*fakes, epoch=1):
    """The fakes are the members of one ring."""
    for fake in fakes:
        fake.epoch, fake.members = epoch, [each.endpoint for each in fakes]


def test_a_client_goes_on_with_the_members_when_the_given_node_has_left(connect, make_fake):
    a, b = make_fake(), make_fake()
    members(a, b)
    store = connect(a)
    store.put("key", "value")
    wait_until(lambda: a.of(DescribeMembers), "it has asked for the members")
    store.get("key")

    a.die()

    assert store.get("key") is None, "the other fake has another store"
    assert b.of(Get)
    assert b.of(DescribeMembers) == []


def test_a_client_that_is_not_to_learn_members_uses_the_given_ones_only(connect, make_fake):
    a, b = make_fake(), make_fake()
    members(a, b)
    store = connect(a, learn_members=False)
    store.put("key", "value")

    a.die()

    with pytest.raises(Unavailable):
        store.get("key")
    assert a.of(DescribeMembers) == b.seen == []


def test_many_keys_follow_to_the_members_too(connect, make_fake):
    a, b = make_fake(), make_fake()
    members(a, b)
    store = connect(a)
    store.put_many({str(number): "value" for number in range(100)})
    wait_until(lambda: a.of(DescribeMembers), "it has asked for the members")
    store.get("key")

    a.die()

    assert len(store.put_many({str(number): "value" for number in range(100)})) == 100


def test_an_idle_asynchronous_client_notices_that_members_have_changed(make_fake, monkeypatch):
    monkeypatch.setattr(learning, "REFRESH_S", 0.05)
    a, b = make_fake(), make_fake()
    members(a)

    async def main() -> None:
        async with AsyncClient(a.endpoint, timeout=60) as store:
            await store.get("key")
            members(a, b, epoch=2)
            asked = len(a.of(DescribeMembers))
            again = partial(wait_until, lambda: len(a.of(DescribeMembers)) > asked + 1)
            await asyncio.to_thread(again, "it has asked again, and once more")
            await asyncio.to_thread(a.die)
            assert await store.get("key") is None

    asyncio.run(main())
    assert b.of(Get)


def test_a_node_that_leaves_is_left_as_soon_as_another_has_served(connect, make_fake):
    a, b = make_fake(), make_fake()
    members(a, b)
    store = connect(a, b, attempt_timeout=0.3)
    store.get("key")
    a.script = lambda message: a.usual(message) if type(message) is DescribeMembers else None
    store.get("key")
    assert b.of(Get)
    a.script = a.usual

    members(b, epoch=2)
    a.epoch, a.members = 2, b.members
    count = len(a.of(Get))
    for _ in range(20):
        store.get("key")

    assert len(a.of(Get)) == count


def test_a_listed_member_that_cannot_be_reached_costs_no_request(connect, make_fake, dead_endpoint):
    a, b = make_fake(), make_fake()
    members(a, b)
    for fake in (a, b):
        fake.members = [dead_endpoint]
    store = connect(a, b)

    for _ in range(20):
        assert store.get("key") is None
    a.die()
    for _ in range(20):
        assert store.get("key") is None


def test_a_call_that_learns_takes_no_longer_than_its_timeout(connect, make_fake, monkeypatch):
    monkeypatch.setattr("toystore.client.request._LEARNS", Terms("", None, 60.0, 60.0))
    a = make_fake()
    members(a)
    a.script = lambda message: None if type(message) is DescribeMembers else a.usual(message)
    store = connect(a)

    began = time.monotonic()
    store.get("key", timeout=5.0)

    assert time.monotonic() - began < 30.0
