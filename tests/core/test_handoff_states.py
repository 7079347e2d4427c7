"""The states of a delivery: every transition of their table can be caused, and no other can."""

from __future__ import annotations

from itertools import product

import pytest
from drawings import arrows, drawn
from handoff_scene import HOME, OK, START_US, Node, hint

from toystore.core.handoff import delivery
from toystore.core.handoff.delivery import Input, State
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.messages.hints import (
    CountHintsReply,
    DeliverHintsReply,
    DropHintsReply,
    TakeHintsReply,
)
from toystore.core.protocol.messages.local import LinkLost, LinkUp

INPUTS = {
    State.TAKING: (),
    State.DELIVERING: (Input.HINTS,),
    State.DELETING: (Input.HINTS, Input.TAKEN),
    State.FINISHED: (Input.NO_HINTS,),
    State.PAUSED: (Input.FAILURE,),
}
"""What brings a delivery to each state."""


def test_the_docstring_draws_the_transitions_of_the_table() -> None:
    assert drawn(delivery.__doc__) == arrows(delivery.TRANSITIONS)


class Scene:
    """A delivery to n2, brought to a state by inputs."""

    def __init__(self, state: State, *, in_the_middle: bool) -> None:
        """``in_the_middle``: the delivery begins behind a hint that failed before."""
        self.node = Node().with_owner()
        if in_the_middle:
            self._begin()
            for given in (Input.HINTS, Input.FAILURE):
                self.give(given)
            self.node.receive(LinkUp("n2"))
        self._begin()
        self.delivery = self.node.machine._deliveries["n2"]
        for given in INPUTS[state]:
            self.give(given)

    def _begin(self) -> None:
        self.node.receive(CountHintsReply((("n2", 3, 300, START_US),)))

    def give(self, given: Input) -> None:
        node = self.node
        match given:
            case Input.HINTS:
                node.receive(TakeHintsReply("n2", (hint("a"),)))
            case Input.QUEUE_END | Input.NO_HINTS:
                node.receive(TakeHintsReply("n2", ()))
            case Input.TAKEN:
                reply = DeliverHintsReply(node.machine._request, (OK,))
                node.receive(reply, Peer("n2", STORAGE))
            case Input.DELETED:
                node.receive(DropHintsReply("n2", 1, 0), HOME)
            case Input.FAILURE:
                node.receive(LinkLost("n2"))


@pytest.mark.parametrize(("state", "given"), list(product(State, Input)))
def test_a_delivery_moves_as_the_table_of_its_states_says(state: State, given: Input) -> None:
    in_the_middle = given is Input.QUEUE_END and state is not State.FINISHED
    scene = Scene(state, in_the_middle=in_the_middle)
    assert scene.delivery.state is state

    scene.give(given)

    after = delivery.TRANSITIONS.get((state, given), state)
    assert scene.delivery.state is after
    ended = after in (State.FINISHED, State.PAUSED)
    assert ended == (scene.delivery not in scene.node.machine._deliveries.values())


def test_a_delivery_that_began_in_the_middle_goes_on_at_the_beginning_of_the_queue() -> None:
    scene = Scene(State.TAKING, in_the_middle=True)
    assert scene.delivery.after == hint("a")[0]

    scene.give(Input.QUEUE_END)

    assert scene.delivery.after == b""
