"""The report as text, in lines of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite

from toystore.logs.clocks import Clocks, Offset
from toystore.logs.entry import RUNNER
from toystore.logs.episode import ALIVE, LINK_LOST, OWN_LOG, SILENT, Restart
from toystore.logs.failure import (
    CRASH,
    PAUSE,
    SPLIT,
    STOP,
    UNKNOWN,
    Failure,
    FalseAccusation,
    Sight,
)
from toystore.logs.links import LinkFault, words
from toystore.logs.names import in_order
from toystore.logs.report import Report, Wanted

WIDTH = 80
TOGETHER_S = 10.0
"""False accusations of a member within this time are printed together."""
CLOCKS_MAX = 8
"""The number of clocks, and of members that fail often, that are listed."""
CONTRADICTION_S = 0.05
"""Smaller contradictions are normal for clocks that NTP adjusts."""
NAMES_MAX = 12
UNHEALTHY = 2
"""A member whose health score reached this is listed; 1 is normal after one missed ack."""
OFTEN = 3
"""A member that failed this often is listed."""
_WORDS = {
    CRASH: "CRASHED",
    STOP: "STOPPED",
    PAUSE: "FROZE",
    SPLIT: "WAS CUT OFF",
    UNKNOWN: "WENT SILENT",
}
_LABEL = "    {:<14}"
_INDENT = " " * len(_LABEL.format(""))


def story(report: Report) -> Iterator[str]:
    """The whole report."""
    yield from head(report)
    if faults := [fault for fault in report.book.links.faults if report.wanted.link(fault)]:
        yield ""
        yield "done to links (run_cluster's record):"
        for fault in faults:
            yield from _link_fault(fault, report.members)
    for number, failure in enumerate(report.failures, 1):
        yield ""
        yield from tell(failure, number)
    if report.false:
        yield ""
        yield "false accusations:"
        yield from false_accusations(report.false)


# --- the head ---------------------------------------------------------------------------


def head(report: Report) -> Iterator[str]:
    """The first lines: what was read, and the totals."""
    yield from _wrapped(_what_was_read(report))
    yield from _wrapped(_what_it_comes_to(report))
    yield from _wrapped(clocks(report.clocks, report.members))
    if notes := list(_notes(report)):
        yield from _wrapped("besides: " + "; ".join(notes))


def _what_was_read(report: Report) -> str:
    name = f"{report.book.cluster}: " if report.book.cluster else ""
    if report.first_at is None or report.last_at is None:
        return f"{name}no lines of a log"
    first, last = date_and_time(report.first_at), date_and_time(report.last_at)
    if first[:10] == last[:10]:
        last = last[11:]
    return (
        f"{name}{_count(len(report.members), 'node')}, {_count(report.tally.lines, 'line')}, "
        f"{first} to {last} UTC{_what_is_shown(report.wanted)}"
    )


def _what_is_shown(wanted: Wanted) -> str:
    node = f"; only of {wanted.node}" if wanted.node is not None else ""
    since = f"; only since {date_and_time(wanted.since)}" if wanted.since is not None else ""
    return node + since


def _what_it_comes_to(report: Report) -> str:
    failed = _count(len(report.failures), "failure")
    if report.failures:
        missed = report.unnoticed
        failed += f", {missed} not noticed by all" if missed else ", all noticed by all"
    dead = sum(report.wrongly_dead.values())
    wrongly = "nobody wrongly called dead"
    if dead:
        wrongly = f"wrongly called dead: {', '.join(in_order(+report.wrongly_dead))}"
    suspicions = len(report.false) - dead
    links = ""
    if report.explained:
        some = "all" if report.explained == suspicions else f"{report.explained:,}"
        links = f", {some} by faulty links"
    return f"{failed}; {wrongly}; {_count(suspicions, 'false suspicion')}{links}"


def clocks(known: Clocks, members: list[str]) -> str:
    """The members' clocks, with their errors."""
    rows = [each for each in known.offsets if each.node in members]
    off = sorted((each for each in rows if each.ahead_s), key=lambda each: -abs(each.ahead_s))
    alike = [each for each in rows if not each.ahead_s and isfinite(each.error_s)]
    unknown = in_order(each.node for each in rows if not isfinite(each.error_s))
    told = [f"{each.node} is {_off(each)}" for each in off[:CLOCKS_MAX]]
    if len(off) > CLOCKS_MAX:
        told.append(f"{len(off) - CLOCKS_MAX} more differ (--json has all)")
    if len(alike) > 1:
        error = span(max(each.error_s for each in alike))
        told.append(f"{'the other' if off else 'all'} {len(alike)} agree, to within {error}")
    if off:
        runner = [_error(each) for each in known.offsets if each.node == RUNNER]
        told += [f"run_cluster's is known {error}" for error in runner]
        told.append("all times below are corrected")
    if 1 < len(rows) <= len(unknown) + 1:
        told.append(f"nothing tells how the {len(rows)} compare")
    elif unknown:
        told.append(f"nothing tells how those of {_names(unknown)} compare to the others")
    if known.contradiction_s > CONTRADICTION_S:
        told.append(f"some clock was set meanwhile, by {span(known.contradiction_s)} at least")
    return f"clocks: {'; '.join(told) or 'there is but one'}"


def _off(clock: Offset) -> str:
    way = "ahead" if clock.ahead_s > 0 else "behind"
    return f"{span(abs(clock.ahead_s))} {way} ({_error(clock)})"


def _error(clock: Offset) -> str:
    return f"±{span(clock.error_s)}" if isfinite(clock.error_s) else "at least"


def _notes(report: Report) -> Iterator[str]:
    """Further facts for the first lines."""
    for name, times in report.failed.most_common(CLOCKS_MAX):
        if times >= OFTEN:
            yield f"{name} failed {times} times"
    for name, named in report.book.flapping.items():
        observers = _names(in_order(seen.cause for seen in named))
        yield f"{name} flaps, as logged by {observers}, first at {time(named[0].at)}"
    if unhealthy := list(_unhealthy(report)):
        yield f"slow by their own account, with the worst health score: {_names(unhealthy)}"
    if report.links_lost:
        yield f"{_count(report.links_lost, 'link')} lost without anybody being suspected"
    if report.lines_lost:
        yield f"{_count(report.lines_lost, 'line')} that nodes could not write are missing"
    for count, what in ((report.tally.foreign, "foreign"), (report.tally.torn, "torn")):
        if count:
            yield f"{_count(count, f'{what} line')} skipped"
    yield from report.tally.unreadable


def _link_fault(fault: LinkFault, members: list[str]) -> list[str]:
    """What the runner did to links."""
    lasted = ", to the end" if fault.until is None else f", for {span(fault.until - fault.at)}"
    text = words(fault, members) + (lasted if fault.until != fault.at else "")
    return _wrapped(f"    {time(fault.at)}  {text}", _INDENT)


def _unhealthy(report: Report) -> Iterator[str]:
    """The members that found themselves slow, the slowest first."""
    worst = {name: report.book.nodes[name].health_worst for name in report.members}
    for name in sorted(worst, key=worst.__getitem__, reverse=True):
        if worst[name] >= UNHEALTHY:
            yield f"{name} ({worst[name]})"


# --- one failure ------------------------------------------------------------------------


def tell(failure: Failure, number: int) -> Iterator[str]:
    """A failure."""
    yield title(failure, number)
    for label, text in _rows(failure):
        yield from _row(label, text)


def title(failure: Failure, number: int) -> str:
    """The first line of a failure."""
    head = f"#{number}  {failure.member}  {_WORDS[failure.kind]} {time(failure.at)}"
    if failure.back_at is None:
        return f"{head}   never came back"
    back = f"back after {span(failure.back_at - failure.at)}, at {time(failure.back_at)}"
    return f"{head:<38}  {back}" if len(head) <= 38 else f"{head}  {back}"


def _rows(failure: Failure) -> Iterator[tuple[str, str]]:
    if what := _what_happened(failure):
        yield "cause", what
    if failure.sides:
        yield "sides", " | ".join(_names(side) for side in failure.sides)
    if failure.again:
        times = ", ".join(_after(failure, at) for at in failure.again)
        yield "killed again", f"{times}, before it had joined"
    yield from _firsts(failure)
    yield _who_knew(failure)
    yield from _spread(failure)
    if failure.in_turn:
        yield "in turn", _in_turn(failure)
    yield from _aftermath(failure)


def _what_happened(failure: Failure) -> str:
    if failure.kind == PAUSE and not failure.how and failure.back_at is not None:
        return f"stood still for {span(failure.back_at - failure.at)} (its own log: actor.stalled)"
    if failure.known_from == RUNNER:
        return f"{failure.how} (run_cluster's record)"
    if failure.known_from == OWN_LOG:
        return f"{failure.how} (its own log)"
    if failure.how:
        return failure.how
    return {
        CRASH: "its links broke at once, and it never said goodbye",
        UNKNOWN: "nobody heard of it; its log does not tell why",
    }.get(failure.kind, "the network was cut: each side accused the other")


def _firsts(failure: Failure) -> list[tuple[str, str]]:
    """The first node at each stage and the last one that suspected it, by time."""
    stages = (
        ("first sign", failure.signs),
        ("first suspect", failure.suspicions),
        ("first told", failure.goodbyes),
        ("first dead", failure.deaths),
    )
    firsts = [(sights[0], label) for label, sights in stages if sights]
    if failure.deaths and (last := failure.last_suspicion):
        firsts.append((last, "last suspect"))
    firsts.sort()
    width = max((len(sight.node) for sight, _ in firsts), default=0)
    return [
        (label, f"{_after(failure, sight.at):<9} {sight.node:<{width}}  {_cause(failure, sight)}")
        for sight, label in firsts
    ]


def _cause(failure: Failure, sight: Sight) -> str:
    if sight.teller == failure.member:
        return "by its goodbye"
    if sight.teller or sight.cause in ("", LINK_LOST):
        return sight.cause
    return f"own evidence: {sight.cause}"


def _who_knew(failure: Failure) -> tuple[str, str]:
    """How many observers knew, and when the last one did."""
    knew = [sight for sight in failure.knowledge if sight.node in failure.observers]
    if not knew:
        return "noticed by", f"none of {len(failure.observers)}"
    last = f"{_after(failure, knew[-1].at):<9} last {knew[-1].node}"
    told = f"{last}; {_how_known(failure, knew)}"
    if failure.unaware:
        label = f"{len(knew)} of {len(failure.observers)} knew"
        return label, f"{told}; never: {_names(failure.unaware)}"
    return f"all {len(knew)} knew", told


def _how_known(failure: Failure, knew: list[Sight]) -> str:
    tellers = [sight.teller for sight in knew]
    counts = (
        (tellers.count(""), "by own evidence"),
        (tellers.count(failure.member), "by its goodbye"),
        (sum(teller not in ("", failure.member) for teller in tellers), "told"),
    )
    return ", ".join(f"{number} {how}" for number, how in counts if number)


def _spread(failure: Failure) -> Iterator[tuple[str, str]]:
    """Which node told which, and which nodes learned it later, after an absence."""
    told: dict[str, list[str]] = {}
    later = []
    for sight in failure.knowledge:
        if sight.node not in failure.observers:
            later.append(f"{sight.node} {_after(failure, sight.at)}")
        elif sight.teller not in ("", failure.member):
            told.setdefault(sight.teller, []).append(sight.node)
    if told:
        heard = {name for names in told.values() for name in names}
        roots = [name for name in told if name not in heard] or list(told)[:1]
        yield "told", _names([_tree(name, told, set()) for name in roots])
    if later:
        yield "later", f"{_names(later)} ({'was' if len(later) == 1 else 'were'} away, too)"


def _tree(name: str, told: dict[str, list[str]], above: set[str]) -> str:
    """The nodes that a node told, and so on: n1→n3→{n2, n6}."""
    below = [_tree(each, told, above | {name}) for each in told.get(name, ()) if each not in above]
    if not below:
        return name
    return f"{name}→{below[0]}" if len(below) == 1 else f"{name}→{{{_names(below)}}}"


def _aftermath(failure: Failure) -> Iterator[tuple[str, str]]:
    """The effect on requests and writes, and the return."""
    silent = failure.sights(SILENT)
    if silent:
        nodes = _count(len(silent), "node")
        yield "requests", f"waited for it on {nodes}, until {_after(failure, silent[-1].at)}"
    if failure.held:
        yield "writes", _writes(failure)
    if failure.kind == SPLIT and failure.back_at is not None and failure.sights(ALIVE):
        last = max(failure.sights(ALIVE))
        yield (
            "healed",
            f"all saw it alive {span(last.at - failure.back_at)} after, last {last.node}",
        )
    if failure.refuted:
        refuted = failure.refuted[0]
        yield "refuted", f"{_after(failure, refuted.at):<9} it was called {refuted.cause}"
    if failure.restart is not None:
        yield "restart", _restart(failure.restart, failure)


def _in_turn(failure: Failure) -> str:
    """What a member that was cut off called the others."""
    dead = [each for each in failure.in_turn if each.dead is not None]
    said = dead or failure.in_turn
    names = _names(in_order({each.member for each in said}))
    first = min(each.dead.at if each.dead else each.at for each in said)
    return f"{_after(failure, first):<9} it called {names} {'dead' if dead else 'suspect'}"


def _writes(failure: Failure) -> str:
    kept = f"{_count(failure.kept, 'hint')} on {_count(len(failure.held), 'node')}"
    times = [held.first_at for held in failure.held if held.first_at is not None]
    first = f", first {_after(failure, min(times))}" if times else ""
    if failure.home_at is None:
        home = f"{failure.delivered} of them came home"
    elif failure.back_at is None or failure.home_at < failure.back_at:
        home = f"all home {_after(failure, failure.home_at)}"
    else:
        home = f"all home {span(failure.home_at - failure.back_at)} after return"
    return f"{kept}{first}; {home}"


def _restart(restart: Restart, failure: Failure) -> str:
    disk = "a new disk" if restart.new_disk else "the same disk"
    text = f"{_after(failure, restart.at):<9} {disk}"
    if restart.joined_at is not None:
        text += f", joined through {restart.through}"
    return f"{text}; missed {_count(failure.kept, 'write')}" if failure.held else text


# --- false accusations ------------------------------------------------------------------


def false_accusations(found: Iterable[FalseAccusation]) -> Iterator[str]:
    """False accusations, by member and time."""
    groups: dict[str, list[FalseAccusation]] = {}
    for each in found:
        for member, group in list(groups.items()):
            if each.at - group[-1].at > TOGETHER_S:
                yield from _together(groups.pop(member))
        groups.setdefault(each.member, []).append(each)
    for group in groups.values():
        yield from _together(group)


def _together(group: list[FalseAccusation]) -> Iterator[str]:
    first = group[0]
    what = "dead" if any(each.dead_at is not None for each in group) else "suspect"
    text = f"{first.member} called {what} by {first.by}: {first.cause or 'without a word why'}"
    others = in_order({each.by for each in group} - {first.by})
    if others:
        text += f"; so did {_names(others)}"
    if len(group) > 1 + len(others):
        text += f"; {len(group)} times in all"
    took = [each.cleared_at - each.at for each in group if each.cleared_at is not None]
    if len(took) < len(group):
        text += f"; {len(group) - len(took)} not taken back"
    if took:
        text += f"; taken back after {span(max(took))}{' at most' if len(took) > 1 else ''}"
    notes = dict.fromkeys(each.note for each in group if each.note)
    yield from _row(time(first.at), "; ".join([text, *notes]))


# --- words ------------------------------------------------------------------------------


def date_and_time(at: float) -> str:
    """A date and time, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def time(at: float) -> str:
    """A time of the day, to the millisecond."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"


def span(seconds: float) -> str:
    """A duration."""
    if abs(seconds) < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _after(failure: Failure, at: float) -> str:
    seconds = at - failure.at
    return f"{'-' if seconds < 0 else '+'}{span(abs(seconds))}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _names(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _row(label: str, text: str) -> Iterator[str]:
    """A label and its text, wrapped."""
    head = _LABEL.format(label)
    yield from _wrapped(head + ("" if head.endswith(" ") else " ") + text, _INDENT)


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=indent,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
