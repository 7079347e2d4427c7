"""Writes while newcomers have not started, and too few other nodes are left to be fallbacks."""

from __future__ import annotations

from coordinator_scene import (
    BEFORE,
    MOVED,
    REFUSED,
    SILENCE_S,
    FixedView,
    Scene,
    moving_from_n3_to_n4,
    stamp_at,
)
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.protocol.messages.client import WriteReply
from toystore.core.protocol.messages.codes import Code


def two_join_two(w: int) -> Scene:
    """n3 and n4 take the place of n1 and n2, and have not started."""
    ring = FixedView([("n3", "n4", "n1", "n2")], before=[("n1", "n2")], epoch=1)
    return Scene(2, n=2, r=1, w=w, ring=ring)


def two_join_three() -> Scene:
    """n4 and n5 take the places of n2 and n3, and have not started."""
    ring = FixedView([("n1", "n4", "n5", "n2", "n3")], before=[BEFORE[:3]], epoch=1)
    return Scene(3, ring=ring)


def n4_is_away(**settings: int) -> Scene:
    """The third replica moves from n3 to n4, which has not started, and there is no fallback."""
    scene = Scene(4, ring=moving_from_n3_to_n4(4), **settings)
    scene.unlink("n4")
    return scene


def test_the_hint_for_a_newcomer_completes_the_vote_of_the_old_node() -> None:
    scene = two_join_two(w=1)
    scene.put()
    assert scene.writes() == [("n1", None), ("n2", None)]

    scene.says("n1")
    assert scene.writes()[2:] == [("n1", "n3")]
    assert scene.answers == []
    scene.says("n1")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 0, 1)


def test_each_hint_is_kept_by_another_node() -> None:
    scene = two_join_two(w=2)
    scene.put()

    for node in ("n1", "n2"):
        scene.says(node)
    assert scene.writes()[2:] == [("n1", "n3"), ("n2", "n4")]
    scene.says("n1")
    assert scene.answers == []
    scene.says("n2")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 0, 2)
    assert scene.machine.idle


def test_two_joins_in_one_plan_fail_no_write_of_three_nodes() -> None:
    scene = two_join_three()
    scene.put()

    scene.says("n1")
    scene.says("n2")
    assert scene.writes()[3:] == [("n1", "n4")]
    scene.says("n1")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 1, 1)


def test_the_coordinator_keeps_the_hint_although_its_own_slot_has_voted() -> None:
    scene = n4_is_away(w=3)
    scene.put()

    for node in ("n1", "n2", "n3", "n1"):
        scene.says(node)

    assert scene.writes()[3:] == [("n1", "n4")]
    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 1)


def test_another_node_keeps_the_hint_if_one_refuses_it() -> None:
    scene = n4_is_away(w=3)
    scene.put()
    for node in ("n1", "n2", "n3"):
        scene.says(node)

    scene.says("n1", REFUSED)
    assert scene.writes()[4:] == [("n2", "n4")]
    scene.says("n2")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 1)


def test_a_write_fails_if_no_node_keeps_the_hint_that_it_needs() -> None:
    scene = n4_is_away(w=3)
    scene.put()
    for node in ("n1", "n2", "n3"):
        scene.says(node)

    for node in ("n1", "n2", "n3"):
        scene.says(node, REFUSED)

    assert scene.error() == (Code.UNAVAILABLE, False)


def test_a_silent_newcomer_is_not_waited_for() -> None:
    scene = Scene(4, ring=moving_from_n3_to_n4(4), w=3)
    scene.put()
    for node in ("n1", "n2", "n3"):
        scene.says(node)

    scene.wait(SILENCE_S)
    assert scene.writes()[4:] == [("n1", "n4")]
    scene.says("n1")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 1)


def test_a_slow_old_node_is_waited_for() -> None:
    scene = n4_is_away(w=3)
    scene.put()
    scene.says("n1")
    scene.says("n2")
    scene.wait(SILENCE_S)
    assert scene.answers == []

    scene.says("n3")
    scene.says("n1")

    assert scene.sole_answer() == WriteReply(1, stamp_at(0), 2, 1)


def test_a_hint_without_a_copy_in_its_slot_is_no_vote() -> None:
    scene = n4_is_away(w=3)
    scene.put()
    scene.says("n1")
    scene.says("n2")

    scene.says("n3", MOVED)

    assert scene.error() == (Code.UNAVAILABLE, False)


def test_a_hint_that_is_not_needed_is_kept_at_once_and_not_waited_for() -> None:
    scene = n4_is_away()
    scene.put()

    scene.says("n1")
    scene.says("n2")
    assert type(scene.sole_answer()) is WriteReply
    assert scene.writes()[3:] == [("n1", "n4")]
    scene.says("n3")

    assert scene.machine.idle


# --- any ring ---------------------------------------------------------------------------


@st.composite
def rings(draw: st.DrawFn) -> tuple[int, int, FixedView]:
    """N, how many nodes have started, and a ring into which other nodes come."""
    n = draw(st.integers(1, 3))
    members = draw(st.integers(n, n + 2))
    joins = draw(st.integers(1, 3))
    names = [f"n{number}" for number in range(1, members + joins + 1)]
    before = draw(st.permutations(names[:members]))
    stay = draw(st.integers(max(0, n - joins), members))
    after = draw(st.permutations([*before[:stay], *names[members:]]))
    return n, members, FixedView([tuple(after)], before=[tuple(before)], epoch=1)


@given(rings(), st.data())
def test_newcomers_that_have_not_started_fail_no_write(
    given_ring: tuple[int, int, FixedView], data: st.DataObject
) -> None:
    n, members, ring = given_ring
    w = data.draw(st.integers(1, n))
    node = data.draw(st.sampled_from([one for one in ring.nodes(0, n) if int(one[1:]) <= members]))
    scene = Scene(members, node=node, n=n, r=1, w=w, ring=ring)
    stored: list[tuple[str, str | None]] = []
    """Who has the record, and as a hint for whom."""
    scene.put()
    asked = 0
    while scene.machine.idle is False:
        assert asked < len(scene.asked), "no node is asked, and it is not complete"
        at = data.draw(st.integers(asked, len(scene.asked) - 1))
        scene.asked[asked], scene.asked[at] = scene.asked[at], scene.asked[asked]
        to, message = scene.asked[asked]
        asked += 1
        answered = len(scene.answers)
        scene.says(to, at=[name for name, _ in scene.asked[:asked]].count(to) - 1)
        stored.append((to, message.hint_owner))
        if len(scene.answers) > answered:
            assert len({name for name, _ in stored}) >= w

    reply = scene.sole_answer()
    assert type(reply) is WriteReply
    assert reply.owners + reply.fallbacks >= w
    stored += [(to, one.hint_owner) for to, one in scene.asked[asked:]]
    have = {name for name, owner in stored if owner is None} | {owner for _, owner in stored}
    assert have >= set(ring.nodes(0, n)), "a node gets neither the record nor a hint"
