"""The results: failures and false accusations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from toystore.logs.episode import (
    DEAD,
    LEFT,
    LINK_LOST,
    SUSPECT,
    Accusation,
    Held,
    Restart,
    Seen,
    teller_in,
)

CRASH, STOP, PAUSE, SPLIT, UNKNOWN = "crash", "stop", "pause", "split", "unknown"
FIRST_SIGN = "the first sign"
"""The source of the time of a failure that neither the member nor the runner logged."""


class Sight(NamedTuple):
    """What one observer saw, and when."""

    at: float
    node: str
    cause: str

    @property
    def teller(self) -> str:
        """The node that told the observer; empty for own evidence."""
        return teller_in(self.cause)


@dataclass(slots=True)
class Failure:
    """A member could not be reached: what happened, what was noticed, and the return."""

    member: str
    kind: str
    at: float
    """When it happened, in seconds since 1970 UTC on the reference clock."""
    known_from: str
    """The source of the time: `RUNNER`, `OWN_LOG` or `FIRST_SIGN`."""
    how: str
    """More about the cause; may be empty."""
    back_at: float | None
    observers: tuple[str, ...]
    """The nodes that ran all the time, and so should have noticed it."""
    seen: dict[str, dict[str, Seen]]
    """By observer and kind: what it saw first."""
    held: list[Held] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    """When a new process of it was killed before it had joined."""
    restart: Restart | None = None
    refuted: list[Seen] = field(default_factory=list)
    sides: tuple[tuple[str, ...], ...] = ()
    """The sides of a split, the member's own first."""
    in_turn: list[Accusation] = field(default_factory=list)
    """What it called the members of the other sides."""

    def sights(self, *kinds: str) -> list[Sight]:
        """What each observer first saw of these kinds, by time."""
        found = []
        for node, seen in self.seen.items():
            noticed = [seen[kind] for kind in kinds if kind in seen]
            if noticed:
                at, cause = min(noticed)
                found.append(Sight(at, node, cause))
        return sorted(found, key=_order)

    @property
    def signs(self) -> list[Sight]:
        """The nodes that lost their link to it."""
        return [sight._replace(cause=LINK_LOST) for sight in self.sights(LINK_LOST)]

    @property
    def suspicions(self) -> list[Sight]:
        """The nodes that suspected it, or called it dead at once."""
        return self.sights(SUSPECT, DEAD)

    @property
    def last_suspicion(self) -> Sight | None:
        """When the last of several observers suspected it; None if one never did."""
        sights = [sight for sight in self.suspicions if sight.node in self.observers]
        return sights[-1] if len(sights) == len(self.observers) > 1 else None

    @property
    def deaths(self) -> list[Sight]:
        """The nodes that called it dead."""
        return self.sights(DEAD)

    @property
    def goodbyes(self) -> list[Sight]:
        """The nodes that heard its goodbye."""
        return self.sights(LEFT)

    @property
    def noticed(self) -> list[Sight]:
        """When each node first called it suspect or dead, or heard its goodbye."""
        return self.sights(SUSPECT, DEAD, LEFT)

    @property
    def knowledge(self) -> list[Sight]:
        """When each node knew: called it dead or heard its goodbye; if none did: suspected it."""
        return self.sights(DEAD, LEFT) or self.suspicions

    @property
    def unaware(self) -> list[str]:
        """The observers that never knew."""
        knew = {sight.node for sight in self.knowledge}
        return [name for name in self.observers if name not in knew]

    @property
    def all_knew_at(self) -> float | None:
        """When the last observer knew; None if one never did."""
        times = [sight.at for sight in self.knowledge if sight.node in self.observers]
        return max(times) if times and not self.unaware else None

    @property
    def kept(self) -> int:
        """The number of hints, on all nodes."""
        return sum(held.kept for held in self.held)

    @property
    def delivered(self) -> int:
        """The number of hints that were delivered."""
        return sum(held.delivered for held in self.held)

    @property
    def home_at(self) -> float | None:
        """When the last hint was delivered; None if some were not, or there were none."""
        times = [held.home_at for held in self.held if held.home_at is not None]
        return max(times) if times and len(times) == len(self.held) else None


@dataclass(slots=True)
class FalseAccusation:
    """A member was called suspect or dead, but it was running and reachable."""

    by: str
    member: str
    at: float
    cause: str
    dead_at: float | None
    """When it was called dead."""
    cleared_at: float | None
    """When the accuser saw it alive again."""
    note: str
    """What may explain it; may be empty."""
    reason: str
    """``slow link``, ``lossy link``, ``cut link`` or ``reset link``, if that explains it."""


def _order(sight: Sight) -> tuple[float, bool, float, str]:
    """Sort key: by time; within a millisecond, own evidence before hearsay."""
    return round(sight.at, 3), bool(sight.teller), sight.at, sight.node
