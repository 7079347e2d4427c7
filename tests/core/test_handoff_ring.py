"""Hand-off while ranges move, owners are removed, and this node leaves."""

from __future__ import annotations

import itertools
from typing import Any

from handoff_scene import HOME, INTERNAL, OK, REFUSED, START_US, SUPERSEDED, Node, hint, stamps_of

from toystore.core.handoff.batch import Batch, Way
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.messages.codes import MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.hints import (
    CountHintsReply,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    DropHintsReply,
    TakeHints,
    TakeHintsReply,
)
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged, SendFailed
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.ring.view import RingView, Slot

MOVED = int(ReplicaStatus.MOVED)
N = 3


def listed(*names: str) -> tuple[Listed, ...]:
    return tuple(Listed(name, name, f"d-{name}", 1, "", "", ()) for name in names)


FIRST = founding("toys", 8, listed("n1", "n2", "n3", "n4", "n5"))


def moving(*members: str, lost: tuple[str, ...] = ()) -> RingRecord:
    changes = {"members": listed(*members), "old": FIRST.members, "lost": lost}
    return FIRST.next(FIRST.digest, **changes)


def stable(*members: str) -> RingRecord:
    return FIRST.next(FIRST.digest, members=listed(*members))


JOIN = moving("n1", "n2", "n3", "n4", "n5", "n6")
LEAVE = moving("n2", "n3", "n4", "n5")
"""n1, which is the node of `Node`, leaves."""


def slots(record: RingRecord, digest: bytes) -> tuple[Slot, ...]:
    view = RingView(record, N)
    return view.slots(view.partition_of(digest), N)


def a_hint(record: RingRecord, wanted: Any) -> tuple[tuple[bytes, bytes], Slot]:
    """A hint of a range with a slot of the wanted kind, and that slot."""
    for number in itertools.count():
        one = hint(f"key{number}")
        found = [slot for slot in slots(record, one[0]) if wanted(slot)]
        if found:
            return one, found[0]
    raise AssertionError


def owners(record: RingRecord, digest: bytes) -> set[str]:
    return {node for slot in slots(record, digest) for node in slot.nodes}


def follow(node: Node, record: RingRecord, *reachable: str) -> None:
    node.receive(RingChanged(record.packed))
    for name in reachable:
        node.with_owner(name)
    node.sent()
    node.events()


def begin(node: Node, owner: str, *hints: tuple[bytes, bytes]) -> dict[str, DeliverHints]:
    """A delivery of these hints: what is sent to each node."""
    node.receive(CountHintsReply(((owner, len(hints), 100, START_US),)))
    [(to, take)] = node.sent()
    assert (to, take.owner) == (HOME, owner)
    node.receive(TakeHintsReply(owner, hints))
    return sent(node)


def sent(node: Node) -> dict[str, DeliverHints]:
    return {to.node: message for to, message in node.sent() if isinstance(to, Peer)}


def answer(node: Node, name: str, message: DeliverHints, *statuses: int) -> None:
    node.receive(DeliverHintsReply(message.request, statuses), Peer(name, STORAGE))


# --- moving slots ---------------------------------------------------------------------------


def test_a_hint_for_an_owner_in_a_moving_slot_goes_to_both_nodes_of_it() -> None:
    node = Node()
    follow(node, JOIN, "n2", "n3", "n4", "n5", "n6")
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    assert slot.old
    deliveries = begin(node, slot.old, one)
    assert set(deliveries) == {slot.old, "n6"}
    answer(node, "n6", deliveries["n6"], OK)
    assert sent(node) == {}
    answer(node, slot.old, deliveries[slot.old], SUPERSEDED)
    assert node.sent() == [(HOME, DropHints(slot.old, stamps_of(one)))]


def test_a_hint_for_the_new_owner_of_a_moving_slot_goes_to_both_nodes_of_it() -> None:
    node = Node()
    follow(node, JOIN, "n2", "n3", "n4", "n5", "n6")
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    assert set(begin(node, "n6", one)) == {slot.old, "n6"}


def test_a_hint_stays_if_one_node_of_the_slot_cannot_be_reached_and_goes_on_when_it_can() -> None:
    node = Node()
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    assert slot.old
    follow(node, JOIN, slot.old)
    deliveries = begin(node, slot.old, one)
    assert set(deliveries) == {slot.old}
    answer(node, slot.old, deliveries[slot.old], OK)
    assert node.sent() == []
    [paused] = [event for event in node.events() if event.name == "handoff.paused"]
    assert paused.fields["cause"] == "n6 cannot be reached"
    node.member("n6", MemberStatus.ALIVE)
    node.receive(LinkUp("n6"))
    assert node.counts() == 1
    node.receive(CountHintsReply(((slot.old, 1, 100, START_US),)))
    assert node.sent() == [(HOME, TakeHints(slot.old, 256 * 1024, one[0]))]


def test_of_a_batch_what_all_nodes_have_is_deleted_though_another_node_is_missing() -> None:
    node = Node()
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    owner = slot.old
    assert owner
    other, _ = a_hint(JOIN, lambda slot: slot == Slot(owner, owner))
    follow(node, JOIN, owner)
    deliveries = begin(node, owner, one, other)
    assert deliveries[owner].hints == (one, other)
    answer(node, owner, deliveries[owner], OK, OK)
    assert node.sent() == [(HOME, DropHints(owner, stamps_of(other)))]
    node.receive(DropHintsReply(owner, 1, 1))
    assert node.names()[-1] == "handoff.paused"


def test_what_all_nodes_have_is_deleted_though_another_node_does_not_answer() -> None:
    node = Node()
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    owner = slot.old
    assert owner
    other, _ = a_hint(JOIN, lambda slot: slot == Slot(owner, owner))
    follow(node, JOIN, owner, "n6")
    deliveries = begin(node, owner, one, other)
    answer(node, owner, deliveries[owner], OK, OK)
    node.wait(node.machine._deliveries[owner].deadline - node.seconds)
    assert (HOME, DropHints(owner, stamps_of(other))) in node.sent()


# --- MOVED ----------------------------------------------------------------------------------


def test_after_moved_a_hint_goes_to_all_owners_and_is_deleted_when_each_has_it() -> None:
    node = Node()
    follow(node, JOIN, "n2", "n3", "n4", "n5", "n6")
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    assert slot.old
    deliveries = begin(node, slot.old, one)
    answer(node, "n6", deliveries["n6"], OK)
    answer(node, slot.old, deliveries[slot.old], MOVED)
    others = sent(node)
    assert set(others) == owners(JOIN, one[0]) - {slot.old, "n6"}
    for name, message in others.items():
        assert sent(node) == {}
        answer(node, name, message, SUPERSEDED)
    assert node.sent() == [(HOME, DropHints(slot.old, stamps_of(one)))]


def test_moved_of_a_node_that_is_to_own_the_range_deletes_nothing() -> None:
    node = Node()
    follow(node, stable("n1", "n2", "n3", "n4", "n5"), "n2", "n3", "n4", "n5")
    one, _ = a_hint(FIRST, lambda slot: slot.new == "n2")
    answer(node, "n2", begin(node, "n2", one)["n2"], MOVED)
    for name, message in sent(node).items():
        answer(node, name, message, OK)
    assert node.sent() == []
    assert node.names()[-1] == "handoff.paused"


def test_a_hint_for_a_member_that_owns_the_range_no_more_goes_to_all_owners() -> None:
    node = Node()
    after = stable("n1", "n2", "n3", "n4", "n5", "n6")
    follow(node, after, "n2", "n3", "n4", "n5", "n6")
    one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
    assert slot.old
    answer(node, slot.old, begin(node, slot.old, one)[slot.old], MOVED)
    others = sent(node)
    assert set(others) == owners(after, one[0])
    for name, message in others.items():
        answer(node, name, message, OK)
    assert node.sent() == [(HOME, DropHints(slot.old, stamps_of(one)))]


# --- members that are gone ------------------------------------------------------------------


def test_hints_of_an_owner_that_is_gone_go_to_all_owners_of_their_ranges() -> None:
    node = Node()
    after = stable("n1", "n2", "n4", "n5")
    follow(node, after, "n2", "n4", "n5")
    one, _ = a_hint(FIRST, lambda slot: slot.new == "n3")
    deliveries = begin(node, "n3", one)
    assert set(deliveries) == owners(after, one[0])
    for name, message in deliveries.items():
        assert sent(node) == {}
        answer(node, name, message, OK)
    assert node.sent() == [(HOME, DropHints("n3", stamps_of(one)))]


def test_hints_of_a_lost_owner_go_to_the_nodes_that_take_its_place() -> None:
    node = Node()
    record = moving("n1", "n2", "n4", "n5", lost=("n3",))
    follow(node, record, "n2", "n4", "n5")
    one, slot = a_hint(FIRST, lambda slot: slot.new == "n3")
    deliveries = begin(node, "n3", one)
    assert set(deliveries) == owners(record, one[0])
    assert "n3" not in deliveries
    assert slot.old == "n3"


def test_a_hint_of_an_owner_that_is_gone_stays_until_each_owner_has_it() -> None:
    node = Node()
    after = stable("n1", "n2", "n4", "n5")
    follow(node, after, "n2", "n4", "n5")
    one, _ = a_hint(FIRST, lambda slot: slot.new == "n3")
    deliveries = begin(node, "n3", one)
    first, *others = deliveries
    answer(node, first, deliveries[first], REFUSED)
    for name in others:
        answer(node, name, deliveries[name], OK)
    assert node.sent() == []
    assert node.names()[-1] == "handoff.paused"


def test_the_ring_is_followed_in_the_middle_of_a_delivery() -> None:
    node = Node()
    follow(node, stable("n1", "n2", "n3", "n4", "n5"), "n2", "n3", "n4", "n5")
    one, _ = a_hint(FIRST, lambda slot: slot.new == "n3")
    deliveries = begin(node, "n3", one)
    node.receive(RingChanged(stable("n1", "n2", "n4", "n5").packed))
    assert node.counts() == 1
    answer(node, "n3", deliveries["n3"], OK)
    assert node.sent() == []
    assert set(begin(node, "n3", one)) <= {"n1", "n2", "n4", "n5"}


def test_a_member_that_gossip_has_dropped_is_not_alive() -> None:
    node = Node().with_owner("n3")
    node.receive(MembersChanged(True, (), ("n3",)))
    node.receive(CountHintsReply((("n3", 1, 100, START_US),)))
    assert node.sent() == []


# --- a node that leaves ---------------------------------------------------------------------


def test_a_node_that_leaves_has_another_member_keep_the_hints_of_an_absent_owner() -> None:
    node = Node()
    follow(node, LEAVE, "n3", "n4", "n5")
    one, _ = a_hint(LEAVE, lambda slot: slot == Slot("n2", "n2"))
    [(keeper, message)] = begin(node, "n2", one).items()
    assert keeper in ("n3", "n4", "n5")
    assert message == DeliverHints(message.request, (one,), "n2")
    answer(node, keeper, message, OK)
    assert node.sent() == [(HOME, DropHints("n2", stamps_of(one)))]


def test_a_node_that_leaves_delivers_to_the_owners_that_it_can_reach() -> None:
    node = Node()
    follow(node, LEAVE, "n2", "n3", "n4", "n5")
    one, _ = a_hint(LEAVE, lambda slot: slot == Slot("n2", "n2"))
    [(to, message)] = begin(node, "n2", one).items()
    assert (to, message.hint_owner) == ("n2", "")


def test_a_member_that_gives_the_range_to_another_can_keep_a_hint() -> None:
    record = moving("n2", "n3", "n4", "n5", "n6")
    one, slot = a_hint(record, lambda slot: slot.moves and slot.old in ("n2", "n3", "n4", "n5"))
    assert slot.old
    assert slot.new
    node = Node()
    follow(node, record, slot.old)
    node.receive(CountHintsReply(((slot.new, 1, 100, START_US),)))
    node.sent()
    node.receive(TakeHintsReply(slot.new, (one,)))
    ways = [(to, message.hint_owner) for to, message in node.sent()]
    assert ways == [(Peer(slot.old, STORAGE), slot.new), (Peer(slot.old, STORAGE), "")]


def test_a_keeper_without_room_is_not_the_end_of_a_hint() -> None:
    node = Node()
    follow(node, LEAVE, "n3", "n4", "n5")
    one, _ = a_hint(LEAVE, lambda slot: slot == Slot("n2", "n2"))
    [(keeper, message)] = begin(node, "n2", one).items()
    answer(node, keeper, message, REFUSED)
    assert node.sent() == []
    assert "n2" in node.machine._pauses._pauses


def test_a_node_that_stays_waits_for_an_absent_owner() -> None:
    node = Node()
    follow(node, JOIN, "n3", "n4", "n5", "n6")
    node.receive(CountHintsReply((("n2", 1, 100, START_US),)))
    assert node.sent() == []


# --- what may go wrong on the way -----------------------------------------------------------


def lost_link(node: Node, _message: DeliverHints) -> None:
    node.receive(LinkLost("n6"))


def suspected(node: Node, _message: DeliverHints) -> None:
    node.member("n6", MemberStatus.SUSPECT)


def not_sent(node: Node, message: DeliverHints) -> None:
    node.receive(SendFailed("n6", STORAGE, message, False))


def test_a_hint_stays_when_the_other_node_of_the_slot_is_lost_on_the_way() -> None:
    for failure in (lost_link, suspected, not_sent):
        node = Node()
        one, slot = a_hint(JOIN, lambda slot: slot.moves and "n1" not in slot)
        assert slot.old
        follow(node, JOIN, slot.old, "n6")
        deliveries = begin(node, slot.old, one)
        answer(node, slot.old, deliveries[slot.old], OK)
        failure(node, deliveries["n6"])
        assert node.sent() == []
        assert node.names()[-1] == "handoff.paused"
        answer(node, "n6", deliveries["n6"], OK)
        assert node.sent() == []


def test_an_answer_of_a_node_that_was_not_asked_is_ignored() -> None:
    node = Node()
    message = node.delivering(hint("a"))
    answer(node, "n3", message, OK)
    assert node.sent() == []
    answer(node, "n2", message, OK)
    assert len(node.sent()) == 1


# --- a batch --------------------------------------------------------------------------------


def test_a_hint_of_a_range_without_any_owner_is_never_safe() -> None:
    one = hint("a")
    record = moving("n1", "n2", "n3", "n4", "n5", lost=("n1", "n2", "n3", "n4", "n5"))
    batch = Batch("n3", [one], ring=RingView(record, N))
    assert not batch.ask(Way)
    assert not batch.take_safe()
    assert len(batch) == 1


def test_each_node_is_asked_once_for_each_hint() -> None:
    hints = [hint(f"key{number}") for number in range(20)]
    batch = Batch("n2", hints, ring=RingView(FIRST, N))
    [question] = batch.ask(lambda node, _: Way(node))
    assert question.hints == tuple(hints)
    batch.learn(question, [INTERNAL] * 20)
    assert not batch.ask(lambda node, _: Way(node))
    assert batch.waits_for == ["n2"]
