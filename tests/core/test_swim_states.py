"""The states of SWIM: every transition of their tables can be caused, and no other can."""

from itertools import product

import pytest
from drawings import arrows, drawn
from lone_swim import Alone

from toystore.core.membership import probe
from toystore.core.membership.probe import ProbeInput, ProbeState
from toystore.core.protocol.address import GOSSIP
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Ack, Gossip, MemberState, Ping
from toystore.core.protocol.messages.local import LinkLost, SendFailed


@pytest.mark.parametrize("module", [probe])
def test_the_docstring_draws_the_transitions_of_the_table(module):
    assert drawn(module.__doc__) == arrows(module.TRANSITIONS)


# --- a probe ----------------------------------------------------------------------------


def returns(alone):
    alone.hear(Gossip((MemberState("n3", MemberStatus.SUSPECT, 0, ""),)), "n2")
    alone.hear(Gossip((MemberState("n3", MemberStatus.ALIVE, 1, ""),)), "n2")


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
        self.alone.hear(LinkLost("n3"))
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
                alone.hear(SendFailed("n3", GOSSIP, Ping(sequence, ()), False))
            case ProbeInput.ACK:
                alone.hear(Ack(sequence, "n3", ()), "n3")
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
