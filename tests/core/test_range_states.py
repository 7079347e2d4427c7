"""What becomes of the state of a range: the two tables, and slots of any two lists of owners."""

import pytest
from drawings import drawn
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.view import Slot
from toystore.core.storage import range_states
from toystore.core.storage.range_states import (
    FOLLOWED,
    TRANSITIONS,
    Ownership,
    has_successor,
    may_become,
    ownership,
)

WHOLE, BEHIND, RETIRED, RELEASED, STRAY, NONE = RangeState
BOTH, NEW, OLD, NO = Ownership
NODES = ("n1", "n2", "n3", "n4")


def test_the_docstring_draws_the_transitions():
    table = [
        (before.name, given.value, after.name) for (before, given), after in TRANSITIONS.items()
    ]

    assert drawn(range_states.__doc__) == sorted(table)


@pytest.mark.parametrize("part", Ownership)
@pytest.mark.parametrize("after", RangeState)
@pytest.mark.parametrize("before", RangeState)
def test_only_what_is_in_the_table_may_be_set(before, after, part):
    allowed = {
        (BEHIND, WHOLE): {BOTH, NEW, OLD},
        (WHOLE, RETIRED): {OLD},
        (RETIRED, RELEASED): {OLD, NO},
        (BEHIND, RETIRED): {OLD},
        (STRAY, RELEASED): {OLD, NO},
    }

    assert may_become(before, after, part) == (part in allowed.get((before, after), ()))


def test_a_range_never_becomes_whole_by_a_ring_record():
    became = {before for before in RangeState if WHOLE in FOLLOWED[before].values()}

    assert became == {WHOLE}


def test_what_has_stopped_to_vote_is_behind_if_it_is_owned_again():
    for before in (RETIRED, RELEASED, STRAY, NONE):
        assert {FOLLOWED[before][part] for part in (BOTH, NEW)} == {BEHIND}


def test_what_may_have_records_that_no_other_node_has_is_never_forgotten():
    assert {FOLLOWED[before][NO] for before in (WHOLE, BEHIND, RETIRED, STRAY)} == {STRAY}
    assert FOLLOWED[RELEASED][NO] is RELEASED


names = st.one_of(st.none(), st.sampled_from(NODES))


@given(st.lists(st.builds(Slot, names, names), max_size=3), st.sampled_from(NODES))
def test_the_part_of_a_node_is_that_in_the_slots(slots, node):
    old = node in [slot.old for slot in slots]
    new = node in [slot.new for slot in slots]

    expected = {(True, True): BOTH, (False, True): NEW, (True, False): OLD, (False, False): NO}

    assert ownership(slots, node) is expected[old, new]
    assert has_successor(slots, node) == any(
        slot.new is not None for slot in slots if slot.old == node
    )
