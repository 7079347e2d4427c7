"""The small parts of anti-entropy: visits, the pace, questions, and the states of a comparison."""

import random

import pytest
from drawings import arrows, drawn

from toystore.core.antientropy import comparison
from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.replicas import STALE_S, Replicas
from toystore.core.antientropy.visits import Visits
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import (
    QuestionFailedReply,
    RangeSum,
    SetRange,
    SetRangeReply,
    StoreRecordsReply,
)
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.questions import Questions
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Leaf, Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.tree import SUM_BYTES, TREE_BYTES
from toystore.core.ring.view import fixed_ring

A, B = Range(3, 0), Range(3, 1)
ALL = frozenset(("n2", "n3"))


def test_the_docstring_of_a_comparison_draws_the_transitions_of_the_table():
    assert drawn(comparison.__doc__) == arrows(comparison.TRANSITIONS)


class Observer:
    def __init__(self):
        self.causes = []

    def on_ended(self, cause, now):
        self.causes.append(cause)


def test_a_comparison_whose_partner_is_lost_ends_once_though_the_own_storage_is_silent():
    settings, observer = AntientropySettings(), Observer()
    questions = Questions(5.0, Outbox(), random.Random(1))
    one = comparison.Comparison(
        [comparison.Part(A, b"", b"\xff", comparison.Direction.BOTH)],
        own=Peer("n1", STORAGE),
        other=Peer("n2", STORAGE),
        with_young=True,
        questions=questions,
        pace=Pace(0, 1.0),
        settings=settings,
        observer=observer,
    )
    one.go_on(Now(10.0, 0))

    one.on_failed("n2 is no member any more", Now(11.0, 0))
    questions.expire(Now(20.0, 0))

    assert observer.causes == ["n2 is no member any more"]


# --- visits -----------------------------------------------------------------------------


def test_one_owner_of_a_range_is_visited_after_the_other():
    visits = Visits()
    visits.plan(A, ("n2", "n3"))
    visits.plan(B, ("n2", "n3"))
    assert (visits.next_with("n2", ALL), visits.next_with("n3", ALL)) == ([A], [B])
    assert not visits.done(A, "n2")
    assert visits.next_with("n3", ALL) == [A, B]
    assert visits.done(A, "n3")
    assert A not in visits
    assert visits.owners() == {"n2", "n3"}


def test_an_owner_that_cannot_be_reached_is_visited_last():
    visits = Visits()
    visits.plan(A, ("n2", "n3"))
    assert visits.next_with("n3", frozenset(("n3",))) == [A]
    assert not visits.done(A, "n3")
    assert visits.has_owner("n2")
    assert visits.next_with("n2", frozenset(("n3",))) == []


def test_a_visit_that_was_not_planned_changes_nothing():
    visits = Visits()
    visits.plan(A, ("n2",))
    assert not visits.done(B, "n2")
    assert not visits.done(A, "n3")
    visits.forget(A)
    assert not visits.has_owner("n2")
    visits.plan(A, ())
    assert not visits


# --- the pace ---------------------------------------------------------------------------


def test_a_batch_is_followed_by_a_pause_by_the_limit_or_of_three_times_what_it_took():
    pace = Pace(1000, 3.0)
    pace.spend(500, took_s=0.125, now_s=10.0)
    assert pace.ready_at == 10.5
    pace.spend(100, took_s=0.25, now_s=20.0)
    assert pace.ready_at == 20.75
    pace.spend(1000, took_s=0.0, now_s=20.0)
    assert pace.ready_at == 21.75


def test_without_a_limit_there_is_no_pause():
    pace = Pace(0, 3.0)
    pace.spend(10**9, took_s=5.0, now_s=10.0)
    assert pace.ready_at == 0.0


# --- questions --------------------------------------------------------------------------


class Asker:
    def __init__(self):
        self.replies = []
        self.causes = []

    def on_reply(self, reply, now):
        self.replies.append(reply)

    def on_failed(self, cause, now):
        self.causes.append(cause)


class Asked:
    """One question to n2."""

    def __init__(self):
        self.outbox, self.asker = Outbox(), Asker()
        self.questions = Questions(5.0, self.outbox, random.Random(1))
        to = Peer("n2", STORAGE)
        self.questions.ask(
            to, lambda number: SetRange(number, 3, 0, 0, 0), self.asker, Now(10.0, 0)
        )
        [self.message] = self.outbox.sends[to]


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (lambda q, m: q.expire(Now(15.0, 0)), "storage of n2 did not answer in time"),
        (
            lambda q, m: q.send_failed(SendFailed("n2", STORAGE, m, False), Now(11.0, 0)),
            "n2 is unreachable",
        ),
        (lambda q, m: q.lost("n2", "gone", Now(11.0, 0)), "gone"),
        (
            lambda q, m: q.answered(QuestionFailedReply(m.request, "broken"), Now(11.0, 0)),
            "storage of n2: broken",
        ),
        (
            lambda q, m: q.answered(StoreRecordsReply(m.request, ()), Now(11.0, 0)),
            "storage of n2 answered with a StoreRecordsReply",
        ),
    ],
)
def test_a_question_fails_once(end, cause):
    asked = Asked()
    end(asked.questions, asked.message)
    end(asked.questions, asked.message)
    asked.questions.answered(SetRangeReply(asked.message.request, 0, 0), Now(12.0, 0))
    assert (asked.asker.causes, asked.asker.replies) == ([cause], [])
    assert asked.questions.next_deadline() == float("inf")


def test_a_question_is_answered_once():
    asked = Asked()
    reply = SetRangeReply(asked.message.request, 0, 0)
    for _ in range(2):
        asked.questions.answered(reply, Now(11.0, 0))
    asked.questions.expire(Now(100.0, 0))
    assert (asked.asker.causes, asked.asker.replies) == ([], [reply])


def test_a_stall_gives_a_question_the_whole_time_again():
    asked = Asked()
    asked.questions.extend(Now(20.0, 0))
    asked.questions.expire(Now(20.0, 0))
    assert asked.questions.next_deadline() == 25.0


# --- replicas ---------------------------------------------------------------------------


def told(of=A, leaves=(), behind=False):
    """A range whose leaves of these numbers are not empty."""
    tree = b"".join(bytes([at in leaves]) * SUM_BYTES for at in range(TREE_BYTES // SUM_BYTES))
    return RangeSum(*of, behind, tree)


def replicas():
    ring = fixed_ring([Member("n1"), Member("n2"), Member("n3")], 8, 3)
    ranges = Ranges(ring, "n1", (3,))
    return Replicas(ranges, AntientropySettings()), ranges


def test_a_range_is_compared_once_it_has_rested_or_changed_for_too_long():
    known, _ = replicas()
    assert known.learn([told()], 100.0) == [A]
    assert known.has_rested(A, 100.0)
    at = 100.0
    while not known.has_rested(A, at):
        at += 1.0
    for second in range(60):
        assert known.learn([told(leaves=(second % 2,))], at + second) == [A]
        assert not known.has_rested(A, at + second + 0.5)
    assert known.has_rested(A, at + 60.0)
    known.compared(A)
    known.learn([told(leaves=(2,))], at + 60.0)
    assert not known.has_rested(A, at + 61.0)
    assert known.has_rested(A, at + 62.0)


def test_a_range_is_calm_once_no_write_to_it_can_be_under_way():
    known, _ = replicas()
    known.learn([told()], 100.0)
    assert known.is_calm(A, 100.0)
    known.learn([told(leaves=(1,))], 100.0)
    assert not known.is_calm(A, 104.9)
    assert known.is_calm(A, 105.0)


def test_a_range_that_was_written_to_is_unknown_until_storage_tells_of_it():
    known, _ = replicas()
    assert not known.is_known(A, 0.0)
    known.learn([told()], 1.0)
    known.stored(A, 2.0)
    assert not known.is_known(A, 2.0)
    assert known.is_known(A, 2.0 + STALE_S)
    known.learn([told()], 3.0)
    assert known.is_known(A, 3.0)


def test_runs_of_differing_leaves_are_one_stretch():
    known, ranges = replicas()
    known.learn([told(B)], 0.0)
    first = B.partition * 16
    stretches = list(known.stretches(B, told(B, leaves=(0, 1, 2, 7, 15)).tree))
    assert stretches == [
        (ranges.first_of(Leaf(3, first)), ranges.first_of(Leaf(3, first + 3))),
        (ranges.first_of(Leaf(3, first + 7)), ranges.end_of(Leaf(3, first + 7))),
        (ranges.first_of(Leaf(3, first + 15)), ranges.first_of(Leaf(3, first + 16))),
    ]
    assert list(known.stretches(B, told(B).tree)) == []


def test_what_is_behind_is_known_from_what_storage_tells():
    known, _ = replicas()
    known.learn([told(A, behind=True), told(B)], 0.0)
    assert known.behind == {A}
    known.learn([told(A)], 1.0)
    assert not known.behind
