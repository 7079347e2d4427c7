"""Requests while replicas move: the third replica of every key moves from n3 to n4.

n5 and n6 are the fallbacks.
"""

from __future__ import annotations

from typing import Any

import pytest
from coordinator_scene import (
    ALIVE,
    BEFORE,
    CLIENT,
    INTERNAL,
    MOVED,
    NO_VOTE,
    NOT_FOUND,
    OK,
    SILENCE_S,
    STALE,
    FixedView,
    Scene,
    moving_from_n3_to_n4,
    one_order,
    record_at,
    stamp_at,
)

from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.messages.client import (
    DescribeMembers,
    ErrorReply,
    GetReply,
    Owners,
    OwnersReply,
    RingLoad,
    Status,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.replica import RepairReplica
from toystore.core.protocol.messages.ring import RingChanged, RingSeen
from toystore.core.ring.record import Listed, RingRecord

AFTER_THE_MOVE = one_order("n1", "n2", "n4", "n5", "n6", epoch=2)


def moving(members: int = 6, **settings: Any) -> Scene:
    return Scene(members, ring=moving_from_n3_to_n4(members), **settings)


def stable(**settings: Any) -> Scene:
    return Scene(6, **settings)


# --- writes -----------------------------------------------------------------------------


def test_a_write_is_sent_to_the_old_node_and_the_new_one_with_the_epoch() -> None:
    scene = moving()

    scene.put()

    assert scene.writes() == [("n1", None), ("n2", None), ("n4", None), ("n3", None)]
    assert {message.epoch for _, message in scene.asked} == {1}


def test_two_nodes_of_one_slot_are_one_vote() -> None:
    scene = moving()
    scene.put()

    scene.says("n3")
    scene.says("n4")
    assert scene.answers == []
    scene.says("n1")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 0)


@pytest.mark.parametrize("only", ["n3", "n4"])
def test_one_node_of_a_slot_is_no_vote(only: str) -> None:
    scene = moving()
    scene.put()

    scene.says(only)
    scene.says("n1")

    assert scene.answers == []


def test_a_slow_newcomer_delays_no_write_while_other_slots_are_enough() -> None:
    scene = moving()
    scene.put()

    scene.says("n1")
    scene.says("n2")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 0)


def test_the_new_node_votes_alone_once_the_old_one_has_given_its_replica_away() -> None:
    scene = moving(w=3)
    scene.put()

    for node in ("n1", "n2", "n4"):
        scene.says(node)
    scene.says("n3", MOVED)

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 3, 0)
    assert scene.machine.idle


def test_a_hint_for_the_new_node_makes_the_vote_of_a_fallback() -> None:
    scene = moving(w=3)
    scene.put()
    for node in ("n1", "n2", "n3"):
        scene.says(node)
    scene.wait(SILENCE_S)
    assert scene.writes()[-1] == ("n5", "n4")

    scene.says("n5")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 1)


def test_a_write_fails_when_one_node_of_a_slot_fails_and_all_slots_are_needed() -> None:
    scene = moving(w=3)
    scene.put()

    scene.says("n4", INTERNAL)

    assert scene.error() == (Code.INTERNAL, False)


def test_a_lost_newcomer_leaves_its_slot_to_the_old_node() -> None:
    ring = FixedView([("n1", "n2", "n4", "n3")], before=[BEFORE[:4]], epoch=2, lost=("n4",))
    scene = Scene(3, ring=ring, w=3)
    scene.put()

    for node in ("n1", "n2", "n3"):
        scene.says(node)

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 3, 0)


def test_a_slot_whose_nodes_are_all_lost_has_no_vote() -> None:
    ring = FixedView([("n1", "n2", "n4")], before=[("n1", "n2", "n3")], lost=("n3", "n4"), epoch=3)
    scene = Scene(2, ring=ring, w=3)

    scene.put()
    scene.says("n1")

    assert scene.error() == (Code.UNAVAILABLE, False)


@pytest.mark.parametrize("node", ["n3", "n4"])
def test_the_old_node_and_the_new_one_coordinate_a_write(node: str) -> None:
    scene = moving(node=node)

    scene.put()

    assert len(scene.writes()) == 4
    assert scene.forwarded == []


def test_another_node_forwards_a_write_to_a_node_of_the_range() -> None:
    scene = moving(node="n6")
    scene.unlink("n1", "n2", "n4")

    scene.put()

    assert [to for to, _ in scene.forwarded] == ["n3"]


# --- reads ------------------------------------------------------------------------------


def test_a_read_asks_the_old_node_and_the_new_one() -> None:
    scene = moving()

    scene.get()

    assert scene.reads() == [("n1", ()), ("n2", ()), ("n4", ()), ("n3", ())]


@pytest.mark.parametrize(("whole", "other"), [("n3", "n4"), ("n4", "n3")])
def test_the_first_whole_node_of_a_slot_is_its_vote(whole: str, other: str) -> None:
    scene = moving()
    scene.get()

    scene.says(whole, OK, record_at(0))
    scene.says(other, OK, record_at(0))
    assert scene.answers == []
    scene.says("n1", OK, record_at(0))

    assert (scene.sole_answer().owners, scene.sole_answer().fallbacks) == (2, 0)


def test_a_record_that_a_newcomer_has_before_it_is_whole_is_weighed() -> None:
    scene = moving()
    scene.get()
    scene.says("n4", NO_VOTE, record_at(5, b"newer"))

    scene.says("n1", OK, record_at(0))
    assert scene.answers == []
    scene.says("n3", OK, record_at(0))

    assert scene.sole_answer().values == (b"newer",)


def test_no_fallback_is_asked_while_the_old_node_may_answer_for_the_newcomer() -> None:
    scene = moving()
    scene.get()

    scene.says("n4", NO_VOTE)
    scene.says("n1", OK, record_at(0))

    assert len(scene.reads()) == 4
    assert scene.answers == []


def test_a_fallback_is_asked_when_neither_node_of_a_slot_can_vote() -> None:
    scene = moving()
    scene.get()
    scene.says("n4", NO_VOTE)

    scene.unlink("n3")

    assert scene.reads()[-1] == ("n5", ("n3",))


@pytest.mark.parametrize("first", ["n3", "n4"])
def test_the_newcomer_is_asked_once_more_after_the_old_node_gave_its_replica_away(
    first: str,
) -> None:
    scene = moving(r=3)
    scene.get()
    scene.says("n1", NOT_FOUND)
    scene.says("n2", NOT_FOUND)
    says = {"n3": lambda: scene.says("n3", MOVED), "n4": lambda: scene.says("n4", NO_VOTE)}
    says.pop(first)()
    for say in says.values():
        say()
    assert scene.reads()[4:] == [("n4", ())]

    scene.says("n4", OK, record_at(0))

    assert type(scene.sole_answer()) is GetReply
    assert (scene.sole_answer().values, scene.sole_answer().owners) == ((b"value",), 3)


def test_the_newcomer_is_not_asked_a_third_time() -> None:
    scene = moving(4, r=3)
    scene.get()
    scene.says("n4", NO_VOTE)
    scene.says("n3", MOVED)

    scene.says("n4", NO_VOTE)

    assert scene.error() == (Code.UNAVAILABLE, True)


def test_a_newcomer_that_follows_another_ring_is_asked_once_more() -> None:
    scene = moving(r=3)
    scene.get()
    scene.says("n1", NOT_FOUND)
    scene.says("n2", NOT_FOUND)

    scene.says("n4", MOVED)
    scene.says("n3", MOVED)
    assert scene.reads()[4:] == [("n4", ())]
    scene.says("n4", NOT_FOUND)

    assert scene.sole_answer().owners == 3


def test_a_node_is_asked_once_more_if_neither_node_of_the_slot_was_whole() -> None:
    scene = moving(r=3)
    scene.get()
    scene.says("n1", NOT_FOUND)
    scene.says("n2", NOT_FOUND)

    scene.says("n4", NO_VOTE)
    scene.says("n3", NO_VOTE)
    assert scene.reads()[4:] == [("n4", ())]
    scene.says("n4", NOT_FOUND)

    assert scene.sole_answer().owners == 3


def test_each_stale_node_of_a_slot_is_repaired() -> None:
    scene = moving()
    scene.get()

    scene.says("n1", OK, record_at(5))
    scene.says("n2", OK, record_at(5))
    scene.says("n4", NO_VOTE)
    scene.says("n3", OK, record_at(0))

    repaired = [to for to, message in scene.asked if type(message) is RepairReplica]
    assert repaired == ["n4", "n3"]


def test_a_node_that_gave_its_replica_away_is_not_repaired() -> None:
    scene = moving()
    scene.get()

    for node in ("n1", "n2", "n4"):
        scene.says(node, OK, record_at(5))
    scene.says("n3", MOVED)

    assert not [to for to, message in scene.asked if type(message) is RepairReplica]
    assert scene.machine.idle


# --- an owner with a newer ring ---------------------------------------------------------


def test_an_owner_with_a_newer_ring_is_named_to_the_ring_actor_once() -> None:
    scene = stable()
    scene.put()
    scene.put(b"other")

    scene.says("n2", STALE, at=0)
    scene.says("n2", STALE, at=1)
    scene.says("n3", STALE, at=0)

    assert scene.commands == [RingSeen("n2", 1), RingSeen("n3", 1)]
    assert scene.answers == []


def test_a_write_waits_for_the_newer_ring_and_is_sent_again() -> None:
    scene = stable()
    scene.put()
    scene.says("n2", STALE)
    scene.says("n3", STALE)
    scene.asked.clear()

    scene.turn_to(moving_from_n3_to_n4())
    assert scene.writes() == [(node, None) for node in ("n1", "n2", "n4", "n3")]
    scene.says("n1")
    scene.says("n2")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 0)


def test_votes_that_still_count_are_kept() -> None:
    scene = stable()
    scene.put()
    scene.says("n1")
    scene.says("n2", STALE)
    scene.asked.clear()

    scene.turn_to(moving_from_n3_to_n4())
    assert scene.writes() == [(node, None) for node in ("n2", "n4", "n3")]
    scene.says("n2")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 0)


def test_a_vote_of_a_node_that_is_no_owner_any_more_does_not_count() -> None:
    scene = moving()
    scene.put()
    scene.says("n3")
    scene.says("n1")

    scene.turn_to(AFTER_THE_MOVE)
    assert scene.answers == []
    scene.says("n4")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 0)


def test_no_vote_is_kept_over_an_epoch_that_the_coordinator_has_not_seen() -> None:
    scene = stable()
    scene.put()
    scene.says("n1")
    scene.asked.clear()

    scene.turn_to(AFTER_THE_MOVE)

    assert scene.writes() == [(node, None) for node in ("n1", "n2", "n4")]


def test_answers_to_questions_of_the_old_ring_do_not_count() -> None:
    scene = stable()
    scene.put()
    scene.turn_to(moving_from_n3_to_n4())

    for node in ("n1", "n2", "n3"):
        scene.says(node, at=0)

    assert scene.answers == []


def test_a_write_that_waits_for_a_newer_ring_ends_by_its_deadline() -> None:
    scene = stable()
    scene.put()
    scene.says("n2", STALE)
    scene.says("n3", STALE)

    scene.wait(3)

    assert scene.error() == (Code.TIMEOUT, False)
    assert scene.machine.idle


def test_an_acknowledged_write_leaves_a_hint_for_an_owner_with_a_newer_ring() -> None:
    scene = stable()
    scene.put()
    scene.says("n1")
    scene.says("n2")

    scene.says("n3", STALE)
    assert scene.writes()[-1] == ("n4", "n3")
    scene.says("n4")

    assert scene.machine.idle


def test_a_read_of_a_replica_that_has_moved_waits_for_the_newer_ring() -> None:
    scene = stable(r=3)
    scene.get()
    scene.says("n1", OK, record_at(0))
    scene.says("n2", OK, record_at(0))
    scene.says("n3", MOVED)
    assert scene.answers == []
    assert scene.commands == [RingSeen("n3", 1)]

    scene.turn_to(moving_from_n3_to_n4())
    scene.says("n4", OK, record_at(1))

    assert (scene.sole_answer().values, scene.sole_answer().owners) == ((b"value",), 3)


def test_a_read_whose_range_has_not_changed_goes_on() -> None:
    scene = stable()
    scene.get()
    scene.says("n1", NOT_FOUND)

    scene.turn_to(one_order(*BEFORE, epoch=1))
    scene.says("n2", NOT_FOUND)

    assert type(scene.sole_answer()) is GetReply
    assert len(scene.reads()) == 3


def test_a_forwarded_write_goes_to_an_owner_of_the_newer_ring_next() -> None:
    scene = stable(node="n6")
    scene.put()
    assert [to for to, _ in scene.forwarded] == ["n1"]
    scene.unlink("n2", "n3")

    scene.turn_to(moving_from_n3_to_n4())
    scene.answers_forward("n1", ErrorReply(0, Code.NOT_SERVING, "stopping", True))

    assert [to for to, _ in scene.forwarded] == ["n1", "n4"]


# --- members that come and go -----------------------------------------------------------


def record(*names: str, epoch: int, old: tuple[str, ...] = ()) -> RingRecord:
    def listed(of: tuple[str, ...]) -> tuple[Listed, ...]:
        return tuple(Listed(name, name, "", 1, "", name, (7400, 1, 2, 3)) for name in of)

    return RingRecord("scene", 8, listed(names), epoch=epoch, old=listed(old))


def change(scene: Scene, ring: RingRecord) -> None:
    scene.told(RingChanged(ring.packed), Peer(scene.node, RING))


def members(scene: Scene) -> dict[str, dict[str, Any]]:
    scene.told(Status(0), CLIENT)
    scene.wait(1)
    status: dict[str, Any] = scene.answers.pop().status
    return {row["name"]: row for row in status["members"]}


def test_a_new_member_is_asked_once_its_link_is_up_and_gossip_calls_it_alive() -> None:
    scene = Scene(1, n=2, r=1, w=1)

    change(scene, record("n1", "n2", epoch=1, old=("n1",)))
    scene.link("n2")
    scene.put()
    assert scene.writes() == [("n1", None), ("n1", "n2")]
    scene.gossip({"n2": ALIVE})
    scene.put(b"other")

    assert ("n2", None) in scene.writes()


def test_what_gossip_said_of_a_member_before_the_ring_changed_is_remembered() -> None:
    scene = Scene(1, n=2)
    scene.gossip({"n2": ALIVE})
    scene.link("n2")
    assert set(members(scene)) == {"n1"}

    change(scene, record("n1", "n2", epoch=1, old=("n1",)))

    row = members(scene)["n2"]
    assert (row["status"], row["reachable"], row["endpoint"]) == ("alive", True, "tcp://n2:7400")


def test_a_request_goes_on_without_a_member_that_was_removed() -> None:
    scene = Scene(4)
    scene.put()
    scene.says("n1")

    change(scene, record("n1", "n2", "n4", epoch=1))

    assert set(members(scene)) == {"n1", "n2", "n4"}
    scene.says("n2")
    scene.says("n4")
    assert type(scene.sole_answer()) is WriteReply
    assert scene.machine.idle


def test_a_removed_member_is_not_repaired() -> None:
    scene = Scene(4)
    scene.get()
    scene.says("n3", NOT_FOUND)
    scene.says("n1", OK, record_at(0))

    change(scene, record("n1", "n2", "n4", epoch=1))
    scene.wait(SILENCE_S)

    assert {to for to, message in scene.asked if type(message) is RepairReplica} <= {"n4"}
    assert scene.machine.idle


def test_an_older_record_changes_nothing() -> None:
    scene = Scene(2, n=2)
    change(scene, record("n1", "n2", "n3", epoch=2))

    change(scene, record("n1", "n2", epoch=1))

    assert set(members(scene)) == {"n1", "n2", "n3"}


def test_the_members_that_are_described_are_those_of_the_newer_ring() -> None:
    scene = Scene(2, n=2)

    change(scene, record("n2", "n3", epoch=1, old=("n1", "n2")))
    scene.told(DescribeMembers(9), CLIENT)

    reply = scene.sole_answer()
    assert (reply.epoch, set(reply.endpoints)) == (1, {f"tcp://n{n}:7400" for n in (1, 2, 3)})


def test_the_load_is_that_of_the_newer_ring() -> None:
    scene = Scene(4)

    change(scene, record("n1", "n2", "n4", epoch=1))
    scene.told(RingLoad(9), CLIENT)

    assert {name for name, *_ in scene.sole_answer().load} == {"n1", "n2", "n4"}


def test_owners_are_those_that_will_own_the_key() -> None:
    scene = moving()

    scene.told(Owners(1, "default", b"key"), CLIENT)

    reply = scene.sole_answer()
    assert type(reply) is OwnersReply
    assert reply.owners == ("n1", "n2", "n4")
    assert reply.fallbacks == ("n3", "n5", "n6")


# --- a node that is no member any more --------------------------------------------------


def without_n1(members: int = 5) -> FixedView:
    """The next ring, which n1 has left."""
    return one_order(*[f"n{number}" for number in range(2, members + 1)], epoch=1)


def test_a_node_that_is_removed_answers_what_it_holds_at_once() -> None:
    for ask, error in (
        (Scene.get, (Code.NOT_SERVING, True)),
        (Scene.put, (Code.UNAVAILABLE, False)),
    ):
        scene = Scene()
        ask(scene)

        scene.turn_to(without_n1())

        assert scene.error() == error
        assert scene.machine.idle


def test_a_node_that_is_removed_ends_the_writes_that_it_has_forwarded() -> None:
    scene = Scene(node="n5")
    scene.put()
    assert scene.forwarded

    scene.turn_to(one_order("n1", "n2", "n3", "n4", epoch=1))

    assert scene.error() == (Code.UNAVAILABLE, False)
    assert scene.machine.idle


def test_a_node_that_is_removed_serves_no_more() -> None:
    scene = Scene()
    scene.turn_to(without_n1())

    scene.put()

    assert scene.error() == (Code.NOT_SERVING, True)
