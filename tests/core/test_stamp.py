"""Stamps are in order as bytes, and the hybrid logical clock only ever goes up."""

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from toystore.core.data.stamp import (
    STAMP_BYTES,
    TIME_US_MAX,
    HybridLogicalClock,
    pack_stamp,
    unpack_stamp,
)

TIMES = st.integers(0, 2**63 - 1)
PARTS = st.tuples(TIMES, st.integers(0, 2**32 - 1), st.binary(min_size=8, max_size=8))
STAMPS = PARTS.map(lambda parts: pack_stamp(*parts))
# What may happen to a clock: it mints at a wall time (int), or is shown a stamp (bytes).
HISTORIES = st.lists(TIMES | st.integers(0, 3) | STAMPS, max_size=20)


def clock(minter: bytes = b"minter 1") -> HybridLogicalClock:
    return HybridLogicalClock(minter)


def live(clock: HybridLogicalClock, history: list[int | bytes]) -> list[bytes]:
    """Put a clock through ``history``; the stamps it minted and was shown, in order."""
    stamps = []
    for step in history:
        if isinstance(step, int):
            stamps.append(clock.mint(step))
        else:
            clock.merge(step)
            stamps.append(step)
    return stamps


@given(PARTS)
def test_a_stamp_comes_apart_into_what_it_was_made_of(parts):
    stamp = pack_stamp(*parts)

    assert len(stamp) == STAMP_BYTES
    assert unpack_stamp(stamp) == parts


@given(PARTS, PARTS)
def test_the_order_of_the_bytes_is_the_order_of_the_parts(a, b):
    assert (pack_stamp(*a) < pack_stamp(*b)) == (a < b)


@pytest.mark.parametrize(
    ("time_us", "counter", "minter"),
    [(-1, 0, b"8 bytes!"), (2**64, 0, b"8 bytes!"), (0, 2**32, b"8 bytes!"), (0, 0, b"seven..")],
)
def test_what_does_not_fit_a_stamp_is_refused(time_us, counter, minter):
    with pytest.raises(ValueError, match=r"does not fit a stamp|a minter is 8 bytes, not 7"):
        pack_stamp(time_us, counter, minter)


@pytest.mark.parametrize("stamp", [b"", bytes(19), bytes(21)])
def test_what_is_not_a_stamp_is_refused(stamp):
    with pytest.raises(ValueError, match=f"a stamp is 20 bytes, not {len(stamp)}"):
        unpack_stamp(stamp)


@given(HISTORIES, TIMES)
def test_a_minted_stamp_is_above_all_that_were_minted_or_shown_before(history, wall_us):
    ticking = clock()
    before = live(ticking, history)

    assert ticking.mint(wall_us) > max(before, default=bytes(STAMP_BYTES))


@given(HISTORIES, st.binary(min_size=8, max_size=8))
def test_a_clock_shown_another_clocks_stamp_mints_above_it_whoever_minted_it(history, minter):
    other = clock(minter)
    live(other, history)
    shown = other.mint(0)
    assume(unpack_stamp(shown).time_us <= TIME_US_MAX)

    lagging = clock(bytes(8))
    lagging.merge(shown)

    assert lagging.mint(0) > shown


def test_the_one_stamp_that_can_be_minted_after_the_end_of_time_is_followed_by_nobody():
    last = clock()
    last.merge(pack_stamp(TIME_US_MAX, 2**32 - 1, bytes(8)))
    shown = last.mint(0)
    assert unpack_stamp(shown).time_us == TIME_US_MAX + 1

    other = clock()
    other.merge(shown)

    assert unpack_stamp(other.mint(5)).time_us == 5


@given(HISTORIES, STAMPS)
def test_merging_is_idempotent_and_never_goes_back(history, stamp):
    once, twice = clock(), clock()
    live(once, [*history, stamp])
    live(twice, [*history, stamp, *history_shown(history), stamp])

    assert once.mint(0) == twice.mint(0)


def test_a_stamp_above_which_none_could_be_minted_is_not_followed():
    shown = clock()
    shown.merge(pack_stamp(2**64 - 1, 2**32 - 1, b"\xff" * 8))

    assert shown.mint(7) == clock().mint(7)


def history_shown(history: list[int | bytes]) -> list[bytes]:
    return [step for step in history if isinstance(step, bytes)]


@given(HISTORIES, TIMES)
def test_a_clock_follows_the_wall_while_the_wall_is_ahead(history, ahead_us):
    ticking = clock()
    last_us = max((unpack_stamp(stamp).time_us for stamp in live(ticking, history)), default=0)

    stamp = unpack_stamp(ticking.mint(last_us + 1 + ahead_us))

    assert (stamp.time_us, stamp.counter) == (last_us + 1 + ahead_us, 0)


@given(HISTORIES)
def test_two_clocks_never_mint_the_same_stamp(history):
    one, two = clock(b"minter 1"), clock(b"minter 2")
    minted_by_one = {one.mint(step) for step in history if isinstance(step, int)}
    minted_by_two = {two.mint(step) for step in history if isinstance(step, int)}

    assert not minted_by_one & minted_by_two


def test_a_counter_that_is_full_carries_into_the_time():
    ticking = clock()
    ticking.merge(pack_stamp(5, 2**32 - 1, b"8 bytes!"))

    assert ticking.mint(5) == pack_stamp(6, 0, b"minter 1")


def test_a_drawn_clock_is_replayed_by_its_seed():
    one = HybridLogicalClock.drawn(random.Random(1))
    same = HybridLogicalClock.drawn(random.Random(1))
    other = HybridLogicalClock.drawn(random.Random(2))

    assert one.mint(7) == same.mint(7) != other.mint(7)


def test_a_minter_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="a minter is 8 bytes, not 3"):
        HybridLogicalClock(b"abc")
