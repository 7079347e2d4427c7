"""What a machine hears from inside its node: of members, links, sends that failed, and the end."""

from __future__ import annotations

from typing import Any, NamedTuple

from toystore.core.protocol.messages.gossip import MemberState


class MembersChanged(NamedTuple):
    """Gossip sends its node's other actors the rows that have changed; the others are as before.

    ``joined``: whether this node has joined the cluster.
    """

    joined: bool
    members: tuple[MemberState, ...]
    removed: tuple[str, ...] = ()
    """Members of which nothing is known any more.  If ``members`` has one, it has joined again."""


class LinkUp(NamedTuple):
    """The link to a node's port is there."""

    node: str


class LinkLost(NamedTuple):
    """The link to a node's port is gone."""

    node: str


class LinkRefused(NamedTuple):
    """A connection to the node's port was refused: no process listens there, but its host is up.

    Made by a shell for its own gossip, after `LinkLost`; never on the wire.
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
