"""The checkers themselves: each must see what it is there to see."""

import pytest

from toystore.check.history import DELETE, GET, OK, PUT, Row

from .checks import Behind, Death, behind, broken, unexplained, why_behind
from .workload import Workload, at_work

OWNERS = ("n1", "n2", "n3")


def stale_copy(at_s):
    write = Row("c1", PUT, "default/k", "c1.2", at_s, at_s + 0.01, OK, stamp="02")
    return Behind("n3", OWNERS, "01", write)


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

    assert unexplained([stale_copy(at_s=99.5)], deaths)


def test_the_death_of_the_owner_itself_or_of_a_stranger_explains_nothing():
    deaths = [Death("n3", at_s=100.0, back_s=110.0), Death("n9", at_s=100.0, back_s=110.0)]

    assert unexplained([stale_copy(at_s=99.5)], deaths)


@pytest.mark.cluster
def test_a_write_that_is_not_there_is_lost_and_every_copy_of_it_is_behind(three):
    work = Workload(three.endpoints(), clients=3, keys=6, name="checked")
    with at_work(work) as load:
        load.go_on(60)
    there, gone, *_ = work.every_key
    work.do(PUT, there, "put last")
    work.do(GET, there)
    work.do(DELETE, gone)
    work.do(GET, gone)
    three.until_drained()

    assert not behind(three.config, work.rows)[1]
    assert not broken(work)
    read = {row.key: row for row in work.rows if row.operation == GET}
    assert (read[f"default/{there}"].value, read[f"default/{gone}"].value) == ("put last", None)
    assert read[f"default/{gone}"].stamp, "a tombstone has one, and what was never there has none"

    # Of a busy machine some answers rest on fallbacks, or never came.
    sure = [row for row in work.rows if row.writes and row.outcome == OK and row.owners > 1]
    last = max(sure, key=lambda row: row.stamp)
    above = f"f{last.stamp[1:]}"
    work.rows.append(last._replace(process="liar", value="liar.1", stamp=above))

    assert {(copy.write.process, copy.owner) for copy in behind(three.config, work.rows)[1]} == {
        ("liar", name) for name in three.names
    }
    found = broken(work)
    assert {violation.promise for violation in found} == {"nothing_lost", "quorums_overlap"}
    assert all(violation.rows[0].process == "liar" for violation in found)
