"""The loop of every actor, around a machine that does what a test says."""

from __future__ import annotations

import time

import pytest
import zmq
from shell_scene import OtherActor, Puppet, Supervised, config, surroundings

from actors.actor import Actor, Command
from actors.doors.link import Link
from actors.surroundings import Surroundings, inproc, tcp
from tests.harness.logs import logged
from tests.harness.sockets import bound
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import ErrorReply, Get, Status, StatusReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.hints import CountHints, TakeHints
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.turn import FLUSH_ROUNDS_MAX, RESTARTS_MAX
from toystore.wire import decode

N2 = Peer("n2", STORAGE)
NEIGHBOUR = Peer("n1", STORAGE)
NEWS = MembersChanged(True, (MemberState("n2", 0, 0, ""),))


class Stage(Actor):
    """A coordinator with a puppet for a machine, and one link to n2."""

    role = COORDINATOR

    def __init__(self, around: Surroundings, direct=lambda puppet: None) -> None:
        super().__init__(around)
        self.puppets: list[Puppet] = []
        self.direct = direct
        self.is_idle = True

    def open(self) -> None:
        self.add_mailbox()
        n2 = self.surroundings.config.member("n2")
        self.link = Link(self.surroundings, self.role, N2, tcp(n2.host, n2.peer_port))
        self.add(self.link, N2)

    def make_machine(self, outbox: Outbox) -> Puppet:
        puppet = Puppet(outbox)
        self.direct(puppet)
        self.puppets.append(puppet)
        return puppet

    def idle(self) -> bool:
        return self.is_idle

    @property
    def heard(self) -> list[Message]:
        return [message for puppet in self.puppets for message in puppet.messages]


@pytest.fixture
def around(context, log_path):
    return surroundings(config("n1", "n2"), "n1", context)


def neighbour(around) -> OtherActor:
    """Another actor of n1, who comes to the mailbox."""
    return OtherActor(around, NEIGHBOUR, inproc(COORDINATOR))


def n2_peer_address(around) -> str:
    return tcp("127.0.0.1", around.config.member("n2").peer_port)


def echo(puppet, message, sender):
    """Answer whoever asks for a status; notes everything else."""
    if type(message) is Status:
        puppet.outbox.send(sender, StatusReply(message.request, {}))


def echoing(puppet):
    puppet.do = echo


# --- poll, feed, flush ------------------------------------------------------------------


def test_what_happened_is_logged_before_anybody_is_told(around, log_path):
    """Also what comes of a send that failed, in the same turn."""
    stood: list[tuple[type, list[str]]] = []

    class Watched(Stage):
        def deliver(self, address, messages):
            members = [line["member"] for line in logged(log_path, "link.lost")]
            stood.extend((type(message), members) for message in messages)
            return super().deliver(address, messages)

    def accuse(puppet, message, sender):
        if type(message) is Status:
            puppet.outbox.send(N2, CountHints())  # The link to n2 is down.
            puppet.outbox.log("link.lost", member="n2")
        elif type(message) is SendFailed:
            puppet.outbox.send(NEIGHBOUR, StatusReply(1, {}))
            puppet.outbox.log("link.lost", member="n3")

    with Supervised(Watched(around, lambda puppet: setattr(puppet, "do", accuse))):
        asker = neighbour(around)
        asker.send(Status(1))
        asker.frame()

    assert stood == [(CountHints, ["n2"]), (StatusReply, ["n2", "n3"])]


def test_messages_are_fed_one_by_one_in_order_and_the_answers_leave_in_one_frame(around):
    with Supervised(Stage(around, echoing)):
        asker = neighbour(around)
        asker.send(*(Status(number) for number in range(50)))

        answers = asker.frame()

    assert [answer.request for answer in answers] == list(range(50))


def test_what_goes_to_different_places_is_not_mixed(around):
    def do(puppet, message, sender):
        if type(message) is Status:
            puppet.outbox.send(sender, StatusReply(message.request, {}))
            puppet.outbox.send(N2, TakeHints("", message.request))

    def direct(puppet):
        puppet.do = do

    n2 = bound(around.context, zmq.ROUTER, n2_peer_address(around))
    with Supervised(Stage(around, direct)) as stage:
        wait_until(lambda: LinkUp("n2") in stage.actor.heard)
        asker = neighbour(around)
        asker.send(Status(1), Status(2))

        assert asker.frame() == [StatusReply(1, {}), StatusReply(2, {})]
        assert decode(n2.recv_multipart()[-1]).messages == [TakeHints("", 1), TakeHints("", 2)]


def test_a_deadline_is_served_when_it_has_come_and_not_before(around):
    due = time.monotonic() + 0.05
    with Supervised(Stage(around, lambda puppet: setattr(puppet, "deadline", due))) as stage:
        [puppet] = stage.actor.puppets
        wait_until(lambda: puppet.served)

    assert puppet.served[0] >= due
    assert len(puppet.served) == 1


def test_what_is_written_at_a_deadline_leaves_at_once(around):
    n2 = bound(around.context, zmq.ROUTER, n2_peer_address(around))

    def on_link(puppet, message, sender):
        if type(message) is LinkUp:
            puppet.deadline = time.monotonic() + 0.01

    def direct(puppet):
        puppet.do = on_link
        puppet.on_due = lambda puppet: puppet.outbox.send(N2, CountHints())

    with Supervised(Stage(around, direct)):
        frame = decode(n2.recv_multipart()[-1])

    assert frame.messages == [CountHints()]
    assert frame.header.sender == Peer("n1", COORDINATOR)


def test_what_a_machine_notes_is_logged_under_its_actor(around, log_path):
    def direct(puppet):
        puppet.do = lambda puppet, *_: puppet.outbox.log("disk.grown", bytes=7)

    with Supervised(Stage(around, direct)):
        neighbour(around).send(Status(1))
        wait_until(lambda: logged(log_path, "disk.grown"))

    [line] = logged(log_path, "disk.grown")
    assert (line["actor"], line["node"], line["bytes"]) == (COORDINATOR, "n1", 7)


# --- sends that fail --------------------------------------------------------------------


def relay_to_n2(puppet):
    def do(puppet, message, sender):
        if type(message) is Status:
            puppet.outbox.send(N2, TakeHints("x" * 1000, message.request))

    puppet.do = do


def failed(stage) -> list[SendFailed]:
    return [message for message in stage.actor.heard if type(message) is SendFailed]


def test_a_send_over_a_link_that_is_down_comes_back_as_unreachable(around):
    with Supervised(Stage(around, relay_to_n2)) as stage:
        neighbour(around).send(Status(1), Status(2))
        wait_until(lambda: len(failed(stage)) == 2)

    assert [(one.node, one.actor, one.overloaded) for one in failed(stage)] == [
        ("n2", STORAGE, False)
    ] * 2
    assert [one.message.bytes_max for one in failed(stage)] == [1, 2]


def test_a_send_over_a_link_that_is_full_comes_back_as_overloaded(around, monkeypatch):
    monkeypatch.setattr("actors.doors.link.PEER_FRAMES_MAX", 1)
    n2 = bound(around.context, zmq.ROUTER, n2_peer_address(around), RCVHWM=1, RCVBUF=4096)
    with Supervised(Stage(around, relay_to_n2)) as stage:
        wait_until(lambda: LinkUp("n2") in stage.actor.heard)
        asker = neighbour(around)
        wait_until(lambda: asker.send(*[Status(1)] * 50) or failed(stage))

    assert {one.overloaded for one in failed(stage)} == {True}
    assert not n2.closed


def test_a_message_to_nobody_comes_back_as_unreachable(around):
    def direct(puppet):
        puppet.do = lambda puppet, message, sender: (
            puppet.outbox.send(Peer("n9", STORAGE), CountHints())
            if type(message) is Status
            else None
        )

    with Supervised(Stage(around, direct)) as stage:
        neighbour(around).send(Status(1))
        wait_until(lambda: failed(stage))

    assert failed(stage) == [SendFailed("n9", STORAGE, CountHints(), False)]


def test_a_machine_that_turns_elsewhere_often_is_heard_to_the_end(around):
    """More turns than one flush takes; nothing else comes in that would wake the actor."""
    turns = 3 * FLUSH_ROUNDS_MAX

    def do(puppet, message, sender):
        if type(message) is Status:
            puppet.outbox.send(N2, TakeHints("", 0))
        elif type(message) is SendFailed and message.message.bytes_max < turns:
            puppet.outbox.send(N2, TakeHints("", message.message.bytes_max + 1))

    with Supervised(Stage(around, lambda puppet: setattr(puppet, "do", do))) as stage:
        neighbour(around).send(Status(1))
        wait_until(lambda: len(failed(stage)) == turns + 1, patience_s=2)


def test_a_machine_hears_of_its_links(around):
    with Supervised(Stage(around)) as stage:
        n2 = bound(around.context, zmq.ROUTER, n2_peer_address(around))
        wait_until(lambda: stage.actor.heard == [LinkUp("n2")])
        n2.close()
        wait_until(lambda: stage.actor.heard == [LinkUp("n2"), LinkLost("n2")])
        n2 = bound(around.context, zmq.ROUTER, n2_peer_address(around))
        wait_until(lambda: stage.actor.heard[2:] == [LinkUp("n2")])
        n2.close()


# --- a machine that fails ---------------------------------------------------------------


def fragile(puppet):
    """Fails over every get, and says what it held to whoever asked before."""

    def do(puppet, message, sender):
        if type(message) is Get:
            raise RuntimeError(f"get {message.request} was too much")
        echo(puppet, message, sender)

    puppet.do = do
    puppet.on_fail = lambda puppet: puppet.outbox.send(
        NEIGHBOUR, ErrorReply(99, Code.INTERNAL, "held", True)
    )


def a_get(request: int) -> Get:
    return Get(request, "default", b"k", None, 1000)


def test_the_message_that_a_machine_failed_over_is_answered_and_the_rest_is_served(
    around, log_path
):
    with Supervised(Stage(around, fragile)) as stage:
        asker = neighbour(around)
        asker.send(Status(1), a_get(2), Status(3))
        answers = asker.take(4)
        asker.send(Status(4))
        [later] = asker.take(1)

    assert [answer.request for answer in answers] == [1, 99, 2, 3]
    assert answers[2] == ErrorReply(2, Code.INTERNAL, "RuntimeError in coordinator", True)
    assert later == StatusReply(4, {})
    assert [puppet.failures for puppet in stage.actor.puppets] == [1, 0]
    [line] = logged(log_path, "actor.failed")
    assert (line["message"], line["restarts"]) == ("Get", 0)
    assert line["error"] == "RuntimeError: get 2 was too much"
    assert "in do" in line["traceback"]


def test_a_fresh_machine_is_told_who_is_there_and_what_is_linked(around):
    with (
        bound(around.context, zmq.ROUTER, n2_peer_address(around)),
        Supervised(Stage(around, fragile)) as stage,
    ):
        asker = neighbour(around)
        asker.send(NEWS)
        wait_until(lambda: {NEWS, LinkUp("n2")} <= set(stage.actor.heard))
        asker.send(a_get(1))
        asker.take(2)

    _, fresh = stage.actor.puppets
    assert len(fresh.messages) == 2
    assert set(fresh.messages) == {NEWS, LinkUp("n2")}


def test_a_machine_that_fails_at_a_deadline_is_replaced(around, log_path):
    def direct(puppet):
        if not stages:
            puppet.deadline = time.monotonic()
            puppet.on_due = lambda puppet: 1 / 0
        stages.append(puppet)
        echoing(puppet)

    stages: list[Puppet] = []
    with Supervised(Stage(around, direct)):
        wait_until(lambda: len(stages) == 2)
        asker = neighbour(around)
        asker.send(Status(1))
        assert asker.take(1) == [StatusReply(1, {})]

    assert logged(log_path, "actor.failed")[0]["error"].startswith("ZeroDivisionError")


def test_a_machine_that_fails_while_it_lets_go_is_replaced_all_the_same(around, log_path):
    def direct(puppet):
        fragile(puppet)
        puppet.on_fail = lambda puppet: 1 / 0

    with Supervised(Stage(around, direct)):
        asker = neighbour(around)
        asker.send(a_get(1), Status(2))
        assert [answer.request for answer in asker.take(2)] == [1, 2]

    assert len(logged(log_path, "actor.failed")) == 2


def test_news_over_which_a_machine_failed_is_not_told_to_the_fresh_one(around):
    """One poisoned message must not walk through every machine that is made."""

    def do(puppet, message, sender):
        if type(message) is MembersChanged:
            raise RuntimeError("poisoned news")
        echo(puppet, message, sender)

    with Supervised(Stage(around, lambda puppet: setattr(puppet, "do", do))) as stage:
        asker = neighbour(around)
        asker.send(NEWS, Status(1))
        wait_until(lambda: Status(1) in stage.actor.heard or not stage.actor.is_alive())

        assert stage.actor.is_alive()
        assert asker.take(1) == [StatusReply(1, {})]

    assert len(stage.actor.puppets) == 2


def test_a_machine_that_fails_too_often_is_given_up(around, log_path):
    stage = Supervised(Stage(around, fragile))
    with stage:
        asker = neighbour(around)
        asker.send(*(a_get(number) for number in range(RESTARTS_MAX + 1)))

        assert stage.report() == f"failed RuntimeError: get {RESTARTS_MAX} was too much"

    assert len(logged(log_path, "actor.failed")) == RESTARTS_MAX + 1


def test_what_a_machine_held_is_answered_even_when_it_is_the_last(around):
    """Whoever waits for a node that gives up is told so, not left to time out."""
    stage = Supervised(Stage(around, fragile))
    with stage:
        asker = neighbour(around)
        for number in range(RESTARTS_MAX):
            asker.send(a_get(number))
            asker.take(2)
        asker.send(Status(50), a_get(51))
        assert stage.report().startswith("failed")

        assert asker.socket.poll(0), "it ended without a word"
        assert [answer.request for answer in asker.take(3)] == [50, 99, 51]


# --- the supervisor ---------------------------------------------------------------------


def test_an_actor_that_cannot_open_its_sockets_says_why(around):
    class Doomed(Stage):
        def open(self) -> None:
            super().open()
            raise OSError("no such port")

    stage = Supervised(Doomed(around))
    assert stage.report() == "failed OSError: no such port"
    stage.actor.join()
    stage.control.close()
    around.context.term()  # hangs if a socket was left open


def test_leaving_waits_until_nothing_is_held(around):
    actor = Stage(around, echoing)
    actor.is_idle = False
    with Supervised(actor) as stage:
        asker = neighbour(around)
        stage.tell(Command.LEAVE)
        wait_until(lambda: Leave() in actor.heard)
        asker.send(Status(1))
        asker.take(1)
        early = stage.control.poll(0)

        actor.is_idle = True
        asker.send(Status(2))

        assert stage.report() == "idle"
        stage.tell(Command.STOP)
        assert stage.report() == "stopped"

    assert not early


def test_a_fresh_machine_is_told_that_the_node_is_leaving(around):
    actor = Stage(around, fragile)
    actor.is_idle = False
    with Supervised(actor) as stage:
        asker = neighbour(around)
        stage.tell(Command.LEAVE)
        wait_until(lambda: Leave() in actor.heard)
        asker.send(a_get(1))
        asker.take(2)

    assert Leave() in actor.puppets[1].messages


def test_a_stopped_actor_leaves_no_socket_open(around):
    with Supervised(Stage(around)) as stage:
        stage.tell(Command.STOP)
        assert stage.report() == "stopped"
    around.context.term()  # hangs if one is
