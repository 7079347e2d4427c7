"""Replicas become equal without a read, and a new disk becomes whole."""

import zlib

import pytest
from antientropy_scene import Scene, digest, record

from toystore.core.antientropy.aims import Aim
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.storage.layout import RECORD

KEYS = [f"key{number}" for number in range(100)]
OK, NOT_FOUND, NO_VOTE = ReplicaStatus.OK, ReplicaStatus.NOT_FOUND, ReplicaStatus.NO_VOTE


def equal(scene: Scene) -> bool:
    """Whether the owners of each key store the same."""
    stored = {key: {name: scene.nodes[name].records for name in scene.owners(key)} for key in KEYS}
    return all(
        len({records.get(RECORD + digest(key)) for records in by_owner.values()}) == 1
        for key, by_owner in stored.items()
    )


def test_equal_replicas_compare_their_roots_once_and_then_are_quiet():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    assert set(scene.sent) == {"CompareRanges", "CompareRangesReply"}
    assert not scene.quiet(3600.0)


def test_what_one_owner_has_missed_is_brought_to_it():
    scene = Scene(5)
    scene.store_everywhere(KEYS[:50])
    scene.run(30.0)
    scene.store_everywhere(KEYS[50:], but="n3")
    assert not equal(scene)
    scene.run(90.0)
    assert equal(scene)
    assert not scene.quiet(3600.0)


def test_the_newer_of_two_records_wins_on_both_sides():
    scene = Scene(3)
    scene.nodes["n1"].store(*(record(key, -50.0, b"newer") for key in KEYS[:50]))
    scene.nodes["n2"].store(*(record(key, -90.0, b"older") for key in KEYS))
    scene.nodes["n3"].store(*(record(key, -60.0, b"newer") for key in KEYS[50:]))
    scene.run(90.0)
    assert equal(scene)
    assert all(value.endswith(b"newer") for value in scene.nodes["n2"].records.values())


def test_young_records_are_left_to_their_writers_while_their_range_changes():
    scene = Scene(3)
    scene.run(30.0)
    for _ in range(20):
        young = [record(key, scene.time - 1000.0 + 3600.0) for key in KEYS]
        scene.nodes["n1"].store(*young)
        scene.run(2.0)
    assert not scene.nodes["n2"].records
    scene.run(30.0)
    assert equal(scene)


def test_a_node_with_a_new_disk_votes_again_once_it_was_compared_with_every_other_owner():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    mine = [key for key in KEYS if "n3" in scene.owners(key)]
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    assert wiped.read(mine[0]).status == NO_VOTE
    scene.run(30.0)
    assert {wiped.read(key).status for key in mine} == {OK}
    assert wiped.read("nothing").status == NOT_FOUND
    [started], [finished] = wiped.logged("rebuild.started"), wiped.logged("rebuild.finished")
    assert started["ranges"] == finished["ranges"] == len(wiped.ranges.owned)
    assert finished["records"] == len(mine)
    assert equal(scene)
    scene.run(60.0)
    assert not scene.quiet(3600.0)


def test_each_record_crosses_once_when_a_disk_is_rebuilt():
    scene = Scene(5)
    keys = [f"key{number}" for number in range(2000)]
    scene.store_everywhere(keys)
    scene.run(30.0)
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    scene.run(60.0)
    held = sum(map(len, wiped.records.values()))
    [finished] = wiped.logged("rebuild.finished")
    assert held <= finished["bytes"] < 1.1 * held


def test_no_more_stretches_are_listed_for_a_batch_than_it_may_answer():
    scene = Scene(5, 64, batch_bytes=1000)
    scene.store_everywhere([f"key{number}" for number in range(2000)])
    scene.run(30.0)
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    scene.run(120.0)
    held = sum(map(len, wiped.records.values()))
    [finished] = wiped.logged("rebuild.finished")
    assert finished["bytes"] < 1.4 * held


def test_a_source_that_is_away_is_waited_for_and_named():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.stop("n5")
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    scene.run(60.0)
    assert wiped.logged("rebuild.waits") == [{"members": ["n5"]}]
    assert not wiped.logged("rebuild.finished")
    with_n5 = {of for of in wiped.ranges.owned if "n5" in wiped.ranges.owners(of)}
    assert wiped.machine._replicas.behind == with_n5
    scene.start("n5")
    scene.run(60.0)
    assert wiped.logged("rebuild.finished")


def test_the_only_copy_is_brought_from_the_owner_that_has_it():
    scene = Scene(3)
    scene.run(30.0)
    wiped = scene.nodes["n1"]
    scene.nodes["n2"].store(record("only here"))
    wiped.replace_disk()
    scene.run(30.0)
    assert wiped.read("only here").status == OK


@pytest.mark.parametrize("who", ["the node that rebuilds", "a source"])
def test_a_rebuild_goes_on_after_either_side_has_died(who):
    scene = Scene(3, move_bytes_per_s=1000, batch_bytes=500)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    scene.run(3.0)
    assert 0 < len(wiped.records) < len(KEYS)
    died = "n3" if who == "the node that rebuilds" else "n1"
    scene.stop(died)
    scene.run(5.0)
    scene.start(died)
    scene.run(60.0)
    assert wiped.logged("rebuild.finished")
    assert equal(scene)


def test_rot_is_found_by_the_scrub_and_replaced():
    scene = Scene(3, scrub_s=100.0)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    for key in KEYS[:10]:
        scene.nodes["n2"].rot(key)
    scene.run(250.0)
    assert equal(scene)
    assert {scene.nodes["n2"].read(key).status for key in KEYS} == {OK}
    assert len({one["digest"] for one in scene.nodes["n2"].logged("record.corrupt")}) == 10


def test_rot_in_the_only_copy_stays_and_is_counted():
    scene = Scene(3, scrub_s=100.0)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    for node in scene.nodes.values():
        node.rot("key7")
    scene.run(250.0)
    assert {node.read("key7").status for node in scene.nodes.values()} == {NO_VOTE}
    assert {node.storage.sums.rotten for node in scene.nodes.values()} == {1}


def test_a_record_that_cannot_be_stored_keeps_no_other_from_a_rebuild():
    scene = Scene(3)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    wrong = RECORD + digest("key0")[:8] + bytes(9)
    for name in ("n1", "n2"):
        disk = scene.nodes[name].disk
        disk.begin()
        disk.put(wrong, record("x", value=b"stray")[:-1] + b"y")
        disk.put(wrong[:-1] + b"\1", b"\1" + record("key1")[1:])
        disk.commit()
    unreadable = _with_checksum(record("key0"))
    scene.nodes["n1"].disk.begin()
    scene.nodes["n1"].disk.put(wrong[:-1] + b"\2", unreadable)
    scene.nodes["n1"].disk.commit()
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    scene.run(60.0)
    assert wiped.logged("rebuild.finished")
    assert {wiped.read(key).status for key in KEYS} == {OK}
    causes = {one["cause"] for one in wiped.logged("comparison.failed")}
    assert causes == {"storage of n3 cannot store 1 records"}


def _with_checksum(sound: bytes) -> bytes:
    """A record whose checksum is right, and whose lengths run past its end."""
    body = sound[6:34] + b"\xff\xff" + sound[36:]
    return sound[:2] + zlib.crc32(body).to_bytes(4, "big") + body


def test_two_nodes_with_new_disks_rebuild_each_other_from_the_third():
    scene = Scene(3)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    for name in ("n1", "n2"):
        scene.nodes[name].replace_disk()
    scene.run(60.0)
    assert equal(scene)
    assert all(scene.nodes[name].logged("rebuild.finished") for name in ("n1", "n2"))


def test_the_throttle_bounds_the_bytes_of_a_second():
    scene = Scene(3, move_bytes_per_s=1000, batch_bytes=500)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    size = sum(len(record(key)) for key in KEYS)
    scene.run(size / 1000 / 2)
    assert sum(map(len, wiped.records.values())) < 0.8 * size
    scene.run(size / 1000 * 3)
    assert wiped.logged("rebuild.finished")


def test_only_a_comparison_that_leaves_out_no_record_counts_for_a_rebuild():
    scene = Scene(3, move_bytes_per_s=1000, batch_bytes=500)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    wiped = scene.nodes["n3"]
    wiped.replace_disk()
    scene.deliver()
    rebuild = wiped.machine._rebuild
    of = next(of for of in wiped.ranges.owned if of in rebuild.visits)
    for partner in ("n1", "n2"):
        wiped.machine.visited(of, partner, Aim.EQUAL, 0, scene.now)
    assert of in rebuild.visits
    for partner in ("n1", "n2"):
        wiped.machine.visited(of, partner, Aim.FETCH, 0, scene.now)
    assert of not in rebuild.visits
