"""Why ranges are compared with a member, or it is asked about them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from toystore.core.antientropy.visits import Visits


class Aim(Enum):
    """What a question to another storage is for."""

    EQUAL = "both owners get what they lack"
    FETCH = "this node is behind, and gets what it lacks"
    ASK = "is the member whole?  Nothing is compared"
    PUSH = "the member gets what it lacks: this node will not own the range, or does not"


class Errand(NamedTuple):
    """Visits with one aim."""

    visits: Visits
    aim: Aim
