import math
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lone_swim import Alone, swim
from swim_network import ALIVE, DEAD, LEFT, SUSPECT, Network

from toystore.core.membership.members import INCARNATION_MAX, Members, beats, merge
from toystore.core.membership.peers import LINKING_S
from toystore.core.membership.updates import sends_max
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    CompareSettings,
    Exchange,
    ExchangeReply,
    Gossip,
    MemberState,
    Ping,
    PingReq,
    Refused,
)
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.settings import SwimSettings

SEEDS = (1, 2, 3, 4, 5)


def settled_network(count, **options):
    net = Network(count, **options)
    net.start()
    assert net.run_until(net.settled, 30) < 30
    return net


def nobody_accused(net, *but):
    return not [
        event
        for event in net.log
        if event.name in ("member.suspect", "member.dead") and event.fields["member"] not in but
    ]


# --- precedence (SWIM section 4.2) --------------------------------------------------------

# Rows hear, columns hold: "<" replaces only with a higher incarnation, "=" with an equal one too.
PRECEDENCE = {
    ALIVE: {ALIVE: "<", SUSPECT: "<", DEAD: "<", LEFT: "<"},
    SUSPECT: {ALIVE: "=", SUSPECT: "<", DEAD: "<", LEFT: "<"},
    DEAD: {ALIVE: "=", SUSPECT: "=", DEAD: "<", LEFT: "<"},
    LEFT: {ALIVE: "=", SUSPECT: "=", DEAD: "=", LEFT: "<"},
}


@pytest.mark.parametrize(("heard", "held"), list(product(PRECEDENCE, PRECEDENCE)))
def test_a_heard_state_replaces_the_held_one_as_the_table_says(heard, held):
    rule = PRECEDENCE[heard][held]
    for i, j in product(range(3), range(3)):
        expected = i > j or (i == j and rule == "=")
        assert beats(MemberState("x", heard, i, ""), MemberState("x", held, j, "")) == expected


# A member has one disk in one incarnation, which not everybody knows.
states = st.builds(
    lambda status, incarnation, known: MemberState(
        "x", status, incarnation, f"disk-{incarnation}" if known else ""
    ),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
)


@given(states, states)
def test_merging_is_commutative_in_status_and_incarnation(a, b):
    assert merge(a, b)[:3] == merge(b, a)[:3]
    assert merge(a, a) == a


@given(states, states, states)
def test_merging_is_associative_in_status_and_incarnation(a, b, c):
    assert merge(merge(a, b), c)[:3] == merge(a, merge(b, c))[:3]


def test_the_disk_follows_the_higher_incarnation():
    old, new = MemberState("x", DEAD, 1, "d1"), MemberState("x", ALIVE, 2, "d2")
    assert merge(old, new) == merge(new, old) == new


def test_a_known_disk_fills_an_unknown_one_and_is_not_replaced_at_the_same_incarnation():
    unknown, known = MemberState("x", SUSPECT, 1, ""), MemberState("x", ALIVE, 1, "d1")
    assert merge(unknown, known) == merge(known, unknown) == MemberState("x", SUSPECT, 1, "d1")
    assert merge(known, known._replace(disk="d2")) == known


# --- dissemination (SWIM sections 4.1 and 4.3) --------------------------------------------


def test_the_least_sent_update_goes_first_and_of_these_the_newest():
    members = Members(["a", "b", "c"])
    a, b, c = (MemberState(name, ALIVE, 0, "") for name in "abc")
    members.put(a)
    members.put(b)
    assert members.updates(1, 9) == (b,)
    members.put(c)
    assert members.updates(2, 9) == (c, a)
    assert members.updates(3, 9) == (c, b, a)


def test_an_update_is_dropped_after_its_sends_and_begins_anew_when_replaced():
    members = Members(["a"])
    old, new = MemberState("a", ALIVE, 0, ""), MemberState("a", SUSPECT, 0, "")
    members.put(old)
    assert [members.updates(8, 2) for _ in range(3)] == [(old,), (old,), ()]
    members.put(old)
    members.updates(8, 2)
    members.put(new)
    assert [members.updates(8, 2) for _ in range(3)] == [(new,), (new,), ()]


def test_an_update_is_sent_at_most_lambda_log_n_times_by_each_member():
    net = settled_network(10)
    net.run(20)
    net.updates_sent.clear()
    net.crash("n7")
    net.run(30)
    limit = math.ceil(3 * math.log(10 + 1))
    assert limit == sends_max(3.0, 10) == 8
    about = {key: sends for key, sends in net.updates_sent.items() if key[1].name == "n7"}
    accusations = {key: n for key, n in about.items() if key[1].status == DEAD}
    assert len(accusations) == 9
    assert max(accusations.values()) <= limit


def test_a_message_carries_no_more_updates_than_it_may():
    net = Network(12, settings=SwimSettings(updates_per_message_max=3), seed=3)
    net.start()
    net.run(20)
    sizes = [len(m.updates) for *_, m in net.traffic if isinstance(m, Ping | PingReq | Ack)]
    assert max(sizes) == 3


# --- joining ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 10, 20])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_all_join_through_one_seed_and_see_each_other_alive(count, seed):
    net = Network(count, seed=seed)
    net.start()
    assert net.run_until(net.settled, 5) < 1
    assert {e.fields["cause"] for e in net.events("member.joined") if e.node != "n1"} == {"n1"}
    net.run(20)
    assert nobody_accused(net)


def test_without_news_of_links_gossip_alone_brings_the_members_together():
    net = Network(10, links=False)
    net.start()
    assert net.run_until(net.settled, 20) < 20


def test_a_lone_node_joins_at_once():
    net = Network(1)
    net.start()
    assert net.run_until(lambda: net.joined("n1"), 1) < 0.1


def test_a_node_waits_for_its_seed():
    net = Network(3)
    net.start("n2", "n3")
    net.run(10)
    assert not net.joined("n2")
    assert net.hosts["n2"].news is not None
    net.start("n1")
    assert net.run_until(net.settled, 5) < 1


def test_a_seed_whose_fellow_seeds_are_silent_joins_alone_and_goes_on_asking_them():
    net = Network(4, seeds=("n1", "n2", "n3"), links=False)
    net.start("n2")
    took = net.run_until(lambda: net.joined("n2"), 10)
    assert 2 * net.settings.join_retry_s <= took < 1.5
    net.start("n3")
    assert net.run_until(net.settled, 2) < 2


def test_seeds_that_start_together_find_each_other():
    net = Network(5, seeds=("n1", "n2", "n3"))
    net.start()
    assert net.run_until(net.settled, 5) < 1


def test_a_node_that_is_not_on_the_list_is_not_made():
    with pytest.raises(ValueError, match="n9"):
        swim("n9", ["n1", "n2"])


def test_a_refused_node_says_so_before_it_joins():
    net = Network(2)
    net.start("n2")
    net.run(0.1)
    net.say("n2", Refused("another cluster"), "n1")
    net.say("n2", Refused("another cluster"), "n1")
    assert net.hosts["n2"].machine.refused == "another cluster"
    assert [e.fields["reason"] for e in net.events("member.refused")] == ["another cluster"]


def test_a_joined_node_is_not_stopped_by_a_refusal():
    net = settled_network(2)
    net.say("n2", Refused("another member list"), "n1")
    assert net.hosts["n2"].machine.refused is None
    assert net.events("member.refused", member="n1")


# --- failure detection (SWIM sections 3.1 and 4.3) ----------------------------------------


def test_no_member_is_left_unpinged_for_longer_than_2n_minus_1_periods():
    net = settled_network(8)
    net.run(100)
    listed = 7
    for one, other in product(net.names, net.names):
        pings = [
            at for at, by, to, m in net.traffic if (by, to) == (one, other) and type(m) is Ping
        ]
        gaps = [late - early for early, late in pairwise(pings)]
        assert one == other or max(gaps) <= (2 * listed - 1) + 0.01


@pytest.mark.parametrize("count", [3, 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_without_a_lost_link_is_noticed_in_time_and_known_to_all(count, seed):
    net = settled_network(count, seed=seed, links=False)
    net.run(net.chance.uniform(5, 10))
    crashed_at = net.now
    net.crash("n2")
    net.run_until(lambda: net.all_see("n2", DEAD), 60)
    first = net.events("member.suspect", member="n2")[0]
    assert first.at - crashed_at <= (2 * count - 1) * net.settings.probe_period_s
    assert first.fields["cause"] == "missed ping"
    assert first.fields["took_s"] == pytest.approx(1.0)
    assert net.all_see("n2", DEAD)
    assert nobody_accused(net, "n2")
    first_death = net.events("member.dead", member="n2")[0]
    assert first_death.fields["cause"] == "suspicion timed out"
    assert first_death.fields["took_s"] == pytest.approx(3.0)
    assert {e.fields["cause"][:4] for e in net.events("member.dead")} <= {"susp", "told"}


def test_a_lost_link_is_a_suspicion_after_two_probe_timeouts():
    net = settled_network(5)
    net.run(5)
    crashed_at = net.now
    net.crash("n2")
    net.run_until(lambda: net.all_see("n2", SUSPECT), 5)
    first = net.events("member.suspect", member="n2")[0]
    assert first.fields["cause"] == "lost link"
    assert first.at - crashed_at == pytest.approx(2 * 0.3, abs=0.01)
    net.run_until(lambda: net.all_see("n2", DEAD), 10)
    assert net.all_see("n2", DEAD)


def test_an_indirect_ping_saves_a_member_whose_link_to_one_node_is_cut():
    net = settled_network(5)
    drop_between(net, "n1", "n2")
    net.run(30)
    assert nobody_accused(net)
    assert any(type(m) is PingReq for *_, m in net.traffic)


def drop_between(net, one, other):
    send = net._send

    def selective(sender, to, message):
        if {sender, to} != {one, other}:
            send(sender, to, message)

    net._send = selective


@pytest.mark.parametrize("seed", SEEDS)
def test_at_ten_percent_loss_no_living_member_stays_accused_and_the_dead_one_is_found(seed):
    net = settled_network(10, seed=seed, loss=0.1)
    net.run(60)
    assert not net.events("member.dead")
    net.crash("n5")
    net.run_until(lambda: net.all_see("n5", DEAD), 30)
    assert net.all_see("n5", DEAD)
    assert net.run_until(net.settled, 30) < 30


@pytest.mark.parametrize("count", [5, 20])
def test_the_load_is_about_two_messages_to_a_member_and_period(count):
    net = settled_network(count)
    net.run(10)
    net.sent.clear()
    net.run(50)
    for name in net.names:
        assert net.sent[name] / 50 == pytest.approx(2, abs=0.35)
    assert sum(net.sent.values()) / (50 * count) == pytest.approx(2, abs=0.05)


# --- refutation ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [SUSPECT, DEAD, LEFT])
def test_an_accused_member_refutes_and_is_alive_to_all_again(status):
    net = settled_network(6)
    lie = MemberState("n3", status, 0, "disk-of-n3")
    net.say("n2", Gossip((lie,)), "n1")
    assert net.status("n2", "n3") == status
    net.run_until(lambda: net.events("member.refuted"), 10)
    [refuted] = net.events("member.refuted")
    assert (refuted.node, refuted.fields["incarnation"]) == ("n3", 1)
    net.run_until(net.settled, 20)
    assert net.settled()
    assert {net.state(seer, "n3") for seer in net.names} == {
        MemberState("n3", ALIVE, 1, "disk-of-n3")
    }
    [again] = [e for e in net.events("member.alive", incarnation=1) if e.node == "n2"]
    assert (again.fields["took_s"] is None) == (status == LEFT)


def test_an_accusation_already_refuted_is_answered_with_the_refutation():
    net = settled_network(3)
    net.say("n3", Gossip((MemberState("n3", SUSPECT, 4, ""),)), "n1")
    net.run(20)
    net.traffic.clear()
    net.say("n3", Ping(7, (MemberState("n3", SUSPECT, 2, ""),)), "n1")
    ack = net.traffic[-1][3]
    assert ack == Ack(7, "n3", (MemberState("n3", ALIVE, 5, "disk-of-n3"),))
    assert len(net.events("member.refuted")) == 1


@pytest.mark.parametrize("deadline_first", [False, True])
@pytest.mark.parametrize("pause_s", [2.5, 4, 20])
def test_a_node_that_stood_still_accuses_nobody_and_is_taken_back(pause_s, deadline_first):
    net = settled_network(6)
    net.run(5.4)
    net.pause("n4")
    net.run(pause_s)
    net.resume("n4", deadline_first=deadline_first)
    net.run(20)
    own = [e for e in net.log if e.node == "n4" and e.name in ("member.suspect", "member.dead")]
    assert own == []
    assert [e.node for e in net.events("actor.stalled")] == ["n4"]
    assert nobody_accused(net, "n4")
    assert net.settled()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pause_too_short_to_be_a_stall_kills_nobody(seed):
    net = settled_network(6, seed=seed)
    net.run(net.chance.uniform(5, 6))
    net.pause("n4")
    net.run(0.9)
    net.resume("n4")
    net.run(10)
    assert nobody_accused(net, "n4")
    assert not net.events("member.dead")


def test_a_suspicion_that_ran_out_during_a_stall_still_gives_time_to_refute():
    net = settled_network(4, links=False)
    net.say("n1", Gossip((MemberState("n3", SUSPECT, 0, ""),)), "n2")
    net.pause("n1")
    net.run(10)
    net.resume("n1", deadline_first=True)
    net.run(10)
    assert not net.events("member.dead", member="n3")
    assert net.settled()


# --- splits, restarts and goodbyes --------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_both_sides_of_a_split_give_each_other_up_and_find_each_other_again(seed, links):
    net = settled_network(6, seed=seed, links=links)
    net.run(5)
    net.split("n1", "n2", "n3")
    net.run(30)
    for one, other in product(("n1", "n2", "n3"), ("n4", "n5", "n6")):
        assert net.status(one, other) == DEAD
        assert net.status(other, one) == DEAD
    assert not [e for e in net.events("member.dead", member="n5") if e.node in ("n4", "n6")]
    net.heal()
    assert net.run_until(net.settled, 60) < (5 if links else 60)
    net.run(20)
    assert net.settled()


@pytest.mark.parametrize("down_s", [0.05, 2, 20])
def test_a_restarted_node_begins_at_incarnation_0_and_rises_above_its_earlier_life(down_s):
    net = settled_network(5)
    net.run(5)
    net.crash("n3")
    net.run(down_s)
    net.start("n3")
    net.run_until(net.settled, 20)
    net.run(10)
    assert net.settled()
    seen = {net.state(seer, "n3") for seer in net.names}
    assert len(seen) == 1
    assert (seen.pop().incarnation > 0) == (down_s > 1)


def test_a_restarted_seed_is_taken_back():
    net = settled_network(4)
    net.crash("n1")
    net.run(15)
    net.start("n1")
    assert net.run_until(net.settled, 20) < 5


def test_a_goodbye_is_heard_by_all_and_is_nobody_s_suspicion():
    net = settled_network(8)
    net.run(5)
    net.leave("n6")
    assert net.hosts["n6"].machine.next_deadline() is None
    net.run(0.01)
    assert net.all_see("n6", LEFT)
    net.run(0.1)
    net.crash("n6")
    net.run(20)
    assert nobody_accused(net)
    assert len(net.events("member.left", member="n6")) == 8
    assert net.all_see("n6", LEFT)


def test_who_leaves_before_it_knows_its_disk_was_never_there():
    outbox = Outbox()
    machine = swim("n1", ["n1", "n2"], outbox=outbox)
    machine.on_deadline(Now(10.0, 0))
    machine.receive(Leave(), Peer("n1", GOSSIP), Now(10.1, 0))
    outbox.clear()
    machine.receive(LoadDisksReply("d1", True, True, ()), Peer("n1", STORAGE), Now(10.2, 0))
    assert not outbox.sends
    assert machine.next_deadline() is None


def test_who_missed_the_goodbye_is_told_when_it_pings():
    net = settled_network(3)
    net.leave("n3")
    net.traffic.clear()
    net.say("n3", Ping(5, ()), "n1")
    assert net.traffic[-1][3] == Ack(5, "n3", (MemberState("n3", LEFT, 0, "disk-of-n3"),))


def test_a_node_that_left_can_come_back():
    net = settled_network(4)
    net.leave("n3")
    net.run(0.5)
    net.crash("n3")
    net.run(5)
    net.start("n3")
    assert net.run_until(net.settled, 20) < 5
    assert net.state("n1", "n3").incarnation == 1


# --- disks --------------------------------------------------------------------------------


def test_a_fresh_cluster_s_disks_vote_and_everybody_saves_everybody_s_once():
    net = settled_network(5)
    net.run(20)
    for name, disk in net.disks.items():
        assert disk.votes is True
        assert sorted(disk.saved) == sorted(
            (other, f"disk-of-{other}") for other in net.names if other != name
        )
    assert not net.events("disk.replaced")


@pytest.mark.parametrize("down_s", [0.05, 20])
def test_a_replaced_disk_is_noticed_and_does_not_vote(down_s):
    net = settled_network(4)
    replace_disk(net, "n3", down_s)
    assert_replaced(net)
    assert {net.state(seer, "n3").disk for seer in net.names} == {"new-disk"}
    assert all(disk.known["n3"] == "new-disk" for n, disk in net.disks.items() if n != "n3")


def test_a_replaced_disk_is_noticed_by_members_that_only_remember_it():
    net = settled_network(2)
    net.crash("n1")
    replace_disk(net, "n2", 1, "n1")
    assert_replaced(net, "n2")


def test_a_seed_that_voted_alone_stops_when_others_remember_another_disk():
    net = settled_network(3)
    for name in net.names:
        net.crash(name)
    net.run(1)
    net.disks["n1"].disk, net.disks["n1"].settled = "new-disk", False
    net.disks["n1"].known.clear()
    net.start("n1")
    net.run(3)
    assert net.disks["n1"].votes is True
    net.start("n2")
    net.run(3)
    assert_replaced(net, "n1")


def test_a_settled_disk_is_not_asked_about_again():
    net = settled_network(3)
    net.disks["n2"].votes = None
    net.crash("n2")
    net.run(1)
    net.start("n2")
    net.run(5)
    assert net.disks["n2"].votes is None


def test_what_storage_had_no_room_for_is_told_again_until_it_has():
    net = Network(3)
    net.disks["n2"].full = True
    net.start()
    net.run(30)
    assert net.disks["n2"].votes is None
    assert not net.disks["n2"].known

    net.disks["n2"].full = False
    net.run(3 * net.settings.join_retry_s)

    assert net.disks["n2"].votes is True
    assert sorted(net.disks["n2"].known) == ["n1", "n3"]
    assert len(net.disks["n2"].saved) == 2


def test_that_a_replaced_disk_does_not_vote_is_told_again_too():
    net = settled_network(3)
    net.crash("n3")
    net.disks["n3"].full = True
    net.disks["n3"].disk, net.disks["n3"].settled = "new-disk", False
    net.start("n3")
    net.run(5)
    assert net.disks["n3"].votes is True

    net.disks["n3"].full = False
    net.run(3 * net.settings.join_retry_s)

    assert_replaced(net)


def test_the_disks_may_be_told_before_the_first_deadline():
    """As when storage answers the machine before this one, which has failed."""
    net = Network(2)
    net.start("n2")
    net.run(3)
    net.start("n1")
    machine, peer = net.hosts["n1"].machine, Peer("n2", GOSSIP)

    machine.receive(LoadDisksReply("d1", True, True, ()), Peer("n1", STORAGE), Now(net.now, 0))
    machine.receive(ExchangeReply(1, ()), peer, Now(net.now, 0))

    net.run(3)
    assert net.events("member.joined")


def replace_disk(net, name, down_s, *also):
    if name in net.hosts:
        net.crash(name)
    net.run(down_s)
    disk = net.disks[name]
    disk.disk, disk.settled, disk.votes = "new-disk", False, None
    disk.known.clear()
    net.start(*also, name)
    assert net.run_until(net.settled, 20) < 20
    net.run(5)


def assert_replaced(net, name="n3"):
    assert net.disks[name].votes is False
    [replaced] = net.events("disk.replaced")
    assert (replaced.node, replaced.fields) == (
        name,
        {"disk": "new-disk", "before": f"disk-of-{name}"},
    )


# --- one machine by itself ----------------------------------------------------------------


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


def test_a_ping_is_acked_and_an_ack_asked_for_by_another_is_passed_on():
    alone = Alone()
    alone.hear(Ping(42, ()), "n2")
    [(to, ack)] = alone.take(Ack)
    assert (to, ack.sequence, ack.target) == ("n2", 42, "n1")
    alone.hear(PingReq(43, "n3", ()), "n2")
    [(to, ping)] = alone.take(Ping)
    assert to == "n3"
    alone.hear(Ack(ping.sequence, "n4", ()), "n4")
    assert alone.take(Ack) == []
    alone.hear(Ack(ping.sequence, "n3", ()), "n3")
    [(to, ack)] = alone.take(Ack)
    assert (to, ack.sequence, ack.target) == ("n2", 43, "n3")


def test_only_an_ack_of_the_running_probe_is_evidence():
    alone = Alone()
    alone.hear(LinkLost("n3"))
    [(to, ping)] = alone.take(Ping)
    assert to == "n3"
    alone.hear(Ack(ping.sequence - 1, "n3", ()), "n3")
    alone.hear(Ack(ping.sequence, "n4", ()), "n4")
    alone.pass_to(alone.at + 0.31)
    assert len(alone.take(PingReq)) == 3
    alone.hear(Ack(ping.sequence, "n3", ()), "n2")
    alone.pass_to(alone.at + 0.31)
    alone.take()
    assert not [event for event in alone.events if event.name == "member.suspect"]


def test_a_lost_link_is_probed_once_however_often_it_is_reported():
    alone = Alone()
    alone.hear(LinkLost("n3"))
    alone.hear(LinkLost("n3"))
    assert [to for to, _ in alone.take(Ping)] == ["n3"]


def test_a_ping_that_could_not_be_sent_has_others_asked_at_once():
    alone = Alone()
    alone.hear(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.hear(SendFailed("n3", GOSSIP, ping, True))
    assert alone.take(PingReq) == []
    alone.hear(SendFailed("n3", GOSSIP, ping, False))
    alone.hear(SendFailed("n3", GOSSIP, ping, False))
    asked = alone.take(PingReq)
    assert len({to for to, _ in asked}) == len(asked) == 3
    alone.pass_to(alone.at + 0.31)
    alone.take()
    [suspect] = [event for event in alone.events if event.name == "member.suspect"]
    assert suspect.fields["cause"] == "lost link"


def test_a_doubted_member_is_told_so_by_every_message_to_it():
    alone = Alone()
    doubt = MemberState("n3", SUSPECT, 0, "d-n3")
    alone.hear(Gossip((doubt,)), "n2")
    for sequence in range(10):
        alone.hear(Ping(sequence, ()), "n3")
    assert all(ack.updates[0] == doubt for _, ack in alone.take(Ack))


@pytest.mark.parametrize("status", [None, SUSPECT, DEAD])
def test_a_link_to_a_doubted_or_unknown_member_is_used_for_an_exchange(status):
    alone = Alone()
    if status is None:
        alone = Alone(others=0)
        alone.machine._members = Members(["n1", "n3"])
        alone.machine._members.put(MemberState("n1", ALIVE, 0, "d1"))
    else:
        alone.hear(Gossip((MemberState("n3", status, 0, ""),)), "n2")
    alone.hear(LinkUp("n3"))
    assert [to for to, _ in alone.take(Exchange)] == ["n3"]


def test_a_link_to_a_living_member_is_no_occasion():
    alone = Alone()
    alone.hear(LinkUp("n3"))
    assert [type(message) for _, message in alone.take()] == [CompareSettings]


def test_an_exchange_is_answered_with_what_was_known_of_the_asker_before_it_spoke():
    outbox = Outbox()
    machine = swim("n1", ["n1", "n2"], outbox=outbox)
    machine.on_deadline(Now(1.0, 0))
    known = LoadDisksReply("d1", True, True, (("n2", "old"),))
    machine.receive(known, Peer("n1", "storage"), Now(1.0, 0))
    for expected in (MemberState("n2", ALIVE, 0, "old"), MemberState("n2", ALIVE, 0, "new")):
        outbox.clear()
        own = MemberState("n2", ALIVE, 0, "new")
        machine.receive(Exchange(1, (own,)), Peer("n2", GOSSIP), Now(1.0, 0))
        [reply] = outbox.sends[Peer("n2", GOSSIP)]
        assert reply.members == (MemberState("n1", ALIVE, 0, "d1"), expected)


def test_who_repeats_an_accusation_that_was_refuted_is_told():
    alone = Alone()
    refuted = MemberState("n3", ALIVE, 1, "d-n3")
    alone.hear(Gossip((refuted,)), "n3")
    for sequence in range(10):
        alone.hear(Ping(sequence, ()), "n2")
    alone.take()
    alone.hear(Ping(10, (MemberState("n3", SUSPECT, 0, "d-n3"),)), "n2")
    assert alone.take(Ack) == [("n2", Ack(10, "n1", (refuted,)))]


def test_a_new_life_takes_up_the_incarnation_its_earlier_one_had_reached():
    alone = Alone()
    alone.hear(Gossip((MemberState("n1", ALIVE, 6, "d1"),)), "n2")
    [*_, (_, news)] = alone.take(MembersChanged)
    assert news.members[0] == MemberState("n1", ALIVE, 6, "d1")
    assert not [event for event in alone.events if event.name == "member.refuted"]


def test_after_a_stall_a_suspect_has_a_whole_period_in_which_to_be_heard():
    def suspecting():
        alone = Alone(others=1)
        alone.hear(Gossip((MemberState("n2", SUSPECT, 0, ""),)), "n2")
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
    alone.hear(ExchangeReply(1, (MemberState("n3", DEAD, 0, ""),)), "n2")
    [*_, (_, news)] = alone.take(MembersChanged)
    assert {state.name: state.status for state in news.members}["n3"] == SUSPECT


@pytest.mark.parametrize(
    "garbage",
    [
        MemberState("stranger", ALIVE, 0, ""),
        MemberState("", ALIVE, 0, ""),
        MemberState("n3", 4, 1, ""),
        MemberState("n3", -1, 1, ""),
        MemberState("n3", DEAD, -1, ""),
        MemberState("n1", DEAD, INCARNATION_MAX + 1, ""),
    ],
)
@pytest.mark.parametrize("carry", [Gossip, lambda u: Exchange(1, u), lambda u: Ack(1, "n2", u)])
def test_garbage_in_an_update_changes_nothing(garbage, carry):
    alone = Alone()
    alone.hear(carry((garbage,)), "n2")
    assert alone.take(MembersChanged) == []


def test_strangers_are_not_heard():
    alone = Alone()
    for message in (Ping(1, ()), Exchange(1, ()), Gossip((MemberState("n3", DEAD, 0, ""),))):
        alone.hear(message, "stranger")
    alone.hear(PingReq(1, "stranger", ()), "n2")
    alone.hear(LinkUp("stranger"))
    alone.hear(LinkLost("stranger"))
    assert alone.take() == []


def test_many_changes_in_one_message_are_announced_once_to_each_actor():
    alone = Alone()
    alone.hear(Gossip(tuple(MemberState(f"n{i}", SUSPECT, 0, "") for i in (2, 3, 4))), "n5")
    assert [news.joined for _, news in alone.take(MembersChanged)] == [True, True]
    alone.hear(Gossip((MemberState("n2", SUSPECT, 0, ""),)), "n5")
    assert alone.take(MembersChanged) == []


def test_one_seed_gives_one_history():
    def history(seed):
        net = settled_network(6, seed=seed, loss=0.1)
        net.crash("n2")
        net.run(10)
        return net.log, net.traffic

    assert history(7) == history(7)
    assert history(7) != history(8)


@pytest.mark.parametrize("seed", range(12))
def test_after_any_mix_of_troubles_all_agree_again(seed):
    net = settled_network(7, seed=seed, seeds=("n1", "n4"), loss=0.05, links=seed % 2 == 0)
    for _ in range(12):
        one = net.chance.choice(net.names)
        if one not in net.hosts:
            net.start(one)
        elif net.hosts[one].paused:
            net.resume(one, deadline_first=net.chance.random() < 0.5)
        else:
            net.chance.choice((net.crash, net.pause, net.split))(one)
        net.run(net.chance.uniform(0.01, 6))
        if net.chance.random() < 0.4:
            net.heal()
    net.heal()
    for name in net.names:
        if name not in net.hosts:
            net.start(name)
        elif net.hosts[name].paused:
            net.resume(name)
    assert net.run_until(net.settled, 120) < 120
    net.run(10)
    assert {net.state(seer, "n2") for seer in net.names} == {net.state("n2", "n2")}


# --- coming back ------------------------------------------------------------------------

QUICK = SwimSettings(probe_period_s=0.5, probe_timeout_s=0.2)
"""As in configs/three_nodes.yaml."""


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("away_s", [0.5, 4])
def test_nobody_is_accused_over_a_restart_however_late_the_others_are_linked(count, away_s):
    for seed in range(20):
        net = settled_network(count, seed=seed, seeds=("n1", "n2"), settings=QUICK)
        net.crash("n2")
        net.run(away_s)
        net.start("n2", linked_in_s=0.4)
        net.log.clear()
        net.run(3)
        causes = [e.fields["cause"] for e in net.log if e.name == "member.suspect"]
        assert "missed ping" not in causes
        assert net.settled()


def test_a_refutation_ends_the_probe_that_was_under_way():
    alone = Alone(others=1)
    alone.hear(Gossip((MemberState("n2", SUSPECT, 0, "d-n2"),)), "n2")
    alone.take()
    while not alone.take(Ping):
        alone.next()
    alone.hear(Gossip((MemberState("n2", ALIVE, 1, "d-n2"),)), "n2")
    alone.take()
    end = alone.at + 1.2
    while alone.machine.next_deadline() < end:
        alone.next()
    alone.take()

    assert not [event for event in alone.events if event.name == "member.suspect"]


@pytest.mark.parametrize("linked_in_s", [0, 0.4, 100])
@pytest.mark.parametrize("lives_s", [0.1, 0.3, 0.6, 1.5])
@pytest.mark.parametrize("links", [True, False])
def test_who_dies_soon_after_its_return_is_found(linked_in_s, lives_s, links):
    net = settled_network(3, seeds=("n1", "n2"), settings=QUICK)
    net.crash("n2")
    net.run_until(lambda: net.all_see("n2", DEAD), 10)
    net.start("n2", linked_in_s=linked_in_s)
    net.run_until(lambda: net.all_see("n2", ALIVE), 10)
    net.run(lives_s)
    net.links = links
    net.crash("n2")
    periods = 2 * 3 - 1 + 1 + QUICK.suspicion_mult
    took_s = net.run_until(lambda: net.all_see("n2", DEAD), 60)
    assert took_s <= LINKING_S + periods * QUICK.probe_period_s + 0.1


def test_a_link_lost_again_takes_the_time_to_be_linked_away():
    alone = Alone()
    alone.hear(Gossip((MemberState("n3", DEAD, 0, "d-n3"),)), "n2")
    alone.hear(Gossip((MemberState("n3", ALIVE, 1, "d-n3"),)), "n3")
    alone.hear(LinkUp("n3"))
    alone.hear(LinkLost("n3"))
    lost_at = alone.at
    while not any(event.name == "member.suspect" for event in alone.outbox.events):
        alone.next()
    assert alone.at <= lost_at + 0.61


def test_a_ping_that_could_not_leave_does_when_the_link_is_there():
    alone = Alone()
    alone.hear(LinkLost("n3"))
    [(_, ping)] = alone.take(Ping)
    alone.hear(SendFailed("n3", GOSSIP, ping, False))
    alone.take()
    alone.hear(LinkUp("n3"))
    [(to, again)] = alone.take(Ping)
    assert (to, again.sequence) == ("n3", ping.sequence)
    alone.hear(Ack(ping.sequence, "n3", ()), "n3")
    alone.hear(LinkUp("n3"))
    assert alone.take(Ping) == []


def test_a_ping_for_another_that_could_not_leave_does_when_the_link_is_there():
    alone = Alone()
    alone.hear(PingReq(43, "n3", ()), "n2")
    [(_, ping)] = alone.take(Ping)
    alone.hear(SendFailed("n3", GOSSIP, ping, False))
    assert alone.take() == []
    alone.hear(LinkUp("n3"))
    [(to, again)] = alone.take(Ping)
    assert (to, again.sequence) == ("n3", ping.sequence)


@pytest.mark.parametrize(("late_s", "acks"), [(0.5, [42]), (5, [])])
def test_an_ack_that_could_not_leave_does_when_the_link_is_there_if_it_is_waited_for(late_s, acks):
    alone = Alone()
    alone.hear(Ping(42, ()), "n3")
    [(_, ack)] = alone.take(Ack)
    alone.hear(SendFailed("n3", GOSSIP, ack, False))
    alone.at += late_s
    for _ in range(2):
        alone.hear(LinkUp("n3"))
    assert [(to, again.sequence) for to, again in alone.take(Ack)] == [("n3", s) for s in acks]


@pytest.mark.parametrize("down", [("n1",), ("n2",), ("n3", "n1"), ("n1", "n2", "n3")])
def test_who_remembers_a_disk_accuses_nobody_of_having_been_away(down):
    net = settled_network(3, seeds=("n1", "n2"))
    net.run(5)
    for name in down:
        net.leave(name)
    net.run(1)
    for name in down:
        del net.hosts[name]
    net.log.clear()
    net.start(*down)
    assert net.run_until(net.settled, 20) < 20
    net.run(5)
    assert {event.node for event in net.events("member.refuted")} <= set(down)
    assert nobody_accused(net)
    if len(down) == 3:
        assert not net.events("member.refuted")
        assert {net.state("n1", name).incarnation for name in net.names} == {0}


@pytest.mark.parametrize("seed", range(12))
def test_whoever_is_said_to_have_told_has_logged_it_before(seed):
    """Each "told by n1", and what a node refutes, is in n1's own log, not later."""
    net = settled_network(6, seed=seed, seeds=("n1", "n4"), loss=0.1, links=seed % 2 == 0)
    for _ in range(15):
        one = net.chance.choice(net.names)
        if one not in net.hosts:
            net.start(one, linked_in_s=0.4)
        elif net.hosts[one].paused:
            net.resume(one, deadline_first=net.chance.random() < 0.5)
        else:
            net.chance.choice((net.crash, net.pause, net.split))(one)
        net.run(net.chance.uniform(0.01, 4))
        if net.chance.random() < 0.4:
            net.heal()

    said = set()
    for event in net.log:
        what, _, teller = event.fields.get("cause", "").partition("told by ")
        about = event.fields.get("member", event.node)
        incarnation = event.fields.get("incarnation")
        if event.name == "member.refuted":
            assert (teller, f"member.{what[:-2]}", about, incarnation - 1) in said
        elif teller and event.name == "member.suspect":
            assert {
                (teller, s, about, incarnation) for s in ("member.suspect", "member.dead")
            } & said
        elif teller and event.name == "member.dead":
            assert (teller, "member.dead", about, incarnation) in said
        said.add((event.node, event.name, about, incarnation))


# --- settings ---------------------------------------------------------------------------


def test_a_node_configured_otherwise_joins_and_each_side_says_once_what_differs():
    net = Network(4)
    usual = {"swim.probe_period_s": 1.0, "durability": "sync", "of.another.version": 1}
    net.shared = dict.fromkeys(net.names, usual)
    net.shared["n3"] = {"swim.probe_period_s": 0.2, "durability": "sync"}
    net.start()
    assert net.run_until(net.settled, 30) < 30
    net.split("n3")
    net.run(1)
    net.heal()
    net.run(5)

    expected = [(name, "n3", 1.0, 0.2) for name in ("n1", "n2", "n4")]
    expected += [("n3", name, 0.2, 1.0) for name in ("n1", "n2", "n4")]
    differ = net.events("settings.differ", setting="swim.probe_period_s")
    found = [(e.node, *(e.fields[key] for key in ("member", "here", "there"))) for e in differ]
    assert sorted(found) == sorted(expected)
    assert len(net.events("settings.differ")) == len(expected)


@pytest.mark.parametrize("there", [None, True, b"1.0", 1.0, 1, "x" * 2000, (1,), {}])
def test_what_is_the_same_or_no_setting_at_all_makes_no_difference(there):
    alone = Alone()
    alone.hear(CompareSettings({"swim.probe_period_s": there, "strange": 5}), "n3")
    assert alone.take() == []
    assert not [event for event in alone.events if event.name == "settings.differ"]


def test_another_value_is_another_line_and_so_is_one_that_comes_back():
    alone = Alone()
    for there in (0.5, 0.5, float("nan"), float("nan"), 1.0, 0.5):
        alone.hear(CompareSettings({"swim.probe_period_s": there}), "n3")
    alone.take()
    found = [event for event in alone.events if event.name == "settings.differ"]
    assert [repr(event.fields["there"]) for event in found] == ["0.5", "nan", "0.5"]


def test_a_stranger_s_settings_are_nobody_s():
    alone = Alone()
    alone.hear(CompareSettings({"swim.probe_period_s": 0.5}), "stranger")
    alone.take()
    assert not alone.events
