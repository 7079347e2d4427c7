"""The coordinator's door: who is let in, who is refused, and what is told of the node."""

from __future__ import annotations

from typing import Any

import pytest
from coordinator_scene import (
    ALIVE,
    CLIENT,
    DEAD,
    NOT_FOUND,
    OK,
    SILENCE_S,
    SUSPECT,
    Scene,
    record_at,
    stamp_at,
)

from toystore.core.protocol.address import ANTIENTROPY, COORDINATOR, RING, STORAGE, Peer
from toystore.core.protocol.messages.antientropy import (
    AntientropyStatusReply,
    Overloaded,
    RepairRangesReply,
)
from toystore.core.protocol.messages.client import (
    Cluster,
    ClusterReply,
    DescribeMembers,
    DescribeMembersReply,
    ErrorReply,
    GetReply,
    Owners,
    OwnersReply,
    Repair,
    RepairReply,
    RingLoad,
    RingLoadReply,
    Status,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.disk import StorageStatus, StorageStatusReply
from toystore.core.protocol.messages.local import Leave, LinkLost
from toystore.core.protocol.messages.replica import ReadReplicaReply, WriteReplicaReply
from toystore.core.protocol.messages.ring import RingCommandReply
from toystore.core.protocol.settings import LimitSettings
from toystore.core.requests.cluster_query import COMMAND_WAIT_S, DECISION_WAIT_S
from toystore.core.requests.queue_limit import PATIENCE_S, QUEUE_MIN
from toystore.core.requests.repairing import REPAIR_WAIT_S
from toystore.core.requests.serving import LINKS_WAIT_S
from toystore.core.requests.status import STATUS_WAIT_S

# --- starting and stopping --------------------------------------------------------------


def test_until_it_has_joined_a_node_does_not_serve() -> None:
    scene = Scene(up=False)
    scene.gossip({"n1": ALIVE}, joined=False)

    scene.get()

    assert scene.error() == (Code.NOT_SERVING, True)
    assert "starting" in scene.sole_answer().text


def test_a_node_serves_as_soon_as_it_is_linked_to_everyone_alive() -> None:
    scene = Scene(3, up=False)
    scene.gossip({"n1": ALIVE, "n2": ALIVE, "n3": DEAD})
    scene.get()
    assert scene.error() == (Code.NOT_SERVING, True)

    scene.link("n2")
    scene.get()

    assert [node for node, _ in scene.reads()] == ["n1", "n2"]


def test_a_node_serves_a_second_after_joining_whatever_is_linked() -> None:
    scene = Scene(3, up=False)
    scene.gossip({"n1": ALIVE, "n2": ALIVE, "n3": ALIVE})

    scene.wait(LINKS_WAIT_S)
    scene.get(r=1)

    assert scene.reads() == [("n1", ())]


def test_news_of_members_does_not_postpone_serving() -> None:
    scene = Scene(3, up=False)
    scene.gossip({"n1": ALIVE, "n2": ALIVE, "n3": ALIVE})
    scene.wait(LINKS_WAIT_S * 0.6)
    scene.gossip({"n2": SUSPECT})

    scene.wait(LINKS_WAIT_S * 0.4)
    scene.get(r=1)

    assert scene.reads() == [("n1", ())]


def test_a_gossip_that_was_made_anew_and_knows_nobody_stops_nothing() -> None:
    scene = Scene()

    scene.gossip({"n1": ALIVE}, joined=False)
    scene.put()

    assert len(scene.writes()) == 3


def test_a_node_that_leaves_answers_what_it_holds_and_takes_no_more() -> None:
    scene = Scene()
    scene.get()

    scene.told(Leave(), Peer("n1", "node"))
    scene.get()
    assert scene.error() == (Code.NOT_SERVING, True)
    assert not scene.machine.idle
    for owner in ("n1", "n2", "n3"):
        scene.says(owner, NOT_FOUND)

    assert type(scene.answers[1]) is GetReply
    assert scene.machine.idle


def test_a_machine_that_is_replaced_answers_all_that_it_holds() -> None:
    scene = Scene(9, node="n3")
    scene.put()
    scene.put(bucket="single")
    scene.get()

    scene.machine.on_failure(scene.now)
    scene._collect()

    assert [(reply.code, reply.definite) for reply in scene.answers] == [
        (Code.INTERNAL, False),
        (Code.INTERNAL, False),
        (Code.INTERNAL, True),
    ]


def test_a_machine_that_is_replaced_leaves_the_hints_of_what_it_acknowledged() -> None:
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")

    scene.machine.on_failure(scene.now)
    scene._collect()

    assert scene.writes()[-1] == ("n1", "n3")
    assert len(scene.answers) == 1


# --- bad requests -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"key": b""}, "1 to 65535"),
        ({"key": bytes(65536)}, "1 to 65535"),
        ({"bucket": "carts"}, "default, pair, single"),
        ({"r": 0}, "1 to 3"),
        ({"r": 4}, "1 to 3"),
        ({"bucket": "pair", "r": 3}, "1 to 2"),
        ({"timeout_ms": 0}, "above 0"),
        ({"timeout_ms": -1}, "above 0"),
    ],
)
def test_a_bad_get_is_refused_with_what_would_be_right(fields: Any, hint: str) -> None:
    scene = Scene()

    scene.get(**fields)

    assert scene.error() == (Code.BAD_REQUEST, True)
    assert hint in scene.sole_answer().text


def test_what_was_put_under_a_longer_limit_can_be_read_deleted_and_placed() -> None:
    scene = Scene()
    key = bytes(1025)

    scene.get(key=key)
    scene.delete(key=key)
    scene.told(Owners(9, "default", key), CLIENT)

    assert not [answer for answer in scene.answers if type(answer) is ErrorReply]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"key": b""}, "1 to 1024"),
        ({"key": bytes(1025)}, "1 to 1024"),
        ({"value": bytes(1024 * 1024 + 1)}, "at most 1048576"),
        ({"bucket": "carts"}, "default, pair, single"),
        ({"w": 4}, "1 to 3"),
        ({"w": 0}, "1 to 3"),
        ({"stamp": b""}, "20"),
        ({"stamp": bytes(21)}, "20"),
        ({"context": b"guess"}, "not one that a get returned"),
        ({"timeout_ms": 0}, "above 0"),
    ],
)
def test_a_bad_put_is_refused_with_what_would_be_right(fields: Any, hint: str) -> None:
    scene = Scene()

    scene.put(**fields)

    assert scene.error() == (Code.BAD_REQUEST, True)
    assert hint in scene.sole_answer().text
    assert scene.writes() == []


def test_keys_and_values_at_their_limits_and_any_bytes_are_taken() -> None:
    scene = Scene()

    scene.put(bytes(1024), bytes(1024 * 1024))
    scene.put(b"\xff\xfe", b"")

    assert scene.answers == []
    assert len(scene.writes()) == 6


def test_strangers_may_ask_but_not_answer() -> None:
    scene = Scene()
    scene.put()

    for node in ("n1", "n2", "n3"):
        reply = WriteReplicaReply(scene.questions(node)[0].request, OK, None)
        scene.told(reply, CLIENT)
    scene.told(LinkLost("n2"), CLIENT)
    scene.told(Leave(), CLIENT)
    scene.put()

    assert scene.answers == []
    assert len(scene.writes()) == 6


def test_replies_to_nothing_are_ignored() -> None:
    scene = Scene()

    scene.told(WriteReplicaReply(1, OK, None), Peer("n2", STORAGE))
    scene.told(WriteReply(1, stamp_at(0), 1, 0), Peer("n2", "coordinator"))
    scene.told(StorageStatusReply(1, {}), Peer("n1", STORAGE))

    assert scene.answers == []


@pytest.mark.parametrize("kind", ["get", "put"])
def test_a_reply_of_the_wrong_kind_is_ignored(kind: str) -> None:
    scene = Scene()
    wrong = WriteReplicaReply if kind == "get" else ReadReplicaReply
    scene.get(r=1) if kind == "get" else scene.put(w=1)

    scene.told(wrong(scene.questions("n1")[0].request, OK, None), Peer("n1", STORAGE))

    assert scene.answers == []


def test_a_reply_to_the_machine_before_this_one_is_ignored() -> None:
    before, after = Scene(seed=1), Scene(seed=2)
    before.put(w=1)
    after.put(w=1)

    reply = WriteReplicaReply(before.questions("n1")[0].request, OK, None)
    after.told(reply, Peer("n1", STORAGE))

    assert after.answers == []


# --- bounds -----------------------------------------------------------------------------


def test_past_so_many_requests_the_next_is_overload_and_logged_once_a_second() -> None:
    scene = Scene(limits=LimitSettings(requests_max=2))

    for _ in range(4):
        scene.get()

    assert [(reply.code, reply.definite) for reply in scene.answers] == [
        (Code.OVERLOADED, True)
    ] * 2
    assert scene.events.count("coordinator.overloaded") == 1
    assert scene.repairs == [Overloaded(2)]


def test_its_room_is_what_is_left_of_its_bound() -> None:
    scene = Scene(limits=LimitSettings(requests_max=3, request_bytes_max=250))

    rooms = [scene.machine.admission.room(scene.now)]
    scene.get()
    rooms.append(scene.machine.admission.room(scene.now))
    scene.put(b"key", bytes(244))
    rooms.append(scene.machine.admission.room(scene.now))

    assert rooms == [3, 2, 0]


@pytest.mark.parametrize("when", ["starting", "stopping"])
def test_while_it_serves_nobody_everyone_may_come_and_be_told(when: str) -> None:
    scene = Scene(up=when == "stopping", limits=LimitSettings(requests_max=1))
    if when == "stopping":
        scene.get()
        scene.told(Leave(), Peer("n1", COORDINATOR))

    assert scene.machine.admission.room(scene.now) > 10
    scene.get()
    assert scene.error() == (Code.NOT_SERVING, True)


def test_whom_the_door_turned_away_is_counted_and_logged_once_a_second() -> None:
    scene = Scene()

    for _ in range(3):
        refusals = scene.machine.admission.turn_away([1, 2, 3, 4, 5], scene.now)
        assert [refusal.request for refusal in refusals] == [1, 2, 3, 4, 5]
        scene.wait(0.4)
    scene.told(Status(6), CLIENT)
    scene.wait(STATUS_WAIT_S)

    assert scene.events.count("coordinator.overloaded") == 1
    assert scene.sole_answer().status["requests"]["failed"] == 15


def test_a_queue_that_stands_refuses_clients_but_not_what_another_coordinator_admitted() -> None:
    scene = Scene(limits=LimitSettings(requests_max=QUEUE_MIN + 100))
    for _ in range(QUEUE_MIN + 50):
        scene.get(timeout_ms=60_000)
    for _ in range(3):
        scene.machine.admission.room(scene.now)
        scene.seconds += PATIENCE_S

    assert scene.machine.admission.room(scene.now) < 0
    scene.get()
    assert scene.error() == (Code.OVERLOADED, True)
    asked = len(scene.writes())
    scene.put(forwarded=True, stamp=stamp_at(0))
    assert len(scene.writes()) == asked + 3


def test_past_so_many_bytes_the_next_is_overload_until_some_are_let_go() -> None:
    scene = Scene(limits=LimitSettings(request_bytes_max=250))
    scene.put(b"key", bytes(200))

    scene.put(b"key", bytes(200))
    assert scene.error() == (Code.OVERLOADED, True)
    scene.says("n1")
    scene.says("n2")
    scene.put(b"key", bytes(200))
    assert scene.answers[-1].code == Code.OVERLOADED, "an answered write is held till it settles"
    scene.says("n3")
    scene.put(b"key", bytes(200))

    assert type(scene.answers[-1]) is ErrorReply
    assert len(scene.answers) == 3
    assert len(scene.writes()) == 6


def test_one_request_larger_than_the_bound_is_taken_on_when_nothing_else_is_held() -> None:
    """Such as a get of a long key, put under higher limits: it would be refused for ever."""
    scene = Scene(limits=LimitSettings(request_bytes_max=250))

    scene.get(key=bytes(300))
    assert not scene.answers
    scene.get(key=bytes(300))

    assert scene.error() == (Code.OVERLOADED, True)


def test_requests_that_only_settle_are_bounded_too() -> None:
    scene = Scene(limits=LimitSettings(requests_max=2))

    for _ in range(8):
        scene.put(bucket="pair")
        scene.says("n1")
    scene.put()

    assert scene.answers[-1].code == Code.OVERLOADED
    assert sum(type(reply) is WriteReply for reply in scene.answers) == 8


# --- links ------------------------------------------------------------------------------


def test_a_lost_link_is_logged_and_gossip_is_told_once() -> None:
    scene = Scene()

    scene.unlink("n2")
    scene.unlink("n2")

    assert scene.events.count("link.lost") == 1
    assert scene.probed == ["n2"]


def test_a_new_link_is_logged_and_gossip_is_not_told() -> None:
    scene = Scene()
    scene.unlink("n2")
    scene.events.clear()
    scene.probed.clear()

    scene.link("n2")

    assert scene.events == ["link.up"]
    assert scene.probed == []


# --- telling ----------------------------------------------------------------------------


def test_a_status_tells_members_requests_and_what_storage_and_anti_entropy_report() -> None:
    scene = Scene(3)
    scene.gossip({"n2": SUSPECT})
    scene.unlink("n3")
    scene.put(key=b"abc", value=b"defg")
    scene.put(key=b"")

    scene.told(Status(77), CLIENT)
    [(_, question)] = [(to, m) for to, m in scene.asked if type(m) is StorageStatus]
    scene.told(
        StorageStatusReply(question.request, {"records": 5, "hints": {"n3": 1}}),
        Peer("n1", STORAGE),
    )
    [asked] = scene.repairs
    scene.told(AntientropyStatusReply(asked.request, {"behind": 3}), Peer("n1", ANTIENTROPY))

    reply = scene.answers[-1]
    assert reply.request == 77
    told = reply.status.pop("members")
    assert [m["endpoint"] for m in told] == [f"tcp://n{at}:7400" for at in (1, 2, 3)]
    members = [(m["name"], m["status"], m["reachable"]) for m in told]
    assert members == [("n1", "alive", True), ("n2", "suspect", True), ("n3", "alive", False)]
    assert reply.status == {
        "node": "n1",
        "cluster": "scene",
        "version": "1.2.3",
        "uptime_s": 10.0,
        "joined": True,
        "serving": True,
        "latencies": {
            "gets": {"count": 0, "p50_ms": None, "p99_ms": None},
            "puts": {"count": 0, "p50_ms": None, "p99_ms": None},
        },
        "hints": {"n3": 1},
        "storage": {"records": 5},
        "antientropy": {"behind": 3},
        "requests": {
            "held": 1,
            "settling": 0,
            "bytes": 7,
            "gets": 0,
            "puts": 1,
            "deletes": 0,
            "forwarded": 0,
            "failed": 1,
        },
    }


def test_a_status_tells_how_long_the_requests_of_clients_took() -> None:
    scene = Scene()
    for took_s in [0.004] * 9 + [0.25]:
        scene.get()
        scene.wait(took_s)
        scene.says("n1", NOT_FOUND)
        scene.says("n2", NOT_FOUND)
    scene.put()
    scene.wait(0.016)
    scene.says("n1")
    scene.says("n3")
    scene.put(forwarded=True)
    scene.says("n1")
    scene.says("n3")

    scene.told(Status(1), CLIENT)
    scene.wait(STATUS_WAIT_S)

    told = scene.answers[-1].status["latencies"]
    assert (told["gets"]["count"], told["puts"]["count"]) == (10, 1)
    assert told["gets"]["p50_ms"] == pytest.approx(4.0, rel=0.07)
    assert told["gets"]["p99_ms"] == pytest.approx(250.0, rel=0.07)
    assert told["puts"]["p50_ms"] == told["puts"]["p99_ms"] == pytest.approx(16.0, rel=0.07)


def test_a_status_is_told_before_the_node_serves_and_names_the_unknown() -> None:
    scene = Scene(2, up=False)

    scene.told(Status(1), CLIENT)
    scene.wait(STATUS_WAIT_S)

    status = scene.sole_answer().status
    assert (status["joined"], status["serving"]) == (False, False)
    assert (status["storage"], status["antientropy"], status["hints"]) == (None, None, {})
    assert [m["status"] for m in status["members"]] == ["unknown", "unknown"]
    assert scene.machine.idle


def test_a_status_waits_for_both_parts_and_lacks_only_that_of_the_busy_actor() -> None:
    scene = Scene()
    scene.told(Status(1), CLIENT)
    [asked] = scene.repairs

    scene.told(AntientropyStatusReply(asked.request, {"behind": 3}), Peer("n1", ANTIENTROPY))
    assert scene.answers == []
    scene.wait(STATUS_WAIT_S)

    status = scene.sole_answer().status
    assert (status["storage"], status["antientropy"]) == (None, {"behind": 3})


# --- repairs ----------------------------------------------------------------------------


def test_a_repair_is_done_by_anti_entropy_with_the_bucket_s_n() -> None:
    scene = Scene()

    scene.told(Repair(5, 99, "single", 7), CLIENT)
    [asked] = scene.repairs
    progress = {"job": 99, "ranges": 2, "done": 1}
    scene.told(RepairRangesReply(asked.request, progress), Peer("n1", ANTIENTROPY))

    assert (asked.job, asked.n, asked.partition) == (99, 1, 7)
    assert scene.sole_answer() == RepairReply(5, progress)
    assert scene.machine.idle


def test_a_repair_without_a_bucket_and_a_partition_is_of_all_ranges() -> None:
    scene = Scene()

    scene.told(Repair(5, 99, None, None), CLIENT)

    [asked] = scene.repairs
    assert (asked.n, asked.partition) == (None, None)


@pytest.mark.parametrize(
    ("bucket", "partition", "right"),
    [("nowhere", None, "default, pair, single"), ("default", 8, "0 to 7"), (None, -1, "0 to 7")],
)
def test_a_repair_of_what_does_not_exist_is_refused_with_what_would_be_right(
    bucket, partition, right
) -> None:
    scene = Scene()

    scene.told(Repair(5, 99, bucket, partition), CLIENT)

    assert scene.error() == (Code.BAD_REQUEST, True)
    assert right in scene.sole_answer().text
    assert scene.repairs == []


def test_a_repair_that_anti_entropy_does_not_answer_may_have_begun() -> None:
    scene = Scene()

    scene.told(Repair(5, 99, None, None), CLIENT)
    scene.wait(REPAIR_WAIT_S)

    assert scene.error() == (Code.TIMEOUT, False)
    assert "anti-entropy of n1" in scene.sole_answer().text
    assert scene.machine.idle


# --- commands of the cluster ------------------------------------------------------------


def test_a_command_is_done_by_the_ring_actor_of_the_node() -> None:
    scene = Scene()

    scene.told(Cluster(5, "plan", {"changes": [["join", "n9"]]}), CLIENT)
    [asked] = scene.commands
    scene.told(RingCommandReply(asked.request, {"plan": 1}, 0, "", True), Peer("n1", RING))

    assert asked[1:] == ("plan", {"changes": [["join", "n9"]]})
    assert scene.sole_answer() == ClusterReply(5, {"plan": 1})
    assert scene.machine.idle


def test_a_command_that_fails_is_answered_with_the_ring_actor_s_error() -> None:
    scene = Scene()

    scene.told(Cluster(5, "commit", {"plan": 1}), CLIENT)
    failed = RingCommandReply(scene.commands[0].request, {}, Code.CONFLICT, "a newer ring", True)
    scene.told(failed, Peer("n1", RING))

    assert scene.sole_answer() == ErrorReply(5, Code.CONFLICT, "a newer ring", True)
    assert scene.machine.idle


def test_a_command_is_passed_on_before_the_node_serves() -> None:
    scene = Scene(up=False)

    scene.told(Cluster(5, "status", {}), CLIENT)

    assert scene.commands[0].command == "status"


@pytest.mark.parametrize(
    ("command", "waits_s", "definite"),
    [
        ("commit", DECISION_WAIT_S, False),
        ("abort", DECISION_WAIT_S, False),
        ("plan", COMMAND_WAIT_S, False),
        ("status", COMMAND_WAIT_S, True),
    ],
)
def test_a_command_that_the_ring_actor_does_not_answer_ends_in_time(
    command, waits_s, definite
) -> None:
    scene = Scene()

    scene.told(Cluster(5, command, {}), CLIENT)
    scene.wait(0.9 * waits_s)
    assert scene.answers == []
    scene.wait(waits_s)

    assert scene.error() == (Code.TIMEOUT, definite)
    assert "toystore cluster status" in scene.sole_answer().text
    assert scene.machine.idle


# --- the ring ---------------------------------------------------------------------------


def test_owners_and_fallbacks_of_a_key_are_told_by_the_bucket_s_n() -> None:
    scene = Scene()

    scene.told(Owners(1, "default", b"key"), CLIENT)
    scene.told(Owners(2, "single", b"key"), CLIENT)
    scene.told(Owners(3, "nowhere", b"key"), CLIENT)

    three, one, none = scene.answers
    assert type(three) is OwnersReply
    assert (three.owners, three.fallbacks) == (("n1", "n2", "n3"), ("n4", "n5"))
    assert (one.owners, one.fallbacks) == (("n1",), ("n2", "n3", "n4", "n5"))
    assert none.code == Code.BAD_REQUEST


def test_the_endpoints_of_the_members_are_described_even_before_the_node_serves() -> None:
    scene = Scene(2, up=False)

    scene.told(DescribeMembers(9), CLIENT)

    endpoints = ("tcp://n1:7400", "tcp://n2:7400")
    assert scene.sole_answer() == DescribeMembersReply(9, 0, endpoints)


def test_the_load_of_the_ring_is_told() -> None:
    scene = Scene(2)

    scene.told(RingLoad(9), CLIENT)

    assert scene.sole_answer() == RingLoadReply(9, 8, (("n1", 8, 0), ("n2", 8, 0)))


# --- several at once --------------------------------------------------------------------


def test_requests_are_told_apart_by_number() -> None:
    scene = Scene()
    first = scene.get(r=1)
    second = scene.get(r=1)

    scene.says("n2", OK, record_at(2, b"second"))
    scene.says("n2", OK, record_at(1, b"first"), at=0)

    assert [(a.request, a.values) for a in scene.answers] == [
        (second, (b"second",)),
        (first, (b"first",)),
    ]


def test_a_lost_node_is_replaced_in_every_request_that_waits_for_it() -> None:
    scene = Scene()
    scene.put()
    scene.put()

    scene.unlink("n3")

    assert scene.writes().count(("n4", "n3")) == 2


def test_an_idle_coordinator_has_no_deadline() -> None:
    scene = Scene()
    scene.put()
    scene.get()
    for owner in ("n1", "n2", "n3"):
        scene.says(owner, at=0)
        scene.says(owner, NOT_FOUND)

    assert scene.machine.idle
    assert scene.machine.next_deadline() is None
    scene.wait(10 * SILENCE_S)
    assert len(scene.answers) == 2
