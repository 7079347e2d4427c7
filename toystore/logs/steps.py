"""Single steps, as they happen, each on one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from toystore.logs.casebook import LINK_STEPS, SEEN_BY_EVENT, Casebook
from toystore.logs.entry import RUNNER, Entry
from toystore.logs.episode import DEAD, LEFT, LINK_LOST, SHUTDOWN, SUSPECT, Episode, first_sign
from toystore.logs.links import words
from toystore.logs.story import span, time

_SEES = {
    LINK_LOST: "{node} lost its link to it",
    SUSPECT: "{node} suspects it: {cause}",
    DEAD: "{node} gives it up as dead: {cause}",
    LEFT: "{node} heard its goodbye",
}

LINKS = "links"
"""Stands for the member in a step that concerns links."""


class Step(NamedTuple):
    """Something that happened to a member, or that a node saw of it."""

    at: float
    member: str
    after_s: float | None
    """The time since the failure began; None if there is none."""
    what: str

    def __str__(self) -> str:
        after = "" if self.after_s is None else f"+{span(self.after_s)}"
        return f"{time(self.at)}  {self.member:<4} {after:<9} {self.what}"


def steps(entry: Entry, book: Casebook) -> Iterator[Step]:
    """The steps in an entry that the casebook has just taken.

    Of the same events at many nodes, only the first and the last are steps.
    """
    if entry.event in ("link.fault", "link.restored"):
        yield Step(entry.at, LINKS, None, _links(entry, book))
        return
    episode = book.open_episode(entry.about)
    if episode is not None and episode.absent and episode.absent.kind == SHUTDOWN:
        return
    since = _began(episode) if episode is not None else None
    for what in _told(entry, episode, book):
        after_s = None if since is None else max(0.0, entry.at - since)
        yield Step(entry.at, entry.about, after_s, what)


def _links(entry: Entry, book: Casebook) -> str:
    """What the runner has just done to links, or to which it has put an end."""
    faults = book.links.faults
    if entry.event == "link.fault":
        return words(faults[-1], book.members)
    ended = [fault for fault in faults if fault.until == entry.at]
    return "; ".join(f"{words(fault, book.members)}: over" for fault in ended)


def _began(episode: Episode) -> float | None:
    return episode.absences[-1].since if episode.absences else first_sign(episode)


def _told(entry: Entry, episode: Episode | None, book: Casebook) -> Iterator[str]:
    if entry.event in SEEN_BY_EVENT and episode is not None:
        yield from _seen(entry, episode)
    elif entry.event == "member.alive" and episode is not None and episode.is_serious:
        yield from _alive(entry, episode)
    elif entry.event == "member.flapping":
        named = book.flapping[entry.about]
        if named[-1].cause == entry.node and len(named) == 1:
            yield f"{entry.node} logs that it flaps"
    elif entry.event == "hint.stored" and episode is not None and len(episode.held) == 1:
        yield f"{entry.node} keeps the first hint for it"
    elif entry.event == "handoff.finished" and episode is not None:
        if episode.held and not episode.awaits_hints:
            yield f"all {sum(held.delivered for held in episode.held.values())} hints are home"
    elif entry.event == "actor.stalled":
        began, ended = book.nodes[entry.node].stalls[-1]
        late_s = entry.number("late_s") or 0.0
        if ended - began < late_s + 0.001:  # else it has been told by another of its actors
            yield f"stood still for {span(late_s)}"
    else:
        yield from _of_itself(entry)


def _seen(entry: Entry, episode: Episode) -> Iterator[str]:
    """An observer sees something; the first and the last observer are told."""
    kind = SEEN_BY_EVENT[entry.event]
    seers = {node for node, seen in episode.seen.items() if kind in seen}
    if kind not in _SEES or entry.node not in seers:
        return
    if len(seers) == 1:
        yield _SEES[kind].format(node=entry.node, cause=entry.text("cause"))
    if kind in (DEAD, LEFT) and seers >= episode.observers and entry.node in episode.observers:
        yield f"all {len(episode.observers)} know, the last {entry.node}"


def _alive(entry: Entry, episode: Episode) -> Iterator[str]:
    saw = [seen["alive"] for seen in episode.seen.values() if "alive" in seen]
    if len(saw) == 1 and entry.node in episode.seen:
        yield f"{entry.node} sees it alive: {entry.text('cause')}"
    if saw and episode.is_over and max(each.at for each in saw) == entry.at:
        yield "everybody sees it alive"


def _of_itself(entry: Entry) -> Iterator[str]:
    """A member, or its runner, logs something about the member."""
    match entry.event:
        case "process.signalled":
            yield f"{RUNNER} sends it {entry.text('signal')}"
        case "process.died":
            yield f"its process died: {entry.text('signal') or entry.fields.get('exit_code')}"
        case "scenario.step" if entry.text("do") not in LINK_STEPS:
            yield f"scenario: {entry.text('do')} {entry.about}"
        case "node.started":
            yield f"is started; before: {entry.text('before')}"
        case "node.stopping":
            yield f"stops: {entry.text('reason')}"
        case "node.failed":
            yield f"gives up: {entry.text('error')}"
        case "member.joined":
            yield f"has joined through {entry.text('cause')}"
        case "member.refuted":
            yield f"refutes: {entry.text('cause')}"
        case "run.stopping":
            yield f"stops all nodes: {entry.text('reason')}"
