"""The member table: which state replaces which, and which updates are sent first."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swim_network import ALIVE, DEAD, LEFT, SUSPECT

from toystore.core.membership.members import MemberList, Members, beats, merge
from toystore.core.protocol.messages.gossip import (
    MemberState,
)

# --- precedence (SWIM section 4.2) --------------------------------------------------------

# By received, then known state: "<" replaces only with a higher incarnation, "=" with an equal too.
PRECEDENCE = {
    ALIVE: {ALIVE: "<", SUSPECT: "<", DEAD: "<", LEFT: "<"},
    SUSPECT: {ALIVE: "=", SUSPECT: "<", DEAD: "<", LEFT: "<"},
    DEAD: {ALIVE: "=", SUSPECT: "=", DEAD: "<", LEFT: "<"},
    LEFT: {ALIVE: "=", SUSPECT: "=", DEAD: "=", LEFT: "<"},
}


@pytest.mark.parametrize(("received", "known"), list(product(PRECEDENCE, PRECEDENCE)))
def test_a_received_state_replaces_the_known_one_as_the_table_says(received, known):
    rule = PRECEDENCE[received][known]
    for i, j in product(range(3), range(3)):
        expected = i > j or (i == j and rule == "=")
        assert beats(MemberState("x", received, i, ""), MemberState("x", known, j, "")) == expected


# A member has one disk in one incarnation, which some do not know.
states = st.builds(
    lambda status, incarnation, known: MemberState(
        "x", status, incarnation, f"disk-{incarnation}" if known else ""
    ),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
)


@given(states, states)
def test_merging_is_commutative_in_status_and_incarnation(a, b):
    assert merge(a, b)[:3] == merge(b, a)[:3]
    assert merge(a, a) == a


@given(states, states, states)
def test_merging_is_associative_in_status_and_incarnation(a, b, c):
    assert merge(merge(a, b), c)[:3] == merge(a, merge(b, c))[:3]


def test_the_disk_follows_the_higher_incarnation():
    old, new = MemberState("x", DEAD, 1, "d1"), MemberState("x", ALIVE, 2, "d2")
    assert merge(old, new) == merge(new, old) == new


def test_a_known_disk_fills_an_unknown_one_and_is_not_replaced_at_the_same_incarnation():
    unknown, known = MemberState("x", SUSPECT, 1, ""), MemberState("x", ALIVE, 1, "d1")
    assert merge(unknown, known) == merge(known, unknown) == MemberState("x", SUSPECT, 1, "d1")
    assert merge(known, known._replace(disk="d2")) == known


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=20))
def test_the_living_are_counted_as_they_change(changes):
    members = Members(MemberList(["a", "b", "c"]))
    for incarnation, (name, status) in enumerate(changes):
        members.put(MemberState(name, status, incarnation, ""))
        assert members.living_count == sum(map(members.is_living, "abc"))


# --- dissemination (SWIM sections 4.1 and 4.3) --------------------------------------------


def test_the_least_sent_update_goes_first_and_of_these_the_newest():
    members = Members(MemberList(["a", "b", "c"]))
    a, b, c = (MemberState(name, ALIVE, 0, "") for name in "abc")
    members.put(a)
    members.put(b)
    assert members.updates(1, 9) == (b,)
    members.put(c)
    assert members.updates(2, 9) == (c, a)
    assert members.updates(3, 9) == (c, a, b)


def test_an_update_leaves_the_queue_after_its_sends_and_starts_again_when_replaced():
    members = Members(MemberList(["a"]))
    old, new = MemberState("a", ALIVE, 0, ""), MemberState("a", SUSPECT, 0, "")
    members.put(old)
    assert [members.updates(8, 2) for _ in range(3)] == [(old,), (old,), ()]
    members.put(old)
    members.updates(8, 2)
    members.put(new)
    assert [members.updates(8, 2) for _ in range(3)] == [(new,), (new,), ()]
