"""The model of `floor_model`, from many seeds."""

from floor_model import Model
from hypothesis import given, settings
from hypothesis import strategies as st


@given(st.integers(0, 2**32))
@settings(max_examples=15)
def test_nothing_is_lost_and_nothing_deleted_comes_back(seed):
    model = Model(seed)
    model.run(600)
    model.end()

    assert not any(model.reap_all())
    model.check("reap_all")
