"""The table of actors agrees with itself, and with the table of messages."""

from toystore.core.protocol.address import GOSSIP, STORAGE
from toystore.core.protocol.messages.local import MembersChanged
from toystore.core.protocol.roles import ROLES, STOP_ORDER, local_links
from toystore.core.protocol.routes import ANYONE, CLIENT, WIRE, Carrier, taken_by

NAMES = [role.name for role in ROLES]


def test_every_actor_has_one_row():
    assert len(set(NAMES)) == len(NAMES)


def test_storage_is_started_first_and_stopped_last_and_gossip_the_other_way_round():
    assert NAMES[0] == STOP_ORDER[-1].name == STORAGE
    assert NAMES[-1] == STOP_ORDER[0].name == GOSSIP


def test_links_lead_to_actors_that_other_nodes_can_reach():
    reachable = {role.name for role in ROLES if role.port}

    assert {link.actor for role in ROLES for link in role.links} <= reachable


def test_a_machine_is_told_of_one_link_to_a_node_at_most():
    """`LinkUp` names the node alone."""
    for role in ROLES:
        assert sum(link.watched for link in role.links) <= 1


def test_gossip_has_a_link_to_each_actor_that_is_told_of_members():
    told = {role.name for role in ROLES if role.told_of_members}

    assert told <= set(local_links(GOSSIP))
    assert all(MembersChanged in taken_by(actor) for actor in told)


def test_whatever_is_asked_over_a_link_has_somebody_with_a_link_there():
    linked = {link.actor for role in ROLES for link in role.links}
    linked |= {actor for name in NAMES for actor in local_links(name)}
    asked = {route.to for route in WIRE if route.carrier is Carrier.LINK and not route.is_reply}

    assert asked - {ANYONE, CLIENT} <= linked
