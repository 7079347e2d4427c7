"""Gossip with members that come and go: the member list follows the ring record."""

from __future__ import annotations

import pytest
from lone_swim import Alone
from swim_network import ALIVE, DEAD, SUSPECT, Network

from toystore.core.membership.members import MemberList, Members
from toystore.core.membership.suspicion import suspicion_min_s
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import (
    Exchange,
    Gossip,
    MemberState,
    Nack,
    Ping,
    PingReq,
)
from toystore.core.protocol.messages.local import MembersChanged, SendFailed
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.ring.record import Gone, Listed, founding


def started(count, **options):
    net = Network(count, **options)
    net.start()
    net.run_until(net.converged, 30)
    assert net.converged()
    return net


def knows(net, seer, name):
    """Whether any part of a node's gossip has the name of a member."""
    return repr(name) in repr(vars_of(net.hosts[seer].machine))


def vars_of(thing, seen=None):
    """The values of a machine and its parts, as plain containers."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return None
    seen.add(id(thing))
    if isinstance(thing, dict):
        return [(vars_of(key, seen), vars_of(one, seen)) for key, one in thing.items()]
    if isinstance(thing, list | tuple | set | frozenset):
        return [vars_of(one, seen) for one in thing]
    if not type(thing).__module__.startswith("toystore.core.membership"):
        return thing if isinstance(thing, str) else None
    names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
    names = [name for name in names if name not in ("gone", "_heap", "_configured")]
    return [vars_of(getattr(thing, name), seen) for name in names if hasattr(thing, name)]


# --- on a network ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_new_member_joins_while_the_others_gossip(loss):
    net = started(5, loss=loss)
    net.change("n1", "n2", "n3", "n4", "n5", "n6")
    net.follow()
    net.start("n6")
    net.run_until(lambda: net.converged() and len(net.hosts["n6"].table) == 6, 30)
    assert all(net.all_see(f"n{number}", ALIVE) for number in range(1, 7))
    net.run(60)
    assert not net.events("member.dead")


def test_a_new_member_joins_though_some_follow_late():
    net = started(5)
    net.change("n1", "n2", "n3", "n4", "n5", "n6")
    net.follow("n1", "n2")
    net.start("n6")
    net.run_until(lambda: net.joined("n6"), 30)
    assert net.joined("n6")
    net.run(10)
    assert "n6" not in net.hosts["n4"].table
    net.follow("n3", "n4", "n5")
    net.run_until(net.converged, 30)
    assert net.converged()


def test_a_member_is_removed_while_it_is_suspected_and_never_comes_back():
    net = started(6)
    net.crash("n4")
    net.run_until(lambda: net.status("n1", "n4") == SUSPECT, 30)
    assert all(knows(net, seer, "n4") for seer in net.hosts)
    net.change("n1", "n2", "n3", "n5", "n6", why="remove n4")
    net.follow()
    for seer in net.hosts:
        assert "n4" not in net.hosts[seer].table
        assert not knows(net, seer, "n4")
    logged = len(net.log)
    net.run(60)
    assert not [event for event in net.log[logged:] if event.fields.get("member") == "n4"]
    assert not any(knows(net, seer, "n4") for seer in net.hosts)


def test_a_removed_member_does_not_circle_while_nodes_follow_one_after_the_other():
    net = started(6, loss=0.1)
    net.crash("n4")
    net.run_until(lambda: net.all_see("n4", DEAD), 60)
    net.change("n1", "n2", "n3", "n5", "n6")
    for seer in ("n6", "n2", "n5", "n1", "n3"):
        net.follow(seer)
        net.run(5)
        assert "n4" not in net.hosts[seer].table
    net.run(30)
    assert not any(knows(net, seer, "n4") for seer in net.hosts)


def test_a_removed_member_that_is_still_there_is_ignored():
    net = started(4)
    net.change("n1", "n2", "n3")
    net.follow("n1", "n2", "n3")
    net.run(20)
    assert not any(knows(net, seer, "n4") for seer in ("n1", "n2", "n3"))
    assert not [event for event in net.events("member.suspect") if event.node != "n4"]


def test_a_member_that_is_removed_and_joins_again_inherits_nothing():
    net = started(5)
    net.split("n4")
    net.run_until(lambda: net.status("n1", "n4") == DEAD, 60)
    net.heal()
    net.run_until(net.converged, 60)
    assert net.state("n1", "n4").incarnation > 0
    net.crash("n4")
    net.run_until(lambda: net.all_see("n4", DEAD), 60)

    net.change("n1", "n2", "n3", "n5", why="remove n4")
    net.follow("n1", "n2", "n5")
    net.change("n1", "n2", "n3", "n4", "n5", why="join n4", rejoins=["n4"])
    net.follow("n1", "n2", "n5")  # n3 lags, and still spreads that n4 is dead.
    net.start("n4")
    net.run(20)
    for seer in ("n1", "n2", "n5", "n4"):
        row = net.state(seer, "n4")
        assert (row.status, row.incarnation, row.disk) == (ALIVE, 0, net.disks["n4"].disk)
    net.follow("n3")
    net.run_until(net.converged, 30)
    assert net.state("n3", "n4") == net.state("n1", "n4")
    assert net.disks["n4"].votes
    assert not net.events("disk.replaced")


def test_a_node_that_missed_a_removal_and_a_new_join_drops_the_old_row():
    net = started(4)
    net.crash("n3")
    net.run_until(lambda: net.all_see("n3", DEAD), 60)
    net.change("n1", "n2", "n4")
    net.follow("n1", "n2")
    net.change("n1", "n2", "n3", "n4", rejoins=["n3"])
    net.start("n3")
    net.follow()
    assert "n3" not in net.hosts["n4"].table
    net.run_until(net.converged, 30)
    assert {net.state(seer, "n3") for seer in net.hosts} == {net.state("n3", "n3")}
    assert net.state("n3", "n3").incarnation == 0


def test_a_node_that_starts_again_does_not_remember_a_disk_that_is_gone():
    net = started(4)
    net.crash("n3")
    net.change("n1", "n2", "n4")
    net.change("n1", "n2", "n3", "n4", rejoins=["n3"])
    net.follow()
    net.crash("n1")
    assert net.disks["n1"].known["n3"] == "disk-of-n3"
    net.start("n1")
    net.start("n3")
    net.run_until(net.converged, 30)
    assert net.converged()
    assert not net.events("disk.replaced")
    assert net.state("n3", "n3").incarnation == 0
    assert net.disks["n1"].known["n3"] == net.disks["n3"].disk


def test_a_node_replaces_another_under_another_name():
    net = started(5)
    net.crash("n2")
    net.change("n1", "n6", "n3", "n4", "n5", why="replace n2 n6")
    net.follow()
    net.start("n6")
    net.run_until(lambda: net.converged() and len(net.hosts["n1"].table) == 5, 30)
    assert net.converged()
    assert set(net.hosts["n3"].table) == {"n1", "n3", "n4", "n5", "n6"}


def test_both_sides_of_a_split_find_each_other_after_a_removal():
    net = started(7)
    net.crash("n7")
    net.run_until(lambda: net.all_see("n7", DEAD), 60)
    net.split("n5", "n6")
    net.run_until(lambda: net.status("n1", "n5") == DEAD and net.status("n5", "n1") == DEAD, 60)
    net.change("n1", "n2", "n3", "n4", "n5", "n6", why="remove n7")
    net.follow("n1", "n2", "n3", "n4")
    net.run(10)
    net.heal()
    net.run(10)
    assert not any(knows(net, seer, "n7") for seer in ("n1", "n2", "n3", "n4"))
    net.follow("n5", "n6")
    net.run_until(net.converged, 60)
    assert net.converged()
    net.run(30)
    assert not any(knows(net, seer, "n7") for seer in net.hosts)


def test_all_seeds_may_be_removed():
    net = started(4, seeds=("n1", "n2"))
    net.crash("n1")
    net.crash("n2")
    net.change("n3", "n4", "n5")
    net.follow()
    net.start("n5")
    net.run_until(net.converged, 30)
    assert net.converged()
    assert set(net.hosts["n5"].table) == {"n3", "n4", "n5"}


def test_a_seed_that_is_no_member_is_not_asked():
    net = started(4, seeds=("n1", "n2"))
    net.crash("n1")
    net.change("n2", "n3", "n4")
    net.follow()
    net.crash("n3")
    net.start("n3")
    net.traffic.clear()
    net.run_until(net.converged, 30)
    assert net.converged()
    asked = {to for _, sender, to, message in net.traffic if isinstance(message, Exchange)}
    assert "n1" not in asked


# --- one machine ----------------------------------------------------------------------------


def record(*names, gone=(), epoch=1):
    listed = [Listed(name, name, f"d-{name}", 1, "", "", ()) for name in names]
    first = founding("toys", 8, listed)
    for _ in range(epoch):
        first = first.next(b"lineage", gone=tuple(gone))
    return first


def follow(alone, *names, gone=(), epoch=1):
    alone.receive(RingChanged(record(*names, gone=gone, epoch=epoch).packed))


def suspect(name, *accusers):
    return MemberState(name, MemberStatus.SUSPECT, 0, f"d-{name}", accusers)


def test_a_probe_of_a_removed_member_ends():
    alone = Alone()
    alone.next()
    [(target, ping)] = alone.take(Ping)
    follow(alone, *{"n1", "n2", "n3", "n4", "n5"} - {target})
    alone.receive(SendFailed(target, "gossip", ping, False))
    for _ in range(20):
        alone.next()
        sent = alone.take()
        assert target not in [to for to, _ in sent]
        assert target not in [one.target for _, one in sent if isinstance(one, PingReq | Nack)]


def test_another_member_is_asked_in_place_of_a_removed_one():
    alone = Alone(others=5)
    alone.next()
    [(target, _)] = alone.take(Ping)
    asked = []
    while not asked:
        alone.next()
        asked = [to for to, _ in alone.take(PingReq)]
    follow(alone, *{f"n{number}" for number in range(1, 7)} - {asked[0]})
    [(other, request)] = alone.take(PingReq)
    assert other not in (target, *asked)
    assert request.target == target


def test_an_accuser_that_is_removed_does_not_count_any_more():
    alone = Alone(others=6)
    alone.receive(Gossip((suspect("n3", "n2", "n4"),)), "n2")
    before = alone.machine._detector._suspicions.first()
    follow(alone, "n1", "n3", "n4", "n5", "n6", "n7")
    assert alone.machine._members.get("n3").accusers == ("n4",)
    assert alone.machine._detector._suspicions.first() > before


def test_the_time_to_refute_follows_the_number_of_members():
    alone = Alone(others=2)
    alone.receive(Gossip((suspect("n3", "n2"),)), "n2")
    before = alone.machine._detector._suspicions.first()
    follow(alone, "n1", "n3")
    first = alone.machine._detector._suspicions.first()
    settings = alone.machine._settings
    assert first == alone.at + suspicion_min_s(settings.suspicion_mult, 2, settings.probe_period_s)
    assert first < before


def test_a_suspicion_is_learned_without_an_accuser_that_is_not_listed():
    members = Members(MemberList(["n1", "n2", "n3"]))
    [row] = members.news([suspect("n3", "n9", "n2")])
    assert row.accusers == ("n2",)


def test_the_other_actors_are_sent_who_was_removed():
    alone = Alone()
    follow(alone, "n1", "n2", "n3", "n4")
    sent = alone.take(MembersChanged)
    assert {message.removed for _, message in sent} == {("n5",)}
    assert [event.fields for event in alone.events if event.name == "member.removed"] == [
        {"member": "n5", "epoch": 1, "cause": "founded"}
    ]
    follow(alone, "n1", "n2", "n3", "n4", epoch=2)
    assert not alone.take()


def test_no_row_of_a_disk_that_is_gone_is_learned():
    alone = Alone()
    follow(alone, "n1", "n2", "n3", "n4", "n5", gone=[Gone("n5", "d-n5", 1)])
    assert not alone.machine._members.get("n5")
    dead = MemberState("n5", MemberStatus.DEAD, 7, "d-n5")
    alone.receive(Gossip((dead,)), "n2")
    assert not alone.machine._members.get("n5")
    alone.receive(Gossip((MemberState("n5", MemberStatus.ALIVE, 0, "new"),)), "n2")
    assert alone.machine._members.get("n5").disk == "new"


def test_updates_about_a_removed_member_are_not_spread():
    alone = Alone()
    alone.receive(Gossip((suspect("n5", "n2"),)), "n2")
    follow(alone, "n1", "n2", "n3", "n4")
    alone.take()
    for _ in range(10):
        alone.next()
        for _, message in alone.take(Ping, PingReq, Gossip):
            assert "n5" not in [row.name for row in message.updates]


def test_a_node_that_is_not_listed_itself_keeps_its_own_row():
    alone = Alone()
    follow(alone, "n2", "n3")
    assert alone.machine._members.get("n1")
    assert list(alone.machine._members.names) == ["n2", "n3", "n1"]
    alone.next()
