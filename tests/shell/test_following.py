"""What an actor does with a new ring record: its links, its headers and its next machine."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
import zmq
from shell_scene import OtherActor, Puppet, Supervised, config, surroundings

from actors.actor import Actor
from actors.gossip import GossipActor
from actors.surroundings import inproc, tcp
from tests.harness.sockets import bound
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import GOSSIP, HANDOFF, RING, STORAGE, Peer
from toystore.core.protocol.messages.hints import CountHints, CountHintsReply
from toystore.core.protocol.messages.local import LinkLost, LinkUp, SendFailed
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.roles import ACTORS
from toystore.core.ring.record import RingRecord
from toystore.wire import decode

CHANGES = 50


class Listener(Puppet):
    refused: str | None = None


class Stage(Actor):
    """The hand-off of n1 with a puppet for a machine."""

    role = HANDOFF

    def make_machine(self, outbox):
        self.puppet = Listener(outbox)
        return self.puppet


class GossipStage(GossipActor):
    """The gossip of n1 with a puppet for a machine."""

    make_machine = Stage.make_machine


def records(around, *members):
    """Records, one after the other, with these members besides n1."""
    founding = around.config.founding()
    record = RingRecord("shell", founding.partitions, ())
    all_ = {one.name: one for one in founding.members}
    for names in members:
        listed = tuple(all_[name] for name in ("n1", *names))
        record = record.next(around.cluster_id.lineage, members=listed, made_by="n1")
        yield record


def open_port(around, name, port="peer_port"):
    member = around.config.member(name)
    return bound(around.context, zmq.ROUTER, tcp(member.host, getattr(member, port)))


@pytest.fixture
def around(context, log_path):
    return surroundings(config("n1", "n2", "n3"), "n1", context)


@pytest.fixture
def ring_actor(around):
    """What tells the actor of new records, once it is there."""
    return lambda role: OtherActor(around, Peer("n1", RING), inproc(role))


@pytest.fixture
def neighbours(around):
    """The mailboxes of the actors of n1, without those of the two stages."""
    made = [
        bound(around.context, zmq.ROUTER, inproc(role))
        for role in ACTORS
        if role not in (HANDOFF, GOSSIP)
    ]
    yield
    for socket in made:
        socket.close()


def links(actor):
    return sorted(to.node for to in actor._outlets if to.node != "n1")


def heard(actor, *kinds):
    return [message for message in actor.puppet.messages if type(message) in kinds]


@pytest.mark.usefixtures("neighbours")
def test_links_follow_the_members_and_the_machine_hears_of_lost_ones_first(around, ring_actor):
    n2, n3 = open_port(around, "n2"), open_port(around, "n3")
    [only_n3] = map(RingChanged, (one.packed for one in records(around, ["n3"])))
    with Supervised(Stage(around)) as stage:
        actor = stage.actor
        wait_until(lambda: len(heard(actor, LinkUp)) == 2)

        ring_actor(HANDOFF).send(only_n3)
        wait_until(lambda: heard(actor, RingChanged))

        assert heard(actor, LinkLost, RingChanged) == [LinkLost("n2"), only_n3]
        assert links(actor) == ["n3"]
        assert actor.linked_nodes() == {"n3"}
    n2.close()
    n3.close()


@pytest.mark.usefixtures("neighbours")
def test_a_message_to_a_node_that_is_no_longer_listed_fails(around, ring_actor):
    [without] = records(around, ["n3"])
    with Supervised(Stage(around)) as stage:
        puppet = stage.actor.puppet
        puppet.do = lambda puppet, message, sender: (
            puppet.outbox.send(Peer("n2", STORAGE), CountHints())
            if type(message) is RingChanged
            else None
        )

        ring_actor(HANDOFF).send(RingChanged(without.packed))

        wait_until(lambda: heard(stage.actor, SendFailed))
    assert heard(stage.actor, SendFailed) == [SendFailed("n2", STORAGE, CountHints(), False)]


@pytest.mark.usefixtures("neighbours")
def test_a_member_that_has_moved_is_linked_at_its_new_address(around, ring_actor):
    n2, n3 = open_port(around, "n2"), open_port(around, "n3")
    [record] = records(around, ["n2"])
    n1, at_n2 = record.members
    [at_n3] = (one for one in around.config.founding().members if one.name == "n3")
    moved = replace(record, members=(n1, at_n2._replace(ports=at_n3.ports)))
    with Supervised(Stage(around)) as stage:
        wait_until(lambda: len(heard(stage.actor, LinkUp)) == 2)
        stage.actor.puppet.heard.clear()

        ring_actor(HANDOFF).send(RingChanged(moved.packed))
        wait_until(lambda: heard(stage.actor, LinkUp))

        told = heard(stage.actor, LinkLost, LinkUp)
        assert sorted(told[:2]) == [LinkLost("n2"), LinkLost("n3")]
        assert told[2:] == [LinkUp("n2")]
        assert links(stage.actor) == ["n2"]
    n2.close()
    n3.close()


@pytest.mark.usefixtures("neighbours")
def test_frames_and_new_machines_are_of_the_new_record(around, ring_actor):
    [record] = records(around, ["n2", "n3"])
    with Supervised(Stage(around)) as stage:
        actor = stage.actor
        asker = ring_actor(HANDOFF)
        asker.send(RingChanged(record.packed))
        wait_until(lambda: heard(actor, RingChanged))
        actor.puppet.do = lambda puppet, message, sender: (
            puppet.outbox.send(sender, CountHintsReply(())) if message != record else None
        )
        asker.send(RingChanged(record.packed))
        header = decode(asker.socket.recv()).header

        assert header is not None
        assert (header.cluster.epoch, header.cluster.digest) == (1, record.digest)
        assert header.cluster.lineage == around.cluster_id.lineage
        assert actor.surroundings.blueprint.record == record


@pytest.mark.usefixtures("neighbours")
@pytest.mark.parametrize("kind", [Stage, GossipStage], ids=["links", "gossip"])
def test_many_changes_leave_no_socket_behind(around, ring_actor, kind):
    members = itertools.islice(itertools.cycle([["n2"], ["n3"], ["n2", "n3"]]), CHANGES)
    changes = list(records(around, *members, ["n2", "n3"]))
    with Supervised(kind(around)) as stage:
        actor = stage.actor
        asker = ring_actor(actor.role)
        asker.send(RingChanged(changes[0].packed), RingChanged(changes[-1].packed))
        wait_until(lambda: len(heard(actor, RingChanged)) == 2)
        before = len(os.listdir("/proc/self/fd")), len(actor._doors), len(actor._connections)

        for number, record in enumerate(changes, 3):
            asker.send(RingChanged(record.packed))
            wait_until(lambda n=number: len(heard(actor, RingChanged)) == n)

        assert links(actor) == ["n2", "n3"]
        assert (len(actor._doors), len(actor._connections)) == before[1:]
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before[0], "sockets are closed")


@pytest.mark.usefixtures("neighbours")
def test_gossip_loses_the_links_of_a_removed_member_and_reaches_a_new_one(around, ring_actor):
    without, again = records(around, ["n3"], ["n2", "n3"])
    n2 = open_port(around, "n2", "exchange_port")
    inbox = bound(around.context, zmq.SUB, tcp("127.0.0.1", around.config.member("n2").gossip_port))
    inbox.subscribe(b"n2\0")
    with Supervised(GossipStage(around)) as stage:
        actor = stage.actor
        asker = ring_actor(GOSSIP)
        wait_until(lambda: (inbox.poll(0), heard(actor, LinkUp))[1])

        asker.send(RingChanged(without.packed))
        wait_until(lambda: heard(actor, RingChanged))
        asker.send(RingChanged(again.packed))
        wait_until(lambda: (inbox.poll(0), len(heard(actor, LinkUp)) == 2)[1])

        told = heard(actor, LinkUp, LinkLost, RingChanged)
        assert told == [
            LinkUp("n2"),
            LinkLost("n2"),
            RingChanged(without.packed),
            RingChanged(again.packed),
            LinkUp("n2"),
        ]
    inbox.close()
    n2.close()
