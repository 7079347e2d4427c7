"""The doors of an actor: what comes in, what goes out, and what is kept in between."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from shell_scene import FRAME_MAX, OtherActor, config, coordinator, surroundings
from zmq.utils.monitor import recv_monitor_message

from actors.doors import client_port
from actors.doors.client_port import ClientPort
from actors.doors.datagrams import EVERYONE, Datagrams, topic
from actors.doors.door import LOGGED_SENDERS_MAX
from actors.doors.link import Link
from actors.doors.mailbox import Mailbox
from actors.doors.sockets import PortError
from actors.surroundings import now, tcp
from tests.harness.logs import logged
from tests.harness.sockets import bound, connected
from tests.harness.waiting import wait_until
from toystore.core.protocol.address import COORDINATOR, GOSSIP, STORAGE, Caller, Peer
from toystore.core.protocol.messages.client import (
    ErrorReply,
    Get,
    GetReply,
    Put,
    Status,
    StatusReply,
)
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.gossip import Ack, Exchange, Ping, Refused
from toystore.core.protocol.messages.hints import CountHints
from toystore.core.protocol.messages.local import LinkLost, LinkUp, SendFailed
from toystore.core.protocol.messages.replica import ReadReplicaReply, RepairReplica
from toystore.core.protocol.messages.ring import FetchRings, OfferRings
from toystore.core.ring.digest import bucket_table
from toystore.core.ring.record import Gone
from toystore.wire import Header, decode, encode

ROOT = Path(__file__).resolve().parent.parent.parent
ANOTHER = "another"


@pytest.fixture
def around(context, log_path):
    return surroundings(config("n1", "n2", "n10"), "n1", context)


def arrivals(door, count=1):
    """What is delivered, waited for."""
    inbox = []

    def enough():
        inbox.extend(door.drain())
        return len(inbox) >= count

    wait_until(enough)
    return inbox


def rejections_of(door):
    """The reasons for which ``door`` rejects something from now on."""
    reasons, reject = [], door.reject

    def noted(reason, sender):
        reasons.append(reason)
        reject(reason, sender)

    door.reject = noted
    return reasons


def client_address(around):
    return tcp("127.0.0.1", around.me.client_port)


@pytest.fixture
def clients(around):
    admission = coordinator().admission
    with_port = ClientPort(around, (client_address(around),), lambda: admission)
    yield with_port
    with_port.close()


# --- the client port --------------------------------------------------------------------

REQ_OPTIONS = {"plain": {}, "correlated": {"REQ_CORRELATE": 1, "REQ_RELAXED": 1}}


@pytest.mark.parametrize("options", REQ_OPTIONS.values(), ids=REQ_OPTIONS.keys())
def test_a_req_is_answered_through_its_envelope(around, clients, options):
    client = connected(around.context, zmq.REQ, client_address(around), **options)

    for number in (1, 2):
        client.send(encode([Status(number)]))
        [(message, caller)] = arrivals(clients)
        clients.send(caller, [StatusReply(message.request, {})])

        assert decode(client.recv()).messages == [StatusReply(number, {})]
        assert len(caller.envelope) == (3 if options else 2)


def test_what_finds_no_room_is_refused_unread_and_the_rest_goes_on(around):
    inbox, replies = [], []
    machine = coordinator(requests_max=2)
    port = ClientPort(around, (client_address(around),), lambda: machine.admission)
    client = connected(around.context, zmq.DEALER, client_address(around))
    gets = [Get(number, "default", b"k", None, 1000) for number in range(6)]
    for messages in (gets[:2], gets[2:4], [Status(7)], gets[4:5], gets[5:]):
        client.send(encode(messages))

    def all_have_come():
        for message, caller in port.drain():
            machine.receive(message, caller, now())
            inbox.append(message)
        return port.turned_away == 4

    wait_until(all_have_come)
    while len(replies) < 4:
        replies += decode(client.recv()).messages

    assert inbox == [*gets[:2], Status(7)]
    assert [(reply.request, reply.code, reply.definite) for reply in replies] == [
        (number, Code.OVERLOADED, True) for number in (2, 3, 4, 5)
    ]
    port.close()


@pytest.mark.parametrize("envelope", [[], [b""], [b"id", b""], [b"1", b"2", b"", b"3", b"4", b""]])
def test_a_dealer_gets_back_every_frame_of_its_envelope(around, clients, envelope):
    client = connected(around.context, zmq.DEALER, client_address(around))
    client.send_multipart([*envelope, encode([Status(1)])])

    [(_, caller)] = arrivals(clients)
    clients.send(caller, [StatusReply(1, {})])

    *echoed, body = client.recv_multipart()
    assert echoed == envelope
    assert decode(body).messages == [StatusReply(1, {})]


def test_a_client_named_like_an_actor_gets_its_own_answers_and_nobody_elses(around, clients):
    name = around.identity(COORDINATOR)
    impostor = connected(around.context, zmq.DEALER, client_address(around), ROUTING_ID=name)
    other = connected(around.context, zmq.DEALER, client_address(around))
    for number, client in enumerate((impostor, other)):
        client.send(encode([Status(number)]))

    for message, caller in arrivals(clients, 2):
        assert isinstance(caller, Caller)
        clients.send(caller, [StatusReply(message.request, {})])

    assert decode(impostor.recv()).messages == [StatusReply(0, {})]
    assert decode(other.recv()).messages == [StatusReply(1, {})]


def test_answers_are_cut_into_frames_of_bounded_size(around, clients):
    client = connected(around.context, zmq.DEALER, client_address(around))
    client.send(encode([Status(0)]))
    [(_, caller)] = arrivals(clients)
    replies = [GetReply(at, (bytes(FRAME_MAX // 5),), b"", 1, 0) for at in range(20)]

    clients.send(caller, replies)

    taken = []
    while len(taken) < len(replies):
        frame = client.recv()
        assert len(frame) <= FRAME_MAX
        taken += decode(frame).messages
    assert taken == replies


def test_a_lone_answer_larger_than_a_frame_leaves_whole(around, clients):
    client = connected(around.context, zmq.DEALER, client_address(around))
    client.send(encode([Status(0)]))
    [(_, caller)] = arrivals(clients)
    large = GetReply(1, (bytes(FRAME_MAX),), b"", 1, 0)

    clients.send(caller, [large])

    assert decode(client.recv()).messages == [large]


# --- clients that do not read -----------------------------------------------------------


def deaf_client(around, clients, **options):
    """A client with next to no room, and a caller to answer it by."""
    narrow = {"RCVHWM": 1, "RCVBUF": 4096} | options
    client = connected(around.context, zmq.DEALER, client_address(around), **narrow)
    client.send(encode([Status(0)]))
    [(_, caller)] = arrivals(clients)
    return client, caller


def large_reply(number):
    return GetReply(number, (bytes(FRAME_MAX // 2),), b"", 1, 0)


def answer_until(clients, caller, condition):
    """Answer with one large reply after the other until ``condition``; returns how many."""
    count = 0
    while not condition():
        clients.send(caller, [large_reply(count)])
        count += 1
        assert count < 10_000, "it would go on for ever"
    return count


def test_what_a_slow_reader_has_no_room_for_is_held_and_reaches_it_in_order(around, clients):
    client, caller = deaf_client(around, clients)
    count = answer_until(clients, caller, lambda: clients.holding) + 20
    for number in range(count - 20, count):
        clients.send(caller, [large_reply(number)])

    taken = []
    while len(taken) < count:
        clients.retry()
        if client.poll(1):
            taken += [reply.request for reply in decode(client.recv()).messages]

    assert taken == list(range(count))
    assert not clients.holding
    assert clients.dropped == 0


def test_beyond_its_bound_replies_are_dropped_counted_and_logged_ever_more_rarely(
    around, clients, log_path, monkeypatch
):
    monkeypatch.setattr(client_port, "HELD_BYTES_MAX", 4 * FRAME_MAX)
    client, caller = deaf_client(around, clients)

    answer_until(clients, caller, lambda: clients.dropped >= 150)

    assert [line["count"] for line in logged(log_path, "reply.dropped")] == [1, 10, 100]
    assert not client.closed


def test_a_slow_reader_keeps_no_other_client_waiting(around, clients):
    deaf, caller = deaf_client(around, clients)
    answer_until(clients, caller, lambda: clients.holding)
    other = connected(around.context, zmq.DEALER, client_address(around))
    other.send(encode([Status(5)]))
    [(_, other_caller)] = arrivals(clients)

    clients.send(other_caller, [StatusReply(5, {})])

    assert decode(other.recv()).messages == [StatusReply(5, {})]
    assert not deaf.closed


def test_one_reply_is_held_for_a_slow_reader_however_large_it_is(around, clients, monkeypatch):
    monkeypatch.setattr(client_port, "HELD_BYTES_MAX", FRAME_MAX // 4)
    client, caller = deaf_client(around, clients)
    count = answer_until(clients, caller, lambda: clients.holding)
    clients.send(caller, [large_reply(count)])
    assert clients.dropped == 1

    taken = []
    while len(taken) < count:
        clients.retry()
        if client.poll(1):
            taken += [reply.request for reply in decode(client.recv()).messages]

    assert taken == list(range(count))


def test_a_message_that_no_receiver_takes_is_not_sent_but_an_error_or_nothing(
    around, clients, log_path, monkeypatch
):
    monkeypatch.setattr("actors.doors.door.FRAME_BYTES_MAX", FRAME_MAX)
    client = connected(around.context, zmq.DEALER, client_address(around))
    link = Link(around, COORDINATOR, Peer("n2", COORDINATOR), client_address(around), watch=False)
    wait_until(lambda: link.drain() == [] and link.up)
    large, small = a_put(1, FRAME_MAX), a_put(2, 1)
    link.send(link.to, [large, small])
    client.send(encode([Status(0)]))
    callers = {message.request: caller for message, caller in arrivals(clients, 2)}

    assert 1 not in callers
    clients.send(callers[0], [GetReply(0, (bytes(FRAME_MAX),), b"", 1, 0), StatusReply(3, {})])

    error, status = [*decode(client.recv()).messages, *decode(client.recv()).messages]
    assert (error.request, error.code, error.definite) == (0, Code.INTERNAL, True)
    assert status == StatusReply(3, {})
    assert [line["message"] for line in logged(log_path, "message.oversized")] == [
        "Put",
        "GetReply",
    ]
    link.close()


def a_put(number, size):
    return Put(number, "default", b"k", bytes(size), None, b"", None, 1000, False)


def test_what_a_peer_took_under_higher_limits_is_delivered_whatever_the_limits_are_here(
    around, clients, mailbox
):
    """Both ways: over a link to a port, and back; each door's own limits are far lower."""
    size = 20 * FRAME_MAX
    put, reply = a_put(1, size), GetReply(1, (bytes(size),), b"", 1, 0)
    n2 = surroundings(around.config, "n2", around.context)
    forwards = Link(n2, COORDINATOR, Peer("n1", COORDINATOR), client_address(around))
    replicas = Link(
        n2, COORDINATOR, Peer("n1", STORAGE), tcp("127.0.0.1", around.me.peer_port), watch=False
    )
    arrivals(forwards)
    wait_until(lambda: replicas.drain() == [] and replicas.up)
    repair = RepairReplica(bytes(16), bytes(size))

    forwards.send(forwards.to, [put])
    replicas.send(replicas.to, [repair, StorageStatus(1)])
    [(asked, caller)] = arrivals(clients)
    (repaired, _), (_, sender) = arrivals(mailbox, 2)
    clients.send(caller, [reply])
    record = ReadReplicaReply(1, int(ReplicaStatus.OK), bytes(size))
    mailbox.send(sender, [record])

    assert (asked, repaired) == (put, repair)
    assert arrivals(forwards) == [(reply, forwards.to)]
    assert arrivals(replicas) == [(record, replicas.to)]
    forwards.close()
    replicas.close()


def test_what_was_held_for_a_client_that_went_away_is_forgotten(around, clients):
    client, caller = deaf_client(around, clients)
    answer_until(clients, caller, lambda: clients.holding)

    client.close()

    def forgotten():
        clients.drain()  # lets ZeroMQ take note of who has gone
        clients.retry()
        return not clients.holding

    wait_until(forgotten)
    assert clients.dropped == 0


def test_to_try_a_slow_reader_in_vain_costs_one_send_however_many_replies_wait(
    around, clients, monkeypatch
):
    """A REQ that correlates has another envelope each time: all of them lead to one pipe."""
    client, caller = deaf_client(around, clients)
    answer_until(clients, caller, lambda: clients.holding)
    for number in range(1000):
        clients.send(Caller((caller.envelope[0], b"%d" % number, b"")), [Status(number)])
    failed = []
    send = client_port.sent

    def noted(*args, **named):
        gone = send(*args, **named)
        failed.extend([args] * (not gone))
        return gone

    monkeypatch.setattr(client_port, "sent", noted)

    clients.retry()

    assert len(failed) <= 1
    assert not client.closed


def test_small_replies_are_bounded_by_what_they_really_take(around, clients, monkeypatch):
    monkeypatch.setattr(client_port, "HELD_BYTES_MAX", FRAME_MAX)
    client, caller = deaf_client(around, clients)
    answer_until(clients, caller, lambda: clients.holding)
    envelope = (caller.envelope[0], b"x" * 1000, b"")

    for number in range(1000):
        clients.send(Caller(envelope), [Status(number)])

    assert clients.dropped > 900
    assert not client.closed


FLOOD = """
import sys, time, zmq
sys.path += {path!r}
from actors.doors import sockets
from actors.doors.client_port import ClientPort
from actors.doors.link import Link
from actors.surroundings import now, tcp
from shell_scene import config, coordinator, surroundings
from tests.harness.sockets import bound, connected
from tests.harness.waiting import wait_until
from toystore.client import sockets as client_sockets
from toystore.core.protocol.address import (Peer)
for module in (sockets, client_sockets):  # if there are heartbeats, let there be many
    for name in [name for name in vars(module) if name.endswith("HEARTBEAT_MS")]:
        setattr(module, name, 100)
context = zmq.Context()
around = surroundings(config("n1", "n2"), "n1", context)
address = tcp("127.0.0.1", around.me.client_port)
def flood(socket, *envelope):
    for _ in range(6000):
        socket.send_multipart([*envelope, bytes(100)])
{flood}
time.sleep(0.5)  # several heartbeats
print("alive", flush=True)
"""
NODE_FLOODED = {
    "by a client": """
admission = coordinator(requests_max=1).admission
port = ClientPort(around, (address,), lambda: admission)
client = connected(context, zmq.DEALER, address, SNDHWM=0)
flood(client)
time.sleep(0.2)  # what is in the kernel's buffers stays there
client.close()
""",
    "by a peer": """
peer = bound(context, zmq.ROUTER, address, SNDHWM=0)
link = Link(around, "coordinator", Peer("n2", "coordinator"), address)
wait_until(lambda: link.drain() and link.up)
link.socket.send(b"hello")
flood(peer, peer.recv_multipart()[0])
time.sleep(0.2)
peer.close()
""",
}
APPLICATION_FLOODED = """
node = bound(context, zmq.ROUTER, address, SNDHWM=0)
client = client_sockets.open_socket(zmq.DEALER)
client.connect(address)
wait_until(lambda: client.poll(0, zmq.POLLOUT))
client.send(b"hello")
flood(node, node.recv_multipart()[0])
time.sleep(0.2)
node.close()
"""


def survives(flood):
    """Run a script in a process of its own: libzmq's way to fail is to abort it."""
    script = FLOOD.format(path=sys.path, flood=flood)
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.stdout == "alive\n", ran.stderr


@pytest.mark.parametrize("flood", NODE_FLOODED.values(), ids=NODE_FLOODED.keys())
def test_who_floods_a_node_and_goes_does_not_take_it_along(flood):
    survives(flood)


def test_a_node_that_floods_an_application_and_goes_does_not_take_it_along():
    survives(APPLICATION_FLOODED)


# --- mailboxes --------------------------------------------------------------------------


@pytest.fixture
def mailbox(around):
    made = Mailbox(around, STORAGE, "inproc://storage", tcp("127.0.0.1", around.me.peer_port))
    yield made
    made.close()


def coordinator_of(around, node, address="inproc://storage", identity=None):
    return OtherActor(around, Peer(node, COORDINATOR), address, identity)


def test_a_mailbox_serves_near_and_far_alike(around, mailbox):
    near = coordinator_of(around, "n1")
    far = coordinator_of(around, "n2", tcp("127.0.0.1", around.me.peer_port))
    near.send(StorageStatus(1), CountHints())
    far.send(StorageStatus(2))

    inbox = arrivals(mailbox, 3)
    for message, sender in inbox:
        if type(message) is StorageStatus:
            mailbox.send(sender, [StorageStatusReply(message.request, {})])

    assert {sender for _, sender in inbox} == {near.peer, far.peer}
    assert near.frame() == [StorageStatusReply(1, {})]
    assert far.frame() == [StorageStatusReply(2, {})]


def test_a_peer_that_was_restarted_is_answered_where_it_is_now(around, mailbox):
    for identity in (b"n2/coordinator/old", b"n2/coordinator/new"):
        peer = coordinator_of(around, "n2", identity=identity)
        peer.send(StorageStatus(1))
        [(_, sender)] = arrivals(mailbox)
        mailbox.send(sender, [StorageStatusReply(1, {})])

        assert peer.frame() == [StorageStatusReply(1, {})]


def test_a_peer_of_the_same_identity_takes_over_from_its_old_connection(around, mailbox):
    address = tcp("127.0.0.1", around.me.peer_port)
    first = coordinator_of(around, "n2", address, b"same")
    first.send(StorageStatus(1))
    arrivals(mailbox)
    second = coordinator_of(around, "n2", address, b"same")
    second.send(StorageStatus(2))
    [(_, sender)] = arrivals(mailbox)

    mailbox.send(sender, [StorageStatusReply(2, {})])

    assert second.frame() == [StorageStatusReply(2, {})]


def test_an_answer_to_somebody_unknown_or_gone_is_dropped_and_counted(around, mailbox, log_path):
    peer = coordinator_of(around, "n2", tcp("127.0.0.1", around.me.peer_port))
    peer.send(StorageStatus(1))
    [(_, gone)] = arrivals(mailbox)
    peer.socket.close()

    mailbox.send(Peer("n10", COORDINATOR), [StorageStatusReply(1, {})] * 3)

    def noticed():
        mailbox.drain()  # lets ZeroMQ take note of who has gone
        mailbox.send(gone, [StorageStatusReply(1, {})])
        return mailbox.dropped > 3

    wait_until(noticed)
    assert logged(log_path, "reply.dropped")[0]["count"] == 3


def test_an_answer_to_an_actor_of_the_own_node_that_has_stopped_is_not_missed(around, mailbox):
    near = coordinator_of(around, "n1")
    far = coordinator_of(around, "n2", tcp("127.0.0.1", around.me.peer_port))
    for peer in (near, far):
        peer.send(StorageStatus(1))
    inbox = arrivals(mailbox, 2)
    for peer in (near, far):
        peer.socket.close()
    answered = []

    def far_is_missed():
        mailbox.drain()
        for _, sender in inbox:
            before = mailbox.dropped
            mailbox.send(sender, [StorageStatusReply(1, {})])
            answered.append((sender.node, mailbox.dropped - before))
        return mailbox.dropped

    wait_until(far_is_missed)
    assert ("n2", 1) in answered
    assert ("n1", 1) not in answered


def test_answers_to_an_actor_that_does_not_read_are_dropped_not_waited_for(around, monkeypatch):
    monkeypatch.setattr("actors.doors.mailbox.PEER_FRAMES_MAX", 4)
    mailbox = Mailbox(around, STORAGE, "inproc://storage")
    peer = coordinator_of(around, "n1")
    peer.send(StorageStatus(0))
    [(_, sender)] = arrivals(mailbox)

    for number in range(2000):
        mailbox.send(sender, [StorageStatusReply(number, {})])
    mailbox.close()

    assert 0 < mailbox.dropped < 2000


@pytest.mark.parametrize(
    "difference",
    [
        {"name": ANOTHER},
        {"lineage": bytes(16), "digest": bytes(16)},
        {"buckets": bucket_table({"default": 7})},
    ],
    ids=["name", "members", "buckets"],
)
def test_a_foreigner_is_told_why_and_logged_once(around, mailbox, log_path, difference):
    foreigner = coordinator_of(around, "n7")
    foreigner.header = foreigner.header._replace(
        cluster=foreigner.header.cluster._replace(**difference)
    )
    local = coordinator_of(around, "n2")
    for _ in range(3):
        foreigner.send(StorageStatus(1))
    local.send(StorageStatus(2))

    assert [message for message, _ in arrivals(mailbox)] == [StorageStatus(2)]
    replies = foreigner.take(3)
    assert {type(reply) for reply in replies} == {Refused}
    [line] = logged(log_path, "member.refused")
    assert (line["member"], line["reason"]) == ("n7", replies[0].text)


def test_a_node_of_the_same_lineage_is_accepted_with_other_addresses(around, mailbox, log_path):
    moved = coordinator_of(around, "n2")
    own = moved.header.cluster
    moved.header = moved.header._replace(cluster=own._replace(digest=bytes(16)))
    for number in range(3):
        moved.send(StorageStatus(number))

    assert [message for message, _ in arrivals(mailbox, 3)] == list(map(StorageStatus, range(3)))
    assert mailbox.header.cluster == own
    assert not log_path.exists() or not logged(log_path, "member.refused")


def test_a_door_adopts_the_older_lineage_of_a_node_with_the_same_addresses(around, mailbox):
    older = coordinator_of(around, "n2")
    own = older.header.cluster
    older.header = older.header._replace(cluster=own._replace(lineage=bytes(16)))
    older.send(StorageStatus(1))

    assert [message for message, _ in arrivals(mailbox)] == [StorageStatus(1)]
    mailbox.send(older.peer, [StorageStatusReply(1, {})])
    header = decode(older.socket.recv()).header
    assert header is not None
    assert header.cluster == own._replace(lineage=bytes(16))


def later(around, *names, epoch=1):
    """The surroundings of n1 with a record of a later epoch, of these members."""
    founding = around.config.founding()
    members = tuple(one for one in founding.members if one.name in names)
    lineage = around.cluster_id.lineage
    return around.following(replace(founding, members=members, epoch=epoch, lineage=lineage))


def test_a_node_that_is_not_listed_may_only_fetch_ring_records(around, mailbox, log_path):
    removed = coordinator_of(around, "n2")
    mailbox.follow(later(around, "n1", "n10"))

    removed.send(StorageStatus(1), FetchRings(2, 0), StorageStatus(3))

    assert [message for message, _ in arrivals(mailbox)] == [FetchRings(2, 0)]
    [refused] = removed.frame()
    assert refused == Refused("n2 is not a member of cluster 'shell' in epoch 1")
    [line] = logged(log_path, "member.refused")
    assert (line["member"], line["reason"]) == ("n2", refused.text)


def test_a_node_that_the_newest_record_has_removed_is_refused_without_an_error(
    around, mailbox, log_path
):
    removed = coordinator_of(around, "n2")
    newest = later(around, "n1", "n10").record
    mailbox.follow(around.following(replace(newest, gone=(Gone("n2", "", newest.epoch),))))

    removed.send(StorageStatus(1), FetchRings(2, 0))

    assert [message for message, _ in arrivals(mailbox)] == [FetchRings(2, 0)]
    assert removed.frame() == [Refused("n2 is not a member of cluster 'shell' in epoch 1")]
    assert not log_path.exists() or not logged(log_path, "member.refused")


def test_a_node_with_a_newer_record_is_noted_and_may_be_listed_only_there(around, mailbox):
    seen = []
    mailbox.on_newer = lambda node, epoch: seen.append((node, epoch))
    mailbox.follow(later(around, "n1", "n10"))
    newer = coordinator_of(later(around, "n1", "n2", epoch=2), "n2")

    newer.send(StorageStatus(1))

    assert [message for message, _ in arrivals(mailbox)] == [StorageStatus(1)]
    assert seen == [("n2", 2)]


def test_a_node_of_the_lineage_before_may_only_pass_on_ring_records(around, mailbox):
    mailbox.follow(later(around, "n1", "n2"))
    before = coordinator_of(around, "n2")
    cluster = before.header.cluster._replace(lineage=bytes(16), digest=bytes(16))
    before.header = before.header._replace(cluster=cluster)

    before.send(FetchRings(1, 0), StorageStatus(2), OfferRings(3, ()))

    taken = [message for message, _ in arrivals(mailbox, 2)]
    assert taken == [FetchRings(1, 0), OfferRings(3, ())]
    [refused] = before.frame()
    assert "another lineage" in refused.text


def test_another_record_of_the_same_epoch_is_refused_and_logged_as_a_fork(
    around, mailbox, log_path
):
    mailbox.follow(later(around, "n1", "n2"))
    other = coordinator_of(later(around, "n1", "n2", "n10"), "n2")

    for number in range(2):
        other.send(StorageStatus(number))
    replies = [reply for _ in range(2) for reply in (mailbox.drain(), other.frame())[1]]

    assert all("another ring record of epoch 1" in reply.text for reply in replies)
    [line] = logged(log_path, "ring.forked")
    assert (line["member"], line["epoch"], line["reason"]) == ("n2", 1, replies[0].text)


def test_what_is_for_another_actor_is_dropped_and_logged_once_per_sender(around, mailbox, log_path):
    rejections = rejections_of(mailbox)
    for sender in (b"one", b"two"):
        peer = coordinator_of(around, "n2", identity=sender)
        peer.send(*[Status(1)] * 5, StorageStatus(1))
        assert [message for message, _ in arrivals(mailbox)] == [StorageStatus(1)]

    assert [line["sender"] for line in logged(log_path, "frame.rejected")] == ["b'one'", "b'two'"]
    assert rejections == ["Status is not for storage"] * 10


@pytest.mark.parametrize("make", [Mailbox, ClientPort], ids=["mailbox", "client port"])
def test_a_frame_beyond_all_limits_cuts_its_link_and_the_door_lives_on(around, make, monkeypatch):
    monkeypatch.setattr("actors.doors.sockets.FRAME_BYTES_MAX", FRAME_MAX)
    address = tcp("127.0.0.1", around.me.peer_port)
    if make is Mailbox:
        door = Mailbox(around, STORAGE, address)
    else:
        door = ClientPort(around, (address,), lambda: coordinator().admission)
    huge = connected(around.context, zmq.DEALER, address, RECONNECT_IVL=-1)
    monitor = huge.get_monitor_socket(zmq.Event.DISCONNECTED)
    monitor.rcvtimeo = 10_000

    huge.send(bytes(FRAME_MAX + 1))

    assert recv_monitor_message(monitor)["event"] == zmq.Event.DISCONNECTED
    huge.disable_monitor()
    ask = StorageStatus(1) if make is Mailbox else Status(1)
    other = coordinator_of(around, "n2", address)
    other.send(ask)
    assert arrivals(door)[0][0] == ask
    door.close()


def test_a_port_in_use_is_told_by_its_address(around, mailbox):
    address = tcp("127.0.0.1", around.me.peer_port)

    with pytest.raises(PortError, match=f"cannot bind {address}: Address already in use"):
        Mailbox(around, STORAGE, "inproc://other", address)


# --- links ------------------------------------------------------------------------------


def link_to_n2(around, **options):
    n2 = around.config.member("n2")
    address = tcp(n2.host, n2.peer_port)
    return Link(around, COORDINATOR, Peer("n2", STORAGE), address, **options), address


def test_a_link_tells_when_it_is_up_and_when_it_is_lost(around):
    link, address = link_to_n2(around)
    peer = bound(around.context, zmq.ROUTER, address)
    up = arrivals(link)
    peer.close()
    lost = arrivals(link)
    link.close()

    assert up == [(LinkUp("n2"), Peer("n2", STORAGE))]
    assert lost == [(LinkLost("n2"), Peer("n2", STORAGE))]


def test_a_link_that_is_not_watched_keeps_its_news_to_itself(around):
    link, address = link_to_n2(around, watch=False)
    peer = bound(around.context, zmq.ROUTER, address)
    wait_until(lambda: link.drain() == [] and link.up)
    peer.close()
    wait_until(lambda: link.drain() == [] and not link.up)
    link.close()


def test_nothing_stale_waits_for_a_peer_that_comes_back(around):
    link, address = link_to_n2(around)
    failed = link.send(link.to, [StorageStatus(1), StorageStatus(2)])

    peer = bound(around.context, zmq.ROUTER, address)
    arrivals(link)
    link.send(link.to, [StorageStatus(3)])
    identity, body = peer.recv_multipart()
    link.close()

    assert [one for one, _ in failed] == [
        SendFailed("n2", STORAGE, StorageStatus(number), False) for number in (1, 2)
    ]
    assert identity == around.identity(COORDINATOR)
    assert decode(body).messages == [StorageStatus(3)]


def test_a_frame_that_finds_no_room_fails_with_all_after_it_so_that_order_is_kept(
    around, monkeypatch
):
    monkeypatch.setattr("actors.doors.link.PEER_FRAMES_MAX", 1)
    link, address = link_to_n2(around)
    peer = bound(around.context, zmq.ROUTER, address, RCVHWM=1, RCVBUF=4096)
    arrivals(link)
    count = 400
    messages = [GetReply(at, (bytes(FRAME_MAX // 2),), b"", 0, 0) for at in range(count)]

    failed = [one for one, _ in link.send(link.to, messages)]
    link.close()

    assert 0 < len(failed) < count
    assert [one.message.request for one in failed] == list(range(count - len(failed), count))
    assert {one.overloaded for one in failed} == {True}
    assert not peer.closed


def test_garbage_on_a_link_is_dropped_and_logged_once(around, log_path):
    link, address = link_to_n2(around)
    rejections = rejections_of(link)
    peer = bound(around.context, zmq.ROUTER, address)
    arrivals(link)
    link.send(link.to, [StorageStatus(1)])
    identity, _ = peer.recv_multipart()
    for body in (b"garbage", b"", encode([StorageStatusReply(1, {})])):
        peer.send_multipart([identity, body])

    assert arrivals(link) == [(StorageStatusReply(1, {}), link.to)]
    link.close()
    assert len(rejections) == 2
    assert len(logged(log_path, "frame.rejected")) == 1


# --- datagrams --------------------------------------------------------------------------


@pytest.fixture
def three(around):
    """The datagrams of n1, n2 and n10, each linked to the others."""
    made = {
        name: Datagrams(surroundings(around.config, name, around.context))
        for name in ("n1", "n2", "n10")
    }

    def linked():
        for one in made.values():
            one.drain()
        return all(one.linked == set(made) - {name} for name, one in made.items())

    wait_until(linked)
    yield made
    for one in made.values():
        one.close()


def test_a_datagram_reaches_whom_it_is_for_and_not_whose_name_begins_alike(three):
    for number, to in enumerate(("n10", "n1", "n10", "n1")):
        assert three["n2"].send(Peer(to, GOSSIP), [Ping(number, ())]) == []

    assert arrivals(three["n1"], 2) == [(Ping(at, ()), Peer("n2", GOSSIP)) for at in (1, 3)]
    assert arrivals(three["n10"], 2) == [(Ping(at, ()), Peer("n2", GOSSIP)) for at in (0, 2)]


def test_everyone_hears_what_is_for_everyone(around, three):
    body = encode([Ack(1, "n9", ())], around.header(GOSSIP))
    three["n2"].outlet.send(EVERYONE + body)

    for name in ("n1", "n10"):
        assert arrivals(three[name]) == [(Ack(1, "n9", ()), Peer("n1", GOSSIP))]


def test_a_datagram_over_a_link_that_is_lost_comes_back(three):
    three["n2"].close()
    wait_until(lambda: three["n1"].drain() == [] and "n2" not in three["n1"].linked)

    failed = three["n1"].send(Peer("n2", GOSSIP), [Ping(1, ())])
    three["n1"].send(Peer("n10", GOSSIP), [Ping(2, ())])

    assert [one for one, _ in failed] == [SendFailed("n2", GOSSIP, Ping(1, ()), False)]
    assert arrivals(three["n10"]) == [(Ping(2, ()), Peer("n1", GOSSIP))]
    del three["n2"]


def test_publishing_to_a_peer_that_does_not_read_never_blocks(three):
    to = Peer("n2", GOSSIP)
    for number in range(20_000):
        assert three["n1"].send(to, [Ping(number, ())]) == []

    three["n1"].send(Peer("n10", GOSSIP), [Ping(7, ())])
    assert arrivals(three["n10"]) == [(Ping(7, ()), Peer("n1", GOSSIP))]


def test_foreign_and_misplaced_datagrams_are_dropped(around, three, log_path):
    rejections = rejections_of(three["n1"])
    own = around.header(GOSSIP)._replace(sender=Peer("n2", GOSSIP))
    foreign = Header(Peer("n7", GOSSIP), own.cluster._replace(name=ANOTHER))
    for body in (
        b"garbage",
        encode([Ping(1, ())]),
        encode([Ping(2, ())], foreign),
        encode([Exchange(3, (), "run"), Ping(4, ())], own),
    ):
        three["n2"].outlet.send(topic("n1") + body)

    assert arrivals(three["n1"]) == [(Ping(4, ()), Peer("n2", GOSSIP))]
    assert len(rejections) == 3
    assert [line["member"] for line in logged(log_path, "member.refused")] == ["n7"]


# --- keeping the log readable -----------------------------------------------------------


def test_misfits_of_ever_new_senders_do_not_fill_the_log_or_the_memory(around, mailbox, log_path):
    for number in range(3 * LOGGED_SENDERS_MAX):
        mailbox.reject("garbage", b"stranger %d" % number)

    assert len(logged(log_path, "frame.rejected")) == LOGGED_SENDERS_MAX


def test_a_bad_request_of_a_client_that_reads_is_answered_and_its_rest_served(around, clients):
    client = connected(around.context, zmq.DEALER, client_address(around))
    get = Get(2, "default", b"k", None, 1000)
    client.send(encode([StorageStatus(1), get]))

    assert [message for message, _ in arrivals(clients)] == [get]
    [reply] = decode(client.recv()).messages
    assert reply == ErrorReply(0, Code.BAD_REQUEST, "StorageStatus is not a request", True)
