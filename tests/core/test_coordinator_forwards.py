"""Forwarding, told as stories: n9 is asked to write keys that n1, n2 and n3 own."""

from __future__ import annotations

import pytest
from coordinator_scene import (
    DEAD,
    INTERNAL,
    SILENCE_S,
    START_US,
    SUPERSEDED,
    Scene,
    stamp_at,
)

from toystore.core.data.record import stamp_of
from toystore.core.data.stamp import unpack_stamp
from toystore.core.protocol.address import COORDINATOR, Peer
from toystore.core.protocol.messages.client import ErrorReply, Put, SupersededReply, WriteReply
from toystore.core.protocol.messages.codes import Code

DONE = WriteReply(0, stamp_at(0), 2, 0)


def stranger() -> Scene:
    """A coordinator that owns nothing: the last of nine."""
    return Scene(9, node="n9")


def went_to(scene: Scene) -> list[str]:
    return [node for node, _ in scene.forwarded]


def test_a_write_goes_to_the_first_owner_and_its_answer_comes_back() -> None:
    scene = stranger()

    request = scene.put(b"cart", b"eggs", w=3, timeout_ms=900)
    [(node, put)] = scene.forwarded
    assert node == "n1"
    assert type(put) is Put
    assert put[1:] == ("default", b"cart", b"eggs", stamp_at(0), b"", 3, 900, True)
    scene.answers_forward("n1", DONE)

    assert scene.sole_answer() == DONE._replace(request=request)
    assert scene.writes() == []
    assert scene.machine.idle


def test_a_delete_is_forwarded_too() -> None:
    scene = stranger()

    scene.delete()
    scene.answers_forward("n1", DONE)

    assert scene.sole_answer().owners == 2


def test_reads_are_never_forwarded() -> None:
    scene = stranger()

    scene.get()

    assert scene.forwarded == []
    assert len(scene.reads()) == 3


def test_what_was_forwarded_is_coordinated_where_it_arrives() -> None:
    scene = stranger()

    scene.put(forwarded=True)

    assert scene.forwarded == []
    assert len(scene.writes()) == 3


def test_an_owner_does_not_forward() -> None:
    scene = Scene(9, node="n3")

    scene.put()

    assert scene.forwarded == []


def test_an_owner_in_another_bucket_forwards_a_write_to_a_bucket_with_a_smaller_n() -> None:
    scene = Scene(9, node="n3")

    scene.put(bucket="single")

    assert went_to(scene) == ["n1"]


def test_a_write_is_stamped_before_it_is_forwarded_and_keeps_its_stamp() -> None:
    scene = stranger()
    scene.put(stamp=None)

    scene.unlink("n1")
    scene.wait(SILENCE_S)

    (_, first), (_, second) = scene.forwarded
    assert unpack_stamp(first.stamp).time_us == START_US
    assert first.stamp == second.stamp
    assert stamp_of(scene.questions("n3")[0].record) == first.stamp


def test_what_remains_of_the_time_is_told_to_the_next() -> None:
    scene = stranger()
    scene.put(timeout_ms=1000)

    scene.wait(0.2)
    scene.unlink("n1")

    assert went_to(scene) == ["n1", "n2"]
    assert scene.forwarded[1][1].timeout_ms == pytest.approx(800, abs=1)


def test_when_an_owner_is_silent_the_write_is_coordinated_here_at_once() -> None:
    scene = stranger()
    request = scene.put()

    scene.wait(SILENCE_S)
    assert went_to(scene) == ["n1"]
    assert scene.writes() == [("n1", None), ("n4", "n1"), ("n2", None), ("n3", None)]
    scene.says("n4")
    scene.says("n3")

    assert scene.sole_answer() == WriteReply(request, stamp_at(0), 1, 1)
    scene.says("n2")
    assert scene.machine.idle


def test_with_two_owners_that_hang_a_write_takes_two_silences_and_the_next_none() -> None:
    """n1 is silent to the forward, n2 to the write; n3 and the fallbacks do well."""
    scene = stranger()
    scene.put(w=3)

    scene.wait(SILENCE_S)
    for node in ("n3", "n4"):
        scene.says(node)
    scene.wait(SILENCE_S)
    scene.says("n5")
    assert type(scene.sole_answer()) is WriteReply
    scene.forwarded.clear()
    scene.asked.clear()
    scene.put(bucket="pair", w=2)

    assert went_to(scene) == []
    assert scene.writes() == [("n1", None), ("n3", "n1"), ("n2", None), ("n4", "n2")]
    scene.says("n3")
    scene.says("n4")
    assert type(scene.answers[-1]) is WriteReply


@pytest.mark.parametrize("how", ["link lost", "dead", "unsent", "not serving", "overloaded"])
def test_an_owner_that_drops_out_or_will_not_serve_is_passed_over(how: str) -> None:
    scene = stranger()
    scene.put()

    if how == "link lost":
        scene.unlink("n1")
    elif how == "dead":
        scene.gossip({"n1": DEAD})
    elif how == "unsent":
        scene.unsent("n1", actor=COORDINATOR)
    else:
        code = Code.NOT_SERVING if how == "not serving" else Code.OVERLOADED
        scene.answers_forward("n1", ErrorReply(0, code, "not now", True))

    assert went_to(scene) == ["n1", "n2"]
    assert scene.answers == []


def test_unreachable_owners_are_not_tried() -> None:
    scene = stranger()
    scene.unlink("n1")

    scene.put()

    assert went_to(scene) == ["n2"]


def test_each_owner_is_tried_once_and_then_the_write_is_coordinated_here() -> None:
    scene = stranger()
    request = scene.put()

    for node in ("n1", "n2", "n3"):
        scene.answers_forward(node, ErrorReply(0, Code.OVERLOADED, "too much", True))
    assert went_to(scene) == ["n1", "n2", "n3"]
    assert len(scene.writes()) == 3
    scene.says("n1")
    scene.says("n2")

    assert scene.sole_answer() == WriteReply(request, stamp_at(0), 2, 0)
    scene.says("n3")
    assert scene.machine.idle


def test_with_no_owner_reachable_the_first_fallback_coordinates() -> None:
    scene = stranger()
    scene.unlink("n1", "n2", "n3", "n4")

    scene.put()
    assert went_to(scene) == ["n5"]
    scene.unlink("n5")

    assert went_to(scene) == ["n5"]
    assert scene.writes() == [("n6", "n1"), ("n7", "n2"), ("n8", "n3")]


def test_the_first_reachable_fallback_may_be_this_node() -> None:
    scene = Scene(9, node="n4")
    scene.unlink("n1", "n2", "n3")

    scene.put()

    assert scene.forwarded == []
    assert scene.writes() == [("n4", "n1"), ("n5", "n2"), ("n6", "n3")]


def test_the_late_success_of_a_silent_owner_counts() -> None:
    scene = stranger()
    scene.put()
    scene.wait(SILENCE_S)

    scene.answers_forward("n1", DONE)

    assert type(scene.sole_answer()) is WriteReply
    assert scene.machine.idle


def test_of_two_successes_the_first_is_told() -> None:
    scene = stranger()
    scene.put()
    scene.wait(SILENCE_S)
    scene.says("n2")
    scene.says("n3")

    scene.answers_forward("n1", DONE)

    assert scene.sole_answer().owners == 2
    scene.says("n4")
    assert scene.machine.idle


def test_the_late_error_of_a_silent_owner_is_not_told_while_the_write_is_under_way_here() -> None:
    scene = stranger()
    scene.put()
    scene.wait(SILENCE_S)

    scene.answers_forward("n1", ErrorReply(0, Code.INTERNAL, "failed", True))
    assert scene.answers == []
    scene.says("n2")
    scene.says("n3")

    assert type(scene.sole_answer()) is WriteReply


def test_no_failure_is_told_while_a_silent_owner_may_still_succeed() -> None:
    scene = stranger()
    scene.put(w=3)
    scene.wait(SILENCE_S)
    scene.says("n2", INTERNAL)
    assert scene.answers == []

    scene.answers_forward("n1", DONE)

    assert type(scene.sole_answer()) is WriteReply
    assert scene.machine.idle


def test_the_last_failure_is_told_and_is_not_definite_once_replicas_were_asked() -> None:
    scene = stranger()
    scene.put(w=3)
    scene.wait(SILENCE_S)
    scene.says("n2", INTERNAL)

    scene.answers_forward("n1", ErrorReply(0, Code.OVERLOADED, "too much", True))

    assert scene.error() == (Code.OVERLOADED, False)
    assert scene.machine.idle


@pytest.mark.parametrize("code", [Code.NOT_SERVING, Code.CLOCK_BEHIND])
def test_a_code_that_says_that_nothing_was_done_is_not_told_if_something_may_have_been(
    code: Code,
) -> None:
    scene = stranger()
    scene.put(w=3)
    scene.wait(SILENCE_S)
    scene.says("n2", INTERNAL)

    scene.answers_forward("n1", ErrorReply(0, code, "not me", True))

    assert scene.error() == (Code.UNAVAILABLE, False)


def test_nobody_s_answer_but_an_asked_one_s_counts() -> None:
    scene = stranger()
    scene.put()
    scene.forwarded.append(("n6", scene.forwarded[0][1]))

    scene.answers_forward("n6", DONE)

    assert scene.answers == []


def test_other_errors_are_passed_on_as_they_are() -> None:
    scene = stranger()
    scene.put()

    scene.answers_forward("n1", ErrorReply(0, Code.INTERNAL, "failed", True))

    assert scene.error() == (Code.INTERNAL, True)


def test_a_write_for_which_an_owner_sees_too_few_is_tried_by_others_who_may_see_more() -> None:
    scene = stranger()
    scene.put()

    for node in ("n1", "n2", "n3"):
        scene.answers_forward(node, ErrorReply(0, Code.UNAVAILABLE, "no quorum", True))
    scene.says("n1")
    scene.says("n2")

    assert type(scene.sole_answer()) is WriteReply


def test_the_silent_are_waited_for_until_the_end_and_that_is_an_indefinite_timeout() -> None:
    scene = Scene(4, node="n4")
    scene.unlink("n2", "n3")
    scene.put(timeout_ms=900)

    scene.wait(0.899)
    assert scene.answers == []
    scene.wait(0.001)

    assert scene.error() == (Code.TIMEOUT, False)
    assert scene.machine.idle


def test_an_error_that_is_not_definite_is_passed_on_as_such() -> None:
    scene = stranger()
    scene.put()

    scene.answers_forward("n1", ErrorReply(0, Code.INTERNAL, "failed", False))

    assert scene.error() == (Code.INTERNAL, False)


def test_what_an_overloaded_owner_may_have_begun_is_not_definitely_undone_by_the_next() -> None:
    scene = stranger()
    scene.put()
    scene.answers_forward("n1", ErrorReply(0, Code.OVERLOADED, "too much", False))

    scene.answers_forward("n2", ErrorReply(0, Code.INTERNAL, "failed", True))

    assert scene.error() == (Code.INTERNAL, False)


def test_what_another_may_have_begun_is_not_definitely_undone_here() -> None:
    scene = Scene(4, node="n4")
    scene.unlink("n2", "n3")
    scene.put()

    scene.unlink("n1")

    assert scene.writes() == []
    assert scene.error() == (Code.UNAVAILABLE, False)


def test_what_never_left_is_definitely_undone() -> None:
    scene = Scene(4, node="n4", w=3)
    scene.unlink("n2", "n3")
    scene.put()

    scene.unsent("n1", actor=COORDINATOR)

    assert scene.error() == (Code.UNAVAILABLE, True)


def test_a_forward_that_runs_out_of_time_is_an_indefinite_timeout() -> None:
    scene = stranger()
    scene.put(timeout_ms=200)

    scene.wait(0.2)

    assert scene.error() == (Code.TIMEOUT, False)
    assert scene.machine.idle


def test_superseded_is_passed_on_if_the_stamp_was_the_client_s() -> None:
    scene = stranger()
    request = scene.put()

    scene.answers_forward("n1", SupersededReply(0, stamp_at(5)))

    assert scene.sole_answer() == SupersededReply(request, stamp_at(5))
    assert scene.machine.idle


def test_superseded_is_forwarded_anew_if_the_stamp_was_minted_here() -> None:
    scene = stranger()
    scene.put(stamp=None)

    scene.answers_forward("n1", SupersededReply(0, stamp_at(5)))

    (_, first), (node, second) = scene.forwarded
    assert node == "n1"
    assert second.stamp > stamp_at(5)
    assert second.request != first.request
    scene.answers_forward("n1", WriteReply(0, second.stamp, 2, 0))
    assert scene.sole_answer().stamp == second.stamp


def test_superseded_here_is_forwarded_anew_and_what_was_done_under_the_old_stamp_is_no_answer() -> (
    None
):
    scene = stranger()
    scene.put(stamp=None)
    scene.wait(SILENCE_S)
    old = scene.forwarded[0][1]

    scene.says("n3", SUPERSEDED, stamp_at(5))
    scene.told(WriteReply(old.request, old.stamp, 2, 0), Peer("n1", COORDINATOR))
    assert scene.answers == []
    node, new = scene.forwarded[-1]
    assert (node, new.stamp > stamp_at(5)) == ("n2", True)
    scene.answers_forward("n2", WriteReply(0, new.stamp, 2, 0))

    assert scene.sole_answer().stamp == new.stamp
    assert scene.machine.idle


def test_a_replica_s_superseded_reaches_the_forwarder_s_client() -> None:
    """The owner's side: a forwarded stamp is not its own to mint anew."""
    scene = Scene()
    request = scene.put(forwarded=True)

    scene.says("n2", SUPERSEDED, stamp_at(5))

    assert scene.sole_answer() == SupersededReply(request, stamp_at(5))


def test_after_a_stall_no_owner_is_accused_of_silence() -> None:
    scene = stranger()
    scene.put(timeout_ms=5000)

    scene.stall(2.0)

    assert went_to(scene) == ["n1"]
