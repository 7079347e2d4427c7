"""A node that was removed stays until the others can go on without it."""

from __future__ import annotations

from tests.core.ring_scene import LINEAGE, Scene
from toystore.core.protocol.address import RING, Peer
from toystore.core.protocol.messages.ring import AcceptRing, FetchRings, OfferRings, PrepareRing
from toystore.core.ring.record import Gone

STAY, LEAVE = ("n4", "n5", "n6"), ("n1", "n2", "n3")
"""Those that stay are no majority of the six that decide."""


def half_leave() -> Scene:
    """Three of six members leave, and no other node has learned that this is decided."""
    scene = Scene(6)
    scene.loses = lambda sender, to, message: (
        (is_final(message) and to.node in STAY)
        or (isinstance(message, PrepareRing) and sender.node in STAY)
    )
    scene.change("n1", *(f"leave {name}" for name in LEAVE))
    scene.run_until(lambda: all(scene[name].record.epoch == 2 for name in LEAVE))
    return scene


def is_final(message) -> bool:
    """Whether a message is an offer of the record without those that leave."""
    return isinstance(message, OfferRings) and b'"epoch":2' in message.records[-1]


def test_a_node_that_leaves_stays_until_a_majority_of_the_members_has_adopted_that():
    scene = half_leave()
    leaver = scene["n1"].machine
    scene.run(30)
    assert "n1 is no member" in leaver.removed
    assert not leaver.departed

    scene.loses = lambda _sender, to, message: is_final(message) and to.node in ("n5", "n6")
    scene.run(5)
    assert (scene["n4"].record.epoch, leaver.departed) == (2, False)
    scene.loses = lambda _sender, to, message: is_final(message) and to.node == "n6"
    scene.run_until(lambda: leaver.departed, 5)

    for name in LEAVE:
        scene.stop(name)
    scene.see("n6", "n4")
    scene.deliver()
    assert not scene.change("n6", "reweigh n6 2").code


def test_that_a_node_stays_is_logged_once_with_the_members_it_waits_for():
    scene = half_leave()

    scene.run(60)

    [stays] = scene["n1"].logged("ring.stays")
    assert (stays["epoch"], stays["members"]) == (2, list(STAY))
    assert "2 of these 3" in stays["text"]
    assert "stop it" in stays["text"]
    assert [one["epoch"] for one in scene["n1"].logged("ring.removed")] == [2]


def test_a_removed_node_that_starts_again_stays_as_long_as_it_is_needed():
    scene = half_leave()
    for name in LEAVE:
        scene.stop(name)
    scene.run(30)
    assert {scene[name].record.epoch for name in STAY} == {1}
    scene.loses = lambda *_: False

    scene["n2"].start_ring()
    scene["n2"].up = True
    scene.run_until(lambda: scene["n2"].machine.departed)

    assert {scene[name].record.epoch for name in STAY} == {2}


def test_a_removed_node_brings_a_member_that_was_away_all_records_that_it_lacks():
    scene = Scene(3)
    scene.stop("n3")
    for port in (7500, 7600):
        scene.change("n1", f"readdress n2 other:{port}")
    scene["n3"].start()
    before, gone = scene["n1"].record, Gone("n1", scene["n1"].disk, 3)
    last = before.next(LINEAGE, members=before.members[1:], gone=(gone,), why="leave n1")

    scene["n1"].feed_storage(OfferRings(1, (last.packed,)), Peer("n1", RING))
    scene.run_until(lambda: scene["n1"].machine.departed)

    assert (scene["n2"].record, scene["n3"].record) == (last, last)


def test_a_node_that_was_removed_long_ago_ends_at_once():
    scene = Scene(4)
    scene.stop("n4")
    scene.call_dead("n4")
    scene.change("n1", "remove n4")
    scene.run(20)
    scene.change("n1", "readdress n2 other:7500")

    scene["n4"].start()
    scene.see("n4", "n1")
    scene.deliver()
    scene.run_until(lambda: scene["n4"].machine.departed, 1)


def test_a_node_that_leaves_and_is_killed_is_not_needed_if_a_majority_stays():
    scene = Scene(4)
    scene.loses = lambda _sender, to, message: is_final(message) and to.node != "n1"
    scene.change("n1", "leave n1")
    scene.run_until(lambda: scene["n1"].record.epoch == 2)
    scene.stop("n1")
    scene.loses = lambda *_: False

    scene.run(30)

    assert {scene[name].record.epoch for name in ("n2", "n3", "n4")} == {2}


def test_a_node_that_is_killed_while_it_leaves_is_removed_by_a_majority():
    scene = Scene(4)
    scene["n1"].left |= {"unreleased": 5}
    scene.change("n2", "leave n1")
    scene.stop("n1")
    scene.call_dead("n1")
    scene.run(20)
    assert scene["n2"].record.moving

    scene.change("n2", "remove n1")
    scene.run(20)

    newest = scene["n3"].record
    assert (newest.moving, [one.name for one in newest.gone]) == (False, ["n1"])


def test_a_removed_node_neither_votes_nor_proposes():
    scene = half_leave()
    sent = []
    post = scene.post

    def spy(sender, to, message):
        sent.append((sender, message))
        post(sender, to, message)

    scene.post = spy

    scene.run(30)

    asked = {type(message) for sender, message in sent if sender.node in LEAVE}
    assert not asked & {PrepareRing, AcceptRing, FetchRings}
