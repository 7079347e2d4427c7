"""Lifeguard: local health, nacks, confirmations; and lost links that all members have lost."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lone_swim import Alone
from swim_network import ALIVE, DEAD, SUSPECT, Network

from toystore.core.membership.deadlines import Deadlines
from toystore.core.membership.exchanges import exchange_period_s
from toystore.core.membership.flapping import FLAPS, FLAPS_WITHIN_S, Flapping
from toystore.core.membership.local_health import LocalHealth
from toystore.core.membership.members import ACCUSERS_MAX, MemberList, Members, merge
from toystore.core.membership.peers import LINKING_S
from toystore.core.membership.random_order import in_random_order
from toystore.core.membership.suspicion import suspicion_min_s, suspicion_s
from toystore.core.protocol.address import GOSSIP
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.gossip import (
    Ack,
    Exchange,
    Gossip,
    MemberState,
    Nack,
    Ping,
    PingReq,
)
from toystore.core.protocol.messages.local import (
    LinkLost,
    LinkRefused,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.settings import SwimSettings

SETTINGS = SwimSettings()


def suspicion(*accusers, incarnation=0, name="n3"):
    return MemberState(name, SUSPECT, incarnation, "", accusers)


def events_of(alone, name):
    alone.take()
    return [event for event in alone.events if event.name == name]


def until(alone, name, *, answered=False, limit_s=60.0):
    """Let time pass until an event is logged; how long it took.

    ``answered``: each ping of this node is, so it suspects no member by its own evidence.
    """
    began = alone.at
    while not events_of(alone, name):
        assert alone.machine.next_deadline() < began + limit_s, f"no {name}"
        alone.next()
        logged = list(alone.outbox.events)
        for to, ping in alone.take(Ping) if answered else ():
            alone.receive(Ack(ping.sequence, to, ()), to)
        alone.outbox.events[:0] = logged
    return alone.at - began


def pass_answered(alone, seconds):
    """Let time pass; each ping of this node is answered."""
    end = alone.at + seconds
    while alone.machine.next_deadline() <= end:
        alone.next()
        for to, ping in alone.take(Ping):
            alone.receive(Ack(ping.sequence, to, ()), to)
    alone.at = end


# --- the suspicion timeout ----------------------------------------------------------------


def test_the_timeout_shrinks_from_max_to_min_with_the_logarithm_of_the_confirmations():
    times = [suspicion_s(3.0, 18.0, given, needed=3) for given in range(5)]
    assert times == pytest.approx([18.0, 10.5, 6.11, 3.0, 3.0], abs=0.01)


def test_a_group_in_which_no_other_can_confirm_has_the_shortest_time():
    assert suspicion_s(3.0, 18.0, given=0, needed=0) == 3.0
    assert suspicion_s(3.0, 18.0, given=0, needed=-1) == 3.0


def test_the_shortest_time_grows_with_the_logarithm_of_the_group():
    assert [suspicion_min_s(3.0, members, 0.5) for members in (1, 10, 1000)] == [1.5, 1.5, 4.5]


@pytest.mark.parametrize(
    ("accusers", "expected_s"),
    [
        (["n2"], 18.0),
        (["n2", "n4"], 10.5),
        (["n2", "n4", "n5"], 6.11),
        (["n2", "n4", "n5", "n6"], 3.0),
        ([], 18.0),
    ],
)
def test_a_suspect_is_dead_the_earlier_the_more_members_accuse_it(accusers, expected_s):
    alone = Alone(others=9)
    alone.receive(Gossip((suspicion(*accusers[:1]),)), "n2")
    assert [e.fields["cause"] for e in events_of(alone, "member.suspect")] == ["told by n2"]
    for count in range(2, len(accusers) + 1):
        alone.receive(Gossip((suspicion(*accusers[:count]),)), "n4")
    assert until(alone, "member.dead", answered=True) == pytest.approx(expected_s, abs=0.01)


def test_each_confirmation_is_logged_once_and_spread():
    alone = Alone(others=9)
    alone.receive(Gossip((suspicion("n2"),)), "n2")
    alone.receive(Gossip((suspicion("n4"),)), "n4")
    alone.receive(Gossip((suspicion("n4", "n2"),)), "n5")
    [confirmed] = events_of(alone, "suspicion.confirmed")
    assert confirmed.fields["accusers"] == ["n2", "n4"]
    alone.receive(Ping(1, ()), "n6")
    [(_, ack)] = alone.take(Ack)
    assert suspicion("n2", "n4")[:3] == ack.updates[0][:3]
    assert ack.updates[0].accusers == ("n2", "n4")


def test_a_suspicion_that_is_confirmed_after_its_shorter_time_ends_at_once_and_is_no_stall():
    alone = Alone(others=9)
    alone.receive(Gossip((suspicion("n2"),)), "n2")
    pass_answered(alone, 10.0)
    alone.receive(Gossip((suspicion("n2", "n4", "n5", "n6"),)), "n4")
    assert alone.machine.next_deadline() == alone.at
    alone.pass_to(alone.at)
    assert events_of(alone, "actor.stalled") == []
    assert not alone.machine._members.is_living("n3")


def test_a_suspicion_of_a_higher_incarnation_has_its_own_accusers():
    old, new = suspicion("n2", "n4"), suspicion("n5", incarnation=1)
    assert merge(old, new) == merge(new, old) == new


def test_a_suspicion_has_no_more_accusers_than_count():
    many = tuple(f"n{number}" for number in range(2, 2 + ACCUSERS_MAX))
    assert merge(suspicion(*many), suspicion("n9")).accusers == many
    assert set(merge(suspicion("n9"), suspicion(*many)).accusers) < {"n9", *many}


@given(
    st.permutations(
        [
            suspicion("a", name="x"),
            suspicion("b", name="x"),
            suspicion("c", "a", name="x"),
            suspicion("d", name="x"),
        ]
    )
)
def test_the_same_suspicions_have_the_same_accusers_in_any_order(suspicions):
    merged = suspicions[0]
    for other in suspicions[1:]:
        merged = merge(merged, other)
    assert set(merged.accusers) == set("abcd")


@pytest.mark.parametrize(
    "row",
    [
        MemberState("n3", ALIVE, 0, "", ("n2",)),
        MemberState("n3", DEAD, 0, "", ("n2",)),
        MemberState("n3", SUSPECT, 0, "", ("n2", "n2")),
        MemberState("n3", SUSPECT, 0, "", ("n3",)),
        MemberState("n3", SUSPECT, 0, "", ("n1", "n2", "n4", "n5", "n6")),
    ],
)
def test_a_row_with_accusers_that_it_cannot_have_is_not_accepted(row):
    assert not Members(MemberList(f"n{number}" for number in range(1, 7))).accepts(row)


def test_a_member_that_learns_of_a_suspicion_probes_the_suspect_in_its_next_period():
    alone = Alone(others=4)
    alone.receive(Gossip((suspicion("n2"),)), "n2")
    alone.take()
    alone.pass_to(alone.at + 1.0)
    assert [to for to, _ in alone.take(Ping)] == ["n3"]
    until(alone, "suspicion.confirmed")
    assert alone.machine._members.get("n3").accusers == ("n2", "n1")


def test_only_some_members_of_a_large_group_probe_a_suspect_out_of_turn():
    probing = 0
    for seed in range(300):
        alone = Alone(others=61)
        alone.machine._detector._chance.seed(seed)
        alone.receive(Gossip((suspicion("n2"),)), "n2")
        probing += bool(alone.machine._detector._to_confirm)
    assert probing == pytest.approx(300 * 6 / 60, abs=15)


def test_a_node_that_distrusts_itself_probes_no_suspect_out_of_turn():
    alone = Alone(others=4)
    alone.machine._detector._health.worsen(1, "slow")
    alone.receive(Gossip((suspicion("n2"),)), "n2")
    assert not alone.machine._detector._to_confirm


# --- local health -------------------------------------------------------------------------


def test_the_score_stays_between_zero_and_its_maximum_and_each_change_is_logged():
    outbox = Outbox()
    health = LocalHealth(8, outbox)
    health.improve()
    health.worsen(3, "n2 did not ack")
    health.worsen(9, "n3 did not ack")
    health.improve()
    assert health.score == 7
    assert health.scaled(0.5) == 4.0
    changes = [(event.fields["before"], event.fields["score"]) for event in outbox.events]
    assert changes == [(0, 3), (3, 8), (8, 7)]


def test_without_a_maximum_a_node_always_trusts_itself():
    health = LocalHealth(0, Outbox())
    health.worsen(3, "n2 did not ack")
    assert health.scaled(1.0) == 1.0


def failing(alone, nacks):
    """A probe that fails though ``nacks`` of the members that were asked send one."""
    alone.receive(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.pass_to(alone.at + 0.301)
    asked = [to for to, _ in alone.take(PingReq)]
    for name in asked[:nacks]:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    alone.pass_to(alone.at + 0.301)
    return alone.machine._detector._health.score


@pytest.mark.parametrize(("nacks", "score"), [(0, 3), (2, 1), (3, 0)])
def test_each_nack_that_does_not_come_makes_a_node_distrust_itself(nacks, score):
    assert failing(Alone(), nacks) == score


def test_a_failed_probe_for_which_no_other_member_could_be_asked_does_too():
    alone = Alone(others=1)
    alone.receive(Gossip((MemberState("n2", ALIVE, 0, ""),)), "n2")
    alone.receive(LinkLost("n2"))
    until(alone, "member.suspect")
    assert alone.machine._detector._health.score == 1


def test_a_refutation_makes_a_node_distrust_itself_and_acks_make_it_trust_itself_again():
    alone = Alone()
    alone.receive(Gossip((suspicion("n2", name="n1"),)), "n2")
    health = alone.machine._detector._health
    assert health.score == 1
    alone.take()
    until(alone, "health.changed", answered=True)
    assert health.score == 0


def test_a_node_that_distrusts_itself_probes_less_often_and_waits_longer():
    alone = Alone()
    alone.machine._detector._health.worsen(2, "slow")
    alone.next()
    while not alone.take(Ping):
        alone.next()
    pinged_at = alone.at
    while not alone.take(PingReq):
        alone.next()
    assert alone.at - pinged_at == pytest.approx(3 * SETTINGS.probe_timeout_s)
    while not alone.take(Ping):
        alone.next()
    assert alone.at - pinged_at == pytest.approx(3 * SETTINGS.probe_period_s)


# --- nacks --------------------------------------------------------------------------------


def relaying():
    """n1, which n2 has asked to ping n3 and whose links are made; and its ping."""
    alone = Alone()
    alone.at += LINKING_S
    alone.receive(PingReq(43, "n3", ()), "n2")
    [(_, ping)] = alone.take(Ping)
    return alone, ping


def test_a_member_that_gets_no_ack_sends_a_nack_in_time_and_relays_a_late_ack():
    alone, ping = relaying()
    alone.pass_to(alone.at + 0.8 * SETTINGS.probe_timeout_s + 1e-6)
    [(to, nack)] = alone.take(Nack)
    assert (to, nack.sequence, nack.target) == ("n2", 43, "n3")
    alone.receive(Ack(ping.sequence, "n3", ()), "n3")
    assert [(to, ack.sequence) for to, ack in alone.take(Ack)] == [("n2", 43)]


def test_a_member_that_gets_an_ack_sends_no_nack():
    alone, ping = relaying()
    alone.receive(Ack(ping.sequence, "n3", ()), "n3")
    alone.pass_to(alone.at + 0.3)
    assert alone.take(Nack) == []


def test_a_member_without_a_link_to_the_target_sends_a_nack_at_once_and_only_one():
    alone, ping = relaying()
    for _ in range(2):
        alone.receive(SendFailed("n3", GOSSIP, ping, False))
    assert [(to, nack.sequence) for to, nack in alone.take(Nack)] == [("n2", 43)]
    alone.pass_to(alone.at + 0.3)
    assert alone.take(Nack) == []


def test_a_member_that_loses_its_link_later_pings_again_and_so_learns_it():
    alone, ping = relaying()
    alone.receive(LinkLost("n3"))
    again = [(to, message) for to, message in alone.take(Ping) if message.sequence == ping.sequence]
    assert [to for to, _ in again] == ["n3"]


def test_a_nack_carries_what_is_known_of_its_target():
    alone, ping = relaying()
    alone.receive(Gossip((suspicion("n4"),)), "n4")
    alone.take()
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    [(_, nack)] = alone.take(Nack)
    assert nack.updates[0].name == "n3"
    assert nack.updates[0].accusers == ("n4",)


# --- lost links ---------------------------------------------------------------------------


def unlinked(others=4, *, refused=True):
    """n1, which has lost its link to n3; its ping, and the members that it has asked.

    ``refused``: the host of n3 refuses another link.
    """
    alone = Alone(others=others)
    alone.receive(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    asked = [to for to, _ in alone.take(PingReq)]
    if refused:
        alone.receive(LinkRefused("n3"))
    return alone, ping, asked


def test_a_member_to_which_no_way_is_left_is_suspected_at_once():
    alone, ping, asked = unlinked()
    for name in asked:
        assert not events_of(alone, "member.suspect")
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    [suspect] = events_of(alone, "member.suspect")
    assert suspect.fields["cause"] == "lost link"
    assert suspect.fields["took_s"] == 0.0


def test_the_suspicion_is_sent_to_the_suspect_and_to_k_others():
    alone, ping, asked = unlinked()
    for name in asked:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    told = [(to, message.updates[0]) for to, message in alone.take(Gossip)]
    assert told[0][0] == "n3"
    assert {row[:3] for _, row in told} == {("n3", SUSPECT, 0)}
    assert len({to for to, _ in told}) == 4


def test_nacks_alone_do_not_end_a_probe_whose_ping_was_sent():
    alone = Alone()
    alone.receive(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.pass_to(alone.at + 0.301)
    for name, _ in alone.take(PingReq):
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    assert not events_of(alone, "member.suspect")
    alone.receive(Ack(ping.sequence, "n3", ()), "n3")
    alone.pass_to(alone.at + 0.301)
    assert not events_of(alone, "member.suspect")


def test_a_member_that_one_other_still_reaches_is_not_suspected():
    alone, ping, asked = unlinked()
    for name in asked[:2]:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    alone.receive(Ack(ping.sequence, "n3", ()), asked[2])
    alone.pass_to(alone.at + 1.0)
    assert not events_of(alone, "member.suspect")


def test_a_member_whose_link_comes_up_again_is_given_time_to_ack():
    alone, ping, asked = unlinked()
    alone.receive(LinkUp("n3"))
    for name in asked:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    assert not events_of(alone, "member.suspect")
    alone.receive(Ack(ping.sequence, "n3", ()), "n3")
    alone.pass_to(alone.at + 1.0)
    assert not events_of(alone, "member.suspect")


def test_a_member_whose_link_comes_up_and_is_lost_once_more_is_suspected_at_once():
    alone, ping, asked = unlinked()
    alone.receive(LinkUp("n3"))
    for name in asked:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    alone.receive(LinkLost("n3"))
    alone.receive(SendFailed("n3", GOSSIP, ping, False))
    alone.receive(LinkRefused("n3"))
    assert len(events_of(alone, "member.suspect")) == 1


def test_a_member_that_was_asked_and_cannot_be_reached_is_replaced():
    alone, ping, asked = unlinked(others=6)
    gone = asked[0]
    alone.receive(LinkLost(gone))
    requests = {to: m for to, m in alone.take(PingReq) if m.target == "n3"}
    [instead] = requests
    assert instead not in (*asked, "n3")
    alone.receive(SendFailed(instead, GOSSIP, requests[instead], False))
    for name in asked[1:]:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    [last] = [to for to, m in alone.take(PingReq) if m.target == "n3"]
    assert "n3" not in {event.fields["member"] for event in events_of(alone, "member.suspect")}
    alone.receive(Nack(ping.sequence, "n3", ()), last)
    assert "n3" in {event.fields["member"] for event in events_of(alone, "member.suspect")}


def test_if_no_other_can_be_asked_a_refused_connection_ends_the_probe():
    alone = Alone(others=1)
    alone.receive(LinkLost("n2"))
    [(_, ping)] = alone.take(Ping)
    alone.receive(SendFailed("n2", GOSSIP, ping, False))
    assert not events_of(alone, "member.suspect")
    alone.receive(LinkRefused("n2"))
    assert len(events_of(alone, "member.suspect")) == 1


def test_a_refused_connection_does_not_outvote_those_that_were_asked():
    alone, _, _ = unlinked()
    alone.receive(LinkRefused("n3"))
    assert not events_of(alone, "member.suspect")


def test_a_member_whose_host_does_not_refuse_connections_has_the_time_of_a_probe():
    alone, ping, asked = unlinked(refused=False)
    for name in asked:
        alone.receive(Nack(ping.sequence, "n3", ()), name)
    assert not events_of(alone, "member.suspect")
    alone.receive(LinkRefused("n3"))
    assert len(events_of(alone, "member.suspect")) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_member_whose_links_are_all_reset_at_once_is_not_suspected(seed):
    net = Network(5, seed=seed)
    net.start()
    net.run_until(net.converged, 30)
    net.run(net.chance.uniform(1, 5))
    net.reset("n3")
    net.run(5)
    assert not net.events("member.suspect")
    assert net.converged()


def test_a_refusal_is_forgotten_when_the_link_is_up():
    alone = Alone(others=1)
    alone.receive(LinkLost("n2"))
    alone.receive(LinkRefused("n2"))
    alone.receive(LinkUp("n2"))
    alone.take()
    alone.receive(Ack(1, "n2", ()), "n2")
    alone.receive(LinkLost("n2"))
    [(_, ping)] = alone.take(Ping)
    alone.receive(SendFailed("n2", GOSSIP, ping, False))
    assert not events_of(alone, "member.suspect")


@pytest.mark.parametrize("seed", range(5))
def test_every_survivor_of_a_crash_suspects_at_once_and_all_declare_it_dead_after_the_least_time(
    seed,
):
    net = Network(10, seed=seed)
    net.start()
    net.run_until(net.converged, 30)
    net.run(net.chance.uniform(1, 5))
    crashed_at = net.now
    net.crash("n4")
    assert net.run_until(lambda: net.all_see("n4", SUSPECT), 1) < 0.05
    net.run_until(lambda: net.all_see("n4", DEAD), 10)
    assert net.now - crashed_at < 3.1
    assert {e.fields["member"] for e in net.log if e.name == "member.suspect"} == {"n4"}


@pytest.mark.parametrize("seed", range(5))
def test_when_half_of_a_group_crashes_at_once_each_survivor_suspects_all_of_them_at_once(seed):
    net = Network(10, seed=seed)
    net.start()
    net.run_until(net.converged, 30)
    net.run(net.chance.uniform(1, 5))
    gone = net.names[5:]
    for name in gone:
        net.crash(name)
    assert net.run_until(lambda: all(net.all_see(name, SUSPECT) for name in gone), 1) < 0.05
    assert {e.fields["member"] for e in net.log if e.name == "member.suspect"} == set(gone)


def test_a_node_that_can_ask_no_other_waits_for_a_whole_period():
    """Its own network may have failed."""
    alone = Alone()
    pings = {}
    for name in ("n2", "n3", "n4", "n5"):
        alone.receive(LinkLost(name))
        pings |= dict(alone.take(Ping))
    for name, ping in pings.items():
        alone.receive(SendFailed(name, GOSSIP, ping, False))
    lost_at = alone.at
    while requests := alone.take(PingReq):
        for to, request in requests:
            alone.receive(SendFailed(to, GOSSIP, request, False))
    alone.pass_to(lost_at + SETTINGS.probe_period_s - 0.01)
    assert not events_of(alone, "member.suspect")
    alone.pass_to(lost_at + SETTINGS.probe_period_s)
    assert len(events_of(alone, "member.suspect")) == 1
    assert not alone.machine.trusts_itself  # so the other probes wait still longer


@pytest.mark.parametrize(("count", "crashes"), [(2, 1), (3, 1), (3, 2), (4, 2), (5, 3)])
def test_in_a_small_group_those_that_are_gone_need_not_confirm(count, crashes):
    net = Network(count)
    net.start()
    net.run_until(net.converged, 30)
    net.run(2)
    gone = net.names[-crashes:]
    for name in gone:
        net.crash(name)
    net.run_until(lambda: all(net.all_see(name, DEAD) for name in gone), 10)
    assert all(net.all_see(name, DEAD) for name in gone)
    assert all(event.fields["took_s"] < 3.2 for event in net.events("member.dead"))


def test_a_node_without_any_other_member_trusts_itself():
    alone = Alone(others=1)
    alone.machine._detector._health.worsen(8, "slow")
    alone.receive(Gossip((MemberState("n2", DEAD, 0, ""),)), "n2")
    alone.pass_to(alone.at + 9)
    assert alone.machine.trusts_itself


# --- flapping -----------------------------------------------------------------------------


def test_a_member_flaps_that_comes_back_from_the_dead_several_times_in_a_short_time():
    flapping = Flapping()
    times = [0.0, 1.0, 2.0, 3.0, 100.0, 101.0, 170.0, 171.0, 172.0]
    assert FLAPS == 3
    flaps = [at for at in times if flapping.on_return("n3", at)]
    assert flaps == [2.0, 172.0]
    assert not flapping.on_return("n4", 173.0)


def test_it_is_logged():
    alone = Alone()
    for incarnation in range(FLAPS):
        alone.receive(Gossip((MemberState("n3", DEAD, incarnation, ""),)), "n2")
        alone.receive(Gossip((MemberState("n3", ALIVE, incarnation + 1, ""),)), "n3")
    [logged] = events_of(alone, "member.flapping")
    assert logged.fields == {"member": "n3", "times": FLAPS, "within_s": FLAPS_WITHIN_S}


# --- groups of any size -------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.booleans())))
def test_deadlines_are_served_in_their_order_as_they_were_last_set(steps):
    deadlines, expected = Deadlines(), {}
    for key, at, stops in steps:
        if stops:
            assert deadlines.stop(key) == (expected.pop(key, None) is not None)
        else:
            deadlines.set(key, at)
            expected[key] = at
        assert deadlines.first() == min(expected.values(), default=None)
    deadlines.extend(1)
    taken = deadlines.take_due(6)
    assert taken == sorted(taken, key=expected.__getitem__)
    assert set(taken) == {key for key, at in expected.items() if at <= 5}
    assert deadlines.first() == min((at + 1 for at in expected.values() if at > 5), default=None)


def test_every_order_is_equally_likely():
    chance = random.Random(5)
    counts = Counter("".join(in_random_order("abcd", chance)) for _ in range(24_000))
    assert len(counts) == 24
    assert all(count == pytest.approx(1000, abs=150) for count in counts.values())


def test_exchanges_of_a_large_group_cost_each_node_no_more():
    assert [exchange_period_s(10, members) for members in (3, 64, 128, 6400)] == [10, 10, 20, 1000]


def test_only_changed_rows_are_announced_and_all_of_them_with_each_exchange():
    alone = Alone()
    alone.receive(Gossip((suspicion("n2"),)), "n2")
    [(_, news), *_] = alone.take(MembersChanged)
    assert [row.name for row in news.members] == ["n3"]
    sent = []
    while not any(type(message) is Exchange for _, message in sent):
        alone.next()
        sent = alone.take()
    assert [len(news.members) for _, news in sent if type(news) is MembersChanged] == [5, 5, 5, 5]


def test_a_machine_can_start_with_rows_that_it_knows():
    rows = [MemberState("a", ALIVE, 0, ""), None, MemberState("c", DEAD, 2, "")]
    members = Members(MemberList("abc"), rows)
    assert members.living_count == 1
    assert set(members.take_changes()) == {rows[0], rows[2]}
    members.put(replace_status(rows[2]))
    assert rows[2].status == DEAD


def replace_status(row):
    return row._replace(status=ALIVE, incarnation=row.incarnation + 1)
