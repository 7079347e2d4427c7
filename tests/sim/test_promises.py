"""The checks on histories: each finds what it is there for, and nothing in a history that is right.

Rows are written as a client would note them: times in seconds, stamps as letters.
"""

import pytest

from toystore.check import promises
from toystore.check.history import (
    DELETE,
    FAIL,
    GET,
    OK,
    PUT,
    UNKNOWN,
    HistoryError,
    Row,
    read_rows,
    write_rows,
)
from toystore.check.promises import Loss


def did(operation, value, at, *, outcome=OK, stamp="", owners=2, **more):
    usual = {"process": "c1", "key": "default/k", "return_s": at + 0.5, "n": 3, "quorum": 2}
    fields = usual | {"operation": operation, "value": value, "invoke_s": at} | more
    return Row(outcome=outcome, stamp=stamp, owners=owners if outcome == OK else 0, **fields)


RIGHT = [
    did(PUT, "1", 1, stamp="a"),
    did(GET, "1", 2, stamp="a"),
    did(PUT, "2", 3, outcome=UNKNOWN),
    did(GET, "2", 4, stamp="b"),
    did(GET, "1", 5, stamp="a", owners=1, fallbacks=1),
    did(DELETE, None, 6, stamp="c"),
    did(GET, None, 7, stamp="c"),
    did(PUT, "3", 8, outcome=FAIL),
]


def every_check(rows):
    found = promises.quorums_overlap(rows)
    for check in promises.ALWAYS:
        found += check(rows)
    found += promises.writes_follow(rows, {})
    found += promises.nothing_hangs(rows, 1.0, 0.1)
    found += promises.nothing_lost(rows, 6.9)
    return found


def test_a_history_as_it_should_be_breaks_no_promise():
    assert every_check(RIGHT) == []


WRONG = {
    "nothing_invented": [did(GET, "9", 2, stamp="a")],
    "refusals_are_final": [did(PUT, "1", 1, outcome=FAIL), did(GET, "1", 2, stamp="a")],
    "one_stamp_one_value": [
        did(PUT, "1", 1, outcome=UNKNOWN),
        did(PUT, "2", 1, outcome=UNKNOWN),
        did(GET, "1", 2, stamp="a"),
        did(GET, "2", 3, stamp="a"),
    ],
    "acknowledged_once": [did(PUT, "1", 1, stamp="a"), did(GET, "1", 2, stamp="b")],
    "quorums_are_met": [did(PUT, "1", 1, stamp="a", owners=1)],
    "quorums_overlap": [did(PUT, "1", 1, stamp="a"), did(GET, None, 2)],
    "nothing_hangs": [did(GET, None, 1, return_s=2.2)],
    "nothing_lost": [
        did(PUT, "1", 1, stamp="a", owners=1, fallbacks=1),
        did(GET, None, 7, owners=2),
    ],
}


@pytest.mark.parametrize("promise", WRONG)
def test_a_broken_promise_is_found_and_no_other(promise):
    assert {violation.promise for violation in every_check(WRONG[promise])} == {promise}


def test_a_value_read_before_it_was_put_is_invented():
    rows = [did(GET, "1", 1, stamp="a"), did(PUT, "1", 2, stamp="a")]

    assert promises.nothing_invented(rows)


def test_a_put_under_way_may_be_read_before_it_returns():
    rows = [did(PUT, "1", 1, stamp="a", return_s=9), did(GET, "1", 2, stamp="a")]

    assert not every_check([row._replace(return_s=row.invoke_s + 0.5) for row in rows])
    assert not promises.nothing_invented(rows)


def test_an_acknowledged_write_must_be_above_an_earlier_one_with_a_common_owner():
    rows = [did(PUT, "1", 1, stamp="b"), did(PUT, "2", 2, stamp="a")]

    assert promises.quorums_overlap(rows)


@pytest.mark.parametrize(
    ("write_owners", "read_owners", "n"), [(1, 2, 3), (2, 1, 3), (1, 1, 2), (2, 3, 5)]
)
def test_quorums_without_a_common_owner_promise_nothing(write_owners, read_owners, n):
    rows = [
        did(PUT, "1", 1, stamp="a", owners=write_owners, n=n),
        did(GET, None, 2, owners=read_owners, n=n),
    ]

    assert not promises.quorums_overlap(rows)


def test_operations_at_the_same_time_promise_nothing_of_each_other():
    rows = [did(PUT, "1", 1, stamp="a"), did(GET, None, 1.2)]

    assert not promises.quorums_overlap(rows)


def test_a_node_that_lost_its_disk_may_be_the_common_owner():
    rows = [did(PUT, "1", 1, stamp="b"), did(GET, "0", 2, stamp="a")]

    assert promises.quorums_overlap(rows)
    assert not promises.quorums_overlap(rows, [Loss("n1")])
    assert not promises.quorums_overlap(rows, [Loss("n1", at_s=1.5)])


@pytest.mark.parametrize("at_s", [0.5, 9.0])
def test_what_was_lost_before_the_write_or_after_the_read_is_no_excuse(at_s):
    rows = [did(PUT, "1", 1, stamp="b"), did(GET, "0", 2, stamp="a")]

    assert promises.quorums_overlap(rows, [Loss("n1", at_s)])


def test_a_node_that_knows_of_its_loss_does_not_vote_not_found():
    rows = [did(PUT, "1", 1, stamp="b"), did(GET, None, 2)]

    assert promises.quorums_overlap(rows, [Loss("n1", knowing=True)])
    assert not promises.quorums_overlap(rows, [Loss("n1", knowing=False)])


@pytest.mark.parametrize(
    ("write", "loss", "broken"),
    [
        ({"owners": 2}, Loss("n1", 2.0, knowing=True, whole_s=3.0), True),
        ({"owners": 2}, Loss("n1", 2.0, knowing=True, whole_s=9.0), False),
        ({"owners": 1}, Loss("n1", 2.0, knowing=True, whole_s=3.0), False),
        ({"owners": 2, "return_s": 2.5}, Loss("n1", 2.0, knowing=True, whole_s=3.0), False),
    ],
    ids=["whole", "not whole yet", "no other owner had it", "another owner got it later"],
)
def test_a_node_that_is_whole_has_again_what_another_owner_had(write, loss, broken):
    put = did(PUT, "1", 1, stamp="b")._replace(**write)
    rows = [put, did(GET, "0", 5, stamp="a", owners=4 - put.owners)]

    assert bool(promises.quorums_overlap(rows, [loss])) == broken


def test_once_all_replicas_are_equal_one_owner_is_enough_to_read_what_one_owner_has_kept():
    rows = [did(PUT, "1", 1, stamp="a", owners=2), did(GET, None, 7, owners=1)]

    assert not promises.nothing_lost(rows, 6)
    assert promises.nothing_lost(rows, 6, equal=True)
    assert promises.nothing_lost(rows, 6, [Loss("n1")], equal=True)
    assert not promises.nothing_lost(rows, 6, [Loss("n1"), Loss("n2")], equal=True)
    of_no_owner = did(GET, None, 7, owners=0, fallbacks=1)
    assert not promises.nothing_lost([rows[0], of_no_owner], 6, equal=True)


def stamped(time: str, minter: str) -> str:
    return time.rjust(24, "0") + minter.rjust(16, "0")


def test_a_process_writes_above_what_it_has_read():
    rows = [
        did(GET, "1", 1, stamp=stamped("5", "b"), owners=1),
        did(PUT, "2", 2, stamp=stamped("4", "a"), owners=1),
    ]

    assert promises.writes_follow(rows, {"c1": "a".rjust(16, "0")})
    assert not promises.writes_follow(rows, {"c1": "f".rjust(16, "0")})


def test_keys_and_processes_promise_nothing_of_each_other():
    rows = [
        did(PUT, "1", 1, stamp=stamped("5", "a")),
        did(PUT, "2", 2, stamp=stamped("4", "a"), key="default/other"),
        did(PUT, "3", 3, stamp=stamped("4", "c"), process="c2", owners=1),
    ]
    minters = {"c1": "a".rjust(16, "0"), "c2": "c".rjust(16, "0")}

    assert not promises.writes_follow(rows, minters)
    assert not promises.quorums_overlap(rows)


def test_what_was_on_fewer_nodes_than_lost_their_disks_may_be_gone():
    rows = [did(PUT, "1", 1, stamp="a", owners=1), did(GET, None, 7, owners=3)]

    assert promises.nothing_lost(rows, 6)
    assert not promises.nothing_lost(rows, 6, [Loss("n1")])


def test_what_fails_after_healing_is_found_and_what_failed_before_is_not():
    rows = [did(GET, None, at, outcome=FAIL) for at in (1, 7)]

    (violation,) = promises.everything_is_served(rows, 6)

    assert violation.rows == (rows[1],)


def test_a_history_is_read_as_it_was_written(tmp_path):
    write_rows(tmp_path / "history.jsonl", reversed(RIGHT))

    assert list(read_rows(tmp_path / "history.jsonl")) == RIGHT


@pytest.mark.parametrize(
    "line",
    ["", "7", "{", "[]", '{"process": 1}', '{"colour": "red"}', "[" * 100_000, b"\xff\xfe"],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    file = tmp_path / "history.jsonl"
    write_rows(file, RIGHT)
    with file.open("ab") as more:
        more.write((line if isinstance(line, bytes) else line.encode()) + b"\n")

    with pytest.raises(HistoryError, match=f"line {len(RIGHT) + 1}"):
        list(read_rows(file))


def test_an_outcome_that_does_not_exist_is_named(tmp_path):
    file = tmp_path / "history.jsonl"
    write_rows(file, [RIGHT[0]._replace(outcome="maybe")])

    with pytest.raises(HistoryError, match="maybe"):
        list(read_rows(file))
