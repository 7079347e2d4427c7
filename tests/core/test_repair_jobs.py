"""Repairs that an operator has asked for; the tests play the scrub and the comparisons."""

from __future__ import annotations

from typing import Any

from toystore.core.antientropy.jobs import JOBS_MAX, Jobs
from toystore.core.antientropy.replicas import Replicas
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import RepairRanges
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring

NAMES = ("n1", "n2", "n3")
START = Now(10.0, 0)
SETTLED = Now(11.0, 0)
ALL = frozenset(NAMES)


class FakeScrub:
    """Remembers what is to be read."""

    def __init__(self) -> None:
        self.asked: list[Range] = []

    def hurry(self, ranges: Any) -> None:
        self.asked += ranges


class Scene:
    """The jobs of n1, which owns every range with N=3."""

    def __init__(self) -> None:
        ring = fixed_ring([Member(name) for name in NAMES], partitions=4, n=3)
        self.scrub = FakeScrub()
        self.replicas = Replicas(Ranges(ring, "n1", [3]), AntientropySettings())
        self.jobs = Jobs(
            self.replicas,
            scrub=self.scrub,  # type: ignore[arg-type]
            settle_s=1.0,
            outbox=Outbox(),
        )

    def ask(self, job: int, partition: int | None = None, n: int | None = None) -> dict[str, Any]:
        return self.jobs.ask(RepairRanges(1, job, n, partition), ALL, START)

    def begin(self, job: int, partition: int | None = None) -> None:
        self.ask(job, partition)
        self.jobs.go_on(ALL, START)

    def follow(self, *members: str) -> None:
        """The ring is another one."""
        before = self.replicas.ranges
        ring = fixed_ring([Member(name) for name in members], partitions=4, n=3)
        self.replicas.ranges = Ranges(ring, "n1", [3])
        self.jobs.follow(before.owned)

    def read(self, **rotten: int) -> None:
        """Everything asked for is read; ``p2=3``: three records of partition 2 are corrupt."""
        asked, self.scrub.asked = self.scrub.asked, []
        for of in asked:
            self.jobs.read(of, rotten.get(f"p{of.partition}", 0), START)

    def compare(self, *owners: str) -> None:
        self.jobs.go_on(ALL, SETTLED)
        for partition in range(4):
            for owner in owners:
                self.jobs.visited(Range(3, partition), owner)
        self.jobs.go_on(ALL, SETTLED)


def test_a_job_is_finished_once_each_range_is_scrubbed_and_compared_with_each_other_owner() -> None:
    scene = Scene()
    scene.begin(7)
    assert scene.scrub.asked == [Range(3, at) for at in range(4)]
    assert (scene.ask(7)["scrubbed"], scene.ask(7)["done"]) == (0, 0)

    scene.read()
    assert (scene.ask(7)["scrubbed"], scene.ask(7)["done"]) == (4, 0)
    scene.compare("n2")
    assert (scene.ask(7)["done"], scene.ask(7)["finished"]) == (0, False)
    scene.compare("n3")

    told = scene.ask(7)
    assert (told["ranges"], told["done"], told["compared"]) == (4, 4, 8)
    assert told["finished"]


def test_only_the_ranges_of_the_named_partition_and_n_are_repaired() -> None:
    scene = Scene()

    assert scene.ask(1, partition=2)["ranges"] == 1
    assert scene.ask(2, n=3)["ranges"] == 4
    assert scene.ask(3, n=1)["ranges"] == 0


def test_an_owner_that_cannot_be_reached_is_waited_for_by_name() -> None:
    scene = Scene()
    scene.begin(7)
    scene.read()
    scene.compare("n2")

    told = scene.jobs.ask(RepairRanges(1, 7, None, None), frozenset(("n1", "n2")), SETTLED)

    assert told["waits_for"] == ["n3"]


def test_ranges_with_corrupt_records_are_scrubbed_again_to_count_what_was_replaced() -> None:
    scene = Scene()
    scene.begin(7)
    scene.read(p1=2, p2=3)
    scene.compare("n2", "n3")

    assert scene.scrub.asked == [Range(3, 1), Range(3, 2)]
    told = scene.ask(7)
    assert (told["rotten"], told["repaired"], told["finished"]) == (5, 0, False)
    assert scene.jobs.next_deadline() == float("inf")

    scene.read(p2=1)
    scene.jobs.go_on(ALL, SETTLED)

    told = scene.ask(7)
    assert (told["rotten"], told["repaired"], told["finished"]) == (5, 4, True)


def test_a_second_job_is_queued_while_the_first_one_has_something_to_do() -> None:
    scene = Scene()
    scene.begin(7)
    scene.read()
    scene.compare("n2")

    assert scene.ask(8)["queued"]
    scene.jobs.go_on(ALL, SETTLED)
    assert scene.ask(8)["queued"]
    scene.compare("n3")
    assert not scene.ask(8)["queued"]
    assert scene.scrub.asked


def test_a_job_that_only_waits_for_a_dead_owner_keeps_no_other_from_running() -> None:
    scene = Scene()
    scene.begin(7)
    scene.read()
    scene.compare("n2")
    scene.ask(8, partition=1)
    scene.ask(9, partition=2)
    without_n3 = frozenset(("n1", "n2"))

    scene.jobs.go_on(without_n3, SETTLED)
    assert scene.scrub.asked == [Range(3, 1)]
    scene.read(p1=1)
    assert [scene.ask(job)["queued"] for job in (7, 8, 9)] == [False, False, True]
    assert scene.ask(8)["rotten"] == 1
    scene.jobs.go_on(without_n3, SETTLED)
    scene.jobs.visited(Range(3, 1), "n2")
    scene.jobs.go_on(without_n3, SETTLED)

    assert not scene.ask(9)["queued"]
    scene.read()
    scene.compare("n2", "n3")
    scene.read()
    scene.jobs.go_on(ALL, SETTLED)
    told = [scene.ask(job) for job in (7, 8, 9)]
    assert [one["finished"] for one in told] == [True] * 3
    assert [one["compared"] for one in told] == [8, 2, 2]
    assert scene.jobs.idle
    assert not scene.jobs.visits


def test_a_job_leaves_out_the_ranges_that_its_node_has_given_away() -> None:
    scene = Scene()
    scene.begin(7)
    scene.follow("n1", "n2", "n3", "n4")
    lost = 4 - len(scene.replicas.ranges.owned)
    assert lost
    scene.read()
    scene.jobs.go_on(ALL, SETTLED)
    assert scene.ask(7)["done"] == lost

    scene.compare("n2", "n3", "n4")

    assert scene.ask(7)["finished"]


def test_a_job_ends_though_its_node_has_given_away_what_was_still_to_be_scrubbed() -> None:
    scene = Scene()
    scene.begin(7)
    scene.follow("n2", "n3", "n4")

    scene.read()
    scene.compare("n2")

    assert scene.ask(7)["finished"]


def test_too_many_jobs_are_refused() -> None:
    scene = Scene()
    for job in range(JOBS_MAX):
        scene.ask(job)

    assert scene.ask(99).keys() == {"error"}
    assert scene.ask(0)["job"] == 0
