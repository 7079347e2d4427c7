"""Hand-off, told as stories; then a seeded run in which everything that can be lost is."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from toystore.core.data.record import digest_of, pack_record, stamp_of
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import GOSSIP, STORAGE, Address, Peer
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Event, Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.gossip import MemberState
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
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.protocol.settings import HandoffSettings
from toystore.core.repair.handoff import Handoff
from toystore.core.storage.layout import RECORD
from toystore.core.storage.storage import Storage
from toystore.engines.memory import MemoryEngine

OK, SUPERSEDED = int(ReplicaStatus.OK), int(ReplicaStatus.SUPERSEDED)
REFUSED, INTERNAL = int(ReplicaStatus.REFUSED), int(ReplicaStatus.INTERNAL)
HOME = Peer("n1", STORAGE)
HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000
SETTINGS = HandoffSettings()

Hint = tuple[bytes, bytes]


def hint(key: str, time_us: int = 1) -> Hint:
    record = pack_record(pack_stamp(time_us, 0, b"minter--"), "default", key.encode(), b"value")
    return digest_of("default", key.encode()), record


def drop_of(*hints: Hint) -> tuple[Hint, ...]:
    return tuple((digest, stamp_of(record)) for digest, record in hints)


class Node:
    """A machine, its outbox and a clock that the test winds."""

    def __init__(self) -> None:
        self.out = Outbox()
        self.machine = Handoff(
            node="n1", settings=SETTINGS, outbox=self.out, chance=random.Random(1)
        )
        self.seconds = 100.0
        self.wall_us = START_US
        self.taken: list[tuple[Address, Any]] = []
        """What `retries_until_taken` saw sent."""

    @property
    def now(self) -> Now:
        return Now(self.seconds, self.wall_us)

    def told(self, message: Any, sender: Address = HOME) -> None:
        self.machine.receive(message, sender, self.now)

    def member(self, name: str, status: MemberStatus) -> None:
        state = MemberState(name, int(status), 1, "")
        self.told(MembersChanged(True, (state,)), Peer("n1", GOSSIP))

    def wait(self, seconds: float) -> None:
        """Let time pass, serving every deadline on it punctually."""
        end = self.seconds + seconds
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.seconds = max(self.seconds, due)
            self.machine.on_deadline(self.now)
        self.seconds = end

    def sent(self) -> list[tuple[Address, Any]]:
        """Everything sent since the last call, without the counts."""
        sends = [(to, message) for to, queue in self.out.sends.items() for message in queue]
        self.out.sends.clear()
        return [(to, message) for to, message in sends if not isinstance(message, CountHints)]

    def counts(self) -> int:
        """How many counts were asked for since the outbox was last emptied."""
        queue = self.out.sends.pop(HOME, [])
        return sum(isinstance(message, CountHints) for message in queue)

    def events(self) -> list[Event]:
        events, self.out.events[:] = list(self.out.events), []
        return events

    def names(self) -> list[str]:
        return [event.name for event in self.events()]

    # The way to the middle of a delivery.

    def with_owner(self, name: str = "n2") -> Node:
        self.member(name, MemberStatus.ALIVE)
        self.told(LinkUp(name))
        self.sent()
        return self

    def taking(self, *owners: str) -> Node:
        owners = owners or ("n2",)
        for owner in owners:
            self.with_owner(owner)
        self.told(CountHintsReply(tuple((owner, 3, 300, START_US) for owner in owners)))
        return self

    def delivering(self, *hints: Hint, owner: str = "n2") -> DeliverHints:
        self.taking(owner)
        self.sent()
        self.told(TakeHintsReply(owner, hints))
        [(to, message)] = self.sent()
        assert to == Peer(owner, STORAGE)
        assert isinstance(message, DeliverHints)
        return message

    def dropping(self, *hints: Hint) -> DropHints:
        request = self.delivering(*hints).request
        self.told(DeliverHintsReply(request, (OK,) * len(hints)), Peer("n2", STORAGE))
        [(_, message)] = self.sent()
        assert isinstance(message, DropHints)
        return message


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
    node.told(LinkUp("n2"))
    assert node.counts() == 1
    node.member("n2", MemberStatus.DEAD)
    assert node.counts() == 0
    node.member("n2", MemberStatus.ALIVE)
    assert node.counts() == 1


def test_news_of_members_that_it_knew_to_be_alive_starts_no_count(node: Node) -> None:
    node.with_owner()
    node.member("n2", MemberStatus.ALIVE)
    node.told(LinkUp("n2"))
    assert node.counts() == 0


# --- a delivery -------------------------------------------------------------------------


def test_hints_are_taken_delivered_dropped_and_the_next_batch_taken_until_none_is_left(
    node: Node,
) -> None:
    first, second, third = hint("a"), hint("b"), hint("c")
    node.taking()
    assert node.events() == [Event("handoff.started", {"owner": "n2", "hints": 3, "bytes": 300})]
    assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes))]
    for batch in ((first, second), (third,)):
        node.told(TakeHintsReply("n2", batch))
        [(to, deliver)] = node.sent()
        assert (to, deliver.hints) == (Peer("n2", STORAGE), batch)
        node.told(DeliverHintsReply(deliver.request, (OK,) * len(batch)), Peer("n2", STORAGE))
        assert node.sent() == [(HOME, DropHints("n2", drop_of(*batch)))]
        node.seconds += 0.5
        node.told(DropHintsReply("n2", len(batch), 0))
        assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes))]
    node.told(TakeHintsReply("n2", ()))
    assert node.sent() == []
    assert node.events() == [
        Event("handoff.finished", {"owner": "n2", "hints": 3, "took_s": pytest.approx(1.0)})
    ]


def test_superseded_is_as_good_as_ok(node: Node) -> None:
    old, fresh = hint("a"), hint("b")
    request = node.delivering(old, fresh).request
    node.told(DeliverHintsReply(request, (SUPERSEDED, OK)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", drop_of(old, fresh)))]


def test_several_owners_are_served_at_once_with_one_batch_in_flight_each(node: Node) -> None:
    node.taking("n2", "n3")
    assert [message.owner for _, message in node.sent()] == ["n2", "n3"]
    node.told(CountHintsReply((("n2", 9, 900, START_US), ("n3", 9, 900, START_US))))
    assert node.sent() == []
    node.told(TakeHintsReply("n3", (hint("c"),)))
    node.told(TakeHintsReply("n2", (hint("a"),)))
    assert [to.node for to, _ in node.sent() if isinstance(to, Peer)] == ["n3", "n2"]


def test_hints_for_the_node_itself_go_to_its_own_storage(node: Node) -> None:
    node.member("n1", MemberStatus.SUSPECT)
    node.told(LinkLost("n1"))
    node.told(CountHintsReply((("n1", 1, 100, START_US),)))
    assert node.sent() == [(HOME, TakeHints("n1", SETTINGS.batch_bytes))]
    node.told(TakeHintsReply("n1", (hint("a"),)))
    [(to, deliver)] = node.sent()
    assert to == HOME
    node.told(DeliverHintsReply(deliver.request, (OK,)), HOME)
    assert node.sent() == [(HOME, DropHints("n1", drop_of(hint("a"))))]


@pytest.mark.parametrize("status", [MemberStatus.SUSPECT, MemberStatus.DEAD, MemberStatus.LEFT])
def test_an_owner_that_is_not_alive_is_waited_for(node: Node, status: MemberStatus) -> None:
    node.with_owner()
    node.member("n2", status)
    node.told(CountHintsReply((("n2", 3, 300, START_US),)))
    assert node.sent() == []


def test_an_owner_without_a_link_is_waited_for(node: Node) -> None:
    node.member("n2", MemberStatus.ALIVE)
    node.told(CountHintsReply((("n2", 3, 300, START_US),)))
    assert node.sent() == []


def test_an_owner_with_no_hints_is_left_alone(node: Node) -> None:
    node.with_owner()
    node.told(CountHintsReply((("n2", 0, 0, START_US),)))
    assert node.sent() == []


# --- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [REFUSED, INTERNAL])
def test_a_batch_refused_whole_stays_and_is_tried_again_only_after_retry_s(
    node: Node, status: int
) -> None:
    request = node.delivering(hint("a"), hint("b")).request
    node.events()
    node.told(DeliverHintsReply(request, (status, status)), Peer("n2", STORAGE))
    assert node.sent() == []
    assert node.events() == [
        Event("handoff.paused", {"owner": "n2", "hints": 0, "cause": "n2 refused 2 hints"})
    ]
    node.told(CountHintsReply((("n2", 2, 200, START_US),)))
    assert node.sent() == []
    node.wait(SETTINGS.retry_s)
    node.sent()
    node.told(CountHintsReply((("n2", 2, 200, START_US),)))
    [(to, take)] = node.sent()
    assert (to, take.owner, take.bytes_max) == (HOME, "n2", SETTINGS.batch_bytes)


def test_hints_that_an_owner_never_takes_hold_up_none_behind_them(node: Node) -> None:
    """The next delivery begins behind those refused, and comes back to them at the end."""
    refused, taken, behind = hint("a"), hint("b"), hint("c")
    request = node.delivering(refused, taken).request
    node.told(DeliverHintsReply(request, (INTERNAL, OK)), Peer("n2", STORAGE))
    node.told(DropHintsReply("n2", 1, 2))

    assert retries_until_taken(node) == 1
    assert node.taken == [(HOME, TakeHints("n2", SETTINGS.batch_bytes, refused[0]))]
    node.told(TakeHintsReply("n2", (behind,)))
    [(_, deliver)] = node.sent()
    node.told(DeliverHintsReply(deliver.request, (OK,)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", drop_of(behind)))]
    node.told(DropHintsReply("n2", 1, 1))
    assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes, refused[0]))]
    node.told(TakeHintsReply("n2", ()))
    assert node.sent() == [(HOME, TakeHints("n2", SETTINGS.batch_bytes))]


@pytest.mark.parametrize("trouble", [SendFailed, LinkLost, None], ids=["unsent", "lost", "silent"])
def test_a_batch_that_cannot_be_delivered_holds_up_none_behind_it(node: Node, trouble: Any) -> None:
    large = hint("large")
    message = node.delivering(large)
    if trouble is SendFailed:
        node.told(SendFailed("n2", STORAGE, message, False))
    elif trouble is LinkLost:
        node.told(LinkLost("n2"))
        node.told(LinkUp("n2"))
    else:
        nobody_answers(node)

    retries_until_taken(node)

    assert node.taken == [(HOME, TakeHints("n2", SETTINGS.batch_bytes, large[0]))]


def test_a_link_that_is_lost_over_each_batch_is_tried_ever_more_rarely_and_told_once(
    node: Node,
) -> None:
    """Such as over a batch that the other side will not take: it comes back within 0.1 s."""
    node.with_owner()
    end, tried = node.seconds + 100, []
    while node.seconds < end:
        node.told(CountHintsReply((("n2", 1, 100, START_US),)))
        if node.sent():
            tried.append(node.seconds)
            node.told(TakeHintsReply("n2", (hint("a"),)))
            node.told(LinkLost("n2"))
            node.told(LinkUp("n2"))
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
    node.told(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))

    assert node.sent() == [(HOME, DropHints("n2", drop_of((digest, record))))]


def test_an_owner_that_takes_nothing_is_tried_half_as_often_each_time_until_it_does(
    node: Node,
) -> None:
    pauses = []
    for _ in range(7):
        request = node.delivering(hint("a")).request
        node.told(DeliverHintsReply(request, (REFUSED,)), Peer("n2", STORAGE))
        pauses.append(retries_until_taken(node))
    for pause, doubled in zip(pauses, (1, 2, 4, 8, 16, 16, 16), strict=True):
        assert doubled * 0.8 <= pause <= doubled * 1.2 + 1
    assert [event.name for event in node.events()] == ["handoff.started", "handoff.paused"]

    request = node.delivering(hint("a"), hint("b")).request
    node.told(DeliverHintsReply(request, (REFUSED, OK)), Peer("n2", STORAGE))
    node.told(DropHintsReply("n2", 1, 1))
    assert retries_until_taken(node) == 1
    assert node.names() == ["handoff.started", "handoff.paused"], "it got on again"


def retries_until_taken(node: Node) -> int:
    """After how many ``retry_s`` hints for n2 are asked for again."""
    node.sent()
    for times in range(1, 100):
        node.wait(SETTINGS.retry_s)
        node.sent()
        node.told(CountHintsReply((("n2", 1, 100, START_US),)))
        node.taken = node.sent()
        if node.taken:
            return times
    raise AssertionError("never")


def test_of_a_batch_refused_in_part_the_rest_is_dropped_before_the_pause(node: Node) -> None:
    refused, taken = hint("a"), hint("b")
    request = node.delivering(refused, taken).request
    node.events()
    node.told(DeliverHintsReply(request, (REFUSED, OK)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", drop_of(taken)))]
    assert node.events() == []
    node.told(DropHintsReply("n2", 1, 1))
    assert node.sent() == []
    assert node.events() == [
        Event("handoff.paused", {"owner": "n2", "hints": 1, "cause": "n2 refused 1 hints"})
    ]


def test_a_reply_with_too_few_statuses_vouches_for_no_more_than_it_names(node: Node) -> None:
    first, second = hint("a"), hint("b")
    request = node.delivering(first, second).request
    node.told(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))
    assert node.sent() == [(HOME, DropHints("n2", drop_of(first)))]


# --- what goes wrong on the way ---------------------------------------------------------


def owner_is_suspected(node: Node) -> None:
    node.member("n2", MemberStatus.SUSPECT)


def link_is_lost(node: Node) -> None:
    node.told(LinkLost("n2"))


def nobody_answers(node: Node) -> None:
    node.wait(SETTINGS.reply_timeout_s)


@pytest.mark.parametrize("trouble", [owner_is_suspected, link_is_lost, nobody_answers])
@pytest.mark.parametrize("step", ["taking", "delivering", "dropping"])
def test_trouble_at_any_step_pauses_and_drops_nothing(node: Node, step: str, trouble: Any) -> None:
    if step == "taking":
        node.taking()
    else:
        getattr(node, step)(hint("a"))
    node.sent()
    node.events()
    trouble(node)
    assert node.names() == ["handoff.paused"]
    assert node.sent() == []
    node.told(TakeHintsReply("n2", (hint("a"),)))
    node.told(DropHintsReply("n2", 1, 0))
    assert node.sent() == []


def test_the_pause_says_whose_answer_did_not_come(node: Node) -> None:
    node.delivering(hint("a"))
    node.events()
    nobody_answers(node)
    [event] = node.events()
    assert event.fields["cause"] == "storage of n2 did not answer in time"


def test_an_owner_that_comes_back_is_served_at_once(node: Node) -> None:
    node.delivering(hint("a"))
    link_is_lost(node)
    node.told(LinkUp("n2"))
    assert node.counts() == 1
    node.told(CountHintsReply((("n2", 1, 100, START_US),)))
    assert [type(message) for _, message in node.sent()] == [TakeHints]


@pytest.mark.parametrize("overloaded", [False, True])
def test_a_batch_that_cannot_be_sent_pauses(node: Node, overloaded: bool) -> None:
    message = node.delivering(hint("a"))
    node.events()
    node.told(SendFailed("n2", STORAGE, message, overloaded))
    [event] = node.events()
    assert event.name == "handoff.paused"
    assert event.fields["cause"] == ("n2 is overloaded" if overloaded else "n2 is unreachable")


def test_requests_to_storage_that_cannot_be_sent_pause(node: Node) -> None:
    node.taking()
    node.told(SendFailed("n1", STORAGE, TakeHints("n2", 1), True))
    assert node.names() == ["handoff.started", "handoff.paused"]
    node.told(LinkLost("n2"))
    message = node.dropping(hint("a"))
    node.events()
    node.told(SendFailed("n1", STORAGE, message, True))
    assert node.names() == ["handoff.paused"]


def test_sends_that_failed_and_matter_no_more_are_ignored(node: Node) -> None:
    message = node.delivering(hint("a"))
    node.events()
    node.told(SendFailed("n1", STORAGE, CountHints(), True))
    node.told(SendFailed("n1", STORAGE, TakeHints("n2", 1), True))
    node.told(SendFailed("n1", STORAGE, DropHints("n2", ()), True))
    old = DeliverHints(message.request - 1, message.hints)
    node.told(SendFailed("n2", STORAGE, old, False))
    assert node.names() == []


# --- late, doubled and foreign replies --------------------------------------------------


def test_only_the_owners_own_reply_to_this_batch_drops_its_hints(node: Node) -> None:
    request = node.delivering(hint("a")).request
    node.told(DeliverHintsReply(request - 1, (OK,)), Peer("n2", STORAGE))
    node.told(DeliverHintsReply(request, (OK,)), Peer("n3", STORAGE))
    assert node.sent() == []


def test_doubled_replies_do_nothing_the_second_time(node: Node) -> None:
    request = node.delivering(hint("a")).request
    node.told(TakeHintsReply("n2", (hint("a"),)))
    assert node.sent() == []
    for _ in range(2):
        node.told(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))
    assert len(node.sent()) == 1
    for _ in range(2):
        node.told(DropHintsReply("n2", 1, 0))
    assert len(node.sent()) == 1


def test_a_fresh_machine_does_not_take_its_predecessors_replies_for_its_own() -> None:
    requests = {Node().delivering(hint("a")).request}
    for seed in range(2, 10):
        node = Node()
        node.machine = Handoff(
            node="n1", settings=SETTINGS, outbox=node.out, chance=random.Random(seed)
        )
        requests.add(node.delivering(hint("a")).request)
    assert len(requests) == 9
    assert max(requests) < 2**63


# --- time -------------------------------------------------------------------------------


def test_a_deadline_served_very_late_accuses_nobody(node: Node) -> None:
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
        node.told(CountHintsReply((*old, ("n4", 1, 100, node.wall_us))))
        return [event.fields["owner"] for event in node.events()]

    assert count() == []
    node.wall_us += HOUR_US
    assert count() == ["n2", "n3"]
    node.seconds += SETTINGS.age_warn_s - 1
    assert count() == []
    node.seconds += 1
    node.wall_us += HOUR_US
    node.told(CountHintsReply((("n2", 3, 300, START_US),)))
    assert node.events() == [
        Event("hint.aged", {"owner": "n2", "hints": 3, "bytes": 300, "age_s": 7200.0})
    ]


def test_leave_ends_it_all(node: Node) -> None:
    request = node.delivering(hint("a")).request
    node.events()
    node.told(Leave())
    assert node.names() == ["handoff.paused"]
    assert node.machine.next_deadline() is None
    node.told(DeliverHintsReply(request, (OK,)), Peer("n2", STORAGE))
    node.told(CountHintsReply((("n2", 1, 100, START_US),)))
    node.machine.on_deadline(node.now)
    assert node.out.sends == {}


# --- everything that can be lost is -----------------------------------------------------


class Disk:
    """The storage machine of one node, and what it answers."""

    def __init__(self, node: str) -> None:
        self.store = MemoryEngine()
        self.out = Outbox()
        self.machine = Storage(
            store=self.store,
            node=node,
            hint_bytes_max=1 << 20,
            outbox=self.out,
            chance=random.Random(1),
        )

    def ask(self, message: Any, now: Now) -> Any:
        asker = Peer("n1", "handoff")
        self.machine.receive(message, asker, now)
        [answer] = self.out.sends.pop(asker)
        return answer

    def stamp(self, digest: bytes) -> bytes:
        """Of the record that it has as its own; b"" if it has none."""
        record = self.store.get(RECORD + digest)
        return b"" if record is None else stamp_of(record)


class Weather:
    """A holder and an owner, a network that loses, doubles and delays, and an owner that dies."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.node = Node()
        self.node.machine = Handoff(
            node="n1",
            settings=HandoffSettings(batch_bytes=200, reply_timeout_s=1.0, retry_s=0.5),
            outbox=self.node.out,
            chance=self.chance,
        )
        self.home, self.owner = Disk("n1"), Disk("n2")
        self.owner_up = False
        self.rough = True
        self.tried: dict[bytes, bytes] = {}
        """The highest stamp that was ever hinted, by digest."""
        self.wire: list[tuple[Address, Any]] = []
        """Receiver and message, on their way; whoever is no storage is the machine."""
        self.late: list[tuple[Address, Any]] = []
        """Doubles that come when nobody expects them any more."""

    def run(self, steps: int) -> None:
        """Time passes, and some of what is on its way arrives, in any order."""
        for _ in range(steps):
            if self.rough:
                self.change()
            self.node.wait(self.chance.uniform(0, 0.4))
            self.collect()
            if self.late and self.chance.random() < 0.3:
                self.wire.append(self.late.pop(self.chance.randrange(len(self.late))))
            self.chance.shuffle(self.wire)
            some = self.chance.randint(0, len(self.wire)) if self.rough else len(self.wire)
            arriving, self.wire = self.wire[:some], self.wire[some:]
            for receiver, message in arriving:
                self.arrive(receiver, message)

    def change(self) -> None:
        """The owner dies or revives, and writes reach it or, as hints, its holder."""
        if self.chance.random() < 0.05:
            self.set_owner(not self.owner_up)
        digest, record = hint(f"key{self.chance.randrange(20)}", self.chance.randrange(1, 1000))
        if self.owner_up and self.chance.random() < 0.1:
            self.owner.ask(WriteReplica(1, digest, record, None), self.node.now)
        elif self.chance.random() < 0.3:
            self.home.ask(WriteReplica(1, digest, record, "n2"), self.node.now)
            self.tried[digest] = max(self.tried.get(digest, b""), stamp_of(record))

    def set_owner(self, up: bool) -> None:
        """The two signs of life come in any order, and while it is rough not always both."""
        self.owner_up = up
        link: Any = LinkUp("n2") if up else LinkLost("n2")
        status = MemberStatus.ALIVE if up else MemberStatus.DEAD
        signs = [link, MembersChanged(True, (MemberState("n2", int(status), 1, ""),))]
        self.chance.shuffle(signs)
        for sign in signs:
            if not self.rough or self.chance.random() < 0.8:
                self.node.told(sign)

    def collect(self) -> None:
        for to, queue in self.node.out.sends.items():
            for message in queue:
                self.post(to, message)
        self.node.out.sends.clear()

    def post(self, receiver: Address, message: Any) -> None:
        copies = self.chance.choice([0, 1, 1, 1, 1, 1, 1, 2]) if self.rough else 1
        self.wire += [(receiver, message)] * copies
        if self.rough and self.chance.random() < 0.3:
            self.late.append((receiver, message))

    def arrive(self, receiver: Address, message: Any) -> None:
        """Storages answer with the address they answer from; the rest is the machine's."""
        match message:
            case DeliverHints():
                if self.owner_up:
                    self.post(Peer("n2", "handoff"), self.delivered(message))
            case CountHints() | TakeHints() | DropHints():
                if isinstance(message, DropHints):
                    self.check_that_the_owner_holds(message)
                self.post(Peer("n1", "handoff"), self.home.ask(message, self.node.now))
            case _:
                assert isinstance(receiver, Peer)
                self.node.told(message, Peer(receiver.node, STORAGE))
                self.collect()

    def delivered(self, message: DeliverHints) -> DeliverHintsReply:
        """What the owner says; in rough weather it has no room for some."""
        refused = {
            digest for digest, _ in message.hints if self.rough and self.chance.random() < 0.1
        }
        taken = tuple(one for one in message.hints if one[0] not in refused)
        said = iter(self.owner.ask(DeliverHints(0, taken), self.node.now).statuses)
        statuses = tuple(
            REFUSED if digest in refused else next(said) for digest, _ in message.hints
        )
        return DeliverHintsReply(message.request, statuses)

    def check_that_the_owner_holds(self, message: DropHints) -> None:
        for digest, stamp in message.delivered:
            assert self.owner.stamp(digest) >= stamp, "to be dropped, but the owner has it not"


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_lost_every_hint_arrives_and_none_is_dropped_before(seed: int) -> None:
    weather = Weather(seed)
    weather.run(300)
    assert weather.tried
    weather.rough = False
    weather.set_owner(False)
    weather.set_owner(True)
    weather.run(200)
    assert weather.home.ask(CountHints(), weather.node.now).counts == ()
    for digest, stamp in weather.tried.items():
        assert weather.owner.stamp(digest) >= stamp
