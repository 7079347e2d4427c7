"""Which ranges of a replaced disk are behind, if the buckets of its node change from run to run."""

import pytest

from toystore.core.ring.ranges import Range
from toystore.core.storage.disk_facts import DiskFacts
from toystore.engines import MemoryEngine

THREE = frozenset(Range(3, partition) for partition in range(4))
FIVE = frozenset(Range(5, partition) for partition in range(4))


class Runs:
    """The runs of one node on one disk."""

    def __init__(self):
        self.store = MemoryEngine()
        self.store.begin()

    def begin(self, *owned):
        self.owned = frozenset().union(*owned)
        self.facts = DiskFacts(self.store, self.owned)
        self.facts.follow_ranges()
        return self.facts

    def rebuild(self, ranges):
        for of in ranges:
            self.facts.mark_whole(of)

    def voting(self):
        return {of for of in self.owned if self.facts.votes_in(of)}


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
    assert runs.facts.behind() == len(FIVE)
    runs.rebuild(FIVE)
    assert runs.facts.votes()


def test_a_bucket_that_is_listed_after_the_disk_was_replaced_is_rebuilt(runs):
    runs.begin(THREE).replace()
    runs.begin(THREE, FIVE)
    assert runs.facts.behind() == len(THREE | FIVE)
    assert runs.voting() == set()


def test_ranges_of_a_bucket_that_is_not_listed_hold_no_vote_up(runs):
    runs.begin(THREE, FIVE).replace()
    runs.rebuild(THREE)
    assert not runs.facts.votes()
    runs.begin(THREE)
    assert runs.facts.votes()
    assert runs.facts.behind() == 0


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
    assert runs.facts.behind() == len(left)
