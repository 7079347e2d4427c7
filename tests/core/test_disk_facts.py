"""Which ranges of a replaced disk are behind, if the buckets of its node change from run to run."""

import pytest

from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.disk_facts import DiskFacts, begin_run
from toystore.core.storage.own_ranges import OwnRanges
from toystore.engines import MemoryEngine

THREE = frozenset(Range(3, partition) for partition in range(4))
FIVE = frozenset(Range(5, partition) for partition in range(4))
RING = fixed_ring([Member("n1")], 4, 3)


class Runs:
    """The runs of one node on one disk."""

    def __init__(self):
        self.store = MemoryEngine()
        self.store.begin()

    def begin(self, *owned):
        ranges = Ranges(RING, "n1", {of.n for of in frozenset().union(*owned)})
        begin_run(self.store, ranges)
        self.own = OwnRanges(self.store, ranges)
        self.own.read()
        self.facts = DiskFacts(self.store, self.own)
        return self.facts

    def rebuild(self, ranges):
        for of in ranges:
            assert self.own.set(of, RangeState.WHOLE)
            self.facts.count_votes()

    def voting(self):
        return {of for of in self.own.owned if self.facts.votes_in(of)}


@pytest.fixture
def runs():
    return Runs()


def test_a_bucket_that_is_not_listed_for_a_run_is_rebuilt_when_it_is_listed_again(runs):
    runs.begin(THREE, FIVE).replace()
    runs.begin(THREE)
    runs.rebuild(THREE)
    assert runs.facts.votes()
    runs.begin(THREE, FIVE)
    assert runs.voting() == THREE
    assert runs.own.behind() == len(FIVE)
    runs.rebuild(FIVE)
    assert runs.facts.votes()


def test_a_bucket_that_is_listed_after_the_disk_was_replaced_is_rebuilt(runs):
    runs.begin(THREE).replace()
    runs.begin(THREE, FIVE)
    assert runs.own.behind() == len(THREE | FIVE)
    assert runs.voting() == set()


def test_ranges_of_a_bucket_that_is_not_listed_hold_no_vote_up(runs):
    runs.begin(THREE, FIVE).replace()
    runs.rebuild(THREE)
    assert not runs.facts.votes()
    runs.begin(THREE)
    assert runs.facts.votes()
    assert runs.own.behind() == 0


def test_a_disk_that_was_kept_votes_whatever_is_listed(runs):
    runs.begin(THREE).keep()
    runs.begin(THREE, FIVE)
    assert runs.voting() == THREE | FIVE
    runs.begin(THREE)
    assert runs.facts.votes()


def test_a_restart_with_the_same_buckets_keeps_what_was_rebuilt(runs):
    runs.begin(THREE).replace()
    first, *left = sorted(THREE)
    runs.rebuild([first])
    runs.begin(THREE)
    assert runs.voting() == {first}
    assert runs.own.behind() == len(left)
