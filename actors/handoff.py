"""The hand-off actor: reads hints from its own storage and delivers them to their owners."""

from __future__ import annotations

from actors.actor import Actor
from toystore.core.protocol.address import HANDOFF


class HandoffActor(Actor):
    """Runs the hand-off machine."""

    role = HANDOFF
