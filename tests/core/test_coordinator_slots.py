"""The slots of a sloppy quorum: every transition of their table can be caused, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from coordinator_scene import (
    INTERNAL,
    NO_VOTE,
    NOT_FOUND,
    OK,
    SILENCE_S,
    SUPERSEDED,
    Scene,
    moving_from_n3_to_n4,
    record_at,
    stamp_at,
)
from drawings import arrows, drawn
from test_coordinator_chaos import Chaos
from test_coordinator_rings_chaos import Rings

from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.requests import slot
from toystore.core.requests.sloppy_quorum import SloppyQuorum
from toystore.core.requests.slot import (
    BEHIND,
    CLOSED,
    DEFERRED,
    OPEN,
    OVERLOADED,
    SILENT,
    STALE,
    TRANSITIONS,
    Input,
    Side,
)

Pair = tuple[Side, Side]

MOVED_AWAY, STALE_EPOCH = int(ReplicaStatus.MOVED), int(ReplicaStatus.STALE)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """The transitions that sides make while a test runs."""
    pairs: list[Pair] = []
    sides = vars(SloppyQuorum)["sides"]

    class Noted(list[Side]):
        def __setitem__(self, at: Any, state: Any) -> None:
            pairs.append((self[at], state))
            super().__setitem__(at, state)

    noted = property(sides.__get__, lambda quorum, fresh: sides.__set__(quorum, Noted(fresh)))
    monkeypatch.setattr(SloppyQuorum, "sides", noted)
    return pairs


def test_the_docstring_draws_the_transitions_of_the_table() -> None:
    assert drawn(slot.__doc__) == arrows(TRANSITIONS)


def test_whatever_happens_slots_make_only_transitions_of_the_table(made: list[Pair]) -> None:
    for seed in range(30):
        Chaos(seed).run()
    for seed in range(20):
        Rings(seed, calm=False).run()

    assert len(made) > 1000
    assert set(made) <= {(before, after) for (before, _), after in TRANSITIONS.items()}


CAUSES: dict[tuple[Side, Input], Callable[[], None]] = {}
"""What causes each transition of the table."""


def causes(state: Side, given: Input) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def note(cause: Callable[[], None]) -> Callable[[], None]:
        CAUSES[state, given] = cause
        return cause

    return note


@pytest.mark.parametrize(("state", "given"), TRANSITIONS)
def test_every_transition_of_the_table_can_be_caused(
    state: Side, given: Input, made: list[Pair]
) -> None:
    CAUSES[state, given]()

    assert (state, TRANSITIONS[state, given]) in made[-2:]


# --- what the causes begin with ---------------------------------------------------------


def put(members: int = 5, **fields: Any) -> Scene:
    """A put that is on its way to n1, n2 and n3."""
    scene = Scene(members)
    scene.put(**fields)
    return scene


def put_while_n3_is_away(members: int = 5) -> Scene:
    """It is on its way to n1, n2, and n4 in the place of n3."""
    scene = Scene(members)
    scene.unlink("n3")
    scene.put()
    return scene


def doubting_n3() -> Scene:
    """Whatever is asked of n3 is asked of n4 as well, as no answer of n3 is expected."""
    scene = Scene()
    scene.put()
    scene.says("n1")
    scene.says("n2")
    scene.wait(SILENCE_S)
    scene.says("n4")
    return scene


def put_to_silent_owners() -> Scene:
    """No owner has answered in time, and there is no fallback."""
    scene = put(3)
    scene.wait(SILENCE_S)
    return scene


def put_to_silent_fallbacks() -> Scene:
    """n4 was silent in the place of n3, and n7 was asked."""
    scene = put_while_n3_is_away(8)
    scene.wait(SILENCE_S)
    return scene


def get_of_silent_fallbacks() -> Scene:
    """As the put; a get."""
    scene = Scene(8)
    scene.unlink("n3")
    scene.get()
    scene.wait(SILENCE_S)
    return scene


# --- from OPEN --------------------------------------------------------------------------


@causes(OPEN, Input.OWNER_YES)
def an_owner_votes() -> None:
    put().says("n1")


@causes(OPEN, Input.FALLBACK_YES)
def a_fallback_votes() -> None:
    put_while_n3_is_away().says("n4")


@causes(OPEN, Input.NOTHING)
def a_fallback_finds_nothing() -> None:
    scene = Scene()
    scene.unlink("n3")
    scene.get()
    scene.says("n4", NOT_FOUND)


@causes(OPEN, Input.NO_FALLBACK)
def a_silent_owner_cannot_be_replaced() -> None:
    put(3).wait(SILENCE_S)


@causes(OPEN, Input.NO_NODE)
def a_lost_owner_cannot_be_replaced() -> None:
    put(3).unlink("n3")


@causes(OPEN, Input.FULL)
def the_queue_to_an_owner_is_full() -> None:
    put().unsent("n3", overloaded=True)


@causes(OPEN, Input.FAILED)
def an_owner_fails() -> None:
    put().says("n3", INTERNAL)


@causes(OPEN, Input.ANSWERED)
def an_owner_is_silent_when_its_vote_is_not_needed() -> None:
    scene = Scene()
    scene.get(r=1)
    scene.says("n1", OK, record_at(0))
    scene.says("n2", OK, record_at(0))
    scene.wait(SILENCE_S)


@causes(OPEN, Input.NEWER)
def an_owner_has_a_newer_write_than_one_that_was_acknowledged() -> None:
    scene = put()
    scene.says("n1")
    scene.says("n2")
    scene.says("n3", SUPERSEDED, stamp_at(1))


# --- from SILENT ------------------------------------------------------------------------


@causes(SILENT, Input.OWNER_YES)
def a_silent_owner_votes() -> None:
    put_to_silent_owners().says("n3")


@causes(SILENT, Input.FALLBACK_YES)
def a_silent_fallback_votes() -> None:
    scene = put_while_n3_is_away(4)
    scene.wait(SILENCE_S)
    scene.says("n4")


@causes(SILENT, Input.NOTHING)
def a_silent_fallback_finds_nothing() -> None:
    scene = Scene(4)
    scene.unlink("n3")
    scene.get()
    scene.wait(SILENCE_S)
    scene.says("n4", NOT_FOUND)


@causes(SILENT, Input.NO_NODE)
def a_silent_owner_is_lost() -> None:
    put_to_silent_owners().unlink("n3")


@causes(SILENT, Input.FAILED)
def a_silent_owner_fails() -> None:
    put_to_silent_owners().says("n3", INTERNAL)


@causes(SILENT, Input.NEWER)
def a_silent_owner_has_a_newer_write_than_one_that_was_acknowledged() -> None:
    scene = put(4, w=1)
    scene.wait(SILENCE_S)
    scene.says("n2", at=0)
    scene.says("n3", SUPERSEDED, stamp_at(1), at=0)


# --- from the others --------------------------------------------------------------------


@causes(DEFERRED, Input.OWNER_YES)
def a_doubted_owner_answers_after_its_fallback() -> None:
    scene = doubting_n3()
    scene.get()
    scene.says("n4", NOT_FOUND)
    scene.says("n3", NOT_FOUND)


@causes(DEFERRED, Input.FALLBACK_YES)
def a_second_fallback_has_a_record() -> None:
    scene = get_of_silent_fallbacks()
    scene.says("n4", NOT_FOUND)
    scene.says("n7", OK, record_at(0))


@causes(DEFERRED, Input.NO_OWNER)
def every_owner_has_answered() -> None:
    scene = Scene()
    scene.unlink("n3")
    scene.get(r=3)
    scene.says("n4", NOT_FOUND)
    scene.says("n1", NOT_FOUND)
    scene.says("n2", NOT_FOUND)


@causes(OVERLOADED, Input.OWNER_YES)
def a_doubted_owner_votes_when_the_queue_to_its_fallback_is_full() -> None:
    scene = doubting_n3()
    scene.put()
    scene.unsent("n4", overloaded=True)
    scene.says("n3")


@causes(OVERLOADED, Input.FALLBACK_YES)
def a_silent_fallback_votes_when_the_queue_to_the_next_is_full() -> None:
    scene = put_to_silent_fallbacks()
    scene.unsent("n7", overloaded=True)
    scene.says("n4")


@causes(OVERLOADED, Input.NOTHING)
def a_silent_fallback_finds_nothing_when_the_queue_to_the_next_is_full() -> None:
    scene = get_of_silent_fallbacks()
    scene.unsent("n7", overloaded=True)
    scene.says("n4", NOT_FOUND)


@causes(OVERLOADED, Input.ACKNOWLEDGED)
def the_others_are_enough_for_a_write() -> None:
    scene = put()
    scene.unsent("n3", overloaded=True)
    scene.says("n1")
    scene.says("n2")


@causes(CLOSED, Input.OWNER_YES)
def a_doubted_owner_votes_when_its_fallback_has_failed() -> None:
    scene = doubting_n3()
    scene.put()
    scene.says("n4", INTERNAL)
    scene.says("n3")


@causes(CLOSED, Input.FALLBACK_YES)
def a_silent_fallback_votes_when_the_next_has_failed() -> None:
    scene = put_to_silent_fallbacks()
    scene.says("n7", INTERNAL)
    scene.says("n4")


@causes(CLOSED, Input.NOTHING)
def a_silent_fallback_finds_nothing_when_the_next_has_failed() -> None:
    scene = get_of_silent_fallbacks()
    scene.says("n7", INTERNAL)
    scene.says("n4", NOT_FOUND)


# --- while a replica moves --------------------------------------------------------------


def moving(members: int = 6) -> Scene:
    """The third replica moves from n3 to n4; the fallbacks are n5 and n6."""
    return Scene(members, ring=moving_from_n3_to_n4(members))


def moving_and_doubting(*silent: str) -> Scene:
    """No answer of these nodes is expected."""
    scene = moving()
    scene.put()
    for node in {"n1", "n2", "n3", "n4"}.difference(silent):
        scene.says(node)
    scene.wait(SILENCE_S)
    for node in {node for node, owner in scene.writes() if owner is not None}:
        scene.says(node)
    assert scene.machine.idle
    return scene


@causes(OPEN, Input.GIVEN_AWAY)
def the_old_node_has_given_its_replica_away() -> None:
    scene = moving()
    scene.put()
    scene.says("n3", MOVED_AWAY)


@causes(SILENT, Input.GIVEN_AWAY)
def a_silent_old_node_has_given_its_replica_away() -> None:
    scene = moving(4)
    scene.unlink("n4")
    scene.put()
    scene.wait(SILENCE_S)
    scene.says("n3", MOVED_AWAY)


@causes(DEFERRED, Input.GIVEN_AWAY)
def the_new_node_votes_after_a_fallback_had_nothing() -> None:
    scene = moving_and_doubting("n3", "n4")
    scene.get(r=3)
    scene.says("n6", NOT_FOUND)
    scene.says("n4", NOT_FOUND)
    scene.says("n3", MOVED_AWAY)


@causes(OVERLOADED, Input.GIVEN_AWAY)
def the_queue_to_the_fallback_of_the_old_node_is_full() -> None:
    scene = moving_and_doubting("n3")
    scene.put()
    scene.unsent("n5", overloaded=True)
    scene.says("n3", MOVED_AWAY)


@causes(CLOSED, Input.GIVEN_AWAY)
def the_fallback_of_the_old_node_has_failed() -> None:
    scene = moving_and_doubting("n3")
    scene.put()
    scene.says("n5", INTERNAL)
    scene.says("n3", MOVED_AWAY)


@causes(OPEN, Input.NOT_WHOLE)
def the_new_node_lacks_records() -> None:
    scene = moving()
    scene.get()
    scene.says("n4", NO_VOTE)


@causes(SILENT, Input.NOT_WHOLE)
def a_silent_new_node_lacks_records() -> None:
    scene = moving_and_doubting("n4")
    scene.get()
    scene.says("n4", NO_VOTE)


@causes(BEHIND, Input.AGAIN)
def the_new_node_may_have_become_whole() -> None:
    scene = moving()
    scene.get()
    scene.says("n4", NO_VOTE)
    scene.says("n3", MOVED_AWAY)


@causes(SILENT, Input.AGAIN)
def a_silent_new_node_may_have_become_whole() -> None:
    scene = moving(4)
    scene.get(r=3)
    scene.says("n3", MOVED_AWAY)
    scene.wait(SILENCE_S)
    scene.says("n4", NO_VOTE)


@causes(STALE, Input.AGAIN)
def the_new_node_may_have_followed_an_older_ring() -> None:
    scene = moving()
    scene.get()
    scene.says("n4", MOVED_AWAY)
    scene.says("n3", MOVED_AWAY)


@causes(BEHIND, Input.FALLBACK_YES)
def the_fallback_of_the_new_node_has_a_record() -> None:
    scene = moving_and_doubting("n3", "n4")
    scene.get(r=3)
    scene.says("n3", NOT_FOUND)
    scene.says("n4", NO_VOTE)
    scene.says("n5", OK, record_at(0))


@causes(BEHIND, Input.NOTHING)
def the_fallback_of_the_new_node_has_nothing() -> None:
    scene = moving_and_doubting("n3", "n4")
    scene.get(r=3)
    scene.says("n3", NOT_FOUND)
    scene.says("n4", NO_VOTE)
    scene.says("n5", NOT_FOUND)


@causes(OPEN, Input.NEWER_RING)
def an_owner_has_a_newer_ring() -> None:
    put().says("n3", STALE_EPOCH)


@causes(SILENT, Input.NEWER_RING)
def a_silent_owner_has_a_newer_ring() -> None:
    put_to_silent_owners().says("n3", STALE_EPOCH)


@causes(STALE, Input.FALLBACK_YES)
def the_fallback_of_an_owner_with_a_newer_ring_votes() -> None:
    scene = doubting_n3()
    scene.put()
    scene.says("n3", STALE_EPOCH)
    scene.says("n4")


@causes(STALE, Input.NOTHING)
def the_fallback_of_an_owner_with_a_newer_ring_has_nothing() -> None:
    scene = doubting_n3()
    scene.get()
    scene.says("n3", MOVED_AWAY)
    scene.says("n4", NOT_FOUND)


@causes(STALE, Input.ACKNOWLEDGED)
def the_others_are_enough_for_a_write_of_an_older_epoch() -> None:
    scene = put()
    scene.says("n3", STALE_EPOCH)
    scene.says("n1")
    scene.says("n2")
