"""The checkers themselves: each must see what it is there to see."""

from dataclasses import replace

import pytest

from .checks import Behind, Death, behind, missing, went_back, why_behind
from .workload import FAIL, GET, OK, PUT, Operation, Workload, at_work

OWNERS = ("n1", "n2", "n3")


def operation(kind, value, *, at_s=0.0, outcome=OK):
    return Operation(0, kind, "k", value, at_s, at_s + 0.01, outcome)


def stale_copy(at_s):
    return Behind("k", "n3", OWNERS, 1, operation(PUT, 2, at_s=at_s))


def test_a_read_below_what_its_client_was_acknowledged_went_back():
    history = [
        operation(PUT, 1),
        operation(GET, 1),
        operation(PUT, 2, outcome=FAIL),
        operation(GET, 1),
        operation(PUT, 3),
        operation(GET, None, outcome=FAIL),
        operation(GET, 1),
        operation(GET, None),
    ]

    assert went_back(Workload([], history=history)) == [
        "k: read 1, acknowledged 3",
        "k: read None, acknowledged 3",
    ]


def test_a_coordinator_that_died_just_after_its_answer_explains_a_copy_that_is_behind():
    death = Death("n1", at_s=100.0, back_s=110.0)

    why = why_behind(stale_copy(at_s=99.5), [death])

    assert why == (
        "coordinator n1 died 490 ms after the answer was read, and its message to n3 was not out"
    )


def test_an_owner_that_was_down_is_told_beside_the_coordinator_that_died():
    deaths = [Death("n3", at_s=90.0, back_s=110.0), Death("n2", at_s=100.0, back_s=110.0)]

    why = why_behind(stale_copy(at_s=99.5), deaths)

    assert why == "coordinator n2 died 490 ms after the answer was read, and n3 was down"


def test_a_death_explains_nothing_long_before_or_after_the_write():
    deaths = [Death("n1", at_s=50.0, back_s=60.0), Death("n2", at_s=120.0, back_s=130.0)]

    assert why_behind(stale_copy(at_s=99.5), deaths) is None


def test_the_death_of_the_owner_itself_or_of_a_stranger_explains_nothing():
    deaths = [Death("n3", at_s=100.0, back_s=110.0), Death("n9", at_s=100.0, back_s=110.0)]

    assert why_behind(stale_copy(at_s=99.5), deaths) is None


@pytest.mark.cluster
def test_a_write_that_is_not_there_is_missed_and_every_copy_of_it_is_behind(three):
    work = Workload(three.endpoints(), clients=2, keys_per_client=3, name="checked")
    with at_work(work) as load:
        load.go_on(50)
    three.until_drained()
    key, last = next(iter(work.acknowledged.items()))

    assert not missing(work, three.endpoints())
    assert not behind(three.config, work)[1]

    work.tried[key] += 1
    work.acknowledged[key] = replace(last, value=last.value + 1)

    assert [complaint.split(":")[0] for complaint in missing(work, three.endpoints())] == [key]
    assert {(copy.key, copy.owner) for copy in behind(three.config, work)[1]} == {
        (key, name) for name in three.names
    }
