"""When gossip calls a peer linked: both ways must be up, and either may be lost."""

from __future__ import annotations

import selectors

import pytest
import zmq
from shell_scene import OtherActor, Puppet, Supervised, config, surroundings

from actors.doors import sockets
from actors.doors.datagrams import topic
from actors.gossip import GossipActor
from actors.surroundings import Surroundings, inproc, tcp
from tests.harness.logs import logged
from tests.harness.sockets import bound, connected
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import COORDINATOR, GOSSIP, STORAGE, Peer
from toystore.core.protocol.messages.disk import StorageStatusReply
from toystore.core.protocol.messages.gossip import CompareSettings, Exchange, ExchangeReply, Ping
from toystore.core.protocol.messages.local import LinkLost, LinkRefused, LinkUp, SendFailed
from toystore.net import watch
from toystore.net.endpoint import Endpoint
from toystore.net.names import Found, Resolver
from toystore.net.refusal import Answer, Attempt
from toystore.wire import decode, encode

N2 = Peer("n2", GOSSIP)
PING = Ping(1, ())


class Swimmer(Puppet):
    refused: str | None = None


class Stage(GossipActor):
    """Gossip of n1 with a puppet for a machine."""

    def make_machine(self, outbox):
        self.puppet = Swimmer(outbox)
        return self.puppet


class FakeNode:
    """The two ways into the gossip of n2, each of which can be opened and shut."""

    def __init__(self, around) -> None:
        me = around.config.member("n2")
        self.around = around
        self.gossip = tcp(me.host, me.gossip_port)
        self.exchange = tcp(me.host, me.exchange_port)
        self.inbox = None

    def until(self, condition):
        """Wait for ``condition``; a SUB subscribes only while somebody looks after it."""
        wait_until(lambda: (self._look_after_inbox(), condition())[1])

    def _look_after_inbox(self):
        if self.inbox is not None and not self.inbox.closed:
            self.inbox.poll(0)

    def open_gossip(self):
        self.inbox = bound(self.around.context, zmq.SUB, self.gossip, SUBSCRIBE=topic("n2"))

    def open_exchange(self):
        self.mailbox = bound(self.around.context, zmq.ROUTER, self.exchange)


@pytest.fixture
def around(context, log_path):
    return surroundings(config("n1", "n2"), "n1", context)


@pytest.fixture
def n2(around):
    return FakeNode(around)


@pytest.fixture
def gossip(around):
    # The mailboxes that gossip links to; an inproc link waits for them.
    near = [bound(around.context, zmq.ROUTER, inproc(role)) for role in (STORAGE, COORDINATOR)]
    with Supervised(Stage(around)) as stage:
        yield stage.actor
    for socket in near:
        socket.close()


def refusals(gossip):
    return [m for m in gossip.puppet.messages if type(m) is LinkRefused]


def news(gossip):
    return [m for m in gossip.puppet.messages if type(m) in (LinkUp, LinkLost)]


def both_open(gossip, n2):
    n2.open_gossip()
    n2.open_exchange()
    n2.until(lambda: news(gossip) == [LinkUp("n2")])


@pytest.mark.parametrize("first", ["gossip", "exchange"])
def test_a_peer_is_linked_only_once_both_ways_are_up(gossip, n2, around, first):
    marker = StorageStatusReply(1, {})
    asker = OtherActor(around, Peer("n1", STORAGE), inproc(GOSSIP))
    if first == "gossip":
        n2.open_gossip()
        n2.until(lambda: "n2" in gossip.datagrams.linked)
    else:
        n2.open_exchange()
        n2.until(lambda: gossip._exchanges["n2"].up)
    asker.send(Exchange(7, (), "run"))  # a turn of the actor after that
    wait_until(lambda: Exchange(7, (), "run") in gossip.puppet.messages)
    early = news(gossip)

    n2.open_exchange() if first == "gossip" else n2.open_gossip()
    n2.until(lambda: news(gossip))

    assert early == []
    assert news(gossip) == [LinkUp("n2")]
    assert gossip.linked_nodes() == {"n2"}
    assert marker not in gossip.puppet.messages


@pytest.mark.parametrize("way", ["inbox", "mailbox"])
def test_a_peer_is_lost_once_either_way_is_gone_and_linked_again_once_it_is_back(gossip, n2, way):
    both_open(gossip, n2)

    getattr(n2, way).close()
    n2.until(lambda: news(gossip) == [LinkUp("n2"), LinkLost("n2")])
    n2.open_gossip() if way == "inbox" else n2.open_exchange()

    n2.until(lambda: news(gossip) == [LinkUp("n2"), LinkLost("n2"), LinkUp("n2")])


@pytest.mark.parametrize("way", ["gossip", "exchange"])
def test_a_peer_is_linked_again_after_another_socket_stood_at_its_port(gossip, n2, way, log_path):
    squatter = bound(gossip.surroundings.context, zmq.PUSH, getattr(n2, way))
    n2.open_exchange() if way == "gossip" else n2.open_gossip()
    n2.until(lambda: logged(log_path, "link.replaced"))

    squatter.close()
    n2.open_gossip() if way == "gossip" else n2.open_exchange()

    n2.until(lambda: news(gossip) == [LinkUp("n2")])
    assert len(logged(log_path, "link.replaced")) == 1


def test_a_peer_that_dies_is_lost_once_and_not_twice(gossip, n2):
    both_open(gossip, n2)

    n2.inbox.close()
    n2.mailbox.close()
    n2.until(lambda: not gossip._exchanges["n2"].up and not gossip.datagrams.linked)
    both_again(gossip, n2)

    assert news(gossip) == [LinkUp("n2"), LinkLost("n2"), LinkUp("n2")]


def both_again(gossip, n2):
    n2.open_gossip()
    n2.open_exchange()
    n2.until(lambda: len(news(gossip)) >= 3)


def test_a_peer_whose_process_ends_is_lost_and_then_refused_once(gossip, n2):
    both_open(gossip, n2)

    n2.inbox.close()
    n2.mailbox.close()
    n2.until(lambda: refusals(gossip))
    both_again(gossip, n2)

    kinds = [type(message) for message in gossip.puppet.messages]
    assert kinds == [LinkUp, LinkLost, LinkRefused, LinkUp]
    assert refusals(gossip) == [LinkRefused("n2")]


def test_a_peer_that_loses_a_link_and_lives_is_not_refused(gossip, n2):
    both_open(gossip, n2)

    n2.mailbox.close()
    n2.until(lambda: len(news(gossip)) == 2)
    n2.until(lambda: gossip.datagrams.refusals.due is None)  # it was asked twice
    n2.open_exchange()
    n2.until(lambda: len(news(gossip)) == 3)

    assert refusals(gossip) == []


class Book(Resolver):
    def find(self, host):
        return Found(("127.0.0.3", "127.0.0.1")) if host == "n2.example" else super().find(host)


def test_of_a_name_with_several_addresses_the_one_that_was_linked_is_asked(context, log_path):
    settings = config("n1", "n2")
    n2 = FakeNode(surroundings(settings, "n1", context))
    named = [m.model_copy(update={"host": "n2.example"}) for m in settings.members[1:]]
    settings = settings.model_copy(update={"members": [*settings.members[:1], *named]})
    around = Surroundings(settings, settings.member("n1"), context, "boot0001", resolver=Book())
    elsewhere = bound(context, zmq.SUB, n2.gossip.replace("127.0.0.1", "127.0.0.3"))
    with Supervised(Stage(around)) as stage:
        elsewhere.close()
        both_open(stage.actor, n2)

        n2.inbox.close()
        n2.until(lambda: refusals(stage.actor))

    assert refusals(stage.actor) == [LinkRefused("n2")]


def test_a_node_whose_port_is_asked_logs_nothing(gossip, around, log_path):
    port = Endpoint(around.me.host, around.me.gossip_port)
    with selectors.DefaultSelector() as selector:
        attempt = Attempt(port, selector, 0.0)
        wait_until(lambda: attempt.look(0.0) is Answer.ACCEPTED)
        attempt.close()

    asker = OtherActor(around, Peer("n1", STORAGE), inproc(GOSSIP))
    asker.send(Exchange(7, (), "run"))  # a turn of the actor after that
    wait_until(lambda: Exchange(7, (), "run") in gossip.puppet.messages)

    assert not [line for line in logged(log_path) if line["level"] != "debug"]


def test_a_peer_that_sends_is_linked_at_once(around, n2, monkeypatch):
    """Without that, this node would try again only after ten minutes."""
    monkeypatch.setattr(sockets, "RECONNECT_MS", 600_000)
    monkeypatch.setattr(sockets, "RECONNECT_MS_MAX", 0)
    monkeypatch.setattr(watch, "REPLACE_S", 600.0)
    with Supervised(Stage(around)) as stage:
        peer = OtherActor(around, N2, tcp("127.0.0.1", around.me.exchange_port))
        for number in range(5):  # ZeroMQ's thread has tried to connect before it passes these
            peer.send(Exchange(number, (), "run"))
            wait_until(lambda n=number: Exchange(n, (), "run") in stage.actor.puppet.messages)

        n2.open_gossip()
        n2.open_exchange()
        n2.until(lambda: (peer.send(Exchange(7, (), "run")), news(stage.actor))[1])

    assert news(stage.actor) == [LinkUp("n2")]


def test_the_news_of_a_link_comes_before_what_came_over_it(gossip, n2, around):
    n2_outlet = connected(
        around.context, zmq.XPUB, tcp("127.0.0.1", around.config.member("n1").gossip_port)
    )
    n2_outlet.recv()
    both_open(gossip, n2)
    header = around.header(GOSSIP)._replace(sender=N2)
    n2_outlet.send(topic("n1") + encode([PING], header))

    n2.until(lambda: PING in gossip.puppet.messages)

    assert gossip.puppet.messages.index(LinkUp("n2")) < gossip.puppet.messages.index(PING)
    assert gossip.puppet.heard[-1] == (PING, N2)


def test_exchanges_go_over_their_link_and_all_else_as_datagrams(gossip, n2, around):
    def do(puppet, message, sender):
        if type(message) is LinkUp:
            for reply in (PING, Exchange(2, (), "run"), CompareSettings({"a": 1}), Ping(3, ())):
                puppet.outbox.send(N2, reply)

    gossip.puppet.do = do
    both_open(gossip, n2)

    identity, exchange = n2.mailbox.recv_multipart()
    _, settings = n2.mailbox.recv_multipart()
    datagram = n2.inbox.recv()

    assert identity == around.identity(GOSSIP)
    assert decode(exchange).messages == [Exchange(2, (), "run")]
    assert decode(settings).messages == [CompareSettings({"a": 1})]
    assert datagram.startswith(b"n2\0")
    assert decode(datagram[3:]).messages == [PING, Ping(3, ())]


def test_an_exchange_is_answered_where_it_came_from(gossip, around):
    gossip.puppet.do = lambda puppet, message, sender: (
        puppet.outbox.send(sender, ExchangeReply(message.request, (), "run"))
        if type(message) is Exchange
        else None
    )
    address = tcp("127.0.0.1", around.me.exchange_port)
    peer = OtherActor(around, N2, address)

    peer.send(Exchange(5, (), "run"))

    assert peer.frame() == [ExchangeReply(5, (), "run")]


def test_what_cannot_be_sent_to_a_peer_that_is_away_comes_back(gossip, around):
    gossip.puppet.do = lambda puppet, message, sender: (
        [puppet.outbox.send(N2, one) for one in (PING, Exchange(2, (), "run"))]
        if type(message) is Exchange
        else None
    )
    asker = OtherActor(around, Peer("n1", STORAGE), inproc(GOSSIP))

    asker.send(Exchange(1, (), "run"))
    wait_until(lambda: len(gossip.puppet.heard) == 3)

    failed = gossip.puppet.messages[1:]
    assert {type(one) for one in failed} == {SendFailed}
    assert {(one.message, one.overloaded) for one in failed} == {
        (PING, False),
        (Exchange(2, (), "run"), False),
    }


def test_a_node_that_the_others_refuse_says_so_and_stops(context, log_path):
    around = surroundings(config("n1", "n2"), "n1", context)
    stage = Supervised(Stage(around))
    with stage:
        stage.actor.puppet.do = lambda puppet, *_: setattr(puppet, "refused", "you are not one")
        asker = OtherActor(around, Peer("n1", STORAGE), inproc(GOSSIP))
        asker.send(Exchange(1, (), "run"))

        assert stage.report() == "failed RefusedError: you are not one"
