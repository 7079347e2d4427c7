"""Doubt, told as stories: who was silent is asked all the same, and nobody waits for it."""

from __future__ import annotations

import pytest
from coordinator_scene import (
    ALIVE,
    DEAD,
    NOT_FOUND,
    OK,
    SILENCE_S,
    SUSPECT,
    Scene,
    record_at,
    stamp_at,
)

from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.messages.client import GetReply, WriteReply
from toystore.core.requests.doubts import PROBE_S

OWNERS = [("n1", None), ("n2", None), ("n3", None)]
DOUBTING_N3 = [("n1", None), ("n2", None), ("n3", None), ("n4", "n3")]
DONE = WriteReply(0, stamp_at(0), 2, 0)


def hung(*nodes: str, members: int = 6, **settings: int) -> Scene:
    """A put has shown that these owners of n1, n2, n3 are silent; all else is over."""
    scene = Scene(members, **settings)
    scene.put()
    owners = [node for node, owner in scene.writes() if owner is None and node not in nodes]
    for node in owners:
        scene.says(node)
    scene.wait(SILENCE_S)
    for node, owner in scene.writes():
        if owner is not None:
            scene.says(node)
    assert scene.machine.idle
    assert type(scene.sole_answer()) is WriteReply
    scene.asked.clear()
    scene.answers.clear()
    return scene


def stranger() -> Scene:
    return Scene(9, node="n9")


# --- writes -----------------------------------------------------------------------------


def test_a_silent_owner_is_remembered_and_its_fallback_asked_at_once() -> None:
    scene = hung("n3")

    scene.put()

    assert scene.writes() == DOUBTING_N3
    assert scene.events.count("link.silent") == 1


def test_with_two_owners_silent_the_next_put_waits_for_nobody() -> None:
    scene = hung("n2", "n3")

    scene.put()
    scene.says("n1")
    scene.says("n4")

    assert scene.sole_answer()[2:] == (1, 1)


def test_with_three_of_five_owners_silent_a_put_that_needs_three_waits_for_nobody() -> None:
    scene = hung("n3", "n4", "n5", members=9, n=5, w=3)

    scene.put()
    for node in ("n1", "n2", "n6"):
        scene.says(node)

    assert scene.sole_answer()[2:] == (2, 1)


def test_a_doubted_owner_and_its_fallback_have_one_vote_between_them() -> None:
    scene = hung("n3", w=3)
    scene.put()

    scene.says("n3")
    scene.says("n4")
    scene.says("n1")
    assert scene.answers == []
    scene.says("n2")

    assert scene.sole_answer()[2:] == (3, 0)


def test_a_doubted_owner_without_a_fallback_may_yet_complete_the_quorum() -> None:
    scene = Scene(3, w=3)
    scene.gossip({"n3": SUSPECT})
    scene.put()
    scene.says("n1", at=0)
    scene.says("n2")
    assert scene.answers == []

    scene.says("n3")

    assert scene.sole_answer()[2:] == (3, 0)


def test_the_coordinator_s_own_storage_is_doubted_like_any_other() -> None:
    scene = hung("n1")

    scene.put()
    scene.says("n2")
    scene.says("n4")

    assert scene.sole_answer()[2:] == (1, 1)


@pytest.mark.parametrize("overloaded", [True, False])
def test_what_cannot_be_sent_to_a_doubted_owner_costs_no_vote(overloaded: bool) -> None:
    scene = hung("n3", w=3)
    scene.put()

    scene.unsent("n3", overloaded=overloaded)
    for node in ("n1", "n2", "n4"):
        scene.says(node)

    assert scene.sole_answer()[2:] == (2, 1)
    assert scene.machine.idle


def test_a_doubted_fallback_is_asked_when_no_other_is_left() -> None:
    scene = Scene(5)
    scene.gossip({"n4": SUSPECT})
    scene.unlink("n2", "n3")

    scene.put()

    assert scene.writes() == [("n1", None), ("n5", "n2"), ("n4", "n3")]


# --- reads ------------------------------------------------------------------------------


def test_a_read_waits_for_no_doubted_owner_and_looks_for_the_hints_of_all_of_them() -> None:
    scene = hung("n2", "n3")

    scene.get()
    assert scene.reads() == [
        ("n1", ()),
        ("n2", ()),
        ("n4", ("n2", "n3")),
        ("n3", ()),
        ("n5", ("n2", "n3")),
    ]
    scene.says("n4", NOT_FOUND)
    scene.says("n5", NOT_FOUND)
    assert scene.answers == []
    scene.says("n1", OK, record_at(1))

    reply = scene.sole_answer()
    assert type(reply) is GetReply
    assert (reply.values, reply.owners) == ((b"value",), 1)
    assert scene.machine.idle


def test_the_newest_that_a_doubted_owner_tells_in_time_is_what_is_read() -> None:
    scene = hung("n3")
    scene.get()

    scene.says("n1", OK, record_at(1, b"older"))
    scene.says("n3", OK, record_at(2, b"newer"))

    assert scene.sole_answer().values == (b"newer",)


# --- an end of it -----------------------------------------------------------------------


def test_any_word_ends_the_doubt_even_the_answer_to_a_request_that_has_ended() -> None:
    scene = hung("n3")
    scene.put()
    question = scene.questions("n3")[-1]
    for node in ("n1", "n2", "n4"):
        scene.says(node)
    assert scene.machine.idle
    scene.asked.clear()

    scene.asked.append(("n3", question))
    scene.says("n3")
    scene.asked.clear()
    scene.put()

    assert scene.writes() == OWNERS


@pytest.mark.parametrize("how", ["link", "death", "refutation"])
def test_a_new_link_and_a_refutation_end_the_doubt(how: str) -> None:
    scene = hung("n3")

    if how == "link":
        scene.unlink("n3")
        scene.link("n3")
    elif how == "death":
        scene.gossip({"n3": DEAD})
        scene.gossip({"n3": ALIVE})
    else:
        scene.gossip({"n3": SUSPECT})
        scene.gossip({"n3": ALIVE})
    scene.put()

    assert scene.writes() == OWNERS


def test_an_owner_that_is_slow_with_one_answer_and_gives_others_is_not_doubted() -> None:
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")
    scene.wait(SILENCE_S / 2)
    scene.get()
    scene.says("n3", NOT_FOUND)

    scene.wait(SILENCE_S / 2)
    assert scene.writes() == DOUBTING_N3
    scene.asked.clear()
    scene.put()

    assert scene.writes() == OWNERS


def test_a_suspect_is_asked_and_not_waited_for() -> None:
    scene = Scene()
    scene.gossip({"n3": SUSPECT})

    scene.put()

    assert scene.writes() == DOUBTING_N3


def test_a_suspect_is_called_silent_only_if_its_link_is_up() -> None:
    scene = Scene()

    scene.unlink("n2")
    scene.gossip({"n2": SUSPECT})
    assert "link.silent" not in scene.events
    scene.gossip({"n3": SUSPECT})

    assert scene.events.count("link.silent") == 1


def test_a_suspect_that_was_heard_just_now_is_not_doubted() -> None:
    scene = Scene()
    scene.put()
    scene.says("n3")
    scene.asked.clear()

    scene.gossip({"n3": SUSPECT})
    scene.put()

    assert scene.writes() == OWNERS


def test_when_everybody_was_silent_it_was_us_and_nobody_is_doubted() -> None:
    scene = Scene(3)
    scene.put()
    scene.wait(SILENCE_S)
    scene.says("n1")
    scene.wait(2)
    scene.asked.clear()

    scene.put()

    assert scene.writes() == OWNERS


def test_after_a_stall_all_doubts_are_forgotten() -> None:
    scene = hung("n3")
    scene.put()

    scene.stall(2.0)
    scene.asked.clear()
    scene.put()

    assert scene.writes() == OWNERS


# --- coordinators -----------------------------------------------------------------------


def test_a_write_is_handed_to_an_owner_that_is_not_doubted() -> None:
    scene = stranger()
    scene.gossip({"n1": SUSPECT, "n2": SUSPECT})

    scene.put()

    assert [node for node, _ in scene.forwarded] == ["n3"]


def test_a_disk_that_hangs_does_not_keep_its_node_from_coordinating() -> None:
    scene = stranger()
    scene.put()
    scene.get()
    for node in ("n2", "n3"):
        scene.says(node, NOT_FOUND)
    scene.wait(SILENCE_S / 2)
    scene.answers_forward("n1", DONE)
    scene.wait(SILENCE_S / 2)
    scene.forwarded.clear()
    scene.asked.clear()

    scene.put()
    scene.get()

    assert [node for node, _ in scene.forwarded] == ["n1"]
    assert [node for node, _ in scene.reads()] == ["n1", "n4", "n2", "n3"]


def test_a_coordinator_that_hangs_does_not_keep_its_disk_from_being_read() -> None:
    scene = stranger()
    scene.put()
    scene.wait(SILENCE_S / 2)
    scene.get()
    for node in ("n1", "n2", "n3"):
        scene.says(node, NOT_FOUND)
    scene.wait(SILENCE_S / 2)
    scene.asked.clear()
    scene.forwarded.clear()

    scene.put()
    scene.get()

    assert [node for node, _ in scene.forwarded] == ["n2"]
    assert [node for node, _ in scene.reads()] == ["n1", "n2", "n3"]


def test_a_doubted_coordinator_is_handed_a_write_now_and_then_beside_another() -> None:
    scene = stranger()
    scene.gossip({"n1": SUSPECT})

    scene.wait(PROBE_S)
    scene.put()
    scene.put()
    assert [node for node, _ in scene.forwarded] == ["n1", "n2", "n2"]
    scene.answers_forward("n1", DONE)
    assert type(scene.sole_answer()) is WriteReply
    scene.forwarded.clear()
    scene.put()

    assert [node for node, _ in scene.forwarded] == ["n1"]


def test_this_node_never_doubts_itself_as_a_coordinator() -> None:
    scene = Scene(6, node="n4")
    scene.unlink("n1", "n2", "n3")
    scene.put()
    scene.wait(SILENCE_S)

    scene.put()

    assert scene.forwarded == []
    assert scene.writes()[-1][0] != "n1"


def test_a_word_of_one_actor_says_nothing_of_the_other() -> None:
    scene = stranger()
    scene.gossip({"n1": SUSPECT})

    scene.told(DONE, Peer("n1", COORDINATOR))
    scene.put()
    scene.get()
    assert [node for node, _ in scene.forwarded] == ["n1"]
    assert "n4" in [node for node, _ in scene.reads()]

    scene.says("n1", NOT_FOUND)
    scene.asked.clear()
    scene.get()

    assert [node for node, _ in scene.reads()] == ["n1", "n2", "n3"]
    assert Peer("n1", STORAGE) not in scene.machine._desk.nodes.doubts
