"""The ring actor: follows and changes who the members of the cluster are."""

from __future__ import annotations

from actors.actor import Actor
from toystore.core.protocol.address import RING


class RingActor(Actor):
    """Runs the reconfiguration machine."""

    role = RING
