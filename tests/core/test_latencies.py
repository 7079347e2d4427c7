"""The latencies of the last minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.requests.latencies import SLOT_S, SLOTS, Latencies, bucket_of, middle_us


@given(st.integers(min_value=0, max_value=2**32))
def test_a_bucket_says_within_seven_percent_what_it_holds(took_us):
    assert middle_us(bucket_of(took_us)) == pytest.approx(took_us, rel=0.07, abs=0.5)


def test_whatever_takes_longer_is_in_the_last_bucket():
    assert bucket_of(2**62) == bucket_of(2**63)


@given(st.lists(st.floats(min_value=0.00002, max_value=60), min_size=1, max_size=300))
def test_the_percentiles_are_those_of_a_sorted_list(durations):
    latencies = Latencies()
    for took_s in durations:
        latencies.note(took_s, 5.0)

    told = latencies.summary(6.0)

    ordered = sorted(durations)
    count = len(ordered)
    assert told["count"] == count
    assert told["p50_ms"] == pytest.approx(1000 * ordered[-(-count // 2) - 1], rel=0.08)
    assert told["p99_ms"] == pytest.approx(1000 * ordered[-(-count * 99 // 100) - 1], rel=0.08)


def test_what_is_older_than_a_minute_is_forgotten():
    latencies = Latencies()
    latencies.note(0.5, 100.0)
    latencies.note(0.1, 100.0 + SLOT_S)

    end = 100.0 + SLOT_S + SLOTS * SLOT_S
    assert latencies.summary(end - 0.01)["count"] == 2
    assert latencies.summary(end)["count"] == 1
    assert latencies.summary(end + SLOT_S)["count"] == 0
    assert latencies.summary(end + SLOT_S)["p99_ms"] is None


def test_a_clock_that_has_not_moved_begins_no_new_slot():
    latencies = Latencies()
    for _ in range(1000):
        latencies.note(0.001, 7.0)

    assert latencies.summary(7.0)["count"] == 1000
