"""One identity: the process at a member's own address is the member, and no other process is."""

import pytest
from lone_swim import Alone, swim
from swim_network import ALIVE, DEAD, Network

from toystore.core.membership.identities import BOOT_CHARS_MAX, REFUSED_MAX, WAITS_S
from toystore.core.protocol.address import GOSSIP, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.disk import LoadDisksReply, SaveDisk
from toystore.core.protocol.messages.gossip import (
    ClaimReply,
    DescribeNode,
    DescribeNodeReply,
    Exchange,
    ExchangeReply,
    Gossip,
    MemberState,
    NameTaken,
    Ping,
)
from toystore.core.protocol.messages.local import Leave, LinkLost, LinkUp, MembersChanged

KNOWN_DISK = "d-n3"


def claim(alone: Alone, boot: str, disk: str = KNOWN_DISK, incarnation: int = 0):
    """A process in the run ``boot`` says that it is n3: what n1 sends for that."""
    own = MemberState("n3", ALIVE, incarnation, disk)
    alone.receive(Exchange(1, (own,), boot), "n3")
    return alone.take(ExchangeReply, ClaimReply, DescribeNode, SaveDisk)


def answer(alone: Alone, request: int, boot: str, disk: str = KNOWN_DISK, name: str = "n3"):
    """The process at n3's address answers; what n1 sends for that."""
    alone.receive(DescribeNodeReply(request, name, boot, disk), "n3")
    return alone.take(ExchangeReply, ClaimReply, DescribeNode, SaveDisk)


def linked(boot: str = "") -> Alone:
    """n1, linked to n3, where the run ``boot`` is known to be at n3's address, if it is given."""
    alone = Alone()
    alone.receive(LinkUp("n3"), "n3")
    [(_, question)] = alone.take(DescribeNode)
    if boot:
        assert answer(alone, question.request, boot) == []
    return alone


def kinds(sent):
    return [type(message) for _, message in sent]


def names(alone):
    return [event.name for event in alone.events]


# --- a node that joins or restarts ------------------------------------------------------


@pytest.mark.parametrize("event", [LinkLost("n3"), Gossip((MemberState("n3", DEAD, 0, ""),))])
def test_a_member_that_restarts_with_its_disk_is_answered_at_once(event):
    alone = linked()
    alone.receive(event, "n2")

    assert kinds(claim(alone, "run 2")) == [ExchangeReply]


def test_a_member_that_restarted_unnoticed_is_answered_once_its_address_says_that_it_is_the_one():
    alone = linked("run 1")

    waits = claim(alone, "run 2", "new disk")
    [question] = [message for _, message in waits if type(message) is DescribeNode]
    served = answer(alone, question.request, "run 2", "new disk")

    assert kinds(waits) == [ClaimReply, DescribeNode]
    assert not waits[0][1].taken
    [reply] = [message for _, message in served if type(message) is ExchangeReply]
    assert MemberState("n3", ALIVE, 0, KNOWN_DISK) in reply.members  # it learns what it was
    assert alone.events == []
    refuted = claim(alone, "run 2", "new disk", incarnation=1)
    assert SaveDisk("n3", "new disk") in [message for _, message in refuted]


def test_a_member_with_an_empty_disk_waits_until_it_is_linked():
    alone = Alone()
    waits = claim(alone, "run 2", "new disk")
    alone.receive(LinkUp("n3"), "n3")
    question = alone.take(DescribeNode)[-1][1]

    served = answer(alone, question.request, "run 2", "")

    assert kinds(waits) == [ClaimReply, DescribeNode]
    assert kinds(served) == [ExchangeReply]
    refuted = claim(alone, "run 2", "new disk", incarnation=1)
    assert SaveDisk("n3", "new disk") in [message for _, message in refuted]


def test_a_member_whose_old_run_does_not_answer_is_answered_once_the_link_is_lost():
    alone = linked("run 1")
    claim(alone, "run 2")

    alone.receive(LinkLost("n3"), "n3")

    assert ExchangeReply in kinds(alone.take())


def test_the_exchange_of_a_run_that_has_ended_refuses_nobody():
    alone = linked()
    claim(alone, "run 1")
    alone.receive(LinkLost("n3"), "n3")
    alone.receive(LinkUp("n3"), "n3")
    [(_, question)] = alone.take(DescribeNode)
    claim(alone, "run 1")  # was still to be read
    asked_again = question.request + 1

    sent = answer(alone, asked_again, "run 2")

    assert sent == []
    assert alone.events == []
    assert question.claimant == ""


@pytest.mark.parametrize(
    "reply",
    [
        DescribeNodeReply(1, "n3", "run 2", "new disk"),  # to an earlier question
        DescribeNodeReply(2, "n4", "run 2", "new disk"),  # by another member, at this address
        DescribeNodeReply(2, "n3", "x" * (BOOT_CHARS_MAX + 1), "new disk"),
    ],
)
def test_an_answer_that_is_not_of_the_process_at_the_address_is_ignored(reply):
    alone = linked()
    claim(alone, "run 2", "new disk")

    alone.receive(reply, "n3")

    assert alone.take(ExchangeReply, ClaimReply, SaveDisk) == []


# --- a second process -------------------------------------------------------------------


@pytest.mark.parametrize("disk", ["new disk", KNOWN_DISK])
def test_a_second_process_is_refused_while_the_first_one_lives(disk):
    alone = linked("first")

    waits = claim(alone, "second", disk)
    question = waits[-1][1]
    refused = answer(alone, question.request, "first")
    [logged] = alone.events

    assert (question.claimant, kinds(waits)) == ("second", [ClaimReply, DescribeNode])
    [(_, message)] = refused
    assert (message.boot, message.taken) == ("second", True)
    assert "n3 is process first, which answers at the address that n1 has for n3" in message.text
    assert ("same disk id" in message.text) is (disk == KNOWN_DISK)
    assert logged.name == "name.taken"
    assert logged.fields == {"member": "n3", "process": "second", "reason": message.text}
    assert kinds(claim(alone, "second", disk)) == [ClaimReply]  # at once, and not logged again
    assert alone.events == []
    assert kinds(claim(alone, "first")) == [ExchangeReply]


def test_a_second_process_with_an_empty_disk_waits_while_the_member_is_down():
    alone = linked("first")
    alone.receive(LinkLost("n3"), "n3")
    alone.receive(Gossip((MemberState("n3", DEAD, 0, ""),)), "n2")
    alone.take()

    sent = claim(alone, "second", "new disk")
    alone.at += WAITS_S - 0.1
    claim(alone, "second", "new disk")
    unlogged = names(alone)
    alone.at += 0.1
    claim(alone, "second", "new disk")
    logged = names(alone)
    claim(alone, "second", "new disk")
    alone.receive(LinkUp("n3"), "n3")  # the rightful node is back
    question = alone.take(DescribeNode)[-1][1]
    answer(alone, question.request, "first, run 2")
    back = claim(alone, "first, run 2")
    refused = claim(alone, "second", "new disk")

    assert (kinds(sent), sent[0][1].taken) == ([ClaimReply, DescribeNode], False)
    assert (unlogged, logged) == ([], ["name.unconfirmed"])
    assert kinds(back) == [ExchangeReply]
    answer(alone, refused[-1][1].request, "first, run 2")
    assert names(alone) == ["name.taken"]
    disks = [m for _, m in sent + back + refused if type(m) is SaveDisk]
    assert disks == []


def test_a_paused_member_keeps_its_name_though_it_is_called_dead():
    alone = linked("first")
    alone.receive(Gossip((MemberState("n3", DEAD, 0, ""),)), "n2")

    assert kinds(claim(alone, "second")) == [ClaimReply, DescribeNode]


def test_a_row_with_another_disk_is_believed_once_the_address_says_so():
    alone = linked("first")
    own = MemberState("n3", ALIVE, 1, "new disk")

    alone.receive(Ping(1, (own,)), "n3")
    [question] = [message for _, message in alone.take(DescribeNode, SaveDisk)]
    answer(alone, question.request, "run 2", "new disk")
    alone.receive(Ping(2, (own,)), "n3")

    assert [message for _, message in alone.take(DescribeNode, SaveDisk)] == [
        SaveDisk("n3", "new disk")
    ]


def test_a_process_that_the_member_reports_is_refused_without_a_question():
    alone = linked("first")

    alone.receive(NameTaken("second", "first"), "n3")
    alone.receive(NameTaken("second", "first"), "n3")
    alone.take()
    logged = names(alone)

    assert logged == ["name.taken"]
    assert kinds(claim(alone, "second")) == [ClaimReply]
    assert kinds(claim(alone, "first")) == [ExchangeReply]


def test_only_so_many_refused_processes_are_remembered():
    alone = linked("first")
    for number in range(REFUSED_MAX + 1):
        question = claim(alone, f"run {number}")[-1][1]
        answer(alone, question.request, "first")

    assert kinds(claim(alone, f"run {REFUSED_MAX}")) == [ClaimReply]
    assert kinds(claim(alone, "run 0")) == [ClaimReply, DescribeNode]


def test_an_id_that_is_too_long_is_ignored():
    assert claim(Alone(), "x" * (BOOT_CHARS_MAX + 1)) == []


# --- the process itself -----------------------------------------------------------------


def test_a_node_says_which_process_it_is_even_before_it_knows_its_disk():
    outbox = Outbox()
    machine = swim("n1", ["n1", "n2"], outbox=outbox)
    n2 = Peer("n2", GOSSIP)

    machine.receive(DescribeNode(7, ""), n2, Now(1.0, 0))
    machine.receive(LoadDisksReply("d1", True, True, ()), Peer("n1", "storage"), Now(1.0, 0))
    machine.receive(DescribeNode(8, ""), n2, Now(1.0, 0))

    replies = [one for one in outbox.sends[n2] if type(one) is DescribeNodeReply]
    assert replies == [
        DescribeNodeReply(7, "n1", "run of n1", ""),
        DescribeNodeReply(8, "n1", "run of n1", "d1"),
    ]


def test_the_rightful_node_logs_once_that_another_process_has_its_name_and_reports_it_to_all():
    alone = Alone()
    for name in ("n2", "n3", "n4"):
        alone.receive(LinkUp(name), name)
    for claimant in ("second", "", "run of n1", "second"):
        alone.receive(DescribeNode(1, claimant), "n2")

    told = alone.take(NameTaken)
    [logged] = alone.events

    assert told == [(name, NameTaken("second", "run of n1")) for name in ("n3", "n4")]
    assert logged.name == "name.taken"
    assert (logged.fields["member"], logged.fields["process"]) == ("n1", "second")
    assert "n2" in logged.fields["reason"]


def test_a_node_that_has_left_does_not_say_that_it_is_the_member():
    alone = Alone()
    alone.receive(Leave())
    alone.take()

    alone.receive(DescribeNode(1, "second"), "n2")

    assert alone.take() == []


@pytest.mark.parametrize("joined", [True, False])
def test_a_process_whose_name_is_taken_stops(joined):
    alone = Alone() if joined else starting()
    alone.receive(ClaimReply("another run", True, "n1 is another"), "n2")
    others = alone.machine.refused
    alone.receive(ClaimReply("run of n1", True, "n1 is another"), "n2")
    alone.take()

    assert others is None
    assert alone.machine.refused == "n1 is another"
    assert names(alone) == ["name.taken"]


def test_a_seed_that_is_told_to_wait_does_not_join_alone_and_logs_it_once():
    alone = starting()
    logged = []
    for _ in range(6):
        alone.receive(ClaimReply("run of n1", False, "the address does not answer"), "n2")
        alone.next()
        asked = alone.take(Exchange, MembersChanged)
        logged += names(alone)
        assert kinds(asked) == [Exchange]

    assert logged == ["name.unconfirmed"]


def starting() -> Alone:
    """The seed n1, which has asked the seed n2."""
    alone = Alone.__new__(Alone)
    alone.outbox = Outbox()
    alone.machine = swim("n1", ["n1", "n2"], seeds=["n1", "n2"], outbox=alone.outbox)
    alone.at = 1.0
    alone.receive(LoadDisksReply("d1", False, False, ()), "n1")
    alone.take()
    return alone


def test_an_answer_to_another_process_with_its_name_does_not_let_a_node_join():
    alone = starting()
    for boot in ("another run", "run of n1"):
        alone.receive(ExchangeReply(1, (), boot), "n2")
        alone.take()
        assert ("member.joined" in names(alone)) is (boot == "run of n1")


# --- several nodes ----------------------------------------------------------------------


def test_nodes_that_restart_at_any_moment_are_never_called_impostors():
    network = Network(5, seeds=("n1", "n2"))
    network.start()
    network.run_until(network.converged, 30)
    for turn in range(30):
        name = f"n{1 + turn % 5}"
        network.crash(name)
        if turn % 3 == 0:
            network.disks[name].__init__(f"disk {turn} of {name}")
        network.run([0.0, 0.001, 0.004, 0.3, 5.0][turn % 4])
        network.start(name, linked_in_s=0.1)
        network.run_until(network.converged, 60)
        assert network.converged()

    assert network.events("name.taken") == []
    assert len(network.events("disk.replaced")) == 10


def test_a_second_process_takes_no_vote_from_the_first_in_any_member():
    network = Network(5, seeds=("n1", "n2"))
    network.start()
    network.run_until(network.converged, 30)
    own = MemberState("n3", ALIVE, 7, "another disk")
    network.hand("n1", Exchange(1, (own,), "another process"), "n3")
    network.run(10)

    assert {event.node for event in network.events("name.taken", member="n3")} == set(network.names)
    assert network.events("disk.replaced") == []
    assert all(network.state(one, "n3").disk == "disk-of-n3" for one in ("n1", "n2", "n4", "n5"))
    assert network.disks["n3"].votes is True
