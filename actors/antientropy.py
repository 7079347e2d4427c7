"""The anti-entropy actor: compares this node's replicas with those of the other owners."""

from __future__ import annotations

from actors.actor import Actor
from toystore.core.protocol.address import ANTIENTROPY


class AntientropyActor(Actor):
    """Runs the anti-entropy machine."""

    role = ANTIENTROPY
