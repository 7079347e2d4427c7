"""Simulated nodes follow ring records: links, headers, and the end of those that were removed."""

from dataclasses import replace

import pytest

from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import ANTIENTROPY, RING, STORAGE, Peer
from toystore.core.protocol.messages.antientropy import StoreRecords
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.record import Gone, Listed, RingRecord
from toystore.core.storage.layout import RECORD
from toystore.engines.memory import MemoryEngine
from toystore.sim.cluster import SimCluster
from toystore.sim.faults import may_lose
from toystore.sim.least_moved import LeastMoved
from toystore.sim.run import Report, run
from toystore.sim.scenario import CALM, Comparing, Fault, Scenario
from toystore.sim.swarm import draw

from . import planted_rings


def a_cluster(nodes: int = 4) -> SimCluster:
    """Some nodes that have started."""
    scenario = replace(
        draw(1),
        nodes=nodes,
        n=2,
        r=2,
        w=2,
        seeds=1,
        partitions=8,
        exchange_periods=3,
        rates=CALM,
        faults=(),
    )
    cluster = SimCluster(scenario)
    cluster.start()
    cluster.world.run(5.0)
    return cluster


def without(cluster: SimCluster, name: str) -> RingRecord:
    """The record that follows the newest, and does not list a member."""
    newest = cluster.rings.newest
    disk = cluster.nodes[name].plan.disk
    return newest.next(
        cluster.lineage,
        members=tuple(one for one in newest.members if one.name != name),
        gone=(*newest.gone, Gone(name, disk, newest.epoch + 1)),
    )


def offer(cluster: SimCluster, name: str, *records: RingRecord) -> None:
    """Let the storage of a node adopt records."""
    packed = tuple(record.packed for record in records)
    cluster.nodes[name].actors[STORAGE].tell(OfferRings(1, packed), Peer(name, RING))


def epochs(cluster: SimCluster) -> dict[str, int]:
    """The epoch of each member's anti-entropy."""
    return {node.name: node.actors[ANTIENTROPY].plan.record.epoch for node in cluster.members}


def test_a_record_that_one_node_adopts_reaches_all_and_who_is_not_listed_ends():
    cluster = a_cluster()

    offer(cluster, "n1", without(cluster, "n4"))

    gone = cluster.nodes["n4"]
    assert cluster.world.run_until(lambda: not gone.running, 30.0)
    assert cluster.world.run_until(lambda: set(epochs(cluster).values()) == {1}, 30.0)
    links = [
        link for node in cluster.members for actor in node.actors.values() for link in actor.links
    ]
    assert {to.node for to in links} == {"n1", "n2", "n3"}
    gone.start()
    assert gone.actors.keys() == {STORAGE, RING}
    assert cluster.world.run_until(lambda: not gone.running, 30.0)
    assert not cluster.rings.violations


def test_a_removed_node_that_reaches_no_member_stays_and_brings_them_the_record():
    cluster = a_cluster()
    leaver, others = cluster.nodes["n4"], ("n1", "n2", "n3")
    for name in others:
        cluster.network.split("n4", name)
        cluster.network.split(name, "n4")
    offer(cluster, "n4", without(cluster, "n4"))
    cluster.world.run(10.0)
    assert leaver.actors.keys() == {STORAGE, RING}

    leaver.kill("at once")
    cluster.world.run(1.0)
    leaver.start()
    for name in others:
        cluster.network.heal("n4", name)
        cluster.network.heal(name, "n4")

    assert cluster.world.run_until(lambda: set(epochs(cluster).values()) == {1}, 30.0)
    assert cluster.world.run_until(lambda: not leaver.running, 30.0)


def test_a_node_that_was_down_for_two_changes_follows_both():
    cluster = a_cluster()
    cluster.nodes["n3"].kill("at once")
    offer(cluster, "n1", without(cluster, "n4"))
    assert cluster.world.run_until(lambda: not cluster.nodes["n4"].running, 30.0)
    again = cluster.rings.newest.next(cluster.lineage, why="nothing")
    offer(cluster, "n2", again)
    cluster.world.run(5.0)

    cluster.nodes["n3"].start()

    assert cluster.world.run_until(lambda: set(epochs(cluster).values()) == {2}, 30.0)
    assert set(cluster.rings.records) == {0, 1, 2}


def test_two_records_of_one_epoch_are_seen():
    cluster = a_cluster()
    cluster.rings.adopted("n1", without(cluster, "n4"))

    cluster.rings.adopted("n2", replace(without(cluster, "n4"), parent=b"", why="another"))

    promises = [violation.promise for violation in cluster.rings.violations]
    assert promises == ["one_ring"]


# --- changes with data ------------------------------------------------------------------


def changed(how: str, *others: Fault, r: int = 2, w: int = 2) -> Report:
    """The report of a calm run in which the ring changes once, under load."""
    return run(scenario_of(how, *others, r=r, w=w))


def scenario_of(how: str, *others: Fault, r: int = 2, w: int = 2) -> Scenario:
    """Five nodes without mishaps, and a change of the ring after 5 s."""
    return replace(
        draw(7),
        nodes=5,
        n=3,
        r=r,
        w=w,
        partitions=8,
        durability="sync",
        requests_max=1024,
        hint_bytes_max=2**20,
        exchange_periods=3,
        clients=5,
        keys=50,
        think_s=0.02,
        beat_s=0.0,
        own_quorums=0.0,
        duration_s=15.0,
        comparing=Comparing(batch_bytes=200, move_bytes_per_s=1000),
        rates=CALM,
        faults=(Fault("ring change", 5.0, 0.0, ("n1", "n2"), how=how), *others),
    )


@pytest.mark.parametrize("how", ["join n6", "leave n4", "replace n4 n6"])
def test_a_change_under_load_keeps_every_promise_and_fails_no_request(how):
    assert not changed(how).violations


def changed_with_faults(how: str, *others: Fault) -> Report:
    """The same under less load, with other faults."""
    scenario = scenario_of(how, *others, r=1, w=3)
    return run(replace(scenario, clients=2, keys=20, think_s=0.1, duration_s=12.0))


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("n6", "before whole"),
        ("n6", "after whole"),
        ("n1", "before retired"),
        ("n1", "after released"),
        ("n2", "before stable"),
        ("n1", "after sweep"),
        ("n1", "at decision"),
    ],
)
def test_a_node_that_dies_at_a_step_of_a_change_breaks_no_promise(name, moment):
    kill = Fault("ring kill", 5.0, 4.0, (name,), how=moment)

    assert not changed_with_faults("join n6", kill).violations


def test_two_operators_on_two_sides_of_a_split_decide_on_one_ring():
    sides = ("n1", "n2"), ("n3", "n4", "n5")
    split = Fault("split", 4.8, 3.0, sides[0], how="both ways")
    other = Fault("ring change", 5.0, 0.0, sides[1], how="leave n2")

    assert not changed_with_faults("join n6", split, other).violations


def test_a_node_that_was_removed_stays_out_when_it_returns_with_its_disk():
    outcast = Fault("outcast", 3.0, 8.0, (may_lose(scenario_of(""))[0],))

    assert not changed_with_faults("reweigh n1 2", outcast).violations


LOSER = may_lose(scenario_of("", r=1, w=3))[0]
"""A founding member that may lose its disk."""


@pytest.mark.parametrize(
    ("how", "beside"),
    [
        ("join n6", Fault("lost disk", 5.5, 1.0, (LOSER,))),
        (f"leave {LOSER}", Fault("lost disk", 5.5, 1.0, (LOSER,))),
        ("join n6", Fault("full disk", 5.5, 4.0, ("n6",))),
        ("join n6", Fault("pause", 4.9, 7.0, ("n3",), how="coordinator")),
        ("join n6", Fault("cut", 4.0, 8.0, ("n1", "n4"))),
        ("join n6", Fault("stale keeper", 5.0, 7.0, ("n1", LOSER))),
    ],
    ids=lambda given: given.kind if isinstance(given, Fault) else given,
)
def test_what_strikes_beside_a_change_breaks_no_promise(how, beside):
    assert not changed_with_faults(how, beside).violations


PAUSED = Fault("pause", 4.9, 8.0, ("n3", "n4", "n5"), how="ring")
"""These coordinators do not learn of the change while it goes on."""


@pytest.mark.parametrize(
    ("fault", "how", "others", "wild", "promise"),
    [
        (
            planted_rings.an_owners_write_of_an_old_ring_is_stored,
            "join n6",
            (PAUSED,),
            0.0,
            "acknowledged_votes",
        ),
        (planted_rings.an_owner_that_is_behind_votes, "join n6", (), 0.0, "quorums_overlap"),
        (
            planted_rings.a_slot_counts_by_its_old_node_alone,
            "leave n4",
            (),
            0.45,
            "acknowledged_votes",
        ),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_planted_fault_of_requests_is_caught_while_ranges_move(
    fault, how, others, wild, promise, monkeypatch
):
    fault(monkeypatch)
    scenario = replace(
        scenario_of(how, *others, r=1, w=3),
        seed=7 if others else 0,
        clients=3,
        think_s=0.04,
        duration_s=10.0,
        value_bytes=100 if wild else 0,
        rates=CALM._replace(wild=wild),
    )

    seeds = (20, *range(10)) if wild else (scenario.seed,)
    assert any(promise in run(replace(scenario, seed=seed)).promises for seed in seeds)


# --- checks -----------------------------------------------------------------------------


N5 = Listed("n5", "n5", "", 1, "", "n5", ())
KEYS = [b"%d" % number for number in range(100)]


def digest(key: bytes) -> bytes:
    return digest_of("default", key, 2)


def test_it_is_seen_if_more_moves_than_has_to():
    cluster = a_cluster()
    record = cluster.rings.newest
    moving = record.next(cluster.lineage, old=record.members, members=(*record.members, N5))
    ring, disk = cluster.ring.follow(moving), MemoryEngine()
    check = LeastMoved(lambda: dict.fromkeys(moving.all, disk), [2])
    key = next(key for key in KEYS if "n5" in ring.owners(ring.partition_of(digest(key)), 2))
    packed = pack_record(pack_stamp(1, 0, bytes(8)), "default", key, bytes(1000))
    disk.begin()
    disk.put(RECORD + digest(key), packed)
    disk.commit()
    message = StoreRecords(1, 2, (packed,))

    joined = Ranges(ring, "n5", [2])
    for _ in range(4):
        check.stored(joined, message)
    assert not check.ended(moving, cluster.ring)
    check.stored(joined, message)

    assert [one.promise for one in check.ended(moving, cluster.ring)] == ["least_moved"]
