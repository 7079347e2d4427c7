"""When each member was away: in these times another node has cause to accuse it.

An absence begins when a member is killed, stopped, paused or stalled.  It ends when the member has
joined again or goes on.  Each observer learns of the return later: it has cause until its own log
has "alive", but at most for `BACK_S`.
"""

from __future__ import annotations

from math import inf, isfinite

from toystore.logs.casebook import Casebook
from toystore.logs.clocks import Clocks
from toystore.logs.entry import RUNNER
from toystore.logs.episode import OWN_LOG, SHUTDOWN, Absence, Accusation, Episode, teller_in
from toystore.logs.failure import PAUSE, SPLIT, STOP
from toystore.logs.links import HEALING_S

BACK_S = 1.0
"""How long a return may be unknown to an observer, from when both nodes were back."""
MARGIN_S_MAX = 1.0
"""The largest error of clocks that is allowed for."""


class Away:
    """The absences in the logs of the members and of the runner."""

    def __init__(self, book: Casebook, clocks: Clocks) -> None:
        self._book = book
        self._clocks = clocks

    def absences(self, member: str, moment: float) -> list[Absence]:
        """A member's absences, the last first, that ended shortly before ``moment`` or later."""
        node = self._book.nodes[member]
        since = moment - BACK_S - MARGIN_S_MAX
        found = []
        for absence in reversed(node.absences):
            if absence.until is not None and absence.until < since:
                break
            found.append(absence)
        for began, ended in reversed(node.stalls):
            if ended < since:
                break
            found.append(Absence(PAUSE, began, OWN_LOG, "", ended))
        return found

    def cause(self, by: str, member: str, at: float, seen_at: float | None) -> Absence | None:
        """The absence that is the cause of an accusation; None if there is none.

        ``seen_at``: when the accuser last saw the member return.
        """
        margin_s = self.margin_s(by, member)
        attentive_until = min([at, *(absence.since for absence in self.absences(by, at))])
        for absence in self.absences(member, attentive_until):
            if at < absence.since - margin_s:
                continue
            if absence.until is None:
                return absence
            knew = seen_at is not None and absence.until - margin_s <= seen_at
            if not knew and at <= self._attentive(by, absence.until) + BACK_S + margin_s:
                return absence
        return None

    def cut_off(self, said: Accusation, at: float) -> Absence | None:
        """The split that is the cause of an accusation or of its death at ``at``; None if none is.

        After a split a node accuses with cause until it sees the member alive.  It may also learn
        what was believed on the other side, of any member.
        """
        links, margin_s = self._book.links, self.margin_s(said.by, said.member)
        if found := links.split_between(said.by, said.member, at + margin_s):
            until, _ = found
            knew = said.seen_alive_at is not None and said.seen_alive_at >= until
            if at <= until + BACK_S + margin_s or (not knew and at <= until + HEALING_S):
                return Absence(SPLIT, at, RUNNER, "links cut", until)
        healed_at = links.healed_at(at + margin_s)
        if healed_at is not None and teller_in(said.cause) and at <= healed_at + HEALING_S:
            return Absence(SPLIT, at, RUNNER, "links cut", healed_at)
        return None

    def attended(self, observer: str, since: float, until: float) -> bool:
        """Whether an observer ran all the time."""
        return not any(
            absence.since <= until and since <= (absence.until or inf)
            for absence in self.absences(observer, since)
        )

    def has_just_been(self, member: str, moment: float) -> bool:
        """Whether an absence of a member ended shortly before."""
        ends = [absence.until for absence in self.absences(member, moment)]
        return any(end is not None and 0 <= moment - end < BACK_S for end in ends)

    def stopped_with_all(self, episode: Episode) -> bool:
        """Whether the member was stopped together with the whole cluster; a runner logs that."""
        own = episode.absences[0] if episode.absences else None
        if own is None or own.kind != STOP or own.known_from == RUNNER:
            return own is not None and own.kind == SHUTDOWN
        members = self._book.members
        stopped = [
            name
            for name in members
            if any(
                other.kind == STOP and _overlap(own, other)
                for other in self.absences(name, own.since)
            )
        ]
        return len(stopped) > 1 and 2 * len(stopped) > len(members)

    def margin_s(self, *nodes: str) -> float:
        """The error when times in the logs of these nodes are compared."""
        errors = map(self._clocks.error_s, nodes)
        return min(MARGIN_S_MAX, sum(error for error in errors if isfinite(error)))

    def _attentive(self, observer: str, moment: float) -> float:
        """The first time from ``moment`` on at which the observer was not away itself."""
        ends = (
            absence.until
            for absence in self.absences(observer, moment)
            if absence.until is not None and absence.since <= moment
        )
        return max((moment, *ends))


def _overlap(one: Absence, other: Absence) -> bool:
    return one.since <= (other.until or inf) and other.since <= (one.until or inf)
