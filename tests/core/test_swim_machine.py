"""SWIM as one machine: what it sends and logs for each message and deadline."""

import pytest
from lone_swim import Alone, swim
from swim_network import ALIVE, DEAD, SUSPECT

from toystore.core.membership.members import INCARNATION_MAX, MemberList, Members
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    CompareSettings,
    DescribeNode,
    DescribeNodeReply,
    Exchange,
    ExchangeReply,
    Gossip,
    MemberState,
    Ping,
    PingReq,
)
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)


def test_it_wants_to_be_called_at_once():
    assert swim("n1", ["n1"]).next_deadline() == 0.0


def test_storage_is_asked_until_it_answers():
    outbox = Outbox()
    machine = swim("n1", ["n1", "n2"], outbox=outbox)
    for at in (10.0, 10.5, 11.0):
        machine.on_deadline(Now(at, 0))
    assert len(outbox.sends[Peer("n1", "storage")]) == 3
    machine.receive(Ping(1, ()), Peer("n2", GOSSIP), Now(11.1, 0))
    assert Peer("n2", GOSSIP) not in outbox.sends


def test_a_ping_is_acked_and_an_ack_that_another_asked_for_is_relayed():
    alone = Alone()
    alone.receive(Ping(42, ()), "n2")
    [(to, ack)] = alone.take(Ack)
    assert (to, ack.sequence, ack.target) == ("n2", 42, "n1")
    alone.receive(PingReq(43, "n3", ()), "n2")
    [(to, ping)] = alone.take(Ping)
    assert to == "n3"
    alone.receive(Ack(ping.sequence, "n4", ()), "n4")
    assert alone.take(Ack) == []
    alone.receive(Ack(ping.sequence, "n3", ()), "n3")
    [(to, ack)] = alone.take(Ack)
    assert (to, ack.sequence, ack.target) == ("n2", 43, "n3")


def test_only_an_ack_of_the_running_probe_is_evidence():
    alone = Alone()
    alone.receive(LinkLost("n3"))
    [(to, ping)] = alone.take(Ping)
    assert to == "n3"
    alone.receive(Ack(ping.sequence - 1, "n3", ()), "n3")
    alone.receive(Ack(ping.sequence, "n4", ()), "n4")
    alone.pass_to(alone.at + 0.31)
    assert len(alone.take(PingReq)) == 3
    alone.receive(Ack(ping.sequence, "n3", ()), "n2")
    alone.pass_to(alone.at + 0.31)
    alone.take()
    assert not [event for event in alone.events if event.name == "member.suspect"]


def test_a_lost_link_is_probed_once_however_often_it_is_reported():
    alone = Alone()
    alone.receive(LinkLost("n3"))
    alone.receive(LinkLost("n3"))
    [(to, ping), again] = alone.take(Ping)
    assert to == "n3"
    assert again == ("n3", ping)


def test_a_ping_that_could_not_be_sent_has_others_asked_at_once():
    alone = Alone()
    alone.receive(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.receive(SendFailed("n3", GOSSIP, ping, True))
    assert alone.take(PingReq) == []
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    asked = alone.take(PingReq)
    assert len({to for to, _ in asked}) == len(asked) == 3
    alone.pass_to(alone.at + 0.31)
    alone.take()
    [suspect] = [event for event in alone.events if event.name == "member.suspect"]
    assert suspect.fields["cause"] == "lost link"


def test_every_message_to_a_suspected_member_carries_the_suspicion():
    alone = Alone()
    suspicion = MemberState("n3", SUSPECT, 0, "d-n3")
    alone.receive(Gossip((suspicion,)), "n2")
    for sequence in range(10):
        alone.receive(Ping(sequence, ()), "n3")
    assert all(ack.updates[0] == suspicion for _, ack in alone.take(Ack))


@pytest.mark.parametrize("status", [None, SUSPECT, DEAD])
def test_a_link_to_a_suspected_dead_or_unknown_member_is_used_for_an_exchange(status):
    alone = Alone()
    if status is None:
        alone = Alone(others=0)
        alone.machine._members = Members(MemberList(["n1", "n3"]))
        alone.machine._members.put(MemberState("n1", ALIVE, 0, "d1"))
    else:
        alone.receive(Gossip((MemberState("n3", status, 0, ""),)), "n2")
    alone.receive(LinkUp("n3"))
    assert [to for to, _ in alone.take(Exchange)] == ["n3"]


def test_a_link_to_a_living_member_starts_no_exchange():
    alone = Alone()
    alone.receive(LinkUp("n3"))
    assert [type(message) for _, message in alone.take()] == [CompareSettings, DescribeNode]


def test_an_exchange_is_answered_with_what_was_known_of_its_sender_before():
    outbox = Outbox()
    machine = swim("n1", ["n1", "n2"], outbox=outbox)
    machine.on_deadline(Now(1.0, 0))
    known = LoadDisksReply("d1", True, False, (("n2", "old"),))
    machine.receive(known, Peer("n1", "storage"), Now(1.0, 0))
    n2 = Peer("n2", GOSSIP)
    machine.receive(LinkUp("n2"), n2, Now(1.0, 0))
    [asked] = [one for one in outbox.sends[n2] if type(one) is DescribeNode]
    machine.receive(DescribeNodeReply(asked.request, "n2", "run", "new"), n2, Now(1.0, 0))
    for expected in (MemberState("n2", ALIVE, 0, "old"), MemberState("n2", ALIVE, 0, "new")):
        outbox.clear()
        own = MemberState("n2", ALIVE, 0, "new")
        machine.receive(Exchange(1, (own,), "run"), n2, Now(1.0, 0))
        [reply] = outbox.sends[Peer("n2", GOSSIP)]
        assert reply.members == (MemberState("n1", ALIVE, 0, "d1"), expected)


def test_a_member_that_repeats_a_refuted_suspicion_is_sent_the_refutation():
    alone = Alone()
    refuted = MemberState("n3", ALIVE, 1, "d-n3")
    alone.receive(Gossip((refuted,)), "n3")
    for sequence in range(10):
        alone.receive(Ping(sequence, ()), "n2")
    alone.take()
    alone.receive(Ping(10, (MemberState("n3", SUSPECT, 0, "d-n3"),)), "n2")
    assert alone.take(Ack) == [("n2", Ack(10, "n1", (refuted,)))]


def test_a_new_run_takes_the_incarnation_that_the_earlier_one_had_reached():
    alone = Alone()
    alone.receive(Gossip((MemberState("n1", ALIVE, 6, "d1"),)), "n2")
    [*_, (_, news)] = alone.take(MembersChanged)
    assert news.members[0] == MemberState("n1", ALIVE, 6, "d1")
    assert not [event for event in alone.events if event.name == "member.refuted"]


def test_after_a_stall_a_suspected_member_has_a_whole_period_to_refute():
    def suspecting():
        alone = Alone(others=1)
        alone.receive(Gossip((MemberState("n2", SUSPECT, 0, ""),)), "n2")
        return alone

    def until_dead(alone):
        while not any(event.name == "member.dead" for event in alone.outbox.events):
            alone.next()
        return alone.at

    died_at = until_dead(suspecting())
    alone = suspecting()
    while alone.machine.next_deadline() < died_at:
        alone.next()
    alone.pass_to(died_at + 20)
    assert until_dead(alone) >= died_at + 20 + 1.0


def test_the_dead_of_an_exchange_are_only_suspects_and_may_refute():
    alone = Alone()
    alone.receive(ExchangeReply(1, (MemberState("n3", DEAD, 0, ""),), "run of n1"), "n2")
    [*_, (_, news)] = alone.take(MembersChanged)
    assert {state.name: state.status for state in news.members}["n3"] == SUSPECT


@pytest.mark.parametrize(
    "garbage",
    [
        MemberState("n99", ALIVE, 0, ""),
        MemberState("", ALIVE, 0, ""),
        MemberState("n3", 4, 1, ""),
        MemberState("n3", -1, 1, ""),
        MemberState("n3", DEAD, -1, ""),
        MemberState("n1", DEAD, INCARNATION_MAX + 1, ""),
    ],
)
@pytest.mark.parametrize(
    "carry", [Gossip, lambda u: Exchange(1, u, "run"), lambda u: Ack(1, "n2", u)]
)
def test_garbage_in_an_update_changes_nothing(garbage, carry):
    alone = Alone()
    alone.receive(carry((garbage,)), "n2")
    assert alone.take(MembersChanged) == []


def test_messages_of_nodes_that_are_not_listed_are_ignored():
    alone = Alone()
    for message in (Ping(1, ()), Exchange(1, (), "run"), Gossip((MemberState("n3", DEAD, 0, ""),))):
        alone.receive(message, "n99")
    alone.receive(PingReq(1, "n99", ()), "n2")
    alone.receive(LinkUp("n99"))
    alone.receive(LinkLost("n99"))
    assert alone.take() == []


def test_many_changes_in_one_message_are_announced_once_to_each_actor():
    alone = Alone()
    alone.receive(Gossip(tuple(MemberState(f"n{i}", SUSPECT, 0, "") for i in (2, 3, 4))), "n5")
    assert [news.joined for _, news in alone.take(MembersChanged)] == [True, True, True, True]
    alone.receive(Gossip((MemberState("n2", SUSPECT, 0, ""),)), "n5")
    assert alone.take(MembersChanged) == []


def test_a_node_that_leaves_before_it_knows_its_disk_sends_nothing():
    outbox = Outbox()
    machine = swim("n1", ["n1", "n2"], outbox=outbox)
    machine.on_deadline(Now(10.0, 0))
    machine.receive(Leave(), Peer("n1", GOSSIP), Now(10.1, 0))
    outbox.clear()
    machine.receive(LoadDisksReply("d1", True, False, ()), Peer("n1", STORAGE), Now(10.2, 0))
    assert not outbox.sends
    assert machine.next_deadline() is None


def test_a_refutation_ends_the_probe_that_was_under_way():
    alone = Alone(others=1)
    alone.receive(Gossip((MemberState("n2", SUSPECT, 0, "d-n2"),)), "n2")
    alone.take()
    while not alone.take(Ping):
        alone.next()
    alone.receive(Gossip((MemberState("n2", ALIVE, 1, "d-n2"),)), "n2")
    alone.take()
    end = alone.at + 1.2
    while alone.machine.next_deadline() < end:
        alone.next()
    alone.take()

    assert not [event for event in alone.events if event.name == "member.suspect"]


def test_a_member_whose_link_is_lost_again_has_no_more_time_to_be_linked():
    alone = Alone()
    alone.receive(Gossip((MemberState("n3", DEAD, 0, "d-n3"),)), "n2")
    alone.receive(Gossip((MemberState("n3", ALIVE, 1, "d-n3"),)), "n3")
    alone.receive(LinkUp("n3"))
    alone.receive(LinkLost("n3"))
    lost_at = alone.at
    while not any(event.name == "member.suspect" for event in alone.outbox.events):
        alone.next()
    assert alone.at <= lost_at + 0.61


def test_a_ping_that_could_not_be_sent_is_sent_when_the_link_is_up():
    alone = Alone()
    alone.receive(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    alone.take()
    alone.receive(LinkUp("n3"))
    [(to, again)] = alone.take(Ping)
    assert (to, again.sequence) == ("n3", ping.sequence)
    alone.receive(Ack(ping.sequence, "n3", ()), "n3")
    alone.receive(LinkUp("n3"))
    assert alone.take(Ping) == []


def test_a_ping_for_another_that_could_not_be_sent_is_sent_when_the_link_is_up():
    alone = Alone()
    alone.receive(PingReq(43, "n3", ()), "n2")
    [(_, ping)] = alone.take(Ping)
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    assert alone.take() == []
    alone.receive(LinkUp("n3"))
    [(to, again)] = alone.take(Ping)
    assert (to, again.sequence) == ("n3", ping.sequence)


@pytest.mark.parametrize(("late_s", "acks"), [(0.5, [42]), (5, [])])
def test_an_ack_that_could_not_be_sent_is_sent_when_the_link_is_up_if_it_is_waited_for(
    late_s, acks
):
    alone = Alone()
    alone.receive(Ping(42, ()), "n3")
    [(_, ack)] = alone.take(Ack)
    alone.receive(SendFailed("n3", GOSSIP, ack, False))
    alone.at += late_s
    for _ in range(2):
        alone.receive(LinkUp("n3"))
    assert [(to, again.sequence) for to, again in alone.take(Ack)] == [("n3", s) for s in acks]


@pytest.mark.parametrize("there", [None, True, b"1.0", 1.0, 1, "x" * 2000, (1,), {}])
def test_what_is_the_same_or_no_setting_at_all_makes_no_difference(there):
    alone = Alone()
    alone.receive(CompareSettings({"swim.probe_period_s": there, "strange": 5}), "n3")
    assert alone.take() == []
    assert not [event for event in alone.events if event.name == "settings.differ"]


def test_another_value_is_logged_and_so_is_one_that_comes_back():
    alone = Alone()
    for there in (0.5, 0.5, float("nan"), float("nan"), 1.0, 0.5):
        alone.receive(CompareSettings({"swim.probe_period_s": there}), "n3")
    alone.take()
    found = [event for event in alone.events if event.name == "settings.differ"]
    assert [repr(event.fields["there"]) for event in found] == ["0.5", "nan", "0.5"]


def test_the_settings_of_a_node_that_is_not_listed_are_ignored():
    alone = Alone()
    alone.receive(CompareSettings({"swim.probe_period_s": 0.5}), "n99")
    alone.take()
    assert not alone.events
