"""Which nodes logged each failure, and when; which suspicions had no cause.

Each step of the scenario is given the events about its node (notices.py), from the step
until the next step that concerns the same node.  For each kind of event one line says how
many nodes logged it, which were the first and the last, and how long after the step.  At the
end it lists nodes that suspected a node that was not away (absences.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from toystore.localcluster.absences import Absences
from toystore.localcluster.notices import ACCUSATIONS, KINDS, OF_ITSELF, Notice
from toystore.localcluster.scenario import Played


def summary(
    played: Sequence[Played], notices: Sequence[Notice], died: Mapping[str, datetime]
) -> Iterator[str]:
    """The course of the scenario, a few lines for each step.

    ``died``: for each node with an unplanned death, when it was last alive.
    """
    yield f"{'what was noticed':<27}{'by':>5}   {'first':<16}{'last':<16}why the first did"
    for at, taken in enumerate(played):
        yield f"{taken.step.at:4.0f} s  {taken}"
        theirs = [notice for notice in notices if _belongs(notice, played, at)]
        for kind in KINDS:
            yield from _line(kind, [n for n in theirs if n.kind == kind], taken.when)
    yield _without_cause(notices, Absences(played, notices, died))


def _belongs(notice: Notice, played: Sequence[Played], at: int) -> bool:
    """Whether a notice is about the node of a step, and before the next step about it."""
    taken = played[at]
    later = (p.when for p in played[at + 1 :] if p.step.node == taken.step.node)
    return (
        notice.about == taken.step.node
        and (notice.by != notice.about or notice.kind in OF_ITSELF)
        and taken.when <= notice.when
        and not any(when <= notice.when for when in later)
    )


def _line(kind: str, notices: Sequence[Notice], since: datetime) -> Iterator[str]:
    """One kind of event: how many nodes logged it, which first, which last."""
    first_of: dict[str, Notice] = {}
    for notice in notices:
        first_of.setdefault(notice.by, notice)
    if not first_of:
        return
    firsts = list(first_of.values())
    ends = [f"{n.by:<4}{_after(n.when - since):>9}" for n in (firsts[0], firsts[-1])]
    delivered = sum(n.hints for n in notices) if kind == "handoff.finished" else 0
    why = f"{delivered:,} hints delivered" if delivered else firsts[0].cause
    yield f"        {kind:<19}{len(firsts):>5}   {ends[0]:<16}{ends[1]:<16}{why}".rstrip()


def _without_cause(notices: Sequence[Notice], absences: Absences) -> str:
    """Suspicions of nodes that were not away."""
    accused = Counter(
        f"{notice.kind.removeprefix('member.')} {notice.about}"
        for notice in notices
        if notice.kind in ACCUSATIONS and not absences.excuse(notice)
    )
    told = ", ".join(f"{what} by {nodes}" for what, nodes in sorted(accused.items()))
    return f"accused without cause: {told or 'nobody'}"


def _after(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
