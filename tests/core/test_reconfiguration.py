"""Members change: plans are decided by a majority, moves are finished or aborted."""

import pytest

from tests.core.ring_scene import LINEAGE, Node, Scene, listed
from toystore.core.protocol.address import COORDINATOR, RING, Peer
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import (
    AcceptRing,
    FetchPlanReply,
    KeepPlanReply,
    OfferRings,
    PrepareRing,
    PrepareRingReply,
    RingChanged,
    RingForked,
)
from toystore.core.storage.layout import DISK, PEER


def epochs(scene):
    return {name: node.record.epoch for name, node in scene.nodes.items() if node.up}


def names(record):
    return [one.name for one in record.members]


def take_in(scene, name, at="n1"):
    """A newcomer is planned, decided and started."""
    scene.announce(name, at)
    reply = scene.change(at, f"join {name}")
    scene.start_newcomer(name, at)
    return reply


def test_a_join_is_decided_and_finished_when_all_members_are_done():
    scene = Scene(3)
    scene.announce("n4", "n1")
    behind = scene.nodes["n4"].left
    behind["behind"] = 5

    reply = scene.change("n1", "join n4")

    assert reply.result == {"epoch": 1, "state": "moving"}
    assert epochs(scene) == {"n1": 1, "n2": 1, "n3": 1}
    scene.start_newcomer("n4", "n1")
    scene.run(20)
    assert set(epochs(scene).values()) == {1}
    behind["behind"] = 0
    scene.run(20)
    assert set(epochs(scene).values()) == {2}
    newest = scene["n4"].record
    assert (newest.moving, names(newest), newest.why) == (
        False,
        ["n1", "n2", "n3", "n4"],
        "after join n4",
    )
    assert [event["why"] for event in scene["n1"].logged("ring.changed")] == [
        "join n4",
        "after join n4",
    ]
    [finished] = scene["n2"].logged("ring.finished")
    assert (finished["epoch"], finished["why"]) == (2, "join n4")


def test_a_decided_record_lists_the_disks_that_are_known():
    scene = Scene(3)

    take_in(scene, "n4")

    assert {one.name: one.disk for one in scene["n1"].record.members} == {
        name: node.disk for name, node in scene.nodes.items()
    }


def test_the_other_actors_are_sent_the_record_that_storage_has_adopted():
    scene = Scene(3)
    sent = spied(scene)

    scene.change("n2", "reweigh n1 2")

    changed = RingChanged(scene["n2"].record.packed)
    assert (Peer("n2", COORDINATOR), changed) in sent
    assert (Peer("n2", RING), changed) not in sent


def test_a_plan_whose_base_is_no_longer_the_newest_is_a_conflict():
    scene = Scene(3)
    scene.plan("n1", "reweigh n1 2")
    scene.change("n2", "reweigh n2 2")
    scene.run(1)

    reply = scene.command("n1", "commit")

    assert (reply.code, reply.definite) == (Code.CONFLICT, True)
    assert "make a new plan" in reply.text


def test_of_two_plans_at_the_same_time_one_is_decided_and_the_other_is_told():
    scene = Scene(5)
    scene.plan("n1", "reweigh n1 2")
    scene.plan("n5", "reweigh n5 3")

    one = scene.send_command("n1", "commit", plan=1)
    other = scene.send_command("n5", "commit", plan=1)
    scene.run(20)

    replies = [scene.reply_to(one), scene.reply_to(other)]
    assert sorted(reply.code for reply in replies) == [0, Code.CONFLICT]
    assert all(reply.definite for reply in replies)


def test_without_a_majority_nothing_is_changed_and_the_answer_is_definite():
    scene = Scene(5)
    scene.plan("n1", "reweigh n1 2")
    for name in ("n3", "n4", "n5"):
        scene.stop(name)

    reply = scene.command("n1", "commit")

    assert (reply.code, reply.definite) == (Code.UNAVAILABLE, True)
    assert "3 of 5 voters are needed" in reply.text
    assert "n3 (no answer)" in reply.text
    assert set(epochs(scene).values()) == {0}


@pytest.mark.parametrize(("seconds", "code"), [(2.9, 0), (3.1, Code.UNAVAILABLE)])
def test_a_command_waits_longer_for_the_storage_of_its_node_which_may_wait_for_the_disk(
    seconds, code
):
    scene = Scene(3)
    post, late = scene.post, []

    def slow(*sent):
        late.append(sent) if isinstance(sent[2], FetchPlanReply) else post(*sent)

    scene.post = slow
    number = scene.send_command("n1", "plan", changes=[["reweigh", "n1", 2]])
    scene.run(seconds)
    post(*late[0])
    scene.run(1.0)

    assert scene.reply_to(number).code == code


def test_voters_that_answer_another_question_have_not_voted():
    scene = Scene(3)
    scene.plan("n1", "reweigh n1 2")
    post = scene.post

    def faulty(sender, to, message):
        if isinstance(message, PrepareRingReply) and sender.node != "n1":
            message = KeepPlanReply(message.request)
        post(sender, to, message)

    scene.post = faulty
    reply = scene.command("n1", "commit")

    assert (reply.code, reply.definite) == (Code.UNAVAILABLE, True)
    assert "n3 (no answer)" in reply.text


def test_once_voters_were_asked_to_accept_the_answer_is_indefinite_and_it_may_be_decided():
    scene = Scene(3)
    scene.plan("n1", "reweigh n1 2")
    scene.loses = lambda sender, to, message: isinstance(message, AcceptRing)

    reply = scene.command("n1", "commit")

    assert (reply.code, reply.definite) == (Code.UNAVAILABLE, False)
    assert "see: toystore cluster status" in reply.text
    assert [event["why"] for event in scene["n1"].logged("ring.undecided")] == ["reweigh n1 2"]
    scene.loses = lambda sender, to, message: False
    scene.run(40)
    assert set(epochs(scene).values()) == {2}
    assert scene["n3"].record.why == "after reweigh n1 2"


def test_a_proposal_whose_proposer_died_is_finished_by_another_node():
    scene = Scene(3)
    scene.plan("n1", "reweigh n1 2")
    scene.loses = lambda sender, to, message: isinstance(message, OfferRings)
    scene.send_command("n1", "commit")
    scene.deliver()
    scene.stop("n1")
    scene.loses = lambda sender, to, message: False
    assert epochs(scene) == {"n2": 0, "n3": 0}

    scene.run_until(lambda: set(epochs(scene).values()) == {1}, 30)

    assert scene["n2"].record == scene["n3"].record == scene["n1"].record


def test_a_voter_that_is_behind_is_sent_what_it_lacks_and_votes():
    scene = Scene(5)
    scene.stop("n5")
    scene.change("n1", "readdress n1 other:7500")
    scene["n5"].start()
    scene.stop("n2")
    scene.stop("n3")
    assert scene["n5"].record.epoch < scene["n1"].record.epoch

    reply = scene.change("n1", "reweigh n1 2")

    assert reply.code == 0
    assert scene["n5"].record == scene["n1"].record


def test_a_node_that_has_missed_changes_learns_of_them_from_any_that_it_sees():
    scene = Scene(3)
    scene.stop("n3")
    scene.change("n1", "readdress n1 other:7500")
    scene.change("n1", "readdress n1 third:7500")
    scene["n3"].start()

    scene.see("n3", "n2")
    scene.deliver()

    assert scene["n3"].record == scene["n1"].record
    assert scene["n3"].record.epoch == 2
    assert scene["n3"].machine.record == scene["n3"].record


def test_a_node_with_another_history_is_not_followed_and_is_logged_once():
    scene, other = Scene(3), Scene(3)
    for host in ("a", "b"):
        other.change("n3", f"readdress n1 {host}:7500")
    scene.change("n1", "readdress n1 c:7500")
    scene["n3"].engine = other["n3"].engine
    scene["n3"].start()
    assert scene["n3"].record.epoch == 2

    sent = spied(scene)
    for _ in range(3):
        scene.see("n1", "n3")
        scene.deliver()

    assert scene["n1"].record.epoch == 1
    assert [event["member"] for event in scene["n1"].logged("ring.forked")] == ["n3"]
    assert not scene["n1"].logged("ring.refused")
    foreign = scene["n3"].record.digest
    assert scene["n1"].machine.foreign == {foreign}
    assert sent.count((Peer("n1", COORDINATOR), RingForked(foreign))) == 1


@pytest.mark.parametrize("has_told", [False, True], ids=["n3 is new", "n3 has told its disk"])
def test_records_of_an_earlier_founding_of_the_same_file_are_not_adopted_in_epoch_0(has_told):
    """Their lineage is the same, but they list the disks of that founding."""
    earlier, scene = Scene(3), Scene(3)
    earlier.change("n3", "readdress n1 a:7500")
    for name in ("n1", "n2"):
        scene[name].engine.put(DISK, b"of the second founding")
        scene[name].engine.put(PEER + b"n2", b"of the second founding, too")
        if has_told:
            scene[name].engine.put(PEER + b"n3", earlier["n3"].engine.get(DISK))
    scene["n3"].engine = earlier["n3"].engine
    scene["n3"].start()

    scene.see("n1", "n3")
    scene.deliver()

    assert epochs(scene) == {"n1": 0, "n2": 0, "n3": 1}
    [line] = scene["n1"].logged("ring.forked")
    assert line["reason"] == "its records list other disks than this node knows"


@pytest.mark.parametrize("peers", [(), ("n2",), ("n2", "n3")])
def test_a_founder_on_a_new_disk_follows_the_first_record_which_lists_the_old_one(peers):
    scene = Scene(3)
    scene.stop("n1")
    scene.change("n2", "readdress n3 a:7500")
    scene["n1"].new_disk()
    scene["n1"].start()
    assert scene["n1"].disk != scene["n2"].record.all["n1"].disk

    for peer in peers:
        scene["n1"].engine.put(PEER + peer.encode(), scene[peer].disk.encode())

    scene.see("n1", "n2")
    scene.deliver()

    assert scene["n1"].record.epoch >= 1
    assert not scene["n1"].logged("ring.forked")


def spied(scene):
    """Everything that is sent from now on, with its receivers."""
    sent, post = [], scene.post
    scene.post = lambda sender, to, message: (sent.append((to, message)), post(sender, to, message))
    return sent


def test_finishing_waits_for_a_member_that_does_not_answer_and_says_so_once():
    scene = Scene(4)
    scene.stop("n4")
    scene.change("n1", "reweigh n1 2")

    scene.run(60)

    assert scene["n1"].record.moving
    assert scene["n1"].logged("ring.waits") == [{"epoch": 1, "members": ["n4"]}]
    scene["n4"].start()
    scene.see("n4", "n1")
    scene.run(20)
    assert not scene["n1"].record.moving


@pytest.mark.parametrize("field", ["behind", "unreleased", "hints"])
def test_finishing_waits_for_whatever_a_member_still_has_to_do(field):
    scene = Scene(3)
    scene["n2"].left[field] = 1
    scene.change("n1", "reweigh n1 2")

    scene.run(30)
    assert scene["n1"].record.epoch == 1

    scene["n2"].left[field] = 0
    scene.run(30)
    assert scene["n1"].record.epoch == 2


def test_a_member_that_has_left_is_gone_and_ends():
    scene = Scene(4)
    scene.change("n1", "leave n4")
    assert scene["n4"].machine.removed is None

    scene.run(20)

    newest = scene["n1"].record
    assert (newest.moving, names(newest)) == (False, ["n1", "n2", "n3"])
    assert [one[:2] for one in newest.gone] == [("n4", scene["n4"].disk)]
    scene.see("n4", "n1")
    scene.deliver()
    assert "no member" in scene["n4"].machine.removed


def test_an_abort_moves_back_and_the_newcomer_is_gone():
    scene = Scene(3)
    scene["n2"].left["behind"] = 1
    take_in(scene, "n4")

    reply = scene.command("n2", "abort")

    assert reply.result == {"epoch": 2, "state": "moving"}
    record = scene["n1"].record
    assert (names(record), [one.name for one in record.old]) == (
        ["n1", "n2", "n3"],
        ["n1", "n2", "n3", "n4"],
    )
    scene["n2"].left["behind"] = 0
    scene.run(20)
    assert [one.name for one in scene["n1"].record.gone] == ["n4"]
    assert scene.command("n1", "abort").code == Code.CONFLICT


def test_a_removed_member_is_lost_then_gone_and_its_removal_cannot_be_aborted():
    scene = Scene(4)
    scene.stop("n4")
    scene.change("n1", "remove n4")
    assert scene["n1"].record.lost == ("n4",)

    reply = scene.command("n1", "abort")
    assert (reply.code, reply.text) == (
        Code.CONFLICT,
        "there is nothing to go back to: n4 is removed for good",
    )
    scene.run(20)
    newest = scene["n1"].record
    assert (newest.moving, newest.lost, [one.name for one in newest.gone]) == (False, (), ["n4"])


def test_a_member_that_dies_for_good_while_ranges_move_is_left_out_in_a_second_move():
    scene = Scene(4)
    scene["n2"].left["behind"] = 1
    take_in(scene, "n5")
    scene.stop("n4")

    scene.change("n1", "remove n4")
    assert (scene["n1"].record.lost, "n4" in names(scene["n1"].record)) == (("n4",), True)

    scene["n2"].left["behind"] = 0
    scene.run(40)
    newest = scene["n1"].record
    assert (newest.moving, names(newest)) == (False, ["n1", "n2", "n3", "n5"])
    assert newest.epoch == 4
    assert [one.name for one in newest.gone] == ["n4"]


def test_a_wiped_member_is_listed_with_its_new_disk_once_it_lacks_nothing():
    scene = Scene(4)
    scene.change("n1", "readdress n1 other:7500")
    scene.stop("n4")
    before = scene["n4"].disk
    scene["n4"].new_disk()
    scene["n4"].left["votes"] = False
    scene["n4"].start(votes=False)
    scene.see("n4", "n1")
    scene.run(30)
    assert scene["n1"].record.all["n4"].disk == before
    assert scene["n4"].machine.removed is None

    scene["n4"].left["votes"] = True
    scene.run(30)

    newest = scene["n1"].record
    assert newest.all["n4"].disk == scene["n4"].disk
    assert not newest.moving
    assert ("n4", before) in [one[:2] for one in newest.gone]
    assert scene["n4"].machine.removed is None


def test_a_wiped_voter_does_not_vote():
    scene = Scene(3)
    scene.change("n1", "readdress n1 other:7500")
    scene["n3"].new_disk()
    scene["n3"].left["votes"] = False
    scene["n3"].start(votes=False)
    scene.stop("n2")
    scene.plan("n1", "reweigh n1 2")

    reply = scene.command("n1", "commit")

    assert (reply.code, reply.definite) == (Code.UNAVAILABLE, True)
    assert "n3 (its disk is not the one that epoch 1 lists)" in reply.text


def test_a_member_that_is_dead_for_long_is_removed_if_that_is_configured():
    scene = Scene(5, remove_after_s=600.0)
    scene.stop("n5")
    scene.call_dead("n5")
    scene.run(500)
    scene.call_alive("n5")
    scene.call_dead("n5")
    scene.run(599)
    assert set(epochs(scene).values()) == {0}

    scene.run(30)

    newest = scene["n1"].record
    assert names(newest) == ["n1", "n2", "n3", "n4"]
    assert [one.name for one in newest.gone] == ["n5"]


def test_no_member_is_removed_by_itself_if_that_is_not_configured():
    scene = Scene(5)
    scene.stop("n5")
    scene.call_dead("n5")
    scene.run(10_000)

    assert set(epochs(scene).values()) == {0}


def test_no_member_is_removed_if_fewer_than_the_largest_n_would_remain():
    scene = Scene(4, remove_after_s=600.0)
    for name in ("n3", "n4"):
        scene.stop(name)
    scene.call_dead("n3", "n4")
    scene.run(1000)
    assert set(epochs(scene).values()) == {0}

    scene["n4"].start()
    scene.call_alive("n4")
    scene.run(30)
    assert names(scene["n1"].record) == ["n1", "n2", "n4"]


def test_a_minority_removes_no_member():
    scene = Scene(7, remove_after_s=600.0)
    for name in ("n4", "n5", "n6", "n7"):
        scene.stop(name)
    scene.call_dead("n4", "n5", "n6", "n7")

    scene.run(1000)

    assert not scene["n1"].logged("ring.proposed")


def test_a_change_without_a_majority_begins_a_new_lineage():
    scene = Scene(5)
    for name in ("n3", "n4"):
        scene.stop(name)
    scene.stop("n5")
    assert scene.plan("n1", "remove n4", "remove n5").code == 0

    refused = scene.command("n1", "commit", without=["n3"])
    assert (refused.code, "remove n3" in refused.text) == (Code.BAD_REQUEST, True)
    refused = scene.command("n1", "commit", without=["n5", "n99"])
    assert "names n99, which does not decide; these do: n1, n2, n3, n4, n5" in refused.text
    reply = scene.command("n1", "commit", without=["n4", "n5"])

    assert reply.result == {"epoch": 1, "state": "moving"}
    newest = scene["n1"].record
    assert newest == scene["n2"].record
    assert newest.lineage not in (b"", LINEAGE)
    scene["n3"].start()
    scene.see("n3", "n1")
    scene.run(20)
    assert scene["n3"].record.lineage == newest.lineage
    assert not scene["n3"].record.moving
    scene["n4"].start()
    scene.see("n4", "n1")
    scene.deliver()
    assert "no member" in scene["n4"].machine.removed


def test_a_machine_that_fails_answers_its_open_commands():
    scene = Scene(3)
    scene.plan("n1", "reweigh n1 2")
    scene.loses = lambda sender, to, message: isinstance(message, (AcceptRing, PrepareRing))
    status = scene.send_command("n1", "status")
    commit = scene.send_command("n1", "commit")
    scene["n1"].machine.on_failure(scene.now)
    scene["n1"].feed_ring(scene.statuses(), Peer("n1", "gossip"))
    scene.deliver()

    replies = [scene.reply_to(number) for number in (status, commit)]

    assert [reply.code for reply in replies] == [Code.INTERNAL, Code.INTERNAL]
    scene["n1"].start_ring()
    scene.run(5)
    assert len(scene.replies) == 3


def test_a_newcomer_is_told_where_it_stands():
    scene = Scene(3)

    reply = scene.announce("n4", "n1")
    assert (reply.result["state"], reply.result["settings"]) == ("waiting", {"cluster": "test"})
    assert [row["name"] for row in reply.result["members"]] == ["n1", "n2", "n3"]
    assert "plan join n4" in reply.result["text"]
    assert scene.announce("n1", "n2").result["state"] == "taken"
    assert scene.command("n1", "join", name=4).code == Code.BAD_REQUEST

    scene.change("n1", "join n4")
    reply = scene.announce("n4", "n2")
    assert (reply.result["state"], len(reply.result["records"])) == ("member", 1)
    scene.start_newcomer("n4", "n2")
    scene.run(10)
    scene.change("n1", "leave n4")
    scene.run(20)
    assert scene.announce("n4", "n1").result["state"] == "gone"


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "0.0.0.0"},
        {"host": "host..x"},
        {"ports": (0, 1, 2, 3)},
        {"ports": (1, 2, 3, 3)},
        {"ports": ()},
        {"weight": 0},
        {"weight": 1001},
        {"zone": "z" * 65},
        {"name": "../n4"},
        {"disk": ""},
    ],
    ids=repr,
)
def test_a_newcomer_that_could_be_no_member_is_refused(fields):
    scene = Scene(3)
    who = {**listed("n4", "d4")._asdict(), "after": 0, **fields}

    assert scene.command("n1", "join", **who).code == Code.BAD_REQUEST
    assert "none waits" in scene.plan("n1", "join n4").text


def test_of_two_newcomers_with_one_name_the_first_stays_at_each_member():
    scene = Scene(3)
    first = {**listed("n4", "d4")._asdict(), "after": -1}
    second = {**first, "disk": "d5", "host": "elsewhere"}
    assert scene.command("n1", "join", **first).result["state"] == "waiting"

    for _ in range(2):
        refused = scene.command("n1", "join", **second).result
        assert refused["state"] == "taken"
        assert "called n4 (tcp://n4:7400)" in refused["text"]
        assert [one["disk"] for one in scene.command("n1", "status").result["waiting"]] == ["d4"]
    assert scene.command("n1", "join", **first).result["state"] == "waiting"

    scene.run(11)
    assert scene.command("n1", "join", **second).result["state"] == "waiting"


def test_the_answer_to_a_newcomer_comes_when_the_ring_changes_or_after_a_limited_time():
    scene = Scene(3)
    scene.nodes["n4"] = Node(scene, "n4")
    who = {**listed("n4", scene["n4"].disk)._asdict(), "after": 0, "wait_s": 60.0}
    del who["seat"]
    began = scene.time
    assert scene.command("n1", "join", **who).result["state"] == "waiting"
    assert scene.time == pytest.approx(began + 2.0)

    held = scene.send_command("n2", "join", **who)
    scene.deliver()
    assert scene.reply_to(held) is None
    scene.plan("n1", "join n4")
    scene.command("n1", "commit")

    result = scene.reply_to(held).result
    assert (result["state"], len(result["records"])) == ("member", 1)
    assert scene.command("n1", "status").result["waiting"] == []  # the record lists it


def test_a_newcomer_that_announces_itself_no_longer_cannot_be_planned():
    scene = Scene(3)
    scene.announce("n4", "n1")
    assert scene.plan("n1", "join n4").code == 0

    scene.run(11)

    reply = scene.plan("n1", "join n4")
    assert (reply.code, "waits to join" in reply.text) == (Code.BAD_REQUEST, True)


def test_the_status_says_how_far_each_member_is():
    scene = Scene(4)
    scene.announce("n5", "n1")
    scene["n2"].left |= {"behind": 3, "bytes_left": 1000, "keys": 7}
    scene.change("n1", "reweigh n1 2")
    scene.stop("n4")
    scene.call_dead("n4")

    result = scene.command("n1", "status").result

    assert (result["epoch"], result["state"], result["why"]) == (1, "moving", "reweigh n1 2")
    assert result["moving_since_us"] == scene["n1"].record.made_us
    assert [one["name"] for one in result["waiting"]] == ["n5"]
    members = {one["name"]: one for one in result["members"]}
    assert (members["n2"]["behind"], members["n2"]["bytes_left"], members["n2"]["keys"]) == (
        3,
        1000,
        7,
    )
    assert (members["n4"]["status"], members["n4"]["behind"]) == ("dead", None)
    assert members["n1"]["weight"] == 2
    assert members["n1"]["ranges"] > 0
    assert (result["plan"]["plan"], result["plan"]["changes"]) == (1, [["reweigh", "n1", 2]])


def test_what_a_newcomer_lacks_is_estimated_before_it_has_a_whole_range():
    scene = Scene(3)
    for name in ("n1", "n2", "n3"):
        scene[name].left |= {"keys": 1600, "bytes": 160_000}
    take_in(scene, "n4")
    scene["n4"].left |= {"behind": 12}

    n4 = scene.command("n1", "status").result["members"][3]

    assert (n4["keys_left"], n4["bytes_left"]) == (1200, 120_000)
    scene["n4"].left |= {"behind": 6, "keys_left": 500, "bytes_left": 60_000}
    assert scene.command("n1", "status").result["members"][3]["bytes_left"] == 60_000


def test_plans_are_numbered_kept_and_shown():
    scene = Scene(3)
    assert scene.command("n1", "show").code == Code.BAD_REQUEST
    first = scene.plan("n1", "rezone n1 a")
    second = scene.plan("n1", "rezone n1 b")

    assert (first.result["plan"], second.result["plan"]) == (1, 2)
    scene["n1"].start_ring()
    assert scene.command("n1", "show", plan=2).result == second.result
    assert scene.command("n1", "show", plan=1).code == Code.BAD_REQUEST
    assert scene.command("n1", "commit", plan=1).code == Code.BAD_REQUEST
    assert scene.command("n1", "explode").code == Code.BAD_REQUEST
    assert scene.plan("n1", "leave n9").code == Code.BAD_REQUEST


def test_a_quiet_cluster_sends_nothing():
    scene = Scene(3)
    scene.change("n1", "readdress n1 other:7500")
    scene.run(1)

    assert [node.machine.next_deadline() for node in scene.running] == [None] * 3


def test_a_member_on_a_listed_disk_that_is_not_its_own_is_found():
    """The record lists a disk; the newcomer that has taken its name has another."""
    scene = Scene(3)
    scene.change("n1", "readdress n1 other:7500")

    assert scene["n1"].record.all["n1"] == listed("n1", scene["n1"].disk)._replace(
        host="other", ports=(7500, 7501, 7502, 7503)
    )
