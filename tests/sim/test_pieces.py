"""The simulator's own pieces: what the network, the disk and the clocks do, and do not."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from toystore.check.history import OK, PUT, Row
from toystore.core.handoff.handoff import Handoff
from toystore.core.protocol.address import GOSSIP, HANDOFF, RING, Peer
from toystore.core.protocol.messages.local import LinkLost
from toystore.core.protocol.messages.ring import RingSeen
from toystore.core.protocol.roles import ACTORS
from toystore.core.storage.store import StoreFullError
from toystore.engines.base import MapFullError
from toystore.sim import audit
from toystore.sim.actor import BrokenMachineError
from toystore.sim.client import Ask, SimClient
from toystore.sim.cluster import AUDITOR, SimClock, SimCluster
from toystore.sim.disk import SimDisk
from toystore.sim.faults import KINDS, may_lose
from toystore.sim.minimise import smaller
from toystore.sim.network import AGAIN_S, QUEUE_MAX, SPLIT_BREAKS_S, Network
from toystore.sim.scenario import CALM, Rates
from toystore.sim.swarm import draw, read_scenario
from toystore.sim.world import World

# --- the world --------------------------------------------------------------------------


def test_what_is_due_at_one_moment_happens_in_the_order_in_which_it_was_asked_for():
    world, happened = World(1), []
    for number in range(5):
        world.after(1.0, lambda number=number: happened.append(number))

    world.run(2.0)

    assert happened == [0, 1, 2, 3, 4]


def test_time_stands_where_it_was_to_stop_though_nothing_happens():
    world = World(1)
    began = world.now

    assert not world.run_until(lambda: False, 3.0)

    assert world.now == began + 3.0


def test_streams_of_chance_do_not_disturb_each_other():
    one, other = World(1), World(1)
    one.chance("a").random()

    assert one.chance("b").random() == other.chance("b").random()


# --- the network ------------------------------------------------------------------------


class Wire:
    """A link between two hosts, and what came through it."""

    def __init__(self, rates: Rates = CALM, *, wild: bool = False, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = Network(self.world, rates)
        self.arrived: list[bytes] = []
        self.answers: list[bytes] = []
        self.news: list[bool] = []
        self.network.host_up("b")
        self.link = self.network.link("a", "b", self.news.append, self.answers.append, wild=wild)
        self.world.run(1.0)

    def send(self, count: int) -> list[bytes]:
        frames = [b"%d" % number for number in range(count)]
        for frame in frames:
            self.link.send(frame, self.arrived.append)
        return frames


def test_a_link_comes_up_by_itself_and_keeps_frames_in_order():
    wire = Wire(Rates(delay=0.5))

    frames = wire.send(50)
    wire.world.run(60.0)

    assert wire.news == [True]
    assert wire.arrived == frames


def test_a_split_holds_frames_up_until_it_ends():
    wire = Wire()
    wire.network.split("a", "b")

    frames = wire.send(3)
    wire.world.run(SPLIT_BREAKS_S / 2)
    assert wire.arrived == []
    wire.network.heal("a", "b")
    wire.world.run(1.0)

    assert wire.arrived == frames
    assert wire.news == [True]


def test_a_split_that_lasts_breaks_the_link_and_loses_what_it_held():
    wire = Wire()
    wire.network.split("b", "a")

    wire.send(3)
    wire.link.answer(b"answer")
    wire.world.run(SPLIT_BREAKS_S + 1.0)
    assert wire.news == [True, False]
    wire.network.heal("b", "a")
    wire.world.run(1.0)

    assert wire.news == [True, False, True]
    assert wire.answers == []


def test_a_split_of_one_way_lets_the_other_way_pass():
    wire = Wire()
    wire.network.split("a", "b")

    wire.send(1)
    wire.link.answer(b"answer")
    wire.world.run(1.0)

    assert (wire.arrived, wire.answers) == ([], [b"answer"])


def test_two_reasons_for_a_split_must_both_end():
    wire = Wire()
    wire.network.split("a", "b")
    wire.network.split("a", "b")
    frames = wire.send(1)

    wire.network.heal("a", "b")
    wire.world.run(0.5)
    assert wire.arrived == []
    wire.network.heal("a", "b")
    wire.world.run(0.5)

    assert wire.arrived == frames


def test_what_is_under_way_to_a_process_that_ends_is_lost():
    wire = Wire()

    wire.send(3)
    wire.network.host_down("b")
    wire.network.host_up("b")
    wire.world.run(1.0)

    assert wire.arrived == []
    assert wire.news == [True, False, True]


@pytest.mark.parametrize("cause", ["power cut", "split"])
def test_of_a_host_that_falls_silent_nobody_hears_at_once(cause):
    wire = Wire()
    if cause == "split":
        wire.network.split("b", "a")
    wire.network.host_down("b", silently=cause == "power cut")

    wire.world.run(SPLIT_BREAKS_S * 0.9)
    assert wire.link.up
    wire.world.run(SPLIT_BREAKS_S * 0.2)
    assert not wire.link.up


def lost(wire: Wire, by: Callable[[Network], None]) -> list[str]:
    """What the owner of the link learns after ``by``, in two breaks of a split."""
    told: list[str] = []
    wire.link.on_refused = lambda: told.append("refused")
    by(wire.network)
    wire.world.run(2 * SPLIT_BREAKS_S)
    return told


def test_a_host_whose_process_has_ended_refuses_once_and_others_do_not():
    def split_off(network: Network) -> None:
        network.split("b", "a")
        network.host_down("b")

    assert lost(Wire(), lambda network: network.host_down("b")) == ["refused"]
    assert lost(Wire(), lambda network: network.host_down("b", silently=True)) == []
    assert lost(Wire(), lambda network: network.reset("a", "b")) == []
    assert lost(Wire(), split_off) == []


def test_a_host_that_did_not_refuse_is_asked_again():
    wire = Wire()

    def split_off_for_a_time(network: Network) -> None:
        network.split("b", "a")
        network.host_down("b")
        wire.world.after(SPLIT_BREAKS_S + AGAIN_S / 2, lambda: network.heal("b", "a"))

    assert lost(wire, split_off_for_a_time) == ["refused"]


def test_who_finds_a_silent_host_back_hears_that_the_link_was_lost():
    wire = Wire()
    wire.network.host_down("b", silently=True)
    wire.network.host_up("b")

    wire.world.run(1.0)

    assert wire.news == [True, False, True]
    wire.world.run(SPLIT_BREAKS_S)
    assert wire.news == [True, False, True]


def test_a_clogged_link_fills_up():
    wire = Wire()
    wire.network.clog("a", "b")

    wire.send(QUEUE_MAX)

    assert wire.link.full


def test_a_wild_link_loses_doubles_and_reorders_frames_and_a_tame_one_does_not():
    rates = Rates(wild=0.3, delay=0.3)
    wild, tame = Wire(rates, wild=True), Wire(rates)

    frames = wild.send(200)
    tame.send(200)
    for wire in (wild, tame):
        wire.world.run(60.0)

    assert tame.arrived == frames
    assert set(wild.arrived) < set(frames)
    assert len(wild.arrived) > len(set(wild.arrived))
    once = list(dict.fromkeys(wild.arrived))
    assert once != sorted(once, key=int)


def test_datagrams_are_lost_and_doubled_at_the_rates_that_are_set():
    world = World(1)
    network = Network(world, Rates(loss=0.2, double=0.1))
    arrived = []

    for _ in range(1000):
        network.datagram("a", "b", lambda: arrived.append(1))
    world.run(1.0)

    assert 820 < len(arrived) < 940


# --- disks ------------------------------------------------------------------------------


def disk(*, syncs: bool = True, map_full_rate: float = 0.0) -> SimDisk:
    return SimDisk(random.Random(1), syncs=syncs, map_full_rate=map_full_rate)


def write(to: SimDisk, key: bytes, value: bytes = b"value", *, ended: bool = True) -> None:
    to.begin()
    to.put(key, value)
    to.commit()
    if ended:
        to.end_commit()


def put_many(to: SimDisk) -> None:
    for number in range(10):
        to.put(b"R%d" % number, b"value")


@pytest.mark.parametrize("after_commit", [True, False])
@pytest.mark.parametrize("power", [True, False])
def test_a_crash_in_a_commit_finds_it_done_or_not(after_commit, power):
    device = disk()
    write(device, b"R1")
    write(device, b"R2", ended=False)

    lost = device.crash(power=power, after_commit=after_commit)

    assert not lost
    assert device.get(b"R1") == b"value"
    assert (device.get(b"R2") is not None) == after_commit


def test_a_power_cut_takes_the_end_of_what_was_not_synced_and_kill_takes_nothing():
    killed, kept = disk(syncs=False), set()
    for number in range(5):
        write(killed, b"R%d" % number)
    assert not killed.crash(power=False, after_commit=True)
    assert all(killed.get(b"R%d" % number) for number in range(5))

    for seed in range(50):
        device = SimDisk(random.Random(seed), syncs=False, map_full_rate=0.0)
        write(device, b"R0")
        device.sync()
        for number in range(1, 5):
            write(device, b"R%d" % number)
        lost = device.crash(power=True, after_commit=True)
        there = [number for number in range(5) if device.get(b"R%d" % number)]
        assert there == list(range(len(there)))
        assert lost == (len(there) < 5)
        kept.add(len(there))

    assert kept == {1, 2, 3, 4, 5}


def test_a_full_disk_refuses_in_the_middle_of_a_batch_and_the_batch_can_be_undone():
    device = disk()
    device.full = True

    device.begin()
    with pytest.raises(StoreFullError):
        put_many(device)
    device.abort()

    assert list(device.scan(b"")) == []


def test_a_map_may_be_full():
    device = disk(map_full_rate=1.0)
    write(device, b"r")  # an empty store is not large

    device.begin()
    with pytest.raises(MapFullError):
        put_many(device)


def test_rot_flips_one_bit_of_one_record_and_leaves_the_time_of_a_hint():
    for seed in range(20):
        device = SimDisk(random.Random(seed), syncs=True, map_full_rate=0.0)
        write(device, b"H1", bytes(50))
        write(device, b"mfact", bytes(50))

        assert device.rot()

        assert device.get(b"mfact") == bytes(50)
        assert device.get(b"H1")[:8] == bytes(8)
        assert sum(byte.bit_count() for byte in device.get(b"H1")) == 1


def test_a_disk_without_records_has_nothing_to_rot():
    assert not disk().rot()


# --- clocks and faults ------------------------------------------------------------------


def test_a_clock_that_jumps_and_drifts_counts_seconds_as_before():
    world = World(1)
    clock, true = SimClock(world, 5.0), SimClock(world, 5.0)

    clock.jump(60.0)
    clock.drift(0.5)
    world.run(10.0)

    assert clock.now().monotonic == true.now().monotonic
    assert (clock.now().wall_us - true.now().wall_us) / 1e6 == pytest.approx(65.0)
    clock.drift(-0.5)
    clock.jump(-60.0)
    world.run(10.0)
    assert (clock.now().wall_us - true.now().wall_us) / 1e6 == pytest.approx(5.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_can_begin_and_end_at_any_time_and_be_mended(kind):
    drawn = 0
    for seed in range(100):
        scenario = draw(seed)
        for fault in KINDS[kind].draw(scenario, random.Random(seed)):
            drawn += 1
            cluster = SimCluster(scenario)
            KINDS[fault.kind].begin(cluster, fault)
            cluster.start()
            cluster.world.run(1.0)
            KINDS[fault.kind].begin(cluster, fault)
            cluster.world.run(1.0)
            KINDS[fault.kind].end(cluster, fault)
            KINDS[fault.kind].end(cluster, fault)
            cluster.mend()
            assert all(node.running for node in cluster.members if not node.gone)
        if drawn > 5:
            break
    assert drawn


def a_cluster_at_rest() -> SimCluster:
    """Three nodes with all three copies of everything, and nothing wrong with them."""
    calm = replace(draw(1), nodes=3, n=3, r=2, w=2, seeds=2, rates=CALM, faults=())
    cluster = SimCluster(calm)
    cluster.start()
    cluster.world.run(10.0)
    return cluster


def put(cluster: SimCluster, key: str) -> Row:
    """What became of one put."""
    rows: list[Row] = []
    client = SimClient(cluster, AUDITOR, rows)
    client.ask(Ask(PUT, "default", key, "v"), lambda _: None)
    assert cluster.world.run_until(lambda: bool(rows), 5.0)
    return rows[0]


def test_who_relapses_dies_over_the_first_hints_that_it_is_brought():
    cluster = a_cluster_at_rest()
    relapse = next(
        faults
        for seed in range(99)
        if (faults := KINDS["relapse"].draw(cluster.scenario, random.Random(seed)))[0].for_s > 0.1
    )
    node = cluster.nodes[relapse[0].on[0]]
    for fault in relapse:
        cluster.world.after(fault.at_s, partial(KINDS[fault.kind].begin, cluster, fault))
        cluster.world.after(
            fault.at_s + fault.for_s, partial(KINDS[fault.kind].end, cluster, fault)
        )
    assert cluster.world.run_until(lambda: not node.running, 60.0)
    assert put(cluster, "k").outcome == OK

    assert cluster.world.run_until(lambda: node.running, 60.0)
    assert cluster.world.run_until(lambda: not node.running, 2.0)
    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)


def test_a_node_that_is_started_while_it_stops_comes_back():
    cluster = a_cluster_at_rest()
    node = cluster.nodes["n1"]
    boots = node.boots
    node.stop()
    assert node.running

    node.start()

    assert cluster.world.run_until(lambda: node.boots > boots, 3.0)
    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)


@pytest.mark.parametrize("role", ACTORS)
def test_machines_that_fail_are_replaced_and_their_nodes_serve_on(role):
    cluster = a_cluster_at_rest()
    actors = [node.actors[role] for node in cluster.nodes.values()]
    machines = [actor.machine for actor in actors]
    for actor in actors:
        actor.fails = True
        if role == RING:
            actor.tell(RingSeen("n2", 1), Peer("n1", GOSSIP))

    put(cluster, "k")
    cluster.world.run(3.0)

    assert machines != [actor.machine for actor in actors]
    cluster.mend()
    assert cluster.world.run_until(lambda: audit.is_well(cluster), 60.0)
    assert put(cluster, "k").outcome == OK


def test_a_machine_that_sends_where_its_actor_has_no_link_has_broken():
    cluster = a_cluster_at_rest()
    handoff = cluster.nodes["n1"].actors[HANDOFF]
    handoff.turn.outbox.send(Peer("n1", GOSSIP), LinkLost("n2"))

    with pytest.raises(BrokenMachineError, match="handoff has no link to gossip"):
        cluster.world.run(5.0)


def test_a_machine_whose_deadline_stays_in_the_past_has_broken(monkeypatch):
    cluster = a_cluster_at_rest()
    monkeypatch.setattr(Handoff, "next_deadline", lambda self: 0.0)

    with pytest.raises(BrokenMachineError, match="turns without end"):
        cluster.world.run(1.0)


def test_what_is_smaller_can_be_written_down_and_run():
    for seed in range(100):
        scenario = draw(seed)
        for change in smaller(scenario):
            less = replace(scenario, **change)
            assert read_scenario(less.to_json()) == less


def test_fewer_nodes_than_w_may_lose_what_they_had():
    for seed in range(100):
        scenario = draw(seed)
        assert len(may_lose(scenario)) == scenario.w - 1
        losing = {"lost disk", "rot", "power cut" if scenario.durability == "async" else ""}
        losers = {name for f in scenario.faults if f.kind in losing for name in f.on}
        assert losers <= set(may_lose(scenario))
