"""Whether a node serves: it moves between its phases as their table says, and in no other way."""

from __future__ import annotations

from itertools import product

import pytest
from coordinator_scene import ALIVE, CLIENT, DEAD, Scene, one_order
from drawings import arrows, drawn
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages.client import ErrorReply, Status
from toystore.core.protocol.messages.local import Leave
from toystore.core.requests import serving
from toystore.core.requests.serving import LINKS_WAIT_S, TRANSITIONS, Input, Phase
from toystore.core.requests.status import STATUS_WAIT_S

INPUTS = {
    Phase.STARTING: (),
    Phase.SERVING: (Input.READY,),
    Phase.LEAVING: (Input.LEAVE,),
}
"""What brings a node to each phase."""


def join(scene: Scene) -> None:
    scene.gossip({"n1": ALIVE, "n2": ALIVE})


def leave(scene: Scene) -> None:
    scene.told(Leave(), Peer("n1", "node"))


def remove(scene: Scene) -> None:
    scene.turn_to(one_order("n2", epoch=1))


def link_all(scene: Scene) -> None:
    join(scene)
    scene.link("n2")


def link_none(scene: Scene) -> None:
    join(scene)
    scene.wait(LINKS_WAIT_S)


def find_nobody_alive(scene: Scene) -> None:
    scene.gossip({"n1": ALIVE, "n2": DEAD})


READY = [link_all, link_none, find_nobody_alive]


def phase_of(scene: Scene) -> Phase:
    return scene.machine._serving.phase


def test_the_docstring_draws_the_transitions_of_the_table() -> None:
    assert drawn(serving.__doc__) == arrows(TRANSITIONS)


@pytest.mark.parametrize("ready", READY)
@pytest.mark.parametrize(("phase", "given"), list(product(Phase, Input)))
def test_a_node_moves_as_the_table_of_its_phases_says(phase, given, ready) -> None:
    causes = {Input.READY: ready, Input.LEAVE: leave, Input.REMOVED: remove}
    scene = Scene(2, up=False)
    for earlier in INPUTS[phase]:
        causes[earlier](scene)
    assert phase_of(scene) is phase

    causes[given](scene)

    assert phase_of(scene) is TRANSITIONS.get((phase, given), phase)


ACTS = [
    join,
    leave,
    link_all,
    link_none,
    find_nobody_alive,
    lambda scene: scene.gossip({"n1": ALIVE, "n2": ALIVE}, joined=False),
    lambda scene: scene.link("n2"),
    lambda scene: scene.unlink("n2"),
    lambda scene: scene.wait(LINKS_WAIT_S / 3),
]


@given(st.lists(st.sampled_from(ACTS), max_size=12))
def test_whatever_happens_a_node_makes_only_transitions_of_the_table(acts) -> None:
    scene = Scene(2, up=False)

    for act in acts:
        before = phase_of(scene)
        act(scene)
        after = phase_of(scene)
        ways = [way for (phase, _), way in TRANSITIONS.items() if phase is before]
        assert after is before or after in ways


@given(st.lists(st.sampled_from(ACTS), max_size=12))
def test_requests_are_taken_on_in_the_phase_that_a_status_tells(acts) -> None:
    scene = Scene(2, up=False)
    for act in acts:
        act(scene)

    scene.told(Status(1), CLIENT)
    scene.get(r=1)
    refused = any(type(answer) is ErrorReply for answer in scene.answers)
    scene.wait(STATUS_WAIT_S)

    (status,) = (answer.status for answer in scene.answers if type(answer) is not ErrorReply)
    assert status["serving"] is not refused
