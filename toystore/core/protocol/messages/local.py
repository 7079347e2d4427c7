"""What a machine hears from inside its node: of members, links, sends that failed, and the end."""

from __future__ import annotations

from typing import Any, NamedTuple

from toystore.core.protocol.messages.gossip import MemberState


class MembersChanged(NamedTuple):
    """Gossip tells its node's other actors what it now knows; ``joined`` once it is one of us."""

    joined: bool
    members: tuple[MemberState, ...]


class LinkUp(NamedTuple):
    """The link to a node's port is there."""

    node: str


class LinkLost(NamedTuple):
    """The link to a node's port is gone."""

    node: str


class LinkRefused(NamedTuple):
    """A connection to the node's port was refused: no process listens there, but its host is up.

    Made by a shell for its own gossip, after `LinkLost`.
    """

    node: str


class Leave(NamedTuple):
    """Say goodbye (to gossip), or finish what you hold and take no more (to the coordinator).

    Made by a shell for its own machine, like `SendFailed`; never on the wire.
    """


class SendFailed(NamedTuple):
    """``message`` could not be sent to ``to``: its link is down, or its queue is full.

    Made by a shell for its own machine; never on the wire.
    """

    node: str
    actor: str
    message: Any
    overloaded: bool
