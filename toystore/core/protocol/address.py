"""Addresses of senders and receivers: a node's actors by name, and its clients."""

from __future__ import annotations

from typing import NamedTuple

GOSSIP = "gossip"
STORAGE = "storage"
COORDINATOR = "coordinator"
HANDOFF = "handoff"
ANTIENTROPY = "antientropy"
RING = "ring"


class Peer(NamedTuple):
    """The address of an actor: a node's name and the actor's."""

    node: str
    actor: str


class Caller(NamedTuple):
    """A client at the client port: the frames that route a reply back to it."""

    envelope: tuple[bytes, ...]


Address = Peer | Caller
