"""Collects the entries of all nodes, by time, into the episodes of each member.

Each member has at most one open episode, so the memory that is needed depends on the number of
members and not on the length of the logs.  An episode begins with the first sign that something
is wrong.  It ends when the member is back and every node sees it alive.  The next doubt begins
the next episode.  An episode that has ended is returned when its hints are delivered, or when too
many episodes wait for hints.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import PurePath

from toystore.logs.entry import RUNNER, Entry
from toystore.logs.episode import (
    ALIVE,
    DEAD,
    DOUBTS,
    LEFT,
    LINK_LOST,
    OWN_LOG,
    SHUTDOWN,
    SILENT,
    SUSPECT,
    Absence,
    Episode,
    Held,
    Restart,
    Seen,
    first_sign,
)
from toystore.logs.failure import SPLIT
from toystore.logs.links import Links
from toystore.logs.node import REMEMBERED, Node

SIGNS_S = 10.0
"""Signs (a lost link, a hint) without a doubt within this time are not part of what follows."""
SETTLE_S = 3.0
"""Signs within this time after a return belong to the absence."""
STARTING_S = 1.0
"""A node may log that it has started up to this long after it has joined."""
NOTICED_S = 0.3
"""A runner notices the death of a process at most this long after other nodes."""
LINGERING_MAX = 1000
"""The number of episodes that wait for their hints."""
REFUTATIONS_MAX = 100
"""The number that is kept for each episode."""

_SIGNAL_KINDS = {"SIGKILL": "crash", "SIGTERM": "stop", "SIGSTOP": "pause"}
_PROCESS_STEPS = ("kill", "stop", "restart", "pause", "resume")
_RING_STEPS = ("join", "leave", "replace", "remove")
"""They explain no suspicion."""
LINK_STEPS = ("loss", "delay", "cut", "reset", "split")
"""Steps of a scenario that the link.* events describe better; process.* describe the first ones."""
SEEN_BY_EVENT = {
    "link.lost": LINK_LOST,
    "link.silent": SILENT,
    "member.suspect": SUSPECT,
    "member.dead": DEAD,
    "member.left": LEFT,
}


class Casebook:
    """Takes entries, and returns the episodes that have ended."""

    def __init__(self) -> None:
        self.nodes: defaultdict[str, Node] = defaultdict(Node)
        """Every node that logged or was mentioned."""
        self.cluster = ""
        """The cluster's name, from the runner's log."""
        self.steps: deque[Entry] = deque(maxlen=REMEMBERED)
        """The steps of a scenario that no other event describes."""
        self.flapping: dict[str, list[Seen]] = {}
        """By member: which nodes logged that it flaps, and when; the first time of each."""
        self.links = Links()
        """What the runner did to links."""
        self._open: dict[str, Episode] = {}
        self._lingering: list[Episode] = []
        """Episodes that have ended and wait for their hints."""
        self._look_again = False
        """Whether one of them may be ready now."""
        self._outstanding: dict[tuple[str, str], Held] = {}
        """By holder and owner: hints that are not delivered yet."""
        self._stopping = False
        """Whether the runner stops the whole cluster."""
        self._handlers: dict[str, Callable[[Entry], None]] = {
            "node.started": self._started,
            "node.stopping": self._node_stopping,
            "node.failed": self._node_failed,
            "actor.stalled": self._stalled,
            "health.changed": self._health,
            "member.joined": self._joined,
            "member.alive": self._alive,
            "member.flapping": self._flaps,
            "member.refuted": self._refuted,
            "disk.replaced": self._disk_replaced,
            "hint.stored": self._hint_stored,
            "handoff.started": self._handoff,
            "handoff.finished": self._handoff,
            "handoff.paused": self._handoff,
            "run.started": self._run_started,
            "run.stopping": self._run_stopping,
            "scenario.step": self._step,
            **dict.fromkeys(("link.fault", "link.restored"), self._link),
            "process.signalled": self._signalled,
            "process.died": self._died,
            **dict.fromkeys(SEEN_BY_EVENT, self._noticed),
        }

    @property
    def members(self) -> list[str]:
        """The nodes that have a log."""
        return [name for name, node in self.nodes.items() if node.last_at is not None]

    def open_episode(self, member: str) -> Episode | None:
        """The present episode of a member, or the last one."""
        return self._open.get(member)

    def learn(self, entry: Entry) -> list[Episode]:
        """Take an entry; entries come by time.  Returns the episodes that are complete now."""
        if entry.node != RUNNER:
            node = self.nodes[entry.node]
            if node.last_at is None and entry.event != "node.started":
                self._was_up(entry.node)
            node.previous_at, node.last_at, node.up = node.last_at, entry.at, True
        elif entry.event.startswith("process."):
            self.nodes[entry.about].watched = True
        if handler := self._handlers.get(entry.event):
            handler(entry)
        if episode := self._open.get(entry.node):
            episode.note_own_line(entry.at)
        return self._ready() if self._look_again else []

    def close(self) -> Iterator[Episode]:
        """All remaining episodes, at the end of the logs."""
        yield from self._lingering
        yield from self._open.values()
        self._lingering, self._open = [], {}

    def settle(self, now: float, quiet_s: float) -> Iterator[Episode]:
        """The episodes that ended ``quiet_s`` ago."""
        for member, episode in list(self._open.items()):
            done = episode.is_over and not episode.awaits_hints
            if done and now - episode.last_sign_at > quiet_s:
                yield self._open.pop(member)

    def _was_up(self, observer: str) -> None:
        """The log of a node does not begin with its start: it ran before, too."""
        for member, episode in self._open.items():
            if member != observer:
                episode.observers.add(observer)

    # --- events about the node itself ---------------------------------------------------

    def _started(self, entry: Entry) -> None:
        """A new process; its actors may log lines before this one."""
        node = self.nodes[entry.node]
        joined = node.joined if node.joined and entry.at - node.joined.at < STARTING_S else None
        if joined is None:
            self._forget_doubts_of(entry.node)
        before = entry.text("before")
        episode = self._open.get(entry.node)
        crashed = before.startswith(("killed", "failed"))
        if crashed and not _tells_of_it(episode, joined) and self._lived(entry.node):
            episode = self._episode(entry.node, entry.at, crashed=True)
            since = first_sign(episode) or node.previous_at or entry.at
            self._away(episode, Absence("crash", since, OWN_LOG, before))
        if episode is not None:
            episode.restarts.append(Restart(entry.at, before))
            if joined is not None:
                self._rejoined(episode, joined)

    def _lived(self, member: str) -> bool:
        """Whether the logs contain an earlier life of a member, or other nodes saw its end."""
        episode = self._open.get(member)
        return self.nodes[member].previous_at is not None or bool(episode and episode.is_serious)

    def _joined(self, entry: Entry) -> None:
        node = self.nodes[entry.node]
        node.joined = Seen(entry.at, entry.text("cause"))
        if episode := self._open.get(entry.node):
            self._rejoined(episode, node.joined)

    def _rejoined(self, episode: Episode, joined: Seen) -> None:
        """A member has joined again."""
        if episode.restarts:
            episode.restarts[-1].joined_at = joined.at
            episode.restarts[-1].through = joined.cause
        if episode.absent is not None:
            self._back(episode, joined.at)

    def _node_stopping(self, entry: Entry) -> None:
        self._gone(entry, entry.node, "stop", entry.text("reason"))

    def _node_failed(self, entry: Entry) -> None:
        self._gone(entry, entry.node, "crash", f"it gave up: {entry.text('error')}")

    def _stalled(self, entry: Entry) -> None:
        """Several actors log the same stall; each saw a part of it."""
        began, stalls = entry.at - (entry.number("late_s") or 0.0), self.nodes[entry.node].stalls
        if stalls and began <= stalls[-1][1]:
            began = min(began, stalls.pop()[0])
        stalls.append((began, entry.at))

    def _health(self, entry: Entry) -> None:
        node = self.nodes[entry.node]
        node.health_worst = max(node.health_worst, entry.count("score"))

    def _refuted(self, entry: Entry) -> None:
        episode = self._open.get(entry.node)
        if episode is not None and len(episode.refutations) < REFUTATIONS_MAX:
            episode.refutations.append(Seen(entry.at, entry.text("cause")))

    def _disk_replaced(self, entry: Entry) -> None:
        episode = self._open.get(entry.node)
        if episode is not None and episode.restarts:
            episode.restarts[-1].new_disk = True

    # --- the runner ---------------------------------------------------------------------

    def _run_started(self, entry: Entry) -> None:
        self._stopping = False
        self.links.end_all(entry.at)
        self.cluster = entry.text("cluster") or PurePath(entry.text("config")).stem

    def _run_stopping(self, _: Entry) -> None:
        self._stopping = True

    def _step(self, entry: Entry) -> None:
        if entry.text("do") not in (*_PROCESS_STEPS, *_RING_STEPS, *LINK_STEPS):
            self.steps.append(entry)

    def _link(self, entry: Entry) -> None:
        """Links change: members may be cut off by a split, or back after it."""
        before = self.links.split
        watched = [name for name, node in self.nodes.items() if node.watched]
        self.links.learn(entry, {*self.members, *watched})
        split = self.links.split
        if split == before:
            return
        for episode in self._open.values():
            if episode.absent is not None and episode.absent.kind == SPLIT:
                self._back(episode, entry.at)
        for member in (name for side in split.sides[1:] for name in side) if split else ():
            episode = self._episode(member, entry.at, gone=True)
            if episode.absent is None:
                episode.last_sign_at = entry.at
                episode.absences.append(Absence(SPLIT, entry.at, RUNNER, self.links.how))

    def _signalled(self, entry: Entry) -> None:
        signal = entry.text("signal")
        if signal == "SIGCONT":
            episode = self._open.get(entry.about)
            if episode is not None and episode.absent and episode.absent.kind == "pause":
                self._back(episode, entry.at)
        elif signal in _SIGNAL_KINDS:
            self._note_again(entry.about, entry.at, signal)
            self._gone(entry, entry.about, _SIGNAL_KINDS[signal], signal)

    def _note_again(self, member: str, at: float, signal: str) -> None:
        """A new process that is killed before it has joined makes no new absence."""
        episode = self._open.get(member)
        if signal == "SIGKILL" and episode and episode.absent and episode.absent.kind == "crash":
            episode.absent.again.append(at)

    def _died(self, entry: Entry) -> None:
        """Other nodes may notice the death a moment before the runner."""
        code = entry.number("exit_code")
        how = entry.text("signal") or (f"exit code {code:.0f}" if code is not None else "")
        self._gone(entry, entry.about, "crash", how)

    # --- coming and going ---------------------------------------------------------------

    def _gone(self, entry: Entry, member: str, kind: str, how: str) -> None:
        """The absence of a member begins."""
        self.nodes[member].up = False
        if kind != "pause":
            self._forget_doubts_of(member)
        episode = self._episode(member, entry.at, gone=True)
        since = entry.at
        if entry.event == "process.died":
            since = min(since, first_sign(episode) or since)
        if kind == "stop" and self._stopping:
            kind = SHUTDOWN
        known_from = RUNNER if entry.node == RUNNER else OWN_LOG
        self._away(episode, Absence(kind, since, known_from, how))

    def _away(self, episode: Episode, absence: Absence) -> None:
        """Add an absence; if one is open already, only a crash changes its kind."""
        episode.last_sign_at = absence.since
        ongoing = episode.absent
        if ongoing is None:
            episode.absences.append(absence)
            self.nodes[episode.member].absences.append(absence)
        elif ongoing.kind != absence.kind and absence.kind == "crash":
            ongoing.kind = absence.kind
            ongoing.how = f"{ongoing.how}, then {absence.how}"

    def _back(self, episode: Episode, at: float) -> None:
        if episode.absent is not None:
            episode.absent.until = at
            episode.last_sign_at = at

    def _forget_doubts_of(self, name: str) -> None:
        """A node that is down has no doubts any more."""
        for episode in self._open.values():
            episode.clear(name, None)

    # --- events about other nodes -------------------------------------------------------

    def _noticed(self, entry: Entry) -> None:
        """An observer notices that something is wrong with a member."""
        if entry.about == entry.node:
            return
        what = SEEN_BY_EVENT[entry.event]
        episode = self._episode(entry.about, entry.at, doubt=what in DOUBTS)
        known = len(episode.accusations)
        episode.see(entry.node, what, entry.at, entry.text("cause"))
        self.nodes[entry.node].accused.extend(episode.accusations[known:])

    def _alive(self, entry: Entry) -> None:
        episode = self._open.get(entry.about)
        if episode is None or entry.about == entry.node:
            return
        episode.alive_at[entry.node] = entry.at
        if entry.node in episode.doubting:
            episode.see(entry.node, ALIVE, entry.at, entry.text("cause"))

    def _flaps(self, entry: Entry) -> None:
        named = self.flapping.setdefault(entry.about, [])
        if all(seen.cause != entry.node for seen in named):
            named.append(Seen(entry.at, entry.node))

    def _episode(
        self,
        member: str,
        at: float,
        *,
        doubt: bool = False,
        gone: bool = False,
        crashed: bool = False,
    ) -> Episode:
        """The episode that an event belongs to; a new one, if the last one has ended.

        ``doubt``: a node suspects the member or calls it dead.  ``gone``: its absence begins now.
        ``crashed``: its new process logs that the last one crashed.
        """
        episode = self._open.get(member)
        if episode is not None and not _ended(episode, at, doubt, gone, crashed):
            return episode
        doubting: set[str] = set()
        alive_at: dict[str, float] = {}
        if episode is not None:
            doubting, alive_at = episode.doubting, episode.alive_at
            self._lingering.append(episode)
            self._look_again = True
        up = {name for name, node in self.nodes.items() if node.up and name != member}
        was_up = self.nodes[member].up
        episode = Episode(member, at, up - doubting, was_up, last_sign_at=at)
        episode.doubting |= doubting
        episode.alive_at |= alive_at
        self._open[member] = episode
        return episode

    # --- hints --------------------------------------------------------------------------

    def _hint_stored(self, entry: Entry) -> None:
        """The first hint of a holder since it had none."""
        episode = self._episode(entry.about, entry.at)
        held = episode.held.setdefault(entry.node, Held(entry.node, entry.at))
        held.kept = max(held.kept, held.delivered + 1)
        held.home_at = None
        self._outstanding[entry.node, entry.about] = held

    def _handoff(self, entry: Entry) -> None:
        """A delivery of hints begins, ends or stops."""
        held = self._outstanding.get((entry.node, entry.about))
        if held is None:
            episode = self._open.get(entry.about)
            if episode is None or not episode.is_serious:
                return
            held = episode.held.setdefault(entry.node, Held(entry.node, None))
            self._outstanding[entry.node, entry.about] = held
        hints = entry.count("hints")
        if entry.event == "handoff.started":
            held.kept = max(held.kept, held.delivered + hints)
            return
        held.delivered += hints
        held.kept = max(held.kept, held.delivered)
        if entry.event == "handoff.finished":
            held.delivered = held.kept
            held.home_at = entry.at
            del self._outstanding[entry.node, entry.about]
            self._look_again = True

    # --- episodes that are complete -----------------------------------------------------

    def _ready(self) -> list[Episode]:
        """The episodes that have ended and do not wait for hints."""
        self._look_again = False
        waiting = [each for each in self._lingering if each.awaits_hints]
        given_up = waiting[: max(0, len(waiting) - LINGERING_MAX)]
        ready = [each for each in self._lingering if not each.awaits_hints]
        self._lingering = waiting[len(given_up) :]
        return given_up + ready


def _tells_of_it(episode: Episode | None, joined: Seen | None) -> bool:
    """Whether an episode contains the absence before a new process, which may have joined."""
    if episode is None or not episode.absences:
        return False
    until = episode.absences[-1].until
    return until is None or (joined is not None and until == joined.at)


def _ended(episode: Episode, at: float, doubt: bool, gone: bool, crashed: bool) -> bool:
    """Whether an event at this time is not part of an episode any more."""
    quiet_s = at - episode.last_sign_at
    if not episode.is_serious:
        return quiet_s > (NOTICED_S if gone else SIGNS_S)
    if (gone or crashed) and episode.absences and episode.absent is None:
        return True
    if gone and episode.absent is None and at - episode.opened_at > NOTICED_S:
        return True  # The doubts before it have another reason.
    return episode.is_over and (doubt or gone or crashed or quiet_s > SETTLE_S)
