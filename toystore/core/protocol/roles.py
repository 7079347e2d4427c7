"""The actors of a node: `ROLES` is the one table of their links, and of their start and stop.

The real node (``actors/``) and the simulated one (``toystore/sim/``) both read it.  A node
starts its actors in the order of the rows: storage first, because the others ask it, and gossip
last, because it announces to other nodes that this one is there.  It stops them in the
opposite order.
"""

from __future__ import annotations

from typing import NamedTuple

from toystore.core.protocol.address import (
    ANTIENTROPY,
    COORDINATOR,
    GOSSIP,
    HANDOFF,
    RING,
    STORAGE,
)

GOODBYE_S = 2.0
"""How long a clean stop waits for each actor that receives `Leave`."""


class LinkTo(NamedTuple):
    """A link from an actor to the actor of this name on each other node."""

    actor: str
    watched: bool = True
    """Whether the machine receives `LinkUp` and `LinkLost`, which name a node: a second link to
    the same node is not watched."""


class Role(NamedTuple):
    """A row of `ROLES`."""

    name: str
    port: str = ""
    """The configuration's name of the port at which other nodes reach the actor; empty if there
    is none."""
    links: tuple[LinkTo, ...] = ()
    """Its links to actors of other nodes."""
    local: tuple[str, ...] = ()
    """The actors of its own node that it sends to.  An answer needs no link."""
    told_of_members: bool = False
    """Whether gossip sends it `MembersChanged`."""
    leaves: bool = False
    """Whether a clean stop sends it `Leave`, and waits until it is idle."""
    stays: bool = False
    """Whether it runs after its node was removed, until the members do not need that any more."""


ROLES: tuple[Role, ...] = (
    Role(STORAGE, port="peer_port", stays=True),
    Role(
        COORDINATOR,
        port="client_port",
        links=(LinkTo(STORAGE), LinkTo(COORDINATOR, watched=False)),
        local=(STORAGE, ANTIENTROPY, GOSSIP, RING),
        told_of_members=True,
        leaves=True,
    ),
    Role(HANDOFF, links=(LinkTo(STORAGE),), local=(STORAGE,), told_of_members=True),
    Role(ANTIENTROPY, links=(LinkTo(STORAGE),), local=(STORAGE,), told_of_members=True),
    Role(RING, links=(LinkTo(STORAGE),), local=(STORAGE,), told_of_members=True, stays=True),
    Role(GOSSIP, port="exchange_port", links=(LinkTo(GOSSIP),), local=(STORAGE, RING), leaves=True),
)

ACTORS = tuple(role.name for role in ROLES)
ROLE_OF: dict[str, Role] = {role.name: role for role in ROLES}
TOLD_OF_MEMBERS = tuple(role.name for role in ROLES if role.told_of_members)
STOP_ORDER = ROLES[::-1]


def local_links(actor: str) -> tuple[str, ...]:
    """The actors of its own node that ``actor`` sends to: `RING` sends news to all."""
    others = tuple(name for name in ACTORS if name not in (actor, *ROLE_OF[actor].local))
    told = {GOSSIP: tuple(name for name in TOLD_OF_MEMBERS if name in others), RING: others}
    return ROLE_OF[actor].local + told.get(actor, ())
