"""Deleted keys on real storages: tombstones are removed everywhere, and no value comes back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from antientropy_scene import START_US, N, Node, Scene, digest, record

from toystore.core.data.record import pack_record, unpack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import COORDINATOR, HANDOFF, Address, Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import SumDead
from toystore.core.protocol.messages.codes import RangeState, ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHints, DropHints
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.ring.ranges import Range
from toystore.core.storage.layout import RECORD, floor_key

KEYS = [f"key{number}" for number in range(40)]
KEPT = [f"kept{number}" for number in range(40)]
HOUR = 3600.0
WRITER = Peer("writer", COORDINATOR)


def tombstone(key: str, seconds: float = -50.0) -> bytes:
    stamp = pack_stamp(START_US + int(seconds * 1e6), 0, b"minter__")
    return pack_record(stamp, "default", key.encode(), b"", tombstone=True)


def delete(scene: Scene, keys: Iterable[str], but: str = "") -> None:
    """Every owner has the tombstone, except ``but``."""
    for key in keys:
        for owner in scene.owners(key):
            if owner != but:
                scene.nodes[owner].store(tombstone(key))


def deleted(nodes: int = 5) -> Scene:
    """Some keys are written, and then deleted at all their owners."""
    scene = Scene(nodes)
    scene.store_everywhere((*KEYS, *KEPT))
    scene.run(60.0)
    delete(scene, KEYS)
    return scene


def stored(scene: Scene, key: str) -> dict[str, bytes]:
    """The records of a key, by node."""
    found = {name: node.records.get(RECORD + digest(key)) for name, node in scene.nodes.items()}
    return {name: one for name, one in found.items() if one is not None}


def count(node: Node) -> int:
    """How many tombstones a node has."""
    return sum(unpack_record(one).tombstone for one in node.records.values())


def none_left(scene: Scene) -> bool:
    """Whether the deleted keys are gone, and the others are where they belong."""
    assert all(set(stored(scene, key)) == set(scene.owners(key)) for key in KEPT)
    return not any(stored(scene, key) for key in KEYS)


def test_tombstones_are_removed_from_every_owner_after_an_hour_and_then_all_is_quiet():
    scene = deleted()
    scene.run(HOUR - 600.0)
    assert sum(map(count, scene.nodes.values())) == 3 * len(KEYS)
    scene.run(1200.0)
    assert none_left(scene)
    reaped = [one for node in scene.nodes.values() for one in node.logged("tombstones.reaped")]
    assert sum(one["records"] for one in reaped) == len(KEYS)
    assert all(HOUR <= one["age_s"] < HOUR + 10.0 for one in reaped)
    assert not scene.quiet(HOUR)


def test_an_owner_that_is_away_holds_everything_up_and_brings_nothing_back():
    scene = deleted()
    scene.stop("n3")
    scene.run(3 * HOUR)
    assert all(stored(scene, key) for key in KEYS)
    assert scene.nodes["n1"].logged("reaping.waits") == [
        {"members": ["n3"], "cause": "n3 cannot be reached"}
    ]
    scene.start("n3")
    scene.run(1200.0)
    assert none_left(scene)


def test_an_owner_that_has_missed_the_deletes_gets_them_first():
    scene = Scene(5)
    scene.store_everywhere((*KEYS, *KEPT))
    scene.run(60.0)
    scene.stop("n3")
    delete(scene, KEYS, but="n3")
    scene.run(3 * HOUR)
    scene.start("n3")
    scene.run(1200.0)
    assert none_left(scene)


def test_a_hint_holds_its_range_up_until_it_is_delivered():
    scene = deleted()
    key = KEYS[0]
    [keeper, *_] = [name for name in scene.nodes if name not in scene.owners(key)]
    owner = scene.owners(key)[1]
    hint = WriteReplica(1, digest(key), tombstone(key), owner)
    scene.nodes[keeper].tell_storage(hint, WRITER)
    scene.run(HOUR + 1200.0)
    of = scene.nodes[keeper].ranges.range_of(digest(key))
    held_up = {key for key in KEYS if scene.nodes[keeper].ranges.range_of(digest(key)) == of}
    assert {key for key in KEYS if stored(scene, key)} == held_up
    first = scene.nodes[scene.owners(key)[0]].machine
    assert first._status()["reaping_waits"] == [f"{keeper} keeps hints or records of other owners"]
    deliver(scene, keeper, owner, key)
    scene.run(1200.0)
    assert none_left(scene)


def deliver(scene: Scene, keeper: str, owner: str, key: str) -> None:
    """A hint of a tombstone is delivered, and deleted."""
    one = tombstone(key)
    scene.nodes[owner].tell_storage(DeliverHints(1, ((digest(key), one),)), Peer(keeper, HANDOFF))
    dropped = DropHints(owner, ((digest(key), unpack_record(one).stamp),))
    scene.nodes[keeper].tell_storage(dropped, Peer(keeper, HANDOFF))


def test_a_delete_that_only_hints_have_is_not_forgotten_while_they_are_delivered():
    """Two owners get it in the middle of a round, after the first of them has answered."""
    scene = deleted()
    of = scene.nodes["n1"].ranges.range_of(digest(KEYS[0]))
    owners = scene.owners(KEYS[0])
    late = next(key for key in KEPT if scene.nodes["n1"].ranges.range_of(digest(key)) == of)
    keepers = [name for name in scene.nodes if name not in owners]
    for keeper, owner in zip(keepers, owners[1:], strict=True):
        hint = WriteReplica(1, digest(late), tombstone(late), owner)
        scene.nodes[keeper].tell_storage(hint, WRITER)
    for keeper in keepers:
        _deliver_when_asked(scene, keeper, [*zip(keepers, owners[1:], strict=True)], late)
    scene.run(HOUR + 2400.0)
    assert not stored(scene, KEYS[0])
    assert not stored(scene, late)


def _deliver_when_asked(scene: Scene, keeper: str, hints: list[tuple[str, str]], key: str) -> None:
    """All hints are delivered just before a keeper is asked whether it has any."""
    node = scene.nodes[keeper]
    of = node.ranges.range_of(digest(key))
    tell = node.tell_storage

    def deliver_first(message: Message, sender: Address | None = None) -> None:
        asked = isinstance(message, SumDead) and of in {Range(*row[:2]) for row in message.ranges}
        if asked and node.storage._hints.totals():
            for one, owner in hints:
                deliver(scene, one, owner, key)
        tell(message, sender)

    node.tell_storage = deliver_first  # type: ignore[method-assign]


def test_a_copy_that_has_slept_is_deleted_below_the_floor_and_fetched_again():
    scene = deleted()
    scene.run(HOUR + 1200.0)
    assert none_left(scene)
    sleeper = scene.nodes["n3"]
    mine = [key for key in KEYS if "n3" in scene.owners(key)]
    scene.stop("n3")
    sleeper.disk.begin()
    for key in mine:
        sleeper.disk.put(RECORD + digest(key), record(key))
    for of in sleeper.ranges.owned:
        sleeper.disk.delete(floor_key(of))
        sleeper.storage._own.put({of: RangeState.BEHIND})
    sleeper.disk.commit()
    scene.start("n3")
    scene.run(1200.0)
    assert sleeper.logged("rebuild.finished")
    assert none_left(scene)


def test_a_tombstone_that_becomes_corrupt_while_the_others_delete_it_is_deleted_too():
    scene = deleted(3)
    of = Range(N, scene.ring.partition_of(digest(KEYS[0])))

    def without_floor() -> list[Node]:
        return [node for node in scene.nodes.values() if not node.storage._floors.of(of)]

    while len(without_floor()) > 1:
        scene.run(0.05)
    [last] = without_floor()
    last.rot(KEYS[0])
    assert last.read(KEYS[0]).status == ReplicaStatus.NO_VOTE
    scene.run(HOUR)

    assert none_left(scene)
    assert last.read(KEYS[0]).status == ReplicaStatus.NOT_FOUND


def test_a_new_disk_gets_the_floors_with_the_records():
    scene = deleted()
    scene.run(HOUR + 1200.0)
    scene.nodes["n3"].replace_disk()
    scene.run(600.0)
    assert none_left(scene)
    floors = {
        name: {of: node.storage._floors.of(of) for of in node.ranges.owned}
        for name, node in scene.nodes.items()
    }
    for of, floor in floors["n3"].items():
        assert {floors[name][of] for name in scene.nodes["n3"].ranges.owners(of)} == {floor}


@pytest.mark.parametrize("when_s", [60.0, HOUR - 60.0, HOUR + 180.0])
def test_what_is_deleted_before_a_member_joins_is_gone_from_the_old_owners_and_the_new_ones(when_s):
    scene = deleted(4)
    scene.run(when_s)
    scene.decide(["n1", "n2", "n3", "n4", "n5"], moving=True)
    scene.follow()
    while not scene.moved:
        scene.run(1.0)
    scene.decide(["n1", "n2", "n3", "n4", "n5"], moving=False)
    scene.follow()
    scene.run(2 * HOUR)
    assert none_left(scene)
