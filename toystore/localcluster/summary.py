"""Who noticed what, and when: read from the nodes' own logs.

    {"timestamp":"...","event":"member.dead","node":"n2","member":"n4",...}

Each step of the scenario is given the events about its node, from the step until the next
step that concerns the same node.  For each kind of event one line says how many nodes
logged it, who was first and last, and how long after the step.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from toystore.localcluster.cluster import NO_LOG_LINE
from toystore.localcluster.scenario import Played

KINDS = (
    "link.lost",
    "member.suspect",
    "member.dead",
    "member.left",
    "hint.stored",
    "member.joined",
    "member.refuted",
    "member.alive",
    "handoff.finished",
)
"""In the order in which they tell the story."""
OF_ITSELF = ("member.joined", "member.refuted")
"""What a node logs of itself."""
ACCUSATIONS = ("member.suspect", "member.dead")


class Notice(NamedTuple):
    """A line of a log that is about a node."""

    when: datetime
    kind: str
    by: str
    about: str
    cause: str
    hints: int


def read_logs(folder: Path, names: Iterable[str], since: datetime) -> list[Notice]:
    """What the nodes noticed ``since`` then, in order; lines cut short are skipped."""
    found = [
        notice
        for name in names
        for path in (folder / name).glob("log.jsonl*")
        for notice in _read(path)
        if notice.when >= since
    ]
    return sorted(found)


def _read(path: Path) -> Iterator[Notice]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(*NO_LOG_LINE):
                entry = json.loads(line)
                if entry["event"] in KINDS:
                    yield _notice(entry)


def _notice(entry: dict[str, Any]) -> Notice:
    """What a line says of a node.  Raises one of `NO_LOG_LINE` if it says nothing."""
    when = datetime.fromisoformat(entry["timestamp"])
    if when.tzinfo is None:
        raise ValueError(f"{when} is nowhere's time")
    kind, by = entry["event"], str(entry["node"])
    about = by if kind in OF_ITSELF else str(entry.get("member") or entry.get("owner"))
    hints = entry.get("hints", 0)
    cause = str(entry.get("cause") or "")
    return Notice(when, kind, by, about, cause, hints if type(hints) is int else 0)


def summary(played: Sequence[Played], notices: Sequence[Notice]) -> Iterator[str]:
    """The story of the scenario, a few lines to each step."""
    yield f"{'what was noticed':<27}{'by':>5}   {'first':<16}{'last':<16}why the first did"
    for at, taken in enumerate(played):
        yield f"{taken.step.at:4.0f} s  {taken}"
        theirs = [notice for notice in notices if _belongs(notice, played, at)]
        for kind in KINDS:
            yield from _line(kind, [n for n in theirs if n.kind == kind], taken.when)
    yield from _unprovoked(played, notices)


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
    """One kind of event: by how many, by whom first, by whom last."""
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


def _unprovoked(played: Sequence[Played], notices: Sequence[Notice]) -> Iterator[str]:
    """Accusations of nodes that nothing had been done to."""
    wrong = [
        notice
        for notice in notices
        if notice.kind in ACCUSATIONS
        and not any(p.step.node == notice.about and p.when <= notice.when for p in played)
    ]
    accused = Counter(f"{notice.kind.removeprefix('member.')} {notice.about}" for notice in wrong)
    told = ", ".join(f"{what} by {nodes}" for what, nodes in sorted(accused.items()))
    yield f"accused without cause: {told or 'nobody'}"


def _after(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
