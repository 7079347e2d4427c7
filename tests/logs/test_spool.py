"""Entries in the order of time, however many and in whatever order they come."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from toystore.logs.entry import Entry
from toystore.logs.spool import Spool

NODES = st.sampled_from(["n1", "n2", "n3"])
TIMES = st.integers(0, 50).map(float)


def entry(at: float, node: str, number: int) -> Entry:
    return Entry(at, node, "member.suspect", "n9", {"number": number})


@given(st.lists(st.tuples(TIMES, NODES), max_size=200), st.integers(1, 20))
def test_every_entry_comes_back_once_and_in_the_order_of_time(drawn, chunk):
    entries = [entry(at, node, number) for number, (at, node) in enumerate(drawn)]
    spool = Spool(chunk)
    for each in entries:
        spool.add(each)

    found = list(spool.merged())

    assert [each.at for each in found] == sorted(each.at for each in entries)
    assert sorted(found, key=number_of) == entries
    assert spool.nodes == sorted({node for _, node in drawn})


def number_of(each: Entry) -> int:
    return each.fields["number"]


@given(st.lists(TIMES, max_size=100), st.floats(-20, 20))
def test_the_times_of_a_clock_that_is_off_are_corrected(times, ahead_s):
    spool = Spool(7)
    for number, at in enumerate(times):
        spool.add(entry(at, "n1", number))
        spool.add(entry(at, "n2", number))

    found = list(spool.merged(lambda node, _: ahead_s if node == "n1" else 0.0))

    assert [each.at for each in found] == sorted(each.at for each in found)
    assert sorted(e.at for e in found if e.node == "n1") == sorted(at - ahead_s for at in times)


def test_a_spool_of_many_entries_takes_little_memory():
    spool = Spool(1000)
    tracemalloc.start()

    for number in range(60_000):
        spool.add(entry(number / 10, f"n{number % 10}", number))
    count = sum(1 for _ in spool.merged())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 60_000
    assert most < 8_000_000
