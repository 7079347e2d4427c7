"""The turns of an actor, around a machine that fails where a test says."""

from __future__ import annotations

import pytest

from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.client import ErrorReply, RingLoad, Status
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.turn import (
    FLUSH_ROUNDS_MAX,
    RESTARTS_MAX,
    RESTARTS_WINDOW_S,
    Turn,
)
from toystore.core.ring.record import Listed, founding, unpack_ring

ME = Peer("n1", COORDINATOR)
ASKER = Peer("n2", COORDINATOR)
NEWS = MembersChanged(True, ())


class Fragile:
    """Notes what it is told, and fails over every `Status` and at its deadline."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.told: list[object] = []
        self.deadline: float | None = None
        self.poison: object = None

    def receive(self, message, sender, now):
        if type(message) is Status or message == self.poison:
            raise RuntimeError("too much")
        self.told.append(message)

    def on_deadline(self, now):
        raise RuntimeError("too late")

    def next_deadline(self):
        return self.deadline

    def on_failure(self, now):
        self.outbox.send(ASKER, ErrorReply(99, Code.INTERNAL, "held", definite=True))


class FakeShell:
    """Keeps what is sent and logged; ``links`` are up."""

    def __init__(self) -> None:
        self.links: set[str] = set()
        self.sent: list[object] = []
        self.failures: list[tuple[str, object, int]] = []
        self.machines: list[Fragile] = []
        self.down = False

    def turn(self) -> Turn[Fragile]:
        return Turn(ME, self.make_machine, self)

    def make_machine(self, outbox):
        self.machines.append(Fragile(outbox))
        return self.machines[-1]

    def deliver(self, to, messages):
        if self.down:
            return [(SendFailed(*to, message, False), to) for message in messages]
        self.sent += messages
        return []

    def write(self, events, at):
        self.sent += events

    def log_failure(self, error, over, restarts):
        self.failures.append((str(error), over, restarts))

    def follow(self, changed):
        lost, self.links = sorted(self.links - set(unpack_ring(changed.record).all)), set()
        return [(LinkLost(name), Peer(name, STORAGE)) for name in lost]

    def linked_nodes(self):
        return self.links


@pytest.fixture
def shell() -> FakeShell:
    return FakeShell()


def at(seconds: float) -> Now:
    return Now(seconds, 0)


def test_the_message_over_which_a_machine_fails_is_answered_after_what_was_held(shell):
    turn = shell.turn()

    turn.serve([(Status(1), ASKER), (RingLoad(2), ASKER)], at(0))

    held, answer = shell.sent
    assert held.request == 99
    assert answer == ErrorReply(1, Code.INTERNAL, "RuntimeError in coordinator", definite=False)
    assert [machine.told for machine in shell.machines] == [[], [RingLoad(2)]]
    assert shell.failures == [("too much", Status(1), 0)]


def test_a_new_machine_is_told_of_links_then_of_members_then_that_the_node_leaves(shell):
    turn = shell.turn()
    shell.links = {"n3", "n2"}
    turn.serve([(NEWS, ME), (Leave(), ME)], at(0))

    turn.serve([(Status(1), ASKER)], at(1))

    assert shell.machines[1].told == [LinkUp("n2"), LinkUp("n3"), NEWS, Leave()]


def test_a_machine_is_told_of_lost_links_before_the_ring_that_lacks_their_nodes(shell):
    turn = shell.turn()
    shell.links = {"n2", "n3"}
    listed = [Listed(name, name, "", 1, "", "", ()) for name in ("n1", "n2")]
    changed = RingChanged(founding("toys", 8, listed).packed)

    turn.serve([(NEWS, ME), (changed, ME)], at(0))
    turn.serve([(Status(1), ASKER)], at(1))

    assert shell.machines[0].told[1:] == [LinkLost("n3"), changed]
    assert shell.machines[1].told == [changed, NEWS]


@pytest.mark.parametrize("news", [NEWS, Leave()])
def test_news_over_which_a_machine_failed_is_not_told_again(shell, news):
    turn = shell.turn()
    turn.machine.poison = news

    turn.serve([(news, ME)], at(0))

    assert shell.machines[1].told == []


def test_a_machine_that_fails_at_its_deadline_is_replaced(shell):
    turn = shell.turn()
    turn.machine.deadline = 5.0

    turn.serve([], at(4.9))
    assert len(shell.machines) == 1
    turn.serve([], at(5.0))

    assert len(shell.machines) == 2
    assert shell.failures == [("too late", None, 0)]


def test_too_many_failures_within_the_window_are_raised_once_all_is_answered(shell):
    turn = shell.turn()
    for number in range(RESTARTS_MAX):
        turn.serve([(Status(number), ASKER)], at(number))
    shell.sent.clear()

    with pytest.raises(RuntimeError, match="too much"):
        turn.serve([(RingLoad(1), ASKER), (Status(50), ASKER)], at(RESTARTS_MAX))

    assert [answer.request for answer in shell.sent] == [99, 50]


def test_as_many_failures_in_a_longer_time_are_borne(shell):
    turn = shell.turn()

    for number in range(3 * RESTARTS_MAX):
        turn.serve([(Status(number), ASKER)], at(number * RESTARTS_WINDOW_S / RESTARTS_MAX * 1.01))

    assert len(shell.machines) == 3 * RESTARTS_MAX + 1


def test_events_are_logged_before_anything_is_sent(shell):
    turn = shell.turn()
    turn.outbox.send(ASKER, RingLoad(1))
    turn.outbox.log("disk.full", refused=1)

    turn.flush(at(0))

    assert [type(one).__name__ for one in shell.sent] == ["Event", "RingLoad"]


def test_a_flush_ends_though_a_machine_never_ceases_to_send(shell):
    turn = shell.turn()
    shell.down = True
    storage = Peer("n9", STORAGE)
    turn.machine.receive = lambda message, sender, now: turn.outbox.send(storage, RingLoad(1))
    rounds = []
    deliver = shell.deliver
    shell.deliver = lambda to, messages: rounds.append(to) or deliver(to, messages)

    turn.serve([(Status(1), ASKER)], at(0))

    assert len(rounds) == FLUSH_ROUNDS_MAX
    assert turn.unfinished
