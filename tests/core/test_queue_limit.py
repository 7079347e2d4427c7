"""How many may wait: as many as are configured, until a queue stands."""

from __future__ import annotations

import pytest
from drawings import arrows, drawn
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.requests import queue_limit
from toystore.core.requests.queue_limit import (
    PATIENCE_S,
    QUEUE_MIN,
    SHORT_S,
    TRANSITIONS,
    QueueLimit,
    State,
)

MOST = 4096
TURN_S = PATIENCE_S / 8


class Door:
    """A coordinator's door, told once a turn how many wait behind it."""

    def __init__(self, most: int = MOST) -> None:
        self.queue = QueueLimit(most)
        self.now = 1000.0
        self.admitted = 0
        self.waiting = 0
        self.queue.observe(0, 0, self.now)

    def turns(self, waiting: list[int], *, per_s: float) -> int:
        """So many wait in turn after turn, of which ``per_s`` are answered a second."""
        for queued in waiting:
            self.now += TURN_S
            self.admitted += round(per_s * TURN_S) + queued - self.waiting
            self.waiting = queued
            self.queue.observe(queued, self.admitted, self.now)
        return self.queue.limit


def test_the_docstring_draws_the_transitions_of_the_table() -> None:
    assert drawn(queue_limit.__doc__) == arrows(TRANSITIONS)


def test_a_burst_that_drains_is_let_in() -> None:
    door = Door()

    assert door.turns([MOST, 3000, 2000, 1000, 100, 0, 0, 0, 0], per_s=20_000) == MOST


def test_a_long_queue_that_is_answered_soon_is_let_stand() -> None:
    door = Door()

    assert door.turns([3000] * 40, per_s=3000 / (0.9 * PATIENCE_S)) == MOST


def test_a_queue_that_stands_for_too_long_is_cut_to_what_is_answered_in_a_short_time() -> None:
    door = Door()

    assert door.turns([4000] * 20, per_s=8000) == pytest.approx(8000 * SHORT_S, rel=0.01)
    assert door.queue.state is State.STRICT


@pytest.mark.parametrize(("most", "least"), [(MOST, QUEUE_MIN), (QUEUE_MIN // 2, QUEUE_MIN // 2)])
def test_it_is_never_cut_to_less_than_fills_a_batch_nor_to_more_than_is_configured(
    most: int, least: int
) -> None:
    door = Door(most)

    assert door.turns([most] * 20, per_s=10) == least


def test_it_stays_cut_and_follows_the_rate_while_anybody_is_refused() -> None:
    door = Door()
    door.turns([4000] * 20, per_s=8000)

    for per_s in (8000, 6000, 10_000):
        for _ in range(16):
            door.queue.refused = True
            limit = door.turns([100], per_s=per_s)
        assert limit == pytest.approx(per_s * SHORT_S, rel=0.01)


def test_it_is_lifted_when_nobody_was_refused_all_through_an_interval() -> None:
    door = Door()
    door.turns([4000] * 20, per_s=8000)

    assert door.turns([100] * 20, per_s=8000) == MOST
    assert door.queue.state is State.RELAXED


def test_it_is_lifted_when_the_most_can_be_answered_soon_whoever_is_refused() -> None:
    door = Door()
    door.turns([4000] * 20, per_s=8000)

    for _ in range(16):
        door.queue.refused = True
        door.turns([100], per_s=MOST / SHORT_S)

    assert (door.queue.state, door.queue.limit) == (State.RELAXED, MOST)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 16),
            st.sampled_from([0, 100, 1000, MOST]),
            st.sampled_from([0, 1000, 8000, 100_000]),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_it_is_cut_while_it_is_strict_and_only_then(
    acts: list[tuple[int, int, int, bool]],
) -> None:
    door = Door()

    for turns, waiting, per_s, refused in acts:
        for _ in range(turns):
            door.queue.refused |= refused
            limit = door.turns([waiting], per_s=per_s)
            assert QUEUE_MIN <= limit <= MOST
            assert (limit < MOST) == (door.queue.state is State.STRICT)


def test_what_was_answered_long_ago_does_not_count() -> None:
    door = Door()
    door.turns([0] * 8, per_s=1000)
    door.now += 3600

    assert door.turns([2000], per_s=0) == MOST, "it has only just come"
    assert door.turns([2000] * 10, per_s=1000) == QUEUE_MIN
