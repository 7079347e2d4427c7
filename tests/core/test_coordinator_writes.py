"""Writes, told as stories: quorums, fallbacks, hints, and what an answer rests on."""

from __future__ import annotations

import pytest
from coordinator_scene import (
    ALIVE,
    DEAD,
    INTERNAL,
    REFUSED,
    SILENCE_S,
    SUPERSEDED,
    Scene,
    context_at,
    one_order,
    stamp_at,
)

from toystore.core.data.record import unpack_record
from toystore.core.data.stamp import unpack_stamp
from toystore.core.protocol.messages.client import ErrorReply, SupersededReply, WriteReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.settings import CoordinatorSettings

OWNERS = [("n1", None), ("n2", None), ("n3", None)]


def test_a_put_goes_to_every_owner_as_one_record_and_is_answered_at_w() -> None:
    scene = Scene()

    request = scene.put(b"cart", b"eggs")
    assert scene.writes() == OWNERS
    scene.says("n2")
    assert scene.answers == []
    scene.says("n1")

    assert scene.sole_answer() == WriteReply(request, stamp_at(0), 2, 0)
    record = unpack_record(scene.asked[0][1].record)
    assert (record.key, record.value, record.stamp) == (b"cart", b"eggs", stamp_at(0))
    assert not scene.machine.idle
    scene.says("n3")
    assert scene.machine.idle


def test_a_delete_writes_a_tombstone() -> None:
    scene = Scene()

    scene.delete()
    scene.says("n1")
    scene.says("n3")

    assert unpack_record(scene.asked[0][1].record).tombstone
    assert type(scene.sole_answer()) is WriteReply


def test_a_write_goes_to_the_n_owners_of_its_bucket() -> None:
    scene = Scene()

    scene.put(bucket="single")
    scene.says("n1")

    assert scene.writes() == [("n1", None)]
    assert scene.sole_answer().owners == 1


def test_the_same_replica_answering_twice_is_counted_once() -> None:
    scene = Scene()

    scene.put()
    scene.says("n2")
    scene.says("n2")

    assert scene.answers == []


def test_who_was_not_asked_is_not_counted() -> None:
    scene = Scene()

    scene.put()
    scene.says("n2")
    reply = scene.questions("n2")[0]._replace()
    scene.asked.append(("n5", reply))
    scene.says("n5")

    assert scene.answers == []


# --- fallbacks and hints ----------------------------------------------------------------


def test_an_owner_that_is_away_is_replaced_by_a_fallback_with_a_hint_for_it() -> None:
    scene = Scene()
    scene.unlink("n2")

    request = scene.put()
    assert scene.writes() == [("n1", None), ("n4", "n2"), ("n3", None)]
    scene.says("n1")
    scene.says("n4")

    assert scene.sole_answer() == WriteReply(request, stamp_at(0), 1, 1)


def test_each_fallback_stands_in_for_one_owner_only() -> None:
    scene = Scene()
    scene.unlink("n2", "n3")

    scene.put()

    assert scene.writes() == [("n1", None), ("n4", "n2"), ("n5", "n3")]


def test_a_member_that_gossip_calls_dead_is_away_though_its_link_is_up() -> None:
    scene = Scene()
    scene.gossip({"n3": DEAD})

    scene.put()

    assert scene.writes() == [("n1", None), ("n2", None), ("n4", "n3")]


def test_a_member_that_comes_back_is_asked_again() -> None:
    scene = Scene()
    scene.gossip({"n3": DEAD})
    scene.unlink("n3")
    scene.gossip({"n3": ALIVE})
    scene.link("n3")

    scene.put()

    assert scene.writes() == OWNERS


@pytest.mark.parametrize("how", ["link lost", "dead", "unsent", "refused"])
def test_an_owner_that_drops_out_in_mid_request_is_replaced(how: str) -> None:
    scene = Scene()
    scene.put()

    if how == "link lost":
        scene.unlink("n2")
    elif how == "dead":
        scene.gossip({"n2": DEAD})
    elif how == "unsent":
        scene.unsent("n2")
    else:
        scene.says("n2", REFUSED)

    assert scene.writes() == [*OWNERS, ("n4", "n2")]
    scene.says("n1")
    scene.says("n4")
    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 1, 1)


def test_a_silent_owner_is_replaced_after_the_replica_timeout() -> None:
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")
    scene.wait(SILENCE_S * 0.9)
    assert scene.writes() == OWNERS

    scene.wait(SILENCE_S * 0.2)

    assert scene.writes() == [*OWNERS, ("n4", "n3")]


def test_the_next_fallback_is_asked_when_one_refuses_or_is_silent() -> None:
    scene = Scene(6, w=3)
    scene.unlink("n2")
    scene.put()
    scene.says("n1")
    scene.says("n3")

    scene.says("n4", REFUSED)
    assert scene.writes()[-1] == ("n5", "n2")
    scene.wait(SILENCE_S)
    assert scene.writes()[-1] == ("n6", "n2")
    scene.says("n6")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 1)


def test_a_silent_owner_and_its_fallback_have_one_vote_between_them() -> None:
    scene = Scene(w=3)
    scene.put()
    scene.says("n1")
    scene.wait(SILENCE_S)
    assert scene.writes()[3:] == [("n4", "n2"), ("n5", "n3")]

    scene.says("n4")
    scene.says("n2")
    assert scene.answers == []
    scene.says("n3")

    assert type(scene.sole_answer()) is WriteReply


def test_a_silent_owner_that_could_not_be_replaced_may_still_answer() -> None:
    scene = Scene(3, w=3)
    scene.put()
    scene.says("n1")
    scene.says("n2")

    scene.wait(SILENCE_S * 2)
    assert scene.answers == []
    scene.says("n3")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 3, 0)


def test_a_silent_owner_that_was_replaced_and_is_lost_is_not_replaced_again() -> None:
    scene = Scene(6)
    scene.put()
    scene.says("n1")
    scene.says("n3")
    scene.wait(SILENCE_S)

    scene.unlink("n2")

    assert scene.writes() == [*OWNERS, ("n4", "n2")]


def test_a_silent_owner_that_could_not_be_replaced_and_is_lost_fails_the_write_at_once() -> None:
    scene = Scene(3, w=3)
    scene.put()
    scene.says("n1")
    scene.says("n2")
    scene.wait(SILENCE_S)
    assert scene.answers == []

    scene.unlink("n3")

    assert scene.error() == (Code.UNAVAILABLE, False)


def test_with_no_fallback_left_the_coordinator_holds_the_hint() -> None:
    scene = Scene(3)
    scene.unlink("n3")

    scene.put()

    assert sorted(scene.writes(), key=str) == [("n1", "n3"), ("n1", None), ("n2", None)]


def test_a_hint_that_the_coordinator_holds_does_not_count_to_w() -> None:
    scene = Scene(3)
    scene.unlink("n3")
    scene.put()

    scene.says("n1", at=1)
    scene.says("n2")
    assert scene.answers == []
    scene.says("n1", at=0)

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 0)


def test_another_owner_holds_the_hint_of_a_coordinator_without_room() -> None:
    """Found by simulation: nobody did, and its copy was behind until somebody read it."""
    scene = Scene(3)
    scene.put()

    scene.says("n1", REFUSED)

    assert scene.writes() == [*OWNERS, ("n2", "n1")]


def test_an_owner_that_is_alone_holds_no_hint_for_itself() -> None:
    scene = Scene(1, n=1, r=1, w=1)
    scene.put()

    scene.says("n1", REFUSED)

    assert scene.writes() == [("n1", None)]


# --- after the answer -------------------------------------------------------------------


def test_an_acknowledged_write_goes_on_until_a_silent_owner_has_its_hint() -> None:
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")
    assert type(scene.sole_answer()) is WriteReply

    scene.wait(SILENCE_S)
    assert scene.writes()[-1] == ("n4", "n3")
    assert not scene.machine.idle
    scene.says("n4")

    assert scene.machine.idle
    assert len(scene.answers) == 1


def test_an_owner_lost_after_the_answer_gets_its_hint_too() -> None:
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")

    scene.unlink("n3")

    assert scene.writes()[-1] == ("n4", "n3")


def test_the_end_of_an_acknowledged_write_leaves_the_hint_with_the_coordinator() -> None:
    scene = Scene(30)
    scene.put(timeout_ms=500)
    scene.says("n1")
    scene.says("n2")

    scene.wait(0.5 + 3 * SILENCE_S)

    assert scene.machine.idle
    assert scene.writes()[-1] == ("n1", "n3")
    assert len(scene.answers) == 1


def test_an_acknowledged_write_may_outlive_its_caller_s_patience() -> None:
    scene = Scene()
    scene.put(timeout_ms=100)
    scene.says("n1")
    scene.says("n2")

    scene.wait(SILENCE_S)
    assert scene.writes()[-1] == ("n4", "n3")
    scene.says("n4")

    assert scene.machine.idle
    assert len(scene.answers) == 1


def test_what_is_superseded_after_the_answer_needs_no_copy() -> None:
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")

    scene.says("n3", SUPERSEDED, stamp_at(1))

    assert scene.machine.idle
    assert type(scene.sole_answer()) is WriteReply


def test_a_failed_write_is_not_followed_up() -> None:
    scene = Scene()
    scene.put(timeout_ms=100)

    scene.wait(0.1)

    assert scene.error() == (Code.TIMEOUT, False)
    assert scene.machine.idle


# --- failing ----------------------------------------------------------------------------


def test_too_few_reachable_nodes_fail_at_once_and_definitely() -> None:
    scene = Scene(3)
    scene.unlink("n2", "n3")

    scene.put()

    assert scene.error() == (Code.UNAVAILABLE, True)
    assert scene.writes() == []
    assert scene.machine.idle


def test_a_quorum_that_becomes_impossible_fails_at_once_and_indefinitely() -> None:
    scene = Scene(3)
    scene.put()
    scene.says("n1")

    scene.unlink("n2", "n3")

    assert scene.error() == (Code.UNAVAILABLE, False)


def test_a_full_queue_is_overload_and_is_not_filled_elsewhere() -> None:
    scene = Scene()
    scene.put()

    scene.unsent("n2", overloaded=True)
    scene.unsent("n3", overloaded=True)

    assert scene.writes() == OWNERS
    assert scene.error() == (Code.OVERLOADED, False)


@pytest.mark.parametrize("when", ["before the answer", "after it"])
def test_an_owner_too_busy_for_an_acknowledged_write_gets_a_hint(when: str) -> None:
    scene = Scene()
    scene.put()

    if when == "before the answer":
        scene.unsent("n3", overloaded=True)
        assert scene.writes() == OWNERS
    scene.says("n1")
    scene.says("n2")
    if when == "after it":
        scene.unsent("n3", overloaded=True)

    assert type(scene.sole_answer()) is WriteReply
    assert scene.writes() == [*OWNERS, ("n4", "n3")]


def test_a_poisoned_message_does_not_walk_through_the_fallbacks() -> None:
    scene = Scene()
    scene.put()

    scene.says("n2", INTERNAL)
    assert scene.answers == []
    scene.says("n3", INTERNAL)

    assert scene.writes() == OWNERS
    assert scene.error() == (Code.INTERNAL, False)


def test_one_internal_failure_is_outvoted() -> None:
    scene = Scene()
    scene.put()

    scene.says("n2", INTERNAL)
    scene.says("n1")
    scene.says("n3")

    assert type(scene.sole_answer()) is WriteReply
    assert scene.machine.idle


def test_a_write_that_runs_out_of_time_is_an_indefinite_timeout() -> None:
    scene = Scene()
    scene.put(timeout_ms=700)

    scene.wait(0.699)
    assert scene.answers == []
    scene.wait(0.001)

    assert scene.error() == (Code.TIMEOUT, False)


def test_a_timeout_above_the_limit_is_cut_to_it() -> None:
    scene = Scene(3)
    scene.put(timeout_ms=10**9)

    scene.wait(60.0)

    assert scene.error() == (Code.TIMEOUT, False)


# --- stamps -----------------------------------------------------------------------------


def test_superseded_is_no_acknowledgement_and_goes_to_the_client_at_once() -> None:
    scene = Scene()
    request = scene.put()

    scene.says("n1")
    scene.says("n2", SUPERSEDED, stamp_at(5))

    assert scene.sole_answer() == SupersededReply(request, stamp_at(5))
    assert scene.machine.idle


def test_a_write_without_a_stamp_is_given_one() -> None:
    scene = Scene()

    scene.put(stamp=None)
    scene.says("n1")
    scene.says("n2")

    stamp = scene.sole_answer().stamp
    assert unpack_stamp(stamp).time_us == scene.wall_us
    assert unpack_record(scene.asked[0][1].record).stamp == stamp


def test_a_stamp_minted_here_and_superseded_is_minted_anew_above() -> None:
    scene = Scene()
    scene.put(stamp=None)
    scene.says("n1")

    scene.says("n2", SUPERSEDED, stamp_at(5))
    assert scene.answers == []
    assert scene.writes() == OWNERS * 2
    scene.says("n1", at=0)
    scene.says("n3", at=0)
    assert scene.answers == [], "answers to the first attempt do not count to the second"
    scene.says("n1")
    scene.says("n2")

    assert scene.sole_answer().stamp > stamp_at(5)
    scene.says("n3")
    assert scene.machine.idle


def test_minting_anew_ends_with_the_request_s_time() -> None:
    scene = Scene()
    scene.put(stamp=None, timeout_ms=250)
    scene.wait(0.2)
    scene.says("n2", SUPERSEDED, stamp_at(5))

    scene.wait(0.05)

    assert scene.error() == (Code.TIMEOUT, False)
    assert scene.machine.idle


def test_a_stamp_minted_here_is_above_the_context_and_all_stamps_seen() -> None:
    scene = Scene()

    scene.put(stamp=None, context=context_at(5))
    first = unpack_record(scene.asked[-1][1].record).stamp
    scene.put(stamp=stamp_at(7))
    scene.put(stamp=None)
    third = unpack_record(scene.asked[-1][1].record).stamp

    assert stamp_at(5) < first < stamp_at(7) < third


def test_a_stamp_too_far_ahead_is_refused_definitely_and_logged_once_a_second() -> None:
    scene = Scene()

    for _ in range(3):
        scene.put(stamp=stamp_at(11))
    scene.wait(1.0)
    scene.put(stamp=stamp_at(13))
    scene.put(stamp=stamp_at(10))

    assert [(reply.code, reply.definite) for reply in scene.answers] == [
        (Code.CLOCK_AHEAD, True)
    ] * 4
    assert scene.events.count("clock.refused") == 2
    assert scene.writes() == OWNERS


def test_a_forwarded_stamp_was_judged_where_it_was_admitted() -> None:
    scene = Scene()

    scene.put(stamp=stamp_at(3600), forwarded=True)

    assert scene.writes() == OWNERS


# --- old stamps -------------------------------------------------------------------------

HALF_S = CoordinatorSettings().reap_after_s / 2


@pytest.mark.parametrize("forwarded", [False, True])
def test_a_stamp_older_than_half_of_the_reaping_age_is_refused_and_no_clock_is_told(
    forwarded: bool,
) -> None:
    """The clock of this node may be ahead: its stamps would be refused by all others."""
    scene = Scene()

    scene.put(stamp=stamp_at(-HALF_S), forwarded=forwarded)
    scene.delete(stamp=stamp_at(-HALF_S - 1), forwarded=forwarded)

    assert [type(reply) for reply in scene.answers] == [ErrorReply] * 2
    assert {(reply.code, reply.definite) for reply in scene.answers} == {(Code.CLOCK_BEHIND, True)}
    assert all("behind the clock of" in reply.text for reply in scene.answers)
    assert (scene.asked, scene.forwarded) == ([], [])
    assert scene.machine.idle


def test_a_write_ends_when_its_stamp_is_that_old() -> None:
    scene = Scene()
    scene.put(stamp=stamp_at(1 - HALF_S), timeout_ms=10_000)

    scene.wait(1.0)

    assert scene.error()[0] == Code.TIMEOUT


def test_a_write_whose_time_is_over_is_sent_to_no_node_of_another_ring() -> None:
    scene = Scene()
    scene.put(timeout_ms=2000)
    sent = scene.writes()

    scene._wind(scene.seconds + 2.0)
    scene.turn_to(one_order("n4", "n5", "n1", "n2", "n3", epoch=2))

    assert scene.writes() == sent
    scene.wait(0)
    assert scene.error()[0] == Code.TIMEOUT


def test_a_forwarded_write_whose_time_is_over_goes_to_no_other_node() -> None:
    scene = Scene(node="n5")
    scene.put(timeout_ms=2000)

    scene._wind(scene.seconds + 2.0)
    scene.unlink("n1")

    assert (len(scene.forwarded), scene.writes()) == (1, [])
    scene.wait(0)
    assert scene.error()[0] == Code.TIMEOUT


# --- stalls -----------------------------------------------------------------------------


def test_after_a_stall_nobody_is_accused_of_silence() -> None:
    scene = Scene()
    scene.put(timeout_ms=5000)

    scene.stall(2.0)

    assert scene.events.count("actor.stalled") == 1
    assert scene.writes() == OWNERS
    scene.wait(SILENCE_S)
    assert len(scene.writes()) > len(OWNERS)


def test_after_a_stall_a_client_s_deadline_stands() -> None:
    scene = Scene()
    scene.put(timeout_ms=500)

    scene.stall(2.0)

    assert scene.error() == (Code.TIMEOUT, False)


def test_a_deadline_served_a_little_late_is_no_stall() -> None:
    scene = Scene()
    scene.put()

    scene.stall(SILENCE_S + 0.5)

    assert "actor.stalled" not in scene.events
    assert len(scene.writes()) > len(OWNERS)
