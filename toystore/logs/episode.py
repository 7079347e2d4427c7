"""An episode: what was logged about one member, from the first sign until it is well again.

It contains what other nodes saw of the member (a lost link, a suspicion, a death, a return), the
hints that they kept for it, and the times at which it is known to have been away.
`toystore.logs.verdict` decides what the episode was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

ACCUSATIONS_MAX = 1000
"""The number of accusations that are kept."""
LINK_LOST, SILENT, SUSPECT, DEAD, LEFT, ALIVE = (
    *("link lost", "silent", "suspect", "dead", "left", "alive"),
)
"""What an observer can see."""
DOUBTS = (SUSPECT, DEAD, LEFT)
TOLD_BY = "told by "
"""The beginning of a cause that names another node."""
SHUTDOWN = "shutdown"
OWN_LOG = "its own log"
"""The source of an absence that the member logged itself."""


class Seen(NamedTuple):
    """Something that an observer saw."""

    at: float
    cause: str


@dataclass(slots=True)
class Accusation:
    """An observer calls a member suspect or dead, until it sees it alive."""

    by: str
    member: str
    at: float
    cause: str
    dead: Seen | None = None
    """When and why the observer called it dead."""
    seen_alive_at: float | None = None
    """When the observer last saw it return before that."""
    cleared_at: float | None = None
    """When the observer saw the member alive again."""

    @property
    def at_once(self) -> bool:
        """Whether the member was called dead without a suspicion before."""
        return self.dead is not None and self.dead.at == self.at


@dataclass(slots=True)
class Held:
    """The hints that one node keeps for the member."""

    holder: str
    first_at: float | None
    """None if it is not in the log."""
    kept: int = 0
    delivered: int = 0
    home_at: float | None = None
    """When the last one was delivered."""


@dataclass(slots=True)
class Absence:
    """A time in which the member could not answer, from its own log or the runner's."""

    kind: str
    """crash, stop, pause or split; shutdown if the whole cluster was stopped."""
    since: float
    known_from: str
    """The log that it is from: `OWN_LOG` or `RUNNER`."""
    how: str
    until: float | None = None
    """When the member was back; None: it is not."""
    again: list[float] = field(default_factory=list)
    """When a new process of it was killed before it had joined."""


@dataclass(slots=True)
class Restart:
    """A new process of the member."""

    at: float
    before: str
    """How its last life ended, as it logged."""
    joined_at: float | None = None
    through: str = ""
    """The node that let it join."""
    new_disk: bool = False


@dataclass(slots=True)
class Episode:
    """See the module's docstring."""

    member: str
    opened_at: float
    observers: set[str]
    """The nodes with a log that ran when the episode began."""
    was_up: bool
    """Whether the member itself ran."""
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    """By observer and kind: the first time; for "alive" the last."""
    accusations: list[Accusation] = field(default_factory=list)
    alive_at: dict[str, float] = field(default_factory=dict)
    """When each observer last saw the member return, in this episode or the one before."""
    doubting: set[str] = field(default_factory=set)
    """The nodes for which the member is suspect, dead or left now."""
    absences: list[Absence] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)
    refutations: list[Seen] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)
    own_line_at: float | None = None
    """The last line of the member itself in the episode, before it was started again."""
    last_sign_at: float = 0.0

    @property
    def is_serious(self) -> bool:
        """Whether the member was accused or away; else there were only signs such as lost links."""
        return bool(self.accusations or self.absences or self.doubting)

    @property
    def is_over(self) -> bool:
        """Whether the member is back and every node sees it alive."""
        return self.absent is None and not self.doubting

    @property
    def absent(self) -> Absence | None:
        """The absence that has not ended."""
        last = self.absences[-1] if self.absences else None
        return last if last is not None and last.until is None else None

    @property
    def awaits_hints(self) -> bool:
        """Whether hints for the member are not delivered yet."""
        return any(held.home_at is None for held in self.held.values())

    def see(self, observer: str, what: str, at: float, cause: str = "") -> None:
        """An observer logs something about the member."""
        self.last_sign_at = at
        seen = self.seen.setdefault(observer, {})
        if what == ALIVE:
            seen[what] = Seen(at, cause)
            self.alive_at[observer] = at
            self.clear(observer, at)
            return
        if what in (SUSPECT, DEAD):
            self._accuse(observer, what, at, cause)
        if what in DOUBTS:
            self.doubting.add(observer)
        seen.setdefault(what, Seen(at, cause))

    def clear(self, observer: str, at: float | None) -> None:
        """End the doubt of an observer: it saw the member alive, or (at None) it is down itself."""
        self.doubting.discard(observer)
        if at is not None:
            for accusation in self.accusations:
                if accusation.by == observer and accusation.cleared_at is None:
                    accusation.cleared_at = at

    def note_own_line(self, at: float) -> None:
        """The member itself logs a line."""
        if not self.restarts:
            self.own_line_at = at

    def _accuse(self, observer: str, status: str, at: float, cause: str) -> None:
        """Add an accusation, or the death to the suspicion before it."""
        dead = Seen(at, cause) if status == DEAD else None
        for said in self.accusations:
            if said.by == observer and said.cleared_at is None:
                said.dead = said.dead or dead
                return
        if len(self.accusations) < ACCUSATIONS_MAX:
            seen_at = self.alive_at.get(observer)
            said = Accusation(observer, self.member, at, cause, dead, seen_alive_at=seen_at)
            self.accusations.append(said)


def teller_in(cause: str) -> str:
    """The node that a cause names as its source; empty for own evidence."""
    return cause.removeprefix(TOLD_BY) if cause.startswith(TOLD_BY) else ""


def first_sign(episode: Episode) -> float | None:
    """When a node first logged that something was wrong with the member."""
    observed = (kinds.items() for kinds in episode.seen.values())
    signs = [seen.at for items in observed for what, seen in items if what != ALIVE]
    hints = [held.first_at for held in episode.held.values() if held.first_at is not None]
    return min(signs + hints, default=None)
