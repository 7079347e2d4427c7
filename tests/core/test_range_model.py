"""No acknowledged write is missed while ranges move; the model finds each rule that is left out."""

import pytest
from range_model import Model

from toystore.core.protocol.messages.codes import RangeState
from toystore.core.storage import range_states
from toystore.core.storage.own_ranges import OwnRanges

WHOLE = RangeState.WHOLE
STEPS = 1500


@pytest.mark.parametrize(("w", "r"), [(2, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("seed", range(8))
def test_no_acknowledged_write_is_missed(seed, w, r):
    model = Model(f"{seed} {w} {r}", w, r)

    model.run(STEPS)

    assert model.reads
    assert len(model.chain) > 5


@pytest.mark.parametrize("seed", range(6))
def test_no_deleted_value_comes_back_while_members_change(seed):
    model = Model(f"{seed} reaps", 2, 2, reaps=True)

    model.run(STEPS)

    assert model.reads


def no_fence(patch):
    patch.setattr(OwnRanges, "moved", 0)


def what_comes_is_whole(patch):
    row = dict.fromkeys(range_states.Ownership, WHOLE)
    patch.setitem(range_states.FOLLOWED, RangeState.NONE, row)


def what_was_given_away_is_whole_if_it_comes_back(patch):
    for before in (RangeState.RETIRED, RangeState.RELEASED):
        row = dict.fromkeys(range_states.Ownership, WHOLE)
        patch.setitem(range_states.FOLLOWED, before, row)


FOUND = [
    (no_fence, "14"),
    (what_comes_is_whole, "41"),
    (what_was_given_away_is_whole_if_it_comes_back, "78"),
]
"""With a seed that leads to each."""


@pytest.mark.parametrize(("fault", "seed"), FOUND)
def test_a_rule_that_is_left_out_is_missed(fault, seed, monkeypatch):
    fault(monkeypatch)
    model = Model(seed, 2, 2)

    with pytest.raises(AssertionError, match="has missed a write"):
        model.run(STEPS)
