"""The causal context is opaque but checked; the quorum question has three answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.data.context import pack_context, unpack_context
from toystore.core.requests.quorum import Verdict, verdict

STAMPS = st.binary(min_size=20, max_size=20)


@given(STAMPS)
def test_a_context_gives_back_its_stamp(stamp):
    assert unpack_context(pack_context(stamp)) == stamp


@given(STAMPS, st.data())
def test_a_changed_context_is_refused(stamp, data):
    context = bytearray(pack_context(stamp))
    context[data.draw(st.integers(0, len(context) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(ValueError, match="is not one that a get returned"):
        unpack_context(bytes(context))


@given(st.binary(max_size=60))
def test_a_context_that_is_not_ours_is_refused_with_what_would_be_right(foreign):
    with pytest.raises(ValueError, match=r"pass the \.context of a found value, or none"):
        unpack_context(foreign)


def test_a_context_cut_short_or_run_on_is_refused():
    context = pack_context(bytes(20))

    for length in range(len(context)):
        with pytest.raises(ValueError, match="is not one that a get returned"):
            unpack_context(context[:length])
    with pytest.raises(ValueError, match="is not one that a get returned"):
        unpack_context(context + b"\x00")


@pytest.mark.parametrize(
    ("needed", "yes", "pending", "answer"),
    [
        (2, 0, 3, Verdict.PENDING),
        (2, 1, 2, Verdict.PENDING),
        (2, 1, 1, Verdict.PENDING),
        (2, 2, 1, Verdict.MET),
        (2, 3, 0, Verdict.MET),
        (2, 1, 0, Verdict.IMPOSSIBLE),
        (2, 0, 1, Verdict.IMPOSSIBLE),
        (1, 0, 1, Verdict.PENDING),
        (1, 1, 0, Verdict.MET),
        (1, 0, 0, Verdict.IMPOSSIBLE),
        (3, 2, 1, Verdict.PENDING),
        (3, 2, 0, Verdict.IMPOSSIBLE),
    ],
)
def test_a_quorum_is_met_pending_or_impossible(needed, yes, pending, answer):
    assert verdict(needed, yes, pending) is answer


@given(st.lists(st.booleans(), max_size=7), st.integers(1, 7))
def test_a_verdict_once_given_is_never_taken_back(votes, needed):
    verdicts = [
        verdict(needed, sum(votes[:counted]), len(votes) - counted)
        for counted in range(len(votes) + 1)
    ]

    decided = [given for given in verdicts if given is not Verdict.PENDING]
    assert len(set(decided)) == 1
    assert verdicts[-1] is (Verdict.MET if sum(votes) >= needed else Verdict.IMPOSSIBLE)
