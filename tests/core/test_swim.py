"""SWIM in networks: joining, failure detection, refutation, splits, restarts, disks."""

import math
from itertools import pairwise, product

import pytest
from lone_swim import swim
from swim_network import ALIVE, DEAD, LEFT, SUSPECT, Network

from toystore.core.membership.peers import LINKING_S
from toystore.core.membership.updates import sends_max
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    ExchangeReply,
    Gossip,
    MemberState,
    Ping,
    PingReq,
    Refused,
)
from toystore.core.protocol.settings import SwimSettings

SEEDS = (1, 2, 3, 4, 5)


def converged_network(count, **options):
    net = Network(count, **options)
    net.start()
    assert net.run_until(net.converged, 30) < 30
    return net


def none_suspected(net, *but):
    return not [
        event
        for event in net.log
        if event.name in ("member.suspect", "member.dead") and event.fields["member"] not in but
    ]


def test_an_update_is_sent_at_most_lambda_log_n_times_by_each_member():
    net = converged_network(10)
    net.run(20)
    net.updates_sent.clear()
    net.crash("n7")
    net.run(30)
    limit = math.ceil(3 * math.log(10 + 1))
    assert limit == sends_max(3.0, 10) == 8
    about = {key: sends for key, sends in net.updates_sent.items() if key[1].name == "n7"}
    deaths = {key: n for key, n in about.items() if key[1].status == DEAD}
    assert len(deaths) == 9
    assert max(deaths.values()) <= limit


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
    assert net.run_until(net.converged, 5) < 1
    assert {e.fields["cause"] for e in net.events("member.joined") if e.node != "n1"} == {"n1"}
    net.run(20)
    assert none_suspected(net)


def test_without_news_of_links_gossip_alone_brings_the_members_together():
    net = Network(10, links=False)
    net.start()
    assert net.run_until(net.converged, 20) < 20


def test_a_lone_node_joins_at_once():
    net = Network(1)
    net.start()
    assert net.run_until(lambda: net.joined("n1"), 1) < 0.1


def test_a_node_waits_for_its_seed():
    net = Network(3)
    net.start("n2", "n3")
    net.run(10)
    assert not net.joined("n2")
    assert net.hosts["n2"].table
    net.start("n1")
    assert net.run_until(net.converged, 5) < 1


def test_a_seed_whose_fellow_seeds_do_not_answer_joins_alone_and_goes_on_asking_them():
    net = Network(4, seeds=("n1", "n2", "n3"), links=False)
    net.start("n2")
    took = net.run_until(lambda: net.joined("n2"), 10)
    assert 2 * net.settings.join_retry_s <= took < 1.5
    net.start("n3")
    assert net.run_until(net.converged, 2) < 2


def test_seeds_that_start_together_find_each_other():
    net = Network(5, seeds=("n1", "n2", "n3"))
    net.start()
    assert net.run_until(net.converged, 5) < 1


def test_a_node_that_is_not_on_the_list_is_not_made():
    with pytest.raises(ValueError, match="n9"):
        swim("n9", ["n1", "n2"])


def test_a_node_that_is_refused_before_it_joins_gives_the_reason():
    net = Network(2)
    net.start("n2")
    net.run(0.1)
    net.hand("n2", Refused("another cluster"), "n1")
    net.hand("n2", Refused("another cluster"), "n1")
    assert net.hosts["n2"].machine.refused == "another cluster"
    assert [e.fields["reason"] for e in net.events("member.refused")] == ["another cluster"]


def test_a_joined_node_is_not_stopped_by_a_refusal():
    net = converged_network(2)
    net.hand("n2", Refused("another member list"), "n1")
    assert net.hosts["n2"].machine.refused is None
    assert net.events("member.refused", member="n1")


# --- failure detection (SWIM sections 3.1 and 4.3) ----------------------------------------


def test_no_member_is_left_unpinged_for_longer_than_2n_minus_1_periods():
    net = converged_network(8)
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
    net = converged_network(count, seed=seed, links=False)
    net.run(net.chance.uniform(5, 10))
    crashed_at = net.now
    net.crash("n2")
    net.run_until(lambda: net.all_see("n2", DEAD), 60)
    first = net.events("member.suspect", member="n2")[0]
    assert first.at - crashed_at <= (2 * count - 1) * net.settings.probe_period_s
    assert first.fields["cause"] == "missed ping"
    assert first.fields["took_s"] == pytest.approx(1.0)
    assert net.all_see("n2", DEAD)
    assert none_suspected(net, "n2")
    first_death = net.events("member.dead", member="n2")[0]
    assert first_death.fields["cause"] == "suspicion timed out"
    assert first_death.fields["took_s"] == pytest.approx(3.0)
    assert {e.fields["cause"][:4] for e in net.events("member.dead")} <= {"susp", "told"}


def test_a_link_that_all_have_lost_is_a_suspicion_at_once():
    net = converged_network(5)
    net.run(5)
    crashed_at = net.now
    net.crash("n2")
    net.run_until(lambda: net.all_see("n2", SUSPECT), 5)
    first = net.events("member.suspect", member="n2")[0]
    assert first.fields["cause"] == "lost link"
    assert first.at - crashed_at < 0.03  # a few times the network's 5 ms
    assert net.all_see("n2", SUSPECT)
    net.run_until(lambda: net.all_see("n2", DEAD), 10)
    assert net.now - crashed_at < 3.1
    assert not net.events("health.changed")


def test_an_indirect_ping_saves_a_member_whose_link_to_one_node_is_cut():
    net = converged_network(5)
    drop_between(net, "n1", "n2")
    net.run(30)
    assert none_suspected(net)
    assert any(type(m) is PingReq for *_, m in net.traffic)


def drop_between(net, one, other):
    send = net._send

    def selective(sender, to, message):
        if {sender, to} != {one, other}:
            send(sender, to, message)

    net._send = selective


@pytest.mark.parametrize("seed", SEEDS)
def test_at_ten_percent_loss_no_living_member_stays_suspected_and_the_dead_one_is_detected(seed):
    net = converged_network(10, seed=seed, loss=0.1)
    net.run(60)
    assert not net.events("member.dead")
    net.crash("n5")
    net.run_until(lambda: net.all_see("n5", DEAD), 30)
    assert net.all_see("n5", DEAD)
    assert net.run_until(net.converged, 30) < 30


@pytest.mark.parametrize("count", [5, 20])
def test_the_load_is_about_two_messages_to_a_member_and_period(count):
    net = converged_network(count)
    net.run(10)
    net.sent.clear()
    net.run(50)
    for name in net.names:
        assert net.sent[name] / 50 == pytest.approx(2, abs=0.35)
    assert sum(net.sent.values()) / (50 * count) == pytest.approx(2, abs=0.05)


# --- refutation ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [SUSPECT, DEAD, LEFT])
def test_a_suspected_member_refutes_and_is_alive_to_all_again(status):
    net = converged_network(6)
    lie = MemberState("n3", status, 0, "disk-of-n3")
    net.hand("n2", Gossip((lie,)), "n1")
    assert net.status("n2", "n3") == status
    net.run_until(lambda: net.events("member.refuted"), 10)
    [refuted] = net.events("member.refuted")
    assert (refuted.node, refuted.fields["incarnation"]) == ("n3", 1)
    refuted = {MemberState("n3", ALIVE, 1, "disk-of-n3")}
    net.run_until(lambda: {net.state(seer, "n3") for seer in net.names} == refuted, 20)
    assert {net.state(seer, "n3") for seer in net.names} == refuted
    [again] = [e for e in net.events("member.alive", incarnation=1) if e.node == "n2"]
    assert (again.fields["took_s"] is None) == (status == LEFT)


def test_a_suspicion_already_refuted_is_answered_with_the_refutation():
    net = converged_network(3)
    net.hand("n3", Gossip((MemberState("n3", SUSPECT, 4, ""),)), "n1")
    net.run(20)
    net.traffic.clear()
    net.hand("n3", Ping(7, (MemberState("n3", SUSPECT, 2, ""),)), "n1")
    ack = net.traffic[-1][3]
    assert ack == Ack(7, "n3", (MemberState("n3", ALIVE, 5, "disk-of-n3"),))
    assert len(net.events("member.refuted")) == 1


@pytest.mark.parametrize("deadline_first", [False, True])
@pytest.mark.parametrize("pause_s", [2.5, 4, 20])
def test_a_stalled_node_suspects_no_member_and_is_alive_again(pause_s, deadline_first):
    net = converged_network(6)
    net.run(5.4)
    net.pause("n4")
    net.run(pause_s)
    net.resume("n4", deadline_first=deadline_first)
    net.run(20)
    own = [e for e in net.log if e.node == "n4" and e.name in ("member.suspect", "member.dead")]
    assert own == []
    assert [e.node for e in net.events("actor.stalled")] == ["n4"]
    assert none_suspected(net, "n4")
    assert net.converged()


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_pause_too_short_to_be_a_stall_no_member_is_declared_dead(seed):
    net = converged_network(6, seed=seed)
    net.run(net.chance.uniform(5, 6))
    net.pause("n4")
    net.run(0.9)
    net.resume("n4")
    net.run(10)
    assert none_suspected(net, "n4")
    assert not net.events("member.dead")


def test_a_suspicion_that_ran_out_during_a_stall_still_gives_time_to_refute():
    net = converged_network(4, links=False)
    net.hand("n1", Gossip((MemberState("n3", SUSPECT, 0, ""),)), "n2")
    net.pause("n1")
    net.run(10)
    net.resume("n1", deadline_first=True)
    net.run(10)
    assert not net.events("member.dead", member="n3")
    assert net.converged()


# --- splits, restarts and leaves --------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_both_sides_of_a_split_declare_each_other_dead_and_find_each_other_again(seed, links):
    net = converged_network(6, seed=seed, links=links)
    net.run(5)
    net.split("n1", "n2", "n3")
    net.run(30)
    for one, other in product(("n1", "n2", "n3"), ("n4", "n5", "n6")):
        assert net.status(one, other) == DEAD
        assert net.status(other, one) == DEAD
    assert not [e for e in net.events("member.dead", member="n5") if e.node in ("n4", "n6")]
    net.heal()
    assert net.run_until(net.converged, 60) < (5 if links else 60)
    net.run(20)
    assert net.converged()


def test_after_a_split_heals_no_living_member_is_declared_dead():
    net = converged_network(24, seed=2, links=False)
    net.split(*net.names[:12])
    net.run(45)
    for one, other in product(net.names[:12], net.names[12:]):
        assert net.status(one, other) == net.status(other, one) == DEAD
    net.log.clear()
    net.heal()
    net.run(30)
    assert net.converged()
    assert not net.events("member.dead")


@pytest.mark.parametrize("away_s", [40, 80])
def test_a_member_that_was_cut_off_from_all_has_no_living_member_declared_dead(away_s):
    net = converged_network(10)
    net.split("n2")
    net.run(away_s)
    assert all(net.status("n2", other) == DEAD for other in net.names if other != "n2")
    net.log.clear()
    net.heal()
    net.run(20)
    assert net.converged()
    assert not net.events("member.dead")


def test_what_a_dead_member_says_of_others_is_taken_for_a_suspicion():
    net = converged_network(4)
    net.hand("n1", Gossip((MemberState("n2", DEAD, 0, ""),)), "n4")
    net.hand("n1", Gossip((MemberState("n3", DEAD, 0, ""),)), "n2")
    assert net.status("n1", "n2") == DEAD
    assert net.status("n1", "n3") == SUSPECT


def test_a_member_that_learns_that_it_was_dead_spreads_no_verdict_that_it_had_queued():
    net = converged_network(4)
    net.run(20)
    rows = (MemberState("n3", SUSPECT, 0, ""), MemberState("n4", ALIVE, 1, "disk-of-n4"))
    net.hand("n1", Gossip(rows), "n4")
    net.traffic.clear()
    net.hand("n1", Gossip((MemberState("n1", DEAD, 0, ""),)), "n2")
    told = {row[:3] for _, _, to, sent in net.traffic if to == "n2" for row in sent.updates}
    assert told == {("n1", ALIVE, 1), ("n4", ALIVE, 1)}


@pytest.mark.parametrize("down_s", [0.05, 2, 20])
def test_a_restarted_node_begins_at_incarnation_0_and_rises_above_its_earlier_run(down_s):
    net = converged_network(5)
    net.run(5)
    net.crash("n3")
    net.run(down_s)
    net.start("n3")
    net.run_until(net.converged, 20)
    net.run(10)
    assert net.converged()
    seen = {net.state(seer, "n3") for seer in net.names}
    assert len(seen) == 1
    assert seen.pop().incarnation > 0


def test_a_restarted_seed_is_alive_again():
    net = converged_network(4)
    net.crash("n1")
    net.run(15)
    net.start("n1")
    assert net.run_until(net.converged, 20) < 5


def test_all_learn_that_a_member_has_left_and_none_suspects_it():
    net = converged_network(8)
    net.run(5)
    net.leave("n6")
    assert net.hosts["n6"].machine.next_deadline() is None
    net.run(0.01)
    assert net.all_see("n6", LEFT)
    net.run(0.1)
    net.crash("n6")
    net.run(20)
    assert none_suspected(net)
    assert len(net.events("member.left", member="n6")) == 8
    assert net.all_see("n6", LEFT)


def test_a_member_that_pings_one_that_has_left_is_answered_that_it_has():
    net = converged_network(3)
    net.leave("n3")
    net.traffic.clear()
    net.hand("n3", Ping(5, ()), "n1")
    assert net.traffic[-1][3] == Ack(5, "n3", (MemberState("n3", LEFT, 0, "disk-of-n3"),))


def test_a_node_that_left_can_come_back():
    net = converged_network(4)
    net.leave("n3")
    net.run(0.5)
    net.crash("n3")
    net.run(5)
    net.start("n3")
    assert net.run_until(net.converged, 20) < 5
    assert net.state("n1", "n3").incarnation == 1


# --- disks --------------------------------------------------------------------------------


def test_the_disks_of_a_new_cluster_vote_and_each_node_saves_each_other_s_once():
    net = converged_network(5)
    net.run(20)
    for name, disk in net.disks.items():
        assert disk.votes is True
        assert sorted(disk.saved) == sorted(
            (other, f"disk-of-{other}") for other in net.names if other != name
        )
    assert not net.events("disk.replaced")


@pytest.mark.parametrize("down_s", [0.05, 20])
def test_a_replaced_disk_is_noticed_and_does_not_vote(down_s):
    net = converged_network(4)
    replace_disk(net, "n3", down_s)
    assert_replaced(net)
    assert {net.state(seer, "n3").disk for seer in net.names} == {"new-disk"}
    assert all(disk.known["n3"] == "new-disk" for n, disk in net.disks.items() if n != "n3")


def test_a_replaced_disk_is_noticed_by_members_that_only_remember_it():
    net = converged_network(2)
    net.crash("n1")
    replace_disk(net, "n2", 1, "n1")
    assert_replaced(net, "n2")


def test_a_seed_that_voted_alone_stops_when_others_remember_another_disk():
    net = converged_network(3)
    for name in net.names:
        net.crash(name)
    net.run(1)
    net.disks["n1"].disk, net.disks["n1"].confirmed = "new-disk", False
    net.disks["n1"].known.clear()
    net.start("n1")
    net.run(3)
    assert net.disks["n1"].votes is True
    net.start("n2")
    net.run(3)
    assert_replaced(net, "n1")


def test_a_confirmed_disk_is_not_confirmed_again():
    net = converged_network(3)
    net.disks["n2"].votes = None
    net.crash("n2")
    net.run(1)
    net.start("n2")
    net.run(5)
    assert net.disks["n2"].votes is None


def test_what_storage_had_no_room_for_is_sent_again_until_it_has():
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


def test_that_a_replaced_disk_does_not_vote_is_sent_again_too():
    net = converged_network(3)
    net.crash("n3")
    net.disks["n3"].full = True
    net.disks["n3"].disk, net.disks["n3"].confirmed = "new-disk", False
    net.start("n3")
    net.run(5)
    assert net.disks["n3"].votes is True

    net.disks["n3"].full = False
    net.run(3 * net.settings.join_retry_s)

    assert_replaced(net)


def test_storage_may_answer_before_the_first_deadline():
    """As when storage answers the machine before this one, which has failed."""
    net = Network(2)
    net.start("n2")
    net.run(3)
    net.start("n1")
    machine, peer = net.hosts["n1"].machine, Peer("n2", GOSSIP)

    machine.receive(LoadDisksReply("d1", True, False, ()), Peer("n1", STORAGE), Now(net.now, 0))
    machine.receive(ExchangeReply(1, (), machine._boot), peer, Now(net.now, 0))

    net.run(3)
    assert net.events("member.joined")


def replace_disk(net, name, down_s, *also):
    if name in net.hosts:
        net.crash(name)
    net.run(down_s)
    disk = net.disks[name]
    disk.disk, disk.confirmed, disk.votes = "new-disk", False, None
    disk.known.clear()
    net.start(*also, name)
    assert net.run_until(net.converged, 20) < 20
    net.run(5)


def assert_replaced(net, name="n3"):
    assert net.disks[name].votes is False
    [replaced] = net.events("disk.replaced")
    assert (replaced.node, replaced.fields) == (
        name,
        {"disk": "new-disk", "before": f"disk-of-{name}"},
    )


def test_one_seed_gives_one_history():
    def history(seed):
        net = converged_network(6, seed=seed, loss=0.1)
        net.crash("n2")
        net.run(10)
        return net.log, net.traffic

    assert history(7) == history(7)
    assert history(7) != history(8)


@pytest.mark.parametrize("seed", range(12))
def test_after_any_mix_of_troubles_all_agree_again(seed):
    net = converged_network(7, seed=seed, seeds=("n1", "n4"), loss=0.05, links=seed % 2 == 0)
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
    assert net.run_until(net.converged, 120) < 120
    net.run(10)
    assert {net.state(seer, "n2") for seer in net.names} == {net.state("n2", "n2")}


# --- coming back ------------------------------------------------------------------------

QUICK = SwimSettings(probe_period_s=0.5, probe_timeout_s=0.2)
"""As in configs/three_nodes.yaml."""


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("away_s", [0.5, 4])
def test_no_member_is_suspected_over_a_restart_however_late_the_others_are_linked(count, away_s):
    for seed in range(20):
        net = converged_network(count, seed=seed, seeds=("n1", "n2"), settings=QUICK)
        net.crash("n2")
        net.run(away_s)
        net.start("n2", linked_in_s=0.4)
        net.log.clear()
        net.run(3)
        causes = [e.fields["cause"] for e in net.log if e.name == "member.suspect"]
        assert "missed ping" not in causes
        assert net.converged()


@pytest.mark.parametrize("linked_in_s", [0, 0.4, 100])
@pytest.mark.parametrize("lives_s", [0.1, 0.3, 0.6, 1.5])
@pytest.mark.parametrize("links", [True, False])
def test_a_member_that_dies_soon_after_its_return_is_declared_dead(linked_in_s, lives_s, links):
    net = converged_network(3, seeds=("n1", "n2"), settings=QUICK)
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


@pytest.mark.parametrize("down", [("n1",), ("n2",), ("n3", "n1"), ("n1", "n2", "n3")])
def test_a_member_that_remembers_a_disk_does_not_suspect_its_node_after_a_restart(down):
    net = converged_network(3, seeds=("n1", "n2"))
    net.run(5)
    for name in down:
        net.leave(name)
    net.run(1)
    for name in down:
        del net.hosts[name]
    net.log.clear()
    net.start(*down)
    assert net.run_until(net.converged, 20) < 20
    net.run(5)
    assert {event.node for event in net.events("member.refuted")} <= set(down)
    assert none_suspected(net)
    if len(down) == 3:
        assert not net.events("member.refuted")
        assert {net.state("n1", name).incarnation for name in net.names} == {0}


@pytest.mark.parametrize("seed", range(12))
def test_a_node_logs_a_state_before_it_sends_it(seed):
    """Each "told by n1", and what a node refutes, is in n1's own log, not later."""
    net = converged_network(6, seed=seed, seeds=("n1", "n4"), loss=0.1, links=seed % 2 == 0)
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


def test_a_node_with_other_settings_joins_and_each_side_logs_once_what_differs():
    net = Network(4)
    usual = {"swim.probe_period_s": 1.0, "durability": "sync", "of.another.version": 1}
    net.shared = dict.fromkeys(net.names, usual)
    net.shared["n3"] = {"swim.probe_period_s": 0.2, "durability": "sync"}
    net.start()
    assert net.run_until(net.converged, 30) < 30
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
