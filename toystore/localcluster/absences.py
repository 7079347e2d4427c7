"""When each node was away: in these times another node has cause to suspect it.

A step of the scenario, or an unplanned death, begins an absence.  It ends when the node has
joined again or is resumed.  Each observer learns of the return later: it has cause until its
own log has "alive", but at most for `BACK_S`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from toystore.localcluster.notices import Notice
from toystore.localcluster.scenario import Played

BACK_S = 1.0
"""How long a return may be unknown to an observer, from when both nodes were back."""


class Absence(NamedTuple):
    """A time in which a node could not answer."""

    node: str
    since: datetime
    until: datetime | None
    """When it was back; None: never."""


class Absences:
    """All absences, and whether a suspicion has its cause in one."""

    def __init__(
        self, played: Sequence[Played], notices: Sequence[Notice], died: Mapping[str, datetime]
    ) -> None:
        """``notices``: in the order of time; ``died``: when each node that died was last alive."""
        nodes = {taken.step.node for taken in played} | died.keys()
        self._absences = [
            absence
            for node in sorted(nodes)
            for absence in _absences(
                [taken for taken in played if taken.step.node == node],
                [n.when for n in notices if n.kind == "member.joined" and n.by == node],
                [died[node]] if node in died else [],
                node,
            )
        ]
        self._returns = [notice for notice in notices if notice.kind == "member.alive"]

    def excuse(self, accusation: Notice) -> bool:
        """Whether the suspected node was away, as far as the observer could know."""
        return any(
            absence.since <= accusation.when <= self._known_by(accusation.by, absence)
            for absence in self._absences
            if absence.node == accusation.about
        )

    def _known_by(self, observer: str, absence: Absence) -> datetime:
        """When an observer knew, or must have known, that a node was back."""
        if absence.until is None:
            return datetime.max.replace(tzinfo=absence.since.tzinfo)
        seen = (
            n.when
            for n in self._returns
            if n.by == observer and n.about == absence.node and n.when >= absence.until
        )
        latest = self._attentive(observer, absence.until) + timedelta(seconds=BACK_S)
        return min(next(seen, latest), latest)

    def _attentive(self, observer: str, moment: datetime) -> datetime:
        """The first time from ``moment`` on at which the observer was not away itself."""
        ends = (
            absence.until
            for absence in self._absences
            if absence.node == observer and absence.since <= moment and absence.until is not None
        )
        return max((moment, *ends))


def _absences(
    steps: Sequence[Played], joined: Sequence[datetime], died: Iterable[datetime], node: str
) -> Iterator[Absence]:
    """The absences of one node."""
    starts, resumes = (
        [taken.when for taken in steps if taken.step.do == do] for do in ("restart", "resume")
    )
    downs = [taken.when for taken in steps if taken.step.do in ("kill", "stop", "restart")]
    for since in (*downs, *died):
        started = _first(starts, since)
        yield Absence(node, since, started and _first(joined, started))
    for taken in steps:
        if taken.step.for_s is not None:
            ends = taken.when + timedelta(seconds=taken.step.for_s)
            yield Absence(node, taken.when, min(ends, _first(resumes, taken.when) or ends))


def _first(moments: Iterable[datetime], since: datetime) -> datetime | None:
    """The first of ``moments`` that is not before ``since``."""
    return next((moment for moment in moments if moment >= since), None)
