"""Ranges move between nodes by anti-entropy when the ring changes."""

from __future__ import annotations

from antientropy_scene import N, Scene, digest, record

from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages.antientropy import CompareRanges, Overloaded
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.disk import SettleDisk
from toystore.core.ring.ranges import Range
from toystore.core.storage.layout import RECORD
from toystore.engines import MemoryEngine

KEYS = [f"key{number}" for number in range(200)]
FIVE = ["n1", "n2", "n3", "n4", "n5"]


def settle(scene: Scene, seconds: float = 120.0) -> None:
    """Let ranges move until nothing is left to do, and let the ring be stable then."""
    for _ in range(int(seconds)):
        if scene.moved:
            break
        scene.run(1.0)
    assert scene.moved
    scene.decide([one.name for one in scene.record.members], moving=False)
    scene.follow()


def misplaced(scene: Scene) -> list[str]:
    """Where a record is missing, or is and does not belong."""
    faults = []
    for key in KEYS:
        owners = scene.owners(key)
        for name in scene.record.all:
            has = RECORD + digest(key) in scene.nodes[name].records
            if has != (name in owners):
                faults.append(f"{key} {'is' if has else 'is not'} on {name}, owners {owners}")
    return faults


def states(scene: Scene, of: Range) -> dict[str, RangeState]:
    return {name: scene.nodes[name].storage._own.state(of) for name in scene.record.all}


def test_a_join_fetches_each_record_once_and_leaves_nothing_behind():
    scene = Scene(5, 32)
    for key in KEYS:
        for owner in scene.owners(key):
            scene.nodes[owner].store(record(key, value=bytes(1000)))
    scene.run(30.0)
    before, owners = scene.crossed, {key: scene.owners(key) for key in KEYS}
    scene.decide([*FIVE, "n6"], moving=True)
    scene.follow()
    settle(scene)
    scene.run(60.0)
    assert not misplaced(scene)
    size = len(record("key10", value=bytes(1000)))
    least = sum(len(set(scene.owners(key)) - set(owners[key])) for key in KEYS) * size
    assert 0.99 * least < scene.crossed - before < 1.01 * least
    logged = [one for node in scene.nodes.values() for one in node.logged("rebuild.finished")]
    assert least <= sum(one["bytes"] for one in logged) < 1.1 * least
    assert not scene.quiet(3600.0)


def test_a_range_is_given_away_in_steps_and_deleted_once_the_ring_is_stable():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    of, slot = next(
        (Range(N, partition), slot)
        for partition in range(scene.ring.partitions)
        for slot in scene.ring.slots(partition, N)
        if slot.new == "n6"
    )
    seen = []
    scene.follow()
    while not scene.moved:
        told = states(scene, of)
        if (pair := (told[slot.old], told["n6"])) not in seen:
            seen.append(pair)
        scene.run(0.01)
    whole, behind, retired = RangeState.WHOLE, RangeState.BEHIND, RangeState.RETIRED
    assert seen[:1] == [(whole, behind)]
    assert set(seen) <= {
        (whole, behind),
        (whole, whole),
        (retired, whole),
        (RangeState.RELEASED, whole),
    }
    assert states(scene, of)[slot.old] is RangeState.RELEASED
    scene.run(60.0)
    assert states(scene, of)[slot.old] is RangeState.RELEASED
    settle(scene)
    scene.run(10.0)
    assert states(scene, of)[slot.old] is RangeState.NONE
    old = scene.nodes[slot.old]
    assert old.logged("ranges.released")
    assert old.logged("ranges.swept")
    assert not misplaced(scene)


def test_a_range_that_lacks_records_takes_no_hint_after_what_it_has_was_pushed():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    wiped = scene.nodes["n5"]
    wiped.replace_disk()
    scene.decide(FIVE[:4], moving=True)
    of = next(of for of in sorted(wiped.ranges.owned) if of.n == N)
    seen = []
    scene.follow()
    while not scene.moved:
        if (state := states(scene, of)["n5"]) not in seen:
            seen.append(state)
        scene.run(0.01)
    assert seen[:2] == [RangeState.BEHIND, RangeState.RETIRED]
    settle(scene)
    scene.run(10.0)
    assert not misplaced(scene)


def test_the_new_owner_waits_until_its_source_has_the_record_of_the_ring():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    scene.nodes["n6"].follow()
    scene.run(60.0)
    joined = scene.nodes["n6"]
    assert joined.to_do[0] == len(joined.machine._replicas.behind) > 0
    assert not joined.records
    scene.follow()
    settle(scene)
    scene.run(10.0)
    assert not misplaced(scene)


def test_a_source_that_is_away_is_waited_for_and_named():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    sources = {
        slot.old
        for partition in range(scene.ring.partitions)
        for slot in scene.ring.slots(partition, N)
        if slot.new == "n6"
    }
    away = min(sources)
    scene.stop(away)
    scene.follow()
    scene.run(60.0)
    assert not scene.moved
    assert scene.nodes["n6"].machine._status()["waits_for"] == [away]
    scene.start(away)
    scene.follow()
    settle(scene)


def test_a_node_keeps_the_ranges_that_a_lost_newcomer_was_to_have():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    scene.follow()
    scene.decide([*FIVE, "n6"], lost=["n6"], moving=True)
    scene.follow()
    scene.decide(FIVE, lost=["n6"], moving=True)
    scene.follow()
    settle(scene)
    scene.run(60.0)
    assert all(node.machine.idle for node in scene.members())
    assert not misplaced(scene)


def test_ranges_are_given_away_though_replicas_are_compared_more_often_than_owners_are_visited():
    scene = Scene(5, compare_s=0.1, rest_s=0.02, visit_s=0.3)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    away = next(slot.old for slot in scene.ring.slots(0, N))
    assert away is not None
    scene.stop(away)
    scene.follow()
    scene.run(60.0)
    assert not scene.moved
    assert not [name for name in FIVE if name != away and scene.nodes[name].to_do[1]]


def test_a_late_record_of_a_retired_range_is_pushed_to_the_new_owner():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    key, old = next(
        (key, slot.old)
        for key in KEYS
        for slot in scene.ring.slots(scene.ring.partition_of(digest(key)), N)
        if slot.new == "n6"
    )
    of = Range(N, scene.ring.partition_of(digest(key)))
    scene.follow()
    while states(scene, of)["n6"] is not RangeState.WHOLE:
        scene.run(0.001)
    assert states(scene, of)[old] is RangeState.WHOLE
    scene.nodes[old].store(record(key, -10.0, b"later"))
    settle(scene)
    scene.run(10.0)
    assert scene.nodes["n6"].read(key).record.endswith(b"later")


def test_what_a_leaving_node_has_is_where_it_belongs_when_it_is_gone():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide(["n1", "n2", "n3", "n5"], moving=True)
    scene.follow()
    settle(scene)
    scene.run(60.0)
    assert not scene.nodes["n4"].up
    assert not misplaced(scene)


def test_an_abort_brings_back_the_owners_from_before():
    scene = Scene(5, 32, move_bytes_per_s=2000, batch_bytes=500)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    scene.follow()
    while scene.nodes["n6"].to_do[0] == len(scene.nodes["n6"].ranges.owned):
        scene.run(0.1)
    assert 0 < scene.nodes["n6"].to_do[0] < len(scene.nodes["n6"].ranges.owned)
    scene.decide(FIVE, moving=True)
    scene.follow()
    settle(scene)
    scene.run(60.0)
    assert [one.name for one in scene.record.members] == FIVE
    assert not misplaced(scene)


def test_a_lost_replica_is_rebuilt_from_every_other_owner():
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    for at, key in enumerate(KEYS):
        left = [name for name in scene.owners(key) if name != "n3"]
        if len(left) < N:
            scene.nodes[left[at % 2]].store(record(key, -10.0, b"only here"))
    scene.stop("n3")
    scene.decide(["n1", "n2", "n4", "n5"], lost=["n3"], moving=True)
    scene.follow()
    settle(scene)
    scene.run(60.0)
    assert not misplaced(scene)


def test_stray_records_are_pushed_to_all_owners_and_deleted():
    scene = Scene(5)
    scene.store_everywhere(KEYS[1:])
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    scene.follow()
    settle(scene)
    scene.run(30.0)
    key = KEYS[0]
    holder = scene.nodes[next(name for name in scene.record.all if name not in scene.owners(key))]
    holder.store(record(key))
    scene.stop(holder.name)
    scene.start(holder.name)
    scene.run(60.0)
    assert not misplaced(scene)


def test_a_node_that_refuses_requests_moves_a_tenth_of_the_bytes():
    scene = Scene(5, move_bytes_per_s=2000, batch_bytes=500)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    scene.follow()
    joined = scene.nodes["n6"]
    for _ in range(10):
        scene.tell(joined, Overloaded(1), Peer("n6", "coordinator"))
        scene.run(1.0)
    held = sum(map(len, joined.records.values()))
    assert 0 < held < 4000
    settle(scene)


def test_a_source_on_a_new_disk_counts_as_no_source_before_the_disk_is_confirmed():
    """A founding member starts on an empty disk, and follows the ring from its founding on."""
    scene = Scene(5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    scene.decide([*FIVE, "n6"], moving=True)
    source = next(
        slot.old
        for partition in range(scene.ring.partitions)
        for slot in scene.ring.slots(partition, N)
        if slot.new == "n6"
    )
    wiped = scene.nodes[source]
    wiped.disk = MemoryEngine()
    wiped.boot(scene.records[:1])
    scene.follow()
    gained = [key for key in KEYS if "n6" in scene.owners(key)]
    for _ in range(100):
        scene.run(0.01)
        answers = {scene.nodes["n6"].read(key).status for key in gained}
        assert ReplicaStatus.NOT_FOUND not in answers
    wiped.tell_storage(SettleDisk(False))
    settle(scene)
    scene.run(60.0)
    assert not misplaced(scene)


def test_a_node_that_is_told_of_its_new_ranges_before_it_follows_the_ring_releases_none():
    scene = Scene(5, 32, follow_s=0.5)
    scene.store_everywhere(KEYS)
    scene.run(30.0)
    for node in scene.nodes.values():
        node.store(record("fresh", -1.0))
    scene.run(1.7)

    scene.decide(FIVE[1:], moving=True)
    scene.follow()
    settle(scene)

    stay = [scene.nodes[name] for name in FIVE[1:]]
    assert all(node.logged("rebuild.finished") for node in stay)
    assert [one for node in stay for one in node.logged("ranges.released")] == []


def test_a_late_answer_about_a_range_of_which_nothing_is_left_is_ignored(monkeypatch):
    scene = Scene(5, reply_timeout_s=60.0)
    scene.run(30.0)
    node, late = scene.nodes["n1"], []
    for other in FIVE[1:]:
        receive = scene.nodes[other].tell_storage

        def hold(message, sender, receive=receive):
            if type(message) is CompareRanges:
                late.append((receive, message, sender))
            else:
                receive(message, sender)

        monkeypatch.setattr(scene.nodes[other], "tell_storage", hold)
    node.restart_machine()
    scene.run(9.0)
    asked = {root[:2] for _, message, _ in late for root in message.roots}

    scene.decide([*FIVE, "n6"], moving=True)
    scene.decide([*FIVE, "n6"], moving=False)
    owned = node.ranges.owned
    node.follow()
    [lost] = owned - node.ranges.owned
    assert tuple(lost) in asked
    scene.run(3.0)
    for receive, message, sender in late:
        receive(message, sender)
    scene.run(10.0)

    assert node.machine._compared > 0


def test_a_machine_that_has_to_follow_a_ring_is_not_idle():
    scene = Scene(5, follow_s=0.5)
    scene.run(60.0)
    assert all(node.machine.idle for node in scene.nodes.values())

    scene.decide(FIVE, moving=False)
    scene.follow()

    assert not any(node.machine.idle for node in scene.nodes.values())
    scene.run(60.0)
    assert all(node.machine.idle for node in scene.nodes.values())
