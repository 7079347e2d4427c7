"""Reads, told as stories: votes, hints, the newest record, and the repair of the stale."""

from __future__ import annotations

import pytest
from coordinator_scene import (
    DEAD,
    INTERNAL,
    NO_VOTE,
    NOT_FOUND,
    OK,
    REFUSED,
    SILENCE_S,
    Scene,
    context_at,
    one_order,
    record_at,
    stamp_at,
)

from toystore.core.data.record import pack_record
from toystore.core.protocol.messages.client import GetReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.replica import RepairReplica
from toystore.core.protocol.settings import LimitSettings
from toystore.core.requests.reading import PATIENCE_S

OWNERS = [("n1", ()), ("n2", ()), ("n3", ())]
HALF_S = 1.0
"""Half of the time of a get."""


def repairs(scene: Scene) -> list[tuple[str, bytes]]:
    return [(to, m.record) for to, m in scene.asked if type(m) is RepairReplica]


def test_a_get_asks_every_owner_and_is_answered_at_r_with_the_newest() -> None:
    scene = Scene()

    request = scene.get()
    assert scene.reads() == OWNERS
    scene.says("n3", OK, record_at(2, b"new"))
    assert scene.answers == []
    scene.says("n1", OK, record_at(1, b"old"))

    assert scene.sole_answer() == GetReply(request, (b"new",), context_at(2), 2, 0)


def test_what_was_never_written_is_found_by_nobody() -> None:
    scene = Scene()

    request = scene.get()
    scene.says("n1", NOT_FOUND)
    scene.says("n2", NOT_FOUND)
    scene.says("n3", NOT_FOUND)

    assert scene.sole_answer() == GetReply(request, (), b"", 2, 0)
    assert scene.machine.idle


def test_a_tombstone_reads_as_nothing_but_has_a_context() -> None:
    scene = Scene()

    request = scene.get()
    scene.says("n1", OK, record_at(1, b"old"))
    scene.says("n2", OK, record_at(2, b"", tombstone=True))

    assert scene.sole_answer() == GetReply(request, (), context_at(2), 2, 0)


def test_of_two_records_with_one_stamp_all_coordinators_choose_the_same() -> None:
    both = [record_at(1, b"a"), record_at(1, b"b")]
    answers = []

    for first, second in (both, both[::-1]):
        scene = Scene()
        scene.get()
        scene.says("n1", OK, first)
        scene.says("n2", OK, second)
        answers.append(scene.sole_answer().values)

    assert answers[0] == answers[1]


def test_r_can_be_asked_for() -> None:
    scene = Scene()

    scene.get(r=1)
    scene.says("n2", OK, record_at(1))

    assert scene.sole_answer().owners == 1


def test_a_read_asks_the_n_owners_of_its_bucket() -> None:
    scene = Scene()

    scene.get(bucket="single")
    scene.says("n1", OK, pack_record(stamp_at(1), "single", b"key", b"value"))

    assert scene.sole_answer().owners == 1


@pytest.mark.parametrize("members", [1, 3])
def test_with_all_others_down_and_no_fallback_r_of_one_is_served(members: int) -> None:
    scene = Scene(members, n=members)
    scene.unlink(*scene.members[1:])

    request = scene.get(r=1)
    scene.says("n1", OK, record_at(1))

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 1, 0)
    assert scene.machine.idle


# --- fallbacks --------------------------------------------------------------------------


def test_a_fallback_is_asked_for_the_hints_of_every_owner_that_is_away() -> None:
    scene = Scene()
    scene.unlink("n2")
    scene.gossip({"n3": DEAD})

    scene.get()

    assert scene.reads() == [("n1", ()), ("n4", ("n2", "n3")), ("n5", ("n2", "n3"))]


def test_a_record_from_a_fallback_is_a_vote() -> None:
    scene = Scene()
    scene.unlink("n2")

    request = scene.get()
    scene.says("n4", OK, record_at(1))
    scene.says("n1", NOT_FOUND)

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 1, 1)


def test_a_fallback_s_not_found_waits_until_no_owner_is_awaited() -> None:
    scene = Scene()
    scene.unlink("n2")

    request = scene.get()
    scene.says("n4", NOT_FOUND)
    scene.says("n1", NOT_FOUND)
    assert scene.answers == []
    scene.says("n3", OK, record_at(1))

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 2, 1)


def test_a_fallback_s_not_found_counts_when_the_last_owner_has_failed() -> None:
    scene = Scene(4)
    scene.unlink("n2")
    request = scene.get()
    scene.says("n4", NOT_FOUND)
    scene.says("n1", NOT_FOUND)

    scene.unlink("n3")

    assert scene.sole_answer() == GetReply(request, (), b"", 1, 1)


def test_a_fallback_s_not_found_waits_half_of_the_time_for_a_silent_owner() -> None:
    scene = Scene(4)
    scene.unlink("n2")
    request = scene.get()
    scene.says("n4", NOT_FOUND)
    scene.says("n1", NOT_FOUND)

    scene.wait(HALF_S - 0.01)
    assert scene.answers == []
    scene.wait(0.01)

    assert scene.sole_answer() == GetReply(request, (), b"", 1, 1)


def test_a_fallback_s_not_found_counts_at_once_after_half_of_the_time() -> None:
    scene = Scene(4)
    scene.unlink("n2")
    request = scene.get()
    scene.says("n1", NOT_FOUND)
    scene.wait(HALF_S)
    assert scene.answers == []

    scene.says("n4", NOT_FOUND)

    assert scene.sole_answer() == GetReply(request, (), b"", 1, 1)
    assert scene.machine.idle


def test_a_not_found_after_half_of_the_time_does_not_look_like_a_stall() -> None:
    scene = Scene(4)
    scene.unlink("n2")
    scene.get(r=3)
    scene.says("n1", NOT_FOUND)
    scene.wait(2 * HALF_S - 0.1)

    scene.says("n4", NOT_FOUND)
    scene.wait(0.05)

    assert "actor.stalled" not in scene.events


@pytest.mark.parametrize("overloaded", [False, True])
@pytest.mark.parametrize("wait_s", [SILENCE_S, HALF_S])
def test_a_silent_fallback_s_not_found_counts_though_the_next_does_not_vote(
    overloaded: bool, wait_s: float
) -> None:
    scene = Scene(5)
    scene.unlink("n2")
    request = scene.get()
    scene.says("n1", NOT_FOUND)
    scene.wait(wait_s)
    if overloaded:
        scene.unsent("n5", overloaded=True)
    else:
        scene.says("n5", INTERNAL)

    scene.says("n4", NOT_FOUND)
    scene.wait(HALF_S - wait_s)

    assert scene.sole_answer() == GetReply(request, (), b"", 1, 1)


# --- silent owners: what two fallbacks do not have may be stored all the same -----------


def get_from_silent_owners() -> Scene:
    """n1 has nothing, n2 and n3 are silent, and n4 and n5 in their place have nothing."""
    scene = Scene()
    scene.get()
    scene.says("n1", NOT_FOUND)
    scene.wait(SILENCE_S)
    scene.says("n4", NOT_FOUND)
    scene.says("n5", NOT_FOUND)
    return scene


def test_what_silent_owners_have_is_found_when_they_answer() -> None:
    scene = Scene()
    request = scene.get()
    scene.wait(SILENCE_S)
    scene.says("n4", NOT_FOUND)
    scene.says("n5", NOT_FOUND)
    assert scene.answers == []

    scene.wait(SILENCE_S)
    scene.says("n2", OK, record_at(1))

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 1, 1)


def test_what_doubted_owners_have_is_found_when_they_answer() -> None:
    scene = get_from_silent_owners()
    scene.wait(HALF_S)
    scene.answers.clear()

    request = scene.get()
    for node in ("n1", "n4", "n5"):
        scene.says(node, NOT_FOUND)
    assert scene.answers == []
    scene.says("n3", OK, record_at(1))

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 2, 1)


def test_what_two_silent_owners_do_not_have_is_not_there() -> None:
    scene = get_from_silent_owners()

    scene.says("n2", NOT_FOUND)

    assert scene.sole_answer() == GetReply(1, (), b"", 2, 0)


@pytest.mark.parametrize("r", [1, 2])
@pytest.mark.parametrize("timeout_ms", [1000, 2000, 20_000])
def test_owners_that_hang_delay_an_answer_by_half_of_its_time_or_less(
    r: int, timeout_ms: int
) -> None:
    scene = Scene(6)
    request = scene.get(r=r, timeout_ms=timeout_ms)
    patience_s = min(timeout_ms / 2000, PATIENCE_S)
    scene.wait(SILENCE_S)
    for fallback in ("n4", "n5", "n6"):
        scene.says(fallback, NOT_FOUND)

    scene.wait(patience_s - SILENCE_S - 0.01)
    assert scene.answers == []
    scene.wait(0.01)

    assert scene.sole_answer() == GetReply(request, (), b"", 0, 3)


def test_without_half_of_its_time_left_a_get_does_not_wait_for_silent_owners() -> None:
    scene = Scene()
    request = scene.get(timeout_ms=500)
    scene.says("n1", NOT_FOUND)
    scene.wait(SILENCE_S)

    scene.says("n4", NOT_FOUND)

    assert scene.sole_answer() == GetReply(request, (), b"", 1, 1)


def test_silent_owners_are_not_waited_for_once_they_cannot_be_reached() -> None:
    scene = get_from_silent_owners()

    scene.unlink("n2")
    assert scene.answers == []
    scene.gossip({"n3": DEAD})

    assert scene.sole_answer() == GetReply(1, (), b"", 1, 2)


def test_silent_owners_are_not_waited_for_when_a_fallback_has_a_record() -> None:
    scene = Scene()
    request = scene.get()
    scene.wait(SILENCE_S)
    scene.says("n4", NOT_FOUND)

    scene.says("n5", OK, record_at(1))

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 0, 2)


def test_silent_owners_are_not_waited_for_when_an_owner_has_the_record() -> None:
    scene = Scene()
    request = scene.get()
    scene.says("n1", OK, record_at(1))
    scene.wait(SILENCE_S)

    scene.says("n4", NOT_FOUND)

    assert scene.sole_answer() == GetReply(request, (b"value",), context_at(1), 1, 1)


def test_a_crowded_desk_does_not_wait_for_silent_owners() -> None:
    scene = Scene(limits=LimitSettings(request_bytes_max=1000))
    scene.get()
    scene.says("n1", NOT_FOUND)
    scene.wait(SILENCE_S)
    scene.put(b"other", bytes(600))

    scene.says("n4", NOT_FOUND, at=0)

    assert scene.sole_answer() == GetReply(1, (), b"", 1, 1)


def test_a_new_ring_does_not_prolong_the_wait_for_silent_owners() -> None:
    scene = Scene(6)
    request = scene.get()
    scene.wait(SILENCE_S)
    scene.says("n4", NOT_FOUND)
    scene.says("n5", NOT_FOUND)

    scene.turn_to(one_order("n1", "n2", "n4", "n3", "n5", "n6", epoch=1))
    scene.says("n4", NOT_FOUND)
    scene.says("n5", NOT_FOUND)
    assert scene.answers == []
    scene.wait(HALF_S - SILENCE_S)

    assert scene.sole_answer() == GetReply(request, (), b"", 1, 1)


@pytest.mark.parametrize("status", [NO_VOTE, REFUSED])
def test_an_owner_without_a_vote_is_replaced_by_a_fallback(status: int) -> None:
    scene = Scene(r=3)
    scene.get()

    scene.says("n2", status)

    assert scene.reads() == [*OWNERS, ("n4", ("n2",))]


def test_an_owner_whose_disk_was_replaced_does_not_vote_not_found() -> None:
    scene = Scene(3)
    scene.get()

    scene.says("n1", NOT_FOUND)
    scene.says("n2", NO_VOTE)
    assert scene.answers == []
    scene.says("n3", OK, record_at(1))

    assert scene.sole_answer().values == (b"value",)


def test_a_silent_owner_is_replaced_and_its_hints_asked_for() -> None:
    scene = Scene()
    scene.get()
    scene.says("n1", NOT_FOUND)

    scene.wait(SILENCE_S)
    assert scene.reads()[3:] == [("n4", ("n2", "n3")), ("n5", ("n2", "n3"))]
    scene.says("n4", OK, record_at(1))

    assert scene.sole_answer() == GetReply(1, (b"value",), context_at(1), 1, 1)


def test_a_lost_owner_is_replaced_in_mid_request() -> None:
    scene = Scene()
    scene.get()

    scene.unlink("n2")

    assert scene.reads() == [*OWNERS, ("n4", ("n2",))]


def test_once_answered_no_fallback_is_asked() -> None:
    scene = Scene()
    scene.get()
    scene.says("n1", NOT_FOUND)
    scene.says("n2", NOT_FOUND)

    scene.unlink("n3")

    assert scene.reads() == OWNERS
    assert scene.machine.idle


# --- failing: a read that failed certainly did nothing ----------------------------------


def test_too_few_reachable_nodes_fail_at_once() -> None:
    scene = Scene(3)
    scene.unlink("n2", "n3")

    scene.get()

    assert scene.error() == (Code.UNAVAILABLE, True)
    assert scene.reads() == []


def test_a_quorum_that_becomes_impossible_fails_at_once() -> None:
    scene = Scene(3)
    scene.get()
    scene.says("n1", NOT_FOUND)

    scene.unlink("n2", "n3")

    assert scene.error() == (Code.UNAVAILABLE, True)


def test_internal_failures_are_not_tried_elsewhere() -> None:
    scene = Scene()
    scene.get()

    scene.says("n1", INTERNAL)
    scene.says("n2", INTERNAL)

    assert scene.reads() == OWNERS
    assert scene.error() == (Code.INTERNAL, True)


def test_full_queues_are_overload() -> None:
    scene = Scene()
    scene.get()

    scene.unsent("n2", overloaded=True)
    scene.unsent("n3", overloaded=True)

    assert scene.reads() == OWNERS
    assert scene.error() == (Code.OVERLOADED, True)


def test_a_read_that_runs_out_of_time_is_a_timeout() -> None:
    scene = Scene()
    scene.get(timeout_ms=500)

    scene.wait(0.5)

    assert scene.error() == (Code.TIMEOUT, True)
    assert scene.machine.idle


@pytest.mark.parametrize("wrong", [record_at(1, key=b"other"), record_at(1)[:-1], b"?"])
def test_another_key_s_record_or_a_broken_one_is_never_served(wrong: bytes) -> None:
    scene = Scene()

    scene.get(r=1)
    scene.says("n1", OK, wrong)

    assert scene.error() == (Code.INTERNAL, True)
    assert repairs(scene) == []


# --- read repair ------------------------------------------------------------------------


def test_stale_and_empty_owners_are_repaired_when_all_have_answered() -> None:
    scene = Scene()
    scene.get()
    scene.says("n1", OK, record_at(2, b"new"))
    scene.says("n2", OK, record_at(1, b"old"))
    assert repairs(scene) == []

    scene.says("n3", NOT_FOUND)

    new = record_at(2, b"new")
    assert repairs(scene) == [("n2", new), ("n3", new)]
    assert scene.machine.idle


def test_a_record_newer_than_the_answer_repairs_those_the_answer_rested_on() -> None:
    scene = Scene()
    scene.get()
    scene.says("n1", OK, record_at(1, b"old"))
    scene.says("n2", OK, record_at(1, b"old"))

    scene.says("n3", OK, record_at(2, b"new"))

    new = record_at(2, b"new")
    assert scene.sole_answer().values == (b"old",)
    assert repairs(scene) == [("n1", new), ("n2", new)]


def test_a_broken_record_that_comes_after_the_answer_repairs_nobody() -> None:
    scene = Scene()
    scene.get()
    scene.says("n1", OK, record_at(1))
    scene.says("n2", OK, record_at(1))

    scene.says("n3", OK, record_at(2, key=b"other"))

    assert repairs(scene) == []


def test_owners_that_agree_are_left_alone() -> None:
    scene = Scene()
    scene.get()

    for owner in ("n1", "n2", "n3"):
        scene.says(owner, OK, record_at(1))

    assert repairs(scene) == []
    assert scene.machine.idle


def test_repair_does_not_wait_for_the_silent_longer_than_the_replica_timeout() -> None:
    scene = Scene()
    scene.get()
    scene.says("n1", OK, record_at(1))
    scene.says("n2", NOT_FOUND)

    scene.wait(SILENCE_S)

    assert repairs(scene) == [("n2", record_at(1))]
    assert scene.reads() == OWNERS
    assert scene.machine.idle


def test_a_fallback_asked_for_a_silent_owner_is_waited_for_though_the_owner_speaks() -> None:
    scene = Scene(r=3)
    scene.get()
    scene.says("n1", OK, record_at(1))
    scene.says("n2", OK, record_at(1))
    scene.wait(SILENCE_S)
    scene.says("n3", OK, record_at(1))
    assert type(scene.sole_answer()) is GetReply

    scene.says("n4", OK, record_at(2))

    assert [node for node, _ in repairs(scene)] == ["n1", "n2", "n3"]


def test_an_owner_whose_disk_was_replaced_is_repaired() -> None:
    scene = Scene(3)
    scene.get()
    scene.says("n1", OK, record_at(1))
    scene.says("n2", NO_VOTE)
    scene.says("n3", OK, record_at(1))

    assert repairs(scene) == [("n2", record_at(1))]


def test_a_hint_repairs_owners_but_a_fallback_is_not_repaired() -> None:
    scene = Scene(r=3)
    scene.unlink("n2", "n3")
    scene.get()

    scene.says("n4", NOT_FOUND)
    scene.says("n1", NOT_FOUND)
    scene.says("n5", OK, record_at(1))

    assert repairs(scene) == [("n1", record_at(1))]


def test_a_crowded_desk_does_not_wait_to_repair() -> None:
    scene = Scene(limits=LimitSettings(request_bytes_max=1000))
    scene.get()

    scene.says("n1", NOT_FOUND)
    scene.says("n2", OK, record_at(1, bytes(600)))

    assert repairs(scene) == [("n1", record_at(1, bytes(600)))]
    assert scene.machine.idle
