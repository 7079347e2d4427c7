"""Who sends and who receives: the actors of a node by name, and the clients in front of it."""

from __future__ import annotations

from typing import NamedTuple

GOSSIP = "gossip"
STORAGE = "storage"
COORDINATOR = "coordinator"
HANDOFF = "handoff"


class Peer(NamedTuple):
    """The address of an actor: a node's name and the actor's."""

    node: str
    actor: str


class Caller(NamedTuple):
    """Whoever stands behind the client port: the frames that lead a reply back."""

    envelope: tuple[bytes, ...]


Address = Peer | Caller
