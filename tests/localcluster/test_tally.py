"""What became of the load's requests."""

from hypothesis import given
from hypothesis import strategies as st

from toystore.localcluster.load import Tally


@given(st.lists(st.integers(1, 999), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_the_least_latency_that_the_share_did_not_exceed(latencies_ms, share):
    tally = Tally()
    for ms in latencies_ms:
        tally.add("get", ms / 1000)

    found = tally.percentile_ms(share)

    in_order = sorted(latencies_ms)
    oracle = next(ms for at, ms in enumerate(in_order, start=1) if at >= share * len(latencies_ms))
    assert found == oracle


def test_a_tally_without_requests_has_a_percentile_all_the_same():
    assert Tally().percentile_ms(0.99) == 0.0
