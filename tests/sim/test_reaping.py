"""Simulated clusters in which tombstones are removed, and the checks of that."""

from typing import NamedTuple

import pytest

from toystore.check.history import DELETE, FAIL, GET, OK, PUT, UNKNOWN, Row
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.messages.antientropy import StoreRecords
from toystore.core.protocol.messages.replica import RepairReplica, WriteReplica
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.record import Listed, RingRecord, founding
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import RECORD, floor_key, hint_key, state_key
from toystore.sim.client import operations
from toystore.sim.disk import SimDisk
from toystore.sim.floors import Floors
from toystore.sim.run import run
from toystore.sim.swarm import draw
from toystore.sim.world import World

from . import planted_reaping
from .reaping_scene import REAP_AFTER_S, REAPED_S, Scene

SEEDS = (0, 1, 2)
RING_SEEDS = (0,)
N = 3
LINK_LOST_S = 4.0
"""After this time a split has broken all links."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_in_which_tombstones_are_removed_keeps_every_promise(seed):
    assert not run(draw(seed, reaping=True)).violations


@pytest.mark.parametrize("seed", RING_SEEDS)
def test_a_seed_in_which_the_ring_changes_meanwhile_keeps_every_promise(seed):
    assert not run(draw(seed, rings=True, reaping=True)).violations


def test_without_reaping_a_seed_is_as_it_was():
    scenario = draw(1)

    assert not scenario.reaps
    assert operations(scenario.deletes) == (PUT,) * 9 + (GET,) * 9 + (DELETE,) * 2


# --- reads of what was removed ----------------------------------------------------------

DIGEST = digest_of("default", b"k", N)
OF = Range(N, 0)


class Disks:
    """Two members, and the checks of their floors."""

    def __init__(self) -> None:
        chance = World(0).chance("disks")
        self.of = {name: SimDisk(chance, syncs=True, map_full_rate=0.0) for name in ("n1", "n2")}
        self.floors = Floors(lambda: self.of, lambda _: OF)

    def commit(self, name: str, at_s: float, changes: dict[bytes, bytes | None]) -> set[str]:
        """The promises that a batch breaks."""
        disk = self.of[name]
        disk.begin()
        for key, value in changes.items():
            if value is None:
                disk.delete(key)
            else:
                disk.put(key, value)
        disk.commit()
        found = self.floors.committed(name, RANGES[name], disk, at_s)
        disk.end_commit()
        return {violation.promise for violation in found}


def ranges(name: str, record: RingRecord) -> Ranges:
    """Those of a node of a ring of two, each an owner of all."""
    return Ranges(RingView(record, N), name, [N])


STABLE = founding("sim", 8, (Listed(name, name, "", 1, "", name, ()) for name in ("n1", "n2")))
RANGES = {name: ranges(name, STABLE) for name in ("n1", "n2")}


def at(time_us: int) -> bytes:
    """A stamp."""
    return pack_stamp(time_us, 0, b"minter__")


def floor(time_us: int) -> bytes:
    """A floor as it is stored."""
    return time_us.to_bytes(8, "big")


def record_of(time_us: int, *, dead: bool) -> bytes:
    """A record of the key."""
    return pack_record(at(time_us), "default", b"k", b"" if dead else b"v", tombstone=dead)


def row(operation: str, time_us: int = 0, outcome: str = OK, return_s: float = 1.0) -> Row:
    """A request of the key."""
    stamp = at(time_us).hex() if time_us else ""
    return Row("c1", operation, "default/k", None, 0.0, return_s, outcome, stamp=stamp, n=N)


def test_a_read_of_nothing_is_one_of_the_newest_delete_below_the_floor_of_its_time():
    disks = Disks()
    for delete in (row(DELETE, 10), row(DELETE, 20, UNKNOWN), row(DELETE, 90), row(PUT, 25)):
        disks.floors.answered(delete)
    disks.floors.answered(row(DELETE, 30, FAIL))
    disks.commit("n1", 5.0, {floor_key(OF): floor(15)})
    disks.commit("n2", 6.0, {floor_key(OF): floor(50)})

    rows = [row(GET, return_s=at_s) for at_s in (4.0, 5.5, 7.0)]
    stamps = [one.stamp for one in disks.floors.complete(rows)]

    assert stamps == ["", at(10).hex(), at(20).hex()]
    assert disks.floors.removed_at(disks.of["n1"], DIGEST) == at(10)


def test_a_floor_that_sinks_is_found_unless_the_disk_is_another():
    disks = Disks()
    assert not disks.commit("n1", 1.0, {floor_key(OF): floor(15)})
    assert disks.commit("n1", 2.0, {floor_key(OF): floor(14)}) == {"floors_only_rise"}
    assert disks.commit("n1", 3.0, {floor_key(OF): None}) == {"floors_only_rise"}

    disks.commit("n2", 1.0, {floor_key(OF): floor(15)})
    disks.floors.forget("n2")
    assert not disks.commit("n2", 2.0, {floor_key(OF): floor(14)})


def test_a_floor_that_rises_while_the_ring_moves_is_found(monkeypatch):
    moving = STABLE.next(b"", members=STABLE.members[:1], old=STABLE.members)
    monkeypatch.setitem(RANGES, "n1", ranges("n1", moving))
    disks = Disks()

    assert disks.commit("n1", 1.0, {floor_key(OF): floor(15)}) == {"floors_rise_at_rest"}


def test_a_tombstone_that_is_removed_while_a_member_keeps_an_older_value_is_found():
    value, key = record_of(5, dead=False), RECORD + DIGEST
    kept = {"record": {key: value}, "hint": {hint_key("n1", DIGEST): bytes(8) + value}}
    harmless = {
        "newer": {key: record_of(20, dead=False)},
        "tombstone": {key: record_of(5, dead=True)},
        "corrupt": {key: value[:-1] + b"?"},
        "behind": {key: value, state_key(OF): b""},
    }
    found = {}
    for what, stored in (kept | harmless).items():
        disks = Disks()
        disks.commit("n1", 1.0, {key: record_of(10, dead=True)})
        disks.commit("n2", 1.0, stored)
        found[what] = disks.commit("n1", 2.0, {floor_key(OF): floor(15), key: None})

    assert {what for what, promises in found.items() if promises} == set(kept)
    assert found["hint"] == {"deletes_are_final"}


# --- scenes -----------------------------------------------------------------------------


def hints_are_kept_for_long() -> Scene:
    """A node keeps hints of values for an owner that it cannot reach, and they are deleted."""
    scene = Scene(N + 1)
    first, second, third, other = scene.order
    for name in (third, other):
        scene.split(name, second)
    scene.run(LINK_LOST_S)
    scene.put_all(third)
    scene.delete_all(first)
    scene.run(REAPED_S)
    for name in (third, other):
        scene.heal(name, second)
    return scene


def an_owner_lacks_the_tombstones() -> Scene:
    """An owner had no room for them, and is not compared before they are old."""
    scene = Scene(hint_bytes_max=1, young_s=4 * REAP_AFTER_S)
    first, second, _ = scene.order
    scene.put_all(first)
    scene.node(second).disk.full = True
    scene.delete_all(first)
    scene.node(second).disk.full = False
    scene.run(REAPED_S)
    return scene


def an_owner_is_away() -> Scene:
    """An owner is away while values are deleted, no node has room for hints, and it returns."""
    scene = Scene(hint_bytes_max=1)
    first, second, _ = scene.order
    scene.put_all(first)
    scene.node(second).kill("at once")
    scene.run(LINK_LOST_S)
    scene.delete_all(first)
    scene.run(REAPED_S)
    scene.node(second).start()
    return scene


class Late(NamedTuple):
    """All keys were put and deleted, and the tombstones are removed."""

    scene: Scene
    second: str
    """An owner."""
    others: tuple[str, ...]
    digests: tuple[bytes, ...]
    values: tuple[bytes, ...]
    """The records that were deleted, under these digests."""


def after_the_reaping() -> Late:
    """Late frames may arrive now."""
    scene = Scene()
    first, second, third = scene.order
    scene.put_all(first)
    values = scene.records(second)
    scene.delete_all(first)
    scene.run(REAPED_S)
    assert values
    assert not scene.records(second)
    return Late(scene, second, (first, third), tuple(values), tuple(values.values()))


def a_write_arrives_late() -> Scene:
    """A coordinator had sent it before the delete."""
    late = after_the_reaping()
    for digest, record in zip(late.digests, late.values, strict=True):
        late.scene.arrives(late.second, WriteReplica(1, digest, record, None))
    return late.scene


def a_repair_arrives_late() -> Scene:
    """A coordinator had read the value before the delete."""
    late = after_the_reaping()
    for digest, record in zip(late.digests, late.values, strict=True):
        late.scene.arrives(late.second, RepairReplica(digest, record))
    return late.scene


def records_arrive_late() -> Scene:
    """Another owner had them read before its floor rose."""
    late = after_the_reaping()
    late.scene.arrives(late.second, StoreRecords(1, N, late.values, ()))
    return late.scene


def a_repair_arrives_at_a_new_disk() -> Scene:
    """The node knows no floor yet, as it has not reached another owner."""
    late = after_the_reaping()
    scene, node = late.scene, late.scene.node(late.second)
    node.kill("at once")
    node.lose_disk()
    scene.run(LINK_LOST_S)
    for name in late.others:
        scene.split(name, late.second)
    node.start()
    for digest, record in zip(late.digests, late.values, strict=True):
        scene.arrives(late.second, RepairReplica(digest, record))
    assert scene.records(late.second)
    for name in late.others:
        scene.heal(name, late.second)
    return scene


SCENES = {
    planted_reaping.a_hint_holds_no_floor_up: hints_are_kept_for_long,
    planted_reaping.the_sums_of_the_owners_may_differ: an_owner_lacks_the_tombstones,
    planted_reaping.an_absent_member_is_not_asked: an_owner_is_away,
    planted_reaping.a_write_is_stored_below_the_floor: a_write_arrives_late,
    planted_reaping.a_repair_or_hint_is_stored_below_the_floor: a_repair_arrives_late,
    planted_reaping.a_record_from_a_lower_floor_is_stored: records_arrive_late,
    planted_reaping.what_lies_below_a_higher_floor_is_kept: a_repair_arrives_at_a_new_disk,
}
"""The planted fault that each scene catches."""


@pytest.mark.parametrize("scene", SCENES.values(), ids=lambda scene: scene.__name__)
def test_nothing_that_was_deleted_comes_back(scene):
    assert not scene().broken()


@pytest.mark.parametrize("fault", SCENES, ids=lambda fault: fault.__name__)
def test_a_planted_fault_of_reaping_is_caught(fault, monkeypatch):
    fault(monkeypatch)

    assert SCENES[fault]().broken() & {"deletes_are_final", "nothing_lost"}
