"""Decides what an episode was: a failure, false accusations, or nothing.

The logs of the runner and of the member itself show when it was away: it was killed, stopped,
paused, stalled, cut off or started again.  Accusations in these times have a cause (away.py).  If
there is no such absence:

    the member accused its accusers         a split
    it logged lines while it was accused,
    or a runner watches it, or every
    suspicion ended without a death         the accusations are false
    else                                    a crash if its links broke at once, or unknown
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from math import inf
from typing import NamedTuple

from toystore.logs import links
from toystore.logs.away import BACK_S, Away
from toystore.logs.casebook import Casebook
from toystore.logs.clocks import Clocks
from toystore.logs.episode import (
    DEAD,
    LEFT,
    LINK_LOST,
    OWN_LOG,
    SUSPECT,
    Absence,
    Accusation,
    Episode,
    Seen,
    first_sign,
    teller_in,
)
from toystore.logs.failure import (
    CRASH,
    FIRST_SIGN,
    PAUSE,
    SPLIT,
    STOP,
    UNKNOWN,
    Failure,
    FalseAccusation,
)
from toystore.logs.links import Split
from toystore.logs.names import in_order
from toystore.logs.split import find_split

AFTERWARDS_S = 10.0
"""Accusations up to this long after a step of a scenario may be its effect."""
WAS_AWAY = "it had been away itself"


class Verdict(NamedTuple):
    """What an episode was."""

    failure: Failure | None
    false: list[FalseAccusation]


class _Weighed(NamedTuple):
    """An accusation and its causes."""

    said: Accusation
    suspicion: Absence | None
    death: Absence | None
    """The cause of the death, if the member was called dead."""


NOTHING = Verdict(None, [])


class Judge:
    """Decides what episodes were."""

    def __init__(self, book: Casebook, clocks: Clocks) -> None:
        self._book = book
        self._away = Away(book, clocks)
        self._stalls_told: dict[str, float] = {}
        """By member: the end of the last stall that was reported as a failure."""

    def judge(self, episode: Episode) -> Verdict:
        """Decide what an episode was."""
        if not episode.is_serious or self._away.stopped_with_all(episode):
            return NOTHING
        weighed = [self._weigh(each) for each in episode.accusations]
        false = list(self._false(weighed))
        if absence := episode.absences[0] if episode.absences else self._new_stall(weighed):
            split = self._book.links.split_since(absence.since) if absence.kind == SPLIT else None
            return Verdict(self._failure(episode, absence, weighed, split), false)
        rest = [each for each in weighed if each.suspicion is None and each.death is None]
        return self._without_a_word(episode, rest, false) if rest else Verdict(None, false)

    def _without_a_word(
        self, episode: Episode, rest: list[_Weighed], false: list[FalseAccusation]
    ) -> Verdict:
        """Decide without a known absence; ``rest``: the accusations without a cause."""
        said = [each.said for each in rest]
        watched = self._book.nodes[episode.member].watched  # then a split would be on record
        if not watched and (split := find_split(episode.member, said, self._book)):
            if episode.member in split.main:
                return NOTHING  # The smaller sides are reported.
            said = [each for each in said if each.by not in split.side_of(episode.member)]
            return Verdict(self._vanished(episode, SPLIT, said, split), [])
        if self._was_there(episode, said):
            return Verdict(None, false)
        kind = CRASH if _links_broke(episode) else UNKNOWN
        return Verdict(self._vanished(episode, kind, said), [])

    # --- accusations --------------------------------------------------------------------

    def _weigh(self, said: Accusation) -> _Weighed:
        """Find the causes of an accusation."""

        def cause(at: float) -> Absence | None:
            return self._away.cause(
                said.by, said.member, at, said.seen_alive_at
            ) or self._away.cut_off(said, at)

        return _Weighed(said, cause(said.at), cause(said.dead.at) if said.dead else None)

    def _false(self, weighed: Iterable[_Weighed]) -> Iterator[FalseAccusation]:
        """The accusations without a cause, and the deaths without one."""
        for said, suspicion, death in weighed:
            wrong_death = said.dead if death is None else None
            if suspicion is not None and wrong_death is None:
                continue
            at, cause = said.at, said.cause
            if suspicion is not None and wrong_death is not None:
                at, cause = wrong_death
            note, reason = self._explain(said)
            yield FalseAccusation(
                by=said.by,
                member=said.member,
                at=at,
                cause=cause,
                dead_at=wrong_death and wrong_death.at,
                cleared_at=said.cleared_at,
                note=note,
                reason=reason,
            )

    def _explain(self, said: Accusation) -> tuple[str, str]:
        """What may explain a false accusation: a note, and the reason if it is a fault of links."""
        if self._away.has_just_been(said.by, said.at):
            return WAS_AWAY, ""
        origin = self._origin(said)
        pairs = [(said.by, said.member), (origin, said.member)]
        if fault := self._book.links.fault_between(pairs, said.at):
            return links.note(fault, self._book.members), links.reason(fault)
        return self._step({said.by, said.member}, said.at), ""

    def _origin(self, said: Accusation) -> str:
        """The node whose own evidence an accusation rests on, as far as it is known."""
        node, cause, seen = said.by, said.cause, {said.by}
        while (teller := teller_in(cause)) and teller not in seen:
            seen.add(teller)
            node = teller
            told = [
                each.cause
                for each in self._book.nodes[teller].accused
                if each.member == said.member and each.at <= said.at
            ]
            cause = told[-1] if told else ""
        return node

    def _step(self, concerned: Collection[str], moment: float) -> str:
        """The step of a scenario that concerned one of these nodes at this time."""
        for step in reversed(self._book.steps):
            until = step.at + (step.number("for_s") or inf) + AFTERWARDS_S
            if step.about in concerned and step.at <= moment <= until:
                return f"scenario: {step.text('do')} {step.about}"
        return ""

    # --- what happened ------------------------------------------------------------------

    def _new_stall(self, weighed: Iterable[_Weighed]) -> Absence | None:
        """The stall in the member's own log that is the cause of an accusation, once."""
        for said, suspicion, death in weighed:
            absence = suspicion or death
            if absence and absence.kind == PAUSE and absence.known_from == OWN_LOG:
                ended = absence.until or inf
                if ended > self._stalls_told.get(said.member, -inf):
                    self._stalls_told[said.member] = ended
                    return absence
        return None

    def _was_there(self, episode: Episode, said: list[Accusation]) -> bool:
        """Whether the member ran while it was accused.

        A runner would have logged anything else; or it logged lines; or it refuted in time.
        """
        if self._book.nodes[episode.member].watched:
            return True
        if episode.own_line_at is not None and not episode.restarts:
            first = min(each.at for each in said)
            if episode.own_line_at > first + self._away.margin_s(episode.member):
                return True
        return all(each.cleared_at is not None and each.dead is None for each in said)

    def _vanished(
        self, episode: Episode, kind: str, said: list[Accusation], split: Split | None = None
    ) -> Failure:
        """A failure that only other nodes saw, from the first sign until the first return."""
        since = first_sign(episode) or episode.opened_at
        ends = [each.cleared_at for each in said if each.cleared_at is not None]
        how = self._step(split.side_of(episode.member) if split else {episode.member}, said[0].at)
        absence = Absence(kind, since, FIRST_SIGN, how, min(ends, default=None))
        with_cause = [_Weighed(each, absence, absence) for each in said]
        return self._failure(episode, absence, with_cause, split)

    def _failure(
        self,
        episode: Episode,
        absence: Absence,
        weighed: list[_Weighed],
        split: Split | None = None,
    ) -> Failure:
        """Make a failure of an episode."""
        own_side = split.side_of(episode.member) if split else ()
        seen = _seen_with_cause(episode, weighed, own_side)
        since, end = absence.since, absence.until
        restart = episode.restarts[-1] if episode.restarts else None
        if absence.kind in (STOP, CRASH) and restart and restart.joined_at is not None:
            end = restart.joined_at
        return Failure(
            member=episode.member,
            kind=absence.kind,
            at=since,
            known_from=absence.known_from,
            how=absence.how,
            back_at=end,
            observers=tuple(
                name
                for name in in_order(episode.observers.difference(own_side))
                if self._away.attended(name, since, _knew_at(seen.get(name, {}), end))
            ),
            seen=seen,
            held=list(episode.held.values()),
            again=absence.again,
            restart=restart,
            refuted=episode.refutations,
            sides=split.sides_from(episode.member) if split else (),
            in_turn=[
                each
                for each in self._book.nodes[episode.member].accused
                if split and each.member not in own_side and since <= each.at <= (end or inf)
            ],
        )


def _links_broke(episode: Episode) -> bool:
    """Whether most observers lost their links to the member at the same time."""
    lost = [seen[LINK_LOST].at for seen in episode.seen.values() if LINK_LOST in seen]
    return 2 * len(lost) > len(episode.seen) and max(lost) - min(lost) < BACK_S


def _seen_with_cause(
    episode: Episode, weighed: list[_Weighed], but: Iterable[str]
) -> dict[str, dict[str, Seen]]:
    """What the observers saw, without ``but``, and without false accusations."""
    found: dict[str, dict[str, Seen]] = {}
    for name in in_order(episode.seen.keys() - {*but}):
        seen = dict(episode.seen[name])
        for kind in (SUSPECT, DEAD):
            seen.pop(kind, None)
        for said, suspicion, death in weighed:
            if said.by == name and suspicion is not None and not said.at_once:
                seen.setdefault(SUSPECT, Seen(said.at, said.cause))
            if said.by == name and said.dead is not None and death is not None:
                seen.setdefault(DEAD, said.dead)
        if seen:
            found[name] = seen
    return found


def _knew_at(seen: dict[str, Seen], end: float | None) -> float:
    """When an observer knew; if it never did, the end of the failure."""
    times = [seen[what].at for what in (DEAD, LEFT, SUSPECT) if what in seen]
    return times[0] if times else inf if end is None else end
