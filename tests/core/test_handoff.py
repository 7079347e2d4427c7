"""Hand-off: when it counts, what it delivers, and what a failure changes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from handoff_scene import (
    HOME,
    HOUR_US,
    INTERNAL,
    OK,
    REFUSED,
    RING,
    SETTINGS,
    START_US,
    SUPERSEDED,
    Node,
    hint,
    stamps_of,
)

from toystore.core.data.record import pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.handoff.handoff import Handoff
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Event
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.hints import (
    CountHints,
    CountHintsReply,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    DropHintsReply,
    TakeHints,
    TakeHintsReply,
)
from toystore.core.protocol.messages.local import (
    LinkLost,
    LinkUp,
    SendFailed,
)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    for event in node.events():
        assert set(event.fields) == set(EVENTS[event.name].fields)


# --- when it counts ---------------------------------------------------------------------


def test_it_counts_the_hints_at_once_and_then_about_every_retry_s(node: Node) -> None:
    times = []
    for _ in range(6):
        due = node.machine.next_deadline()
        assert due is not None
        node.wait(max(0.0, due - node.seconds))
        assert node.counts() == 1
        times.append(node.seconds)
    gaps = {later - sooner for sooner, later in itertools.pairwise(times)}
    assert all(0.79 * SETTINGS.retry_s < gap < 1.21 * SETTINGS.retry_s for gap in gaps)
    assert len(gaps) > 1, "the counts of many nodes must not fall into step"
    assert node.names() == [], "the first count is not late, however late the clock"


def test_it_counts_at_once_when_an_owner_is_both_alive_and_linked(node: Node) -> None:
    node.member("n2", MemberStatus.ALIVE)
    assert node.counts() == 0
    node.receive(LinkUp("n2"))
    assert node.counts() == 1
    node.member("n2", MemberStatus.DEAD)
    assert node.counts() == 0
    node.member("n2", MemberStatus.ALIVE)
    assert node.counts() == 1


def test_news_of_members_that_it_knew_to_be_alive_starts_no_count(node: Node) -> None:
    node.with_owner()
    node.member("n2", MemberStatus.ALIVE)
    node.receive(LinkUp("n2"))
    assert node.counts() == 0


# --- a delivery -------------------------------------------------------------------------


def test_hints_are_taken_delivered_deleted_and_the_next_batch_taken_until_none_is_left(
    node: Node,
) -> None:
    first, second, third = hint("a"), hint("b"), hint("c")
    node.taking()
    assert node.events() == [Event("handoff.started", {"owner": "n2", "hints": 3, "bytes": 300})]
    assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes))]
    for batch in ((first, second), (third,)):
        node.receive(TakeHintsReply("n2", batch))
        [(to, deliver)] = node.sent()
        assert (to, deliver.hints) == (Peer("n2", STORAGE), batch)
        node.receive(DeliverHintsReply(deliver.request, (OK,) * len(batch)), Peer("n2", STORAGE))
        assert node.sent() == [(HOME, DropHints("n2", stamps_of(*batch)))]
        node.seconds += 0.5
        node.receive(DropHintsReply("n2", len(batch), 0))
        assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes))]
    node.receive(TakeHintsReply("n2", ()))
    assert node.sent() == []
    assert node.events() == [
        Event("handoff.finished", {"owner": "n2", "hints": 3, "took_s": pytest.approx(1.0)})
    ]


def test_superseded_is_as_good_as_ok(node: Node) -> None:
    old, fresh = hint("a"), hint("b")
    request = node.delivering(old, fresh).request
    node.receive(DeliverHintsReply(request, (SUPERSEDED, OK)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", stamps_of(old, fresh)))]


def test_several_owners_are_served_at_once_with_one_batch_in_flight_each(node: Node) -> None:
    node.taking("n2", "n3")
    assert [message.owner for _, message in node.sent()] == ["n2", "n3"]
    node.receive(CountHintsReply((("n2", 9, 900, START_US), ("n3", 9, 900, START_US))))
    assert node.sent() == []
    node.receive(TakeHintsReply("n3", (hint("c"),)))
    node.receive(TakeHintsReply("n2", (hint("a"),)))
    assert [to.node for to, _ in node.sent() if isinstance(to, Peer)] == ["n3", "n2"]


def test_hints_for_the_node_itself_go_to_its_own_storage(node: Node) -> None:
    node.member("n1", MemberStatus.SUSPECT)
    node.receive(LinkLost("n1"))
    node.receive(CountHintsReply((("n1", 1, 100, START_US),)))
    assert node.sent() == [(HOME, TakeHints("n1", SETTINGS.batch_bytes))]
    node.receive(TakeHintsReply("n1", (hint("a"),)))
    [(to, deliver)] = node.sent()
    assert to == HOME
    node.receive(DeliverHintsReply(deliver.request, (OK,)), HOME)
    assert node.sent() == [(HOME, DropHints("n1", stamps_of(hint("a"))))]


@pytest.mark.parametrize("status", [MemberStatus.SUSPECT, MemberStatus.DEAD, MemberStatus.LEFT])
def test_an_owner_that_is_not_alive_is_waited_for(node: Node, status: MemberStatus) -> None:
    node.with_owner()
    node.member("n2", status)
    node.receive(CountHintsReply((("n2", 3, 300, START_US),)))
    assert node.sent() == []


def test_an_owner_without_a_link_is_waited_for(node: Node) -> None:
    node.member("n2", MemberStatus.ALIVE)
    node.receive(CountHintsReply((("n2", 3, 300, START_US),)))
    assert node.sent() == []


def test_an_owner_with_no_hints_is_sent_nothing(node: Node) -> None:
    node.with_owner()
    node.receive(CountHintsReply((("n2", 0, 0, START_US),)))
    assert node.sent() == []


# --- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [REFUSED, INTERNAL])
def test_a_batch_refused_whole_stays_and_is_tried_again_only_after_retry_s(
    node: Node, status: int
) -> None:
    request = node.delivering(hint("a"), hint("b")).request
    node.events()
    node.receive(DeliverHintsReply(request, (status, status)), Peer("n2", STORAGE))
    assert node.sent() == []
    assert node.events() == [
        Event("handoff.paused", {"owner": "n2", "hints": 0, "cause": "n2 refused 2 hints"})
    ]
    node.receive(CountHintsReply((("n2", 2, 200, START_US),)))
    assert node.sent() == []
    node.wait(SETTINGS.retry_s)
    node.sent()
    node.receive(CountHintsReply((("n2", 2, 200, START_US),)))
    [(to, take)] = node.sent()
    assert (to, take.owner, take.bytes_max) == (HOME, "n2", SETTINGS.batch_bytes)


def test_hints_that_an_owner_never_takes_delay_none_behind_them(node: Node) -> None:
    """The next delivery begins behind those refused, and comes back to them at the end."""
    refused, taken, behind = hint("a"), hint("b"), hint("c")
    request = node.delivering(refused, taken).request
    node.receive(DeliverHintsReply(request, (INTERNAL, OK)), Peer("n2", STORAGE))
    node.receive(DropHintsReply("n2", 1, 2))

    assert retries_until_taken(node) == 1
    assert node.taken == [(HOME, TakeHints("n2", SETTINGS.batch_bytes, refused[0]))]
    node.receive(TakeHintsReply("n2", (behind,)))
    [(_, deliver)] = node.sent()
    node.receive(DeliverHintsReply(deliver.request, (OK,)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", stamps_of(behind)))]
    node.receive(DropHintsReply("n2", 1, 1))
    assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes, refused[0]))]
    node.receive(TakeHintsReply("n2", ()))
    assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes))]


@pytest.mark.parametrize(
    "failure", [SendFailed, LinkLost, None], ids=["unsent", "lost", "unanswered"]
)
def test_a_batch_that_cannot_be_delivered_delays_none_behind_it(node: Node, failure: Any) -> None:
    large = hint("large")
    message = node.delivering(large)
    if failure is SendFailed:
        node.receive(SendFailed("n2", STORAGE, message, False))
    elif failure is LinkLost:
        node.receive(LinkLost("n2"))
        node.receive(LinkUp("n2"))
    else:
        no_answer_comes(node)

    retries_until_taken(node)

    assert node.taken == [(HOME, TakeHints("n2", SETTINGS.batch_bytes, large[0]))]


def test_a_link_that_is_lost_over_each_batch_is_tried_ever_more_rarely_and_logged_once(
    node: Node,
) -> None:
    """Such as over a batch that the other side will not take: it comes back within 0.1 s."""
    node.with_owner()
    end, tried = node.seconds + 100, []
    while node.seconds < end:
        node.receive(CountHintsReply((("n2", 1, 100, START_US),)))
        if node.sent():
            tried.append(node.seconds)
            node.receive(TakeHintsReply("n2", (hint("a"),)))
            node.receive(LinkLost("n2"))
            node.receive(LinkUp("n2"))
            node.sent()
        node.wait(0.1)

    assert tried[1] - tried[0] < 0.2, "once, it is no more than a link that was lost"
    assert len(tried) < 8
    assert node.names() == ["handoff.started", "handoff.paused"]


def test_a_large_batch_is_given_the_time_that_it_takes(node: Node) -> None:
    digest, _ = hint("large")
    record = pack_record(pack_stamp(1, 0, b"minter--"), "default", b"large", bytes(8 * 2**20))
    request = node.delivering((digest, record)).request

    node.wait(SETTINGS.reply_timeout_s + 7)
    node.sent()
    node.receive(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))

    assert node.sent() == [(HOME, DropHints("n2", stamps_of((digest, record))))]


def test_an_owner_that_takes_nothing_is_tried_half_as_often_each_time_until_it_does(
    node: Node,
) -> None:
    pauses = []
    for _ in range(7):
        request = node.delivering(hint("a")).request
        node.receive(DeliverHintsReply(request, (REFUSED,)), Peer("n2", STORAGE))
        pauses.append(retries_until_taken(node))
    for pause, doubled in zip(pauses, (1, 2, 4, 8, 16, 16, 16), strict=True):
        assert doubled * 0.8 <= pause <= doubled * 1.2 + 1
    assert [event.name for event in node.events()] == ["handoff.started", "handoff.paused"]

    request = node.delivering(hint("a"), hint("b")).request
    node.receive(DeliverHintsReply(request, (REFUSED, OK)), Peer("n2", STORAGE))
    node.receive(DropHintsReply("n2", 1, 1))
    assert retries_until_taken(node) == 1
    assert node.names() == ["handoff.started", "handoff.paused"], "it got on again"


def retries_until_taken(node: Node) -> int:
    """After how many ``retry_s`` hints for n2 are asked for again."""
    node.sent()
    for times in range(1, 100):
        node.wait(SETTINGS.retry_s)
        node.sent()
        node.receive(CountHintsReply((("n2", 1, 100, START_US),)))
        node.taken = node.sent()
        if node.taken:
            return times
    raise AssertionError("never")


def test_what_an_owner_takes_of_a_batch_is_deleted_before_the_pause(node: Node) -> None:
    refused, taken = hint("a"), hint("b")
    request = node.delivering(refused, taken).request
    node.events()
    node.receive(DeliverHintsReply(request, (REFUSED, OK)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", stamps_of(taken)))]
    assert node.events() == []
    node.receive(DropHintsReply("n2", 1, 1))
    assert node.sent() == []
    assert node.events() == [
        Event("handoff.paused", {"owner": "n2", "hints": 1, "cause": "n2 refused 1 hints"})
    ]


def test_a_reply_with_too_few_statuses_vouches_for_no_more_than_it_names(node: Node) -> None:
    first, second = hint("a"), hint("b")
    request = node.delivering(first, second).request
    node.receive(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", stamps_of(first)))]


# --- what goes wrong on the way ---------------------------------------------------------


def owner_is_suspected(node: Node) -> None:
    node.member("n2", MemberStatus.SUSPECT)


def link_is_lost(node: Node) -> None:
    node.receive(LinkLost("n2"))


def no_answer_comes(node: Node) -> None:
    node.wait(SETTINGS.reply_timeout_s)


@pytest.mark.parametrize("failure", [owner_is_suspected, link_is_lost, no_answer_comes])
@pytest.mark.parametrize("state", ["taking", "delivering", "deleting"])
def test_a_failure_in_any_state_pauses_and_deletes_nothing(
    node: Node, state: str, failure: Any
) -> None:
    if state == "taking":
        node.taking()
    else:
        getattr(node, state)(hint("a"))
    node.sent()
    node.events()
    failure(node)
    assert node.names() == ["handoff.paused"]
    assert node.sent() == []
    node.receive(TakeHintsReply("n2", (hint("a"),)))
    node.receive(DropHintsReply("n2", 1, 0))
    assert node.sent() == []


def test_the_log_says_whose_answer_did_not_come(node: Node) -> None:
    node.delivering(hint("a"))
    node.events()
    no_answer_comes(node)
    [event] = node.events()
    assert event.fields["cause"] == "storage of n2 did not answer in time"


def test_an_owner_that_comes_back_is_served_at_once(node: Node) -> None:
    node.delivering(hint("a"))
    link_is_lost(node)
    node.receive(LinkUp("n2"))
    assert node.counts() == 1
    node.receive(CountHintsReply((("n2", 1, 100, START_US),)))
    assert [type(message) for _, message in node.sent()] == [TakeHints]


@pytest.mark.parametrize("overloaded", [False, True])
def test_a_batch_that_cannot_be_sent_pauses(node: Node, overloaded: bool) -> None:
    message = node.delivering(hint("a"))
    node.events()
    node.receive(SendFailed("n2", STORAGE, message, overloaded))
    [event] = node.events()
    assert event.name == "handoff.paused"
    assert event.fields["cause"] == ("n2 is overloaded" if overloaded else "n2 is unreachable")


def test_requests_to_storage_that_cannot_be_sent_pause(node: Node) -> None:
    node.taking()
    node.receive(SendFailed("n1", STORAGE, TakeHints("n2", 1), True))
    assert node.names() == ["handoff.started", "handoff.paused"]
    node.receive(LinkLost("n2"))
    message = node.deleting(hint("a"))
    node.events()
    node.receive(SendFailed("n1", STORAGE, message, True))
    assert node.names() == ["handoff.paused"]


def test_sends_that_failed_and_matter_no_more_are_ignored(node: Node) -> None:
    message = node.delivering(hint("a"))
    node.events()
    node.receive(SendFailed("n1", STORAGE, CountHints(), True))
    node.receive(SendFailed("n1", STORAGE, TakeHints("n2", 1), True))
    node.receive(SendFailed("n1", STORAGE, DropHints("n2", ()), True))
    old = DeliverHints(message.request - 1, message.hints)
    node.receive(SendFailed("n2", STORAGE, old, False))
    assert node.names() == []


# --- late, repeated and foreign replies --------------------------------------------------


def test_only_the_owners_own_reply_to_this_batch_deletes_its_hints(node: Node) -> None:
    request = node.delivering(hint("a")).request
    node.receive(DeliverHintsReply(request - 1, (OK,)), Peer("n2", STORAGE))
    node.receive(DeliverHintsReply(request, (OK,)), Peer("n3", STORAGE))
    assert node.sent() == []


def test_repeated_replies_do_nothing_the_second_time(node: Node) -> None:
    request = node.delivering(hint("a")).request
    node.receive(TakeHintsReply("n2", (hint("a"),)))
    assert node.sent() == []
    for _ in range(2):
        node.receive(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))
    assert len(node.sent()) == 1
    for _ in range(2):
        node.receive(DropHintsReply("n2", 1, 0))
    assert len(node.sent()) == 1


def test_a_new_machine_ignores_replies_to_the_one_before_it() -> None:
    requests = {Node().delivering(hint("a")).request}
    for seed in range(2, 10):
        node = Node()
        node.machine = Handoff(
            node="n1",
            ring=RING,
            settings=SETTINGS,
            outbox=node.out,
            chance=random.Random(seed),
        )
        requests.add(node.delivering(hint("a")).request)
    assert len(requests) == 9
    assert max(requests) < 2**63


# --- time -------------------------------------------------------------------------------


def test_a_deadline_served_very_late_fails_no_delivery(node: Node) -> None:
    node.delivering(hint("a"))
    node.events()
    node.seconds += SETTINGS.reply_timeout_s + SETTINGS.stall_s + 5
    node.machine.on_deadline(node.now)
    [event] = node.events()
    assert event.name == "actor.stalled"
    node.wait(SETTINGS.reply_timeout_s)
    assert node.names() == ["handoff.paused"]


def test_an_early_call_does_nothing(node: Node) -> None:
    node.wait(0)
    node.counts()
    node.machine.on_deadline(node.now)
    assert node.counts() == 0


def test_aged_hints_are_reported_once_per_owner_and_hour(node: Node) -> None:
    def count() -> list[str]:
        old = ("n2", 3, 300, START_US), ("n3", 1, 100, START_US)
        node.receive(CountHintsReply((*old, ("n4", 1, 100, node.wall_us))))
        return [event.fields["owner"] for event in node.events()]

    assert count() == []
    node.wall_us += HOUR_US
    assert count() == ["n2", "n3"]
    node.seconds += SETTINGS.age_warn_s - 1
    assert count() == []
    node.seconds += 1
    node.wall_us += HOUR_US
    node.receive(CountHintsReply((("n2", 3, 300, START_US),)))
    assert node.events() == [
        Event("hint.aged", {"owner": "n2", "hints": 3, "bytes": 300, "age_s": 7200.0})
    ]
