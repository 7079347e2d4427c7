"""The states of SWIM: every transition of their tables can be caused, and no other can."""

from itertools import product

import pytest
from drawings import arrows, drawn
from lone_swim import Alone, swim

from toystore.core.membership import lifecycle, probe
from toystore.core.membership.lifecycle import Input, State
from toystore.core.membership.probe import ProbeInput, ProbeState
from toystore.core.membership.timers import Timer, Timers
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    ExchangeReply,
    Gossip,
    MemberState,
    Nack,
    Ping,
)
from toystore.core.protocol.messages.local import Leave, LinkLost, LinkRefused, SendFailed


@pytest.mark.parametrize("module", [lifecycle, probe])
def test_the_docstring_draws_the_transitions_of_the_table(module):
    assert drawn(module.__doc__) == arrows(module.TRANSITIONS)


# --- a node -----------------------------------------------------------------------------


NODE_INPUTS = {
    State.STARTING: (),
    State.JOINING: (Input.DISKS_FETCHED,),
    State.JOINED: (Input.DISKS_FETCHED, Input.TABLE_RECEIVED),
    State.LEFT: (Input.DISKS_FETCHED, Input.TABLE_RECEIVED, Input.LEAVE),
    State.STOPPED: (Input.LEAVE,),
}
"""What brings a node to each state."""


class Node:
    """n1, a seed as n2 is, in a state that it was brought to by inputs."""

    def __init__(self, state):
        self.machine = swim("n1", ["n1", "n2", "n3"], seeds=["n1", "n2"])
        self.at = 50.0
        self.machine.on_deadline(Now(self.at, 0))
        for given in NODE_INPUTS[state]:
            self.give(given)

    @property
    def state(self):
        return self.machine._lifecycle.state

    def give(self, given):
        match given:
            case Input.DISKS_FETCHED:
                self.receive(LoadDisksReply("d1", True, False, ()), Peer("n1", STORAGE))
            case Input.TABLE_RECEIVED:
                self.receive(ExchangeReply(1, (), "run of n1"), Peer("n2", GOSSIP))
            case Input.LEAVE:
                self.receive(Leave(), Peer("n1", GOSSIP))
            case Input.ALONE:
                for _ in range(5):
                    self.at += 0.5
                    self.machine.on_deadline(Now(self.at, 0))

    def receive(self, message, sender):
        self.machine.receive(message, sender, Now(self.at, 0))


@pytest.mark.parametrize(("state", "given"), list(product(State, Input)))
def test_a_node_moves_as_the_table_of_its_states_says(state, given):
    node = Node(state)
    assert node.state is state

    node.give(given)

    assert node.state is lifecycle.TRANSITIONS.get((state, given), state)


@pytest.mark.parametrize("state", State)
def test_only_a_node_that_was_joined_has_joined(state):
    node = Node(state)
    assert node.machine._lifecycle.has_joined == (state in (State.JOINED, State.LEFT))


# --- a probe ----------------------------------------------------------------------------


def returns(alone):
    alone.receive(Gossip((MemberState("n3", MemberStatus.SUSPECT, 0, ""),)), "n2")
    alone.receive(Gossip((MemberState("n3", MemberStatus.ALIVE, 1, ""),)), "n2")


def stalls(alone):
    alone.pass_to(alone.at + 20)


PROBE_INPUTS = {
    ProbeState.DIRECT: (),
    ProbeState.INDIRECT: (ProbeInput.TIMEOUT,),
    ProbeState.ACKED: (ProbeInput.ACK,),
    ProbeState.FAILED: (ProbeInput.TIMEOUT, ProbeInput.TIMEOUT),
    ProbeState.CANCELLED: (ProbeInput.VOID,),
}
"""What brings a probe to each state."""


class Probed:
    """A member whose link was lost, and its probe."""

    def __init__(self, state, void):
        self.alone = Alone()
        self.void = void
        self.alone.receive(LinkLost("n3"))
        [(_, self.ping)] = self.alone.take(Ping)
        self.probe = self.alone.machine._detector._probes["n3"]
        for given in PROBE_INPUTS[state]:
            self.give(given)

    def give(self, given):
        alone, sequence = self.alone, self.ping.sequence
        match given:
            case ProbeInput.TIMEOUT:
                alone.pass_to(alone.at + 0.301)
            case ProbeInput.UNSENT:
                alone.receive(SendFailed("n3", GOSSIP, Ping(sequence, ()), False))
            case ProbeInput.HOPELESS:
                self.probe.unsent = True
                alone.receive(LinkRefused("n3"))
                for name in sorted(self.probe.asked) or ["n2"]:
                    alone.receive(Nack(sequence, "n3", ()), name)
            case ProbeInput.ACK:
                alone.receive(Ack(sequence, "n3", ()), "n3")
            case ProbeInput.VOID:
                self.void(alone)


@pytest.mark.parametrize("void", [returns, stalls])
@pytest.mark.parametrize(("state", "given"), list(product(ProbeState, ProbeInput)))
def test_a_probe_moves_as_the_table_of_its_states_says(state, given, void):
    probed = Probed(state, void)
    assert probed.probe.state is state

    probed.give(given)

    assert probed.probe.state is probe.TRANSITIONS.get((state, given), state)
    ended = probed.probe.state not in (ProbeState.DIRECT, ProbeState.INDIRECT)
    assert ended == (probed.probe not in probed.alone.machine._detector._probes.values())


# --- timers -----------------------------------------------------------------------------


def test_timers_that_are_due_together_are_served_in_the_order_of_their_names():
    timers = Timers()
    for timer in reversed(Timer):
        timers.set(timer, 5.0)
    timers.set(Timer.EXCHANGE, 5.1)
    timers.stop(Timer.ASK_SEED)

    assert timers.due(4.9) == []
    assert timers.due(5.0) == [Timer.FETCH_DISKS, Timer.SAVE_DISKS]
    assert sorted(timers.deadlines()) == [5.0, 5.0, 5.1]


def test_there_is_a_step_for_each_timer():
    assert list(swim("n1", ["n1"])._steps) == list(Timer)
