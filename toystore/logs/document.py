"""The report as JSON, for programs and for the page; docs/OPERATIONS.md describes it.

It is made in pieces, so that only one failure at a time is in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from toystore.logs.clocks import Clocks
from toystore.logs.episode import ALIVE, DEAD, LEFT, LINK_LOST, SILENT, SUSPECT, Seen
from toystore.logs.failure import Failure, FalseAccusation, Sight
from toystore.logs.links import LinkFault
from toystore.logs.names import in_order_of
from toystore.logs.report import Report
from toystore.logs.steps import Step
from toystore.logs.story import head, tell

_KINDS = (
    ("link_lost", LINK_LOST),
    ("silent", SILENT),
    ("suspect", SUSPECT),
    ("dead", DEAD),
    ("left", LEFT),
    ("alive", ALIVE),
)


def document(report: Report, *, in_words: bool = False) -> Iterator[str]:
    """The whole report as one JSON object on one line, in pieces.

    ``in_words``: add the text of story.py, as ``told``, to the report and to each failure.
    """
    told = {"told": list(head(report))} if in_words else {}
    yield json.dumps(_head(report) | told)[:-1]
    yield ', "failures": ['
    yield from _parted(
        json.dumps(of_failure(each) | ({"told": list(tell(each, at))} if in_words else {}))
        for at, each in enumerate(report.failures, 1)
    )
    yield '], "false_accusations": ['
    yield from _parted(json.dumps(of_accusation(each)) for each in report.false)
    yield "]}"


def _head(report: Report) -> dict[str, Any]:
    tally = report.tally
    return {
        "cluster": report.book.cluster or None,
        "nodes": report.members,
        "lines": tally.lines,
        "from": _time(report.first_at),
        "to": _time(report.last_at),
        "skipped": {"foreign": tally.foreign, "torn": tally.torn, "unreadable": tally.unreadable},
        "lines_lost": report.lines_lost,
        "links_lost": report.links_lost,
        "clocks": of_clocks(report.clocks),
        "health": [
            {"node": name, "worst": report.book.nodes[name].health_worst} for name in report.members
        ],
        "flapping": [
            {"member": name, "at": _time(named[0].at), "named_by": [seen.cause for seen in named]}
            for name, named in report.book.flapping.items()
        ],
        "link_faults": [
            of_link_fault(each) for each in report.book.links.faults if report.wanted.link(each)
        ],
    }


def of_clocks(clocks: Clocks) -> dict[str, Any]:
    """The offsets of the clocks."""
    return {
        "reference": clocks.reference,
        "contradiction_s": round(clocks.contradiction_s, 4),
        "offsets": [
            {
                "node": each.node,
                "ahead_s": round(each.ahead_s, 4),
                "error_s": round(each.error_s, 4) if isfinite(each.error_s) else None,
            }
            for each in sorted(clocks.offsets, key=lambda each: in_order_of(each.node))
        ],
    }


def of_link_fault(fault: LinkFault) -> dict[str, Any]:
    """What the runner did to links."""
    return {
        "at": _time(fault.at),
        "until": _time(fault.until),
        "kind": fault.kind,
        "links": [{"from": block.senders, "to": block.receivers} for block in fault.blocks],
        "share": fault.share,
        "delay_s": fault.delay_s,
        "jitter_s": fault.jitter_s,
        "reset": fault.resets,
    }


def of_failure(failure: Failure) -> dict[str, Any]:
    """A failure."""
    since = failure.at
    last = failure.last_suspicion
    suspicions, deaths, knowledge = failure.suspicions, failure.deaths, failure.knowledge
    return {
        "member": failure.member,
        "kind": failure.kind,
        "at": _time(since),
        "known_from": failure.known_from,
        "how": failure.how,
        "first_sign": _sight(failure.signs[:1], since),
        "first": _sight(failure.noticed[:1], since),
        "suspected_by": len(suspicions),
        "all_suspected_after_s": _after(last.at, since) if last else None,
        "first_dead": _sight(deaths[:1], since),
        "dead_at": _time(deaths[0].at) if deaths else None,
        "observers": len(failure.observers),
        "own_evidence": sum(not sight.teller for sight in knowledge),
        "never_knew": failure.unaware,
        "all_knew_after_s": _after(failure.all_knew_at, since),
        "killed_again_after_s": [_after(at, since) for at in failure.again],
        "back_at": _time(failure.back_at),
        "away_s": _after(failure.back_at, since),
        "refuted_after_s": _after(failure.refuted[0].at, since) if failure.refuted else None,
        "restart": _restart(failure),
        "hints": _hints(failure),
        "sides": failure.sides or None,
        "in_turn": [
            {
                "member": each.member,
                "after_s": _after(each.at, since),
                "dead_after_s": _after(each.dead and each.dead.at, since),
            }
            for each in failure.in_turn
        ],
        "seen": [{"node": node, **_seen(seen, since)} for node, seen in failure.seen.items()],
    }


def of_accusation(accusation: FalseAccusation) -> dict[str, Any]:
    """A false accusation."""
    return {
        "by": accusation.by,
        "member": accusation.member,
        "at": _time(accusation.at),
        "cause": accusation.cause,
        "refuted_after_s": _after(accusation.cleared_at, accusation.at),
        "dead_after_s": _after(accusation.dead_at, accusation.at),
        "reason": accusation.reason or None,
        "note": accusation.note,
    }


def of_step(step: Step) -> dict[str, Any]:
    """A step."""
    after_s = None if step.after_s is None else round(step.after_s, 4)
    return {"at": _time(step.at), "member": step.member, "after_s": after_s, "what": step.what}


def _restart(failure: Failure) -> dict[str, Any] | None:
    restart = failure.restart
    if restart is None:
        return None
    return {
        "after_s": _after(restart.at, failure.at),
        "before": restart.before,
        "joined_after_s": _after(restart.joined_at, failure.at),
        "through": restart.through or None,
        "new_disk": restart.new_disk,
    }


def _hints(failure: Failure) -> dict[str, Any]:
    back_at = failure.at if failure.back_at is None else failure.back_at
    return {
        "kept": failure.kept,
        "delivered": failure.delivered,
        "home_after_s": _after(failure.home_at, back_at),
        "by": [
            {
                "node": held.holder,
                "kept": held.kept,
                "delivered": held.delivered,
                "first_after_s": _after(held.first_at, failure.at),
                "home_after_s": _after(held.home_at, back_at),
            }
            for held in failure.held
        ],
    }


def _seen(seen: dict[str, Seen], since: float) -> dict[str, Any]:
    """What an observer saw, and when."""
    found: dict[str, Any] = {}
    for name, kind in _KINDS:
        if kind in seen:
            found[f"{name}_after_s"] = _after(seen[kind].at, since)
            if seen[kind].cause:
                found[f"{name}_cause"] = seen[kind].cause
    return found


def _sight(sights: list[Sight], since: float) -> dict[str, Any] | None:
    return next(
        ({"node": s.node, "cause": s.cause, "after_s": _after(s.at, since)} for s in sights), None
    )


def _time(at: float | None) -> str | None:
    """A time in the format of the logs."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _after(at: float | None, since: float) -> float | None:
    return None if at is None else round(at - since, 4)


def _parted(pieces: Iterable[str]) -> Iterator[str]:
    """Array elements with commas between them."""
    for number, piece in enumerate(pieces):
        yield f", {piece}" if number else piece
