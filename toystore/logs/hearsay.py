"""Derives bounds on the differences of clocks from membership messages.

A node logs an event before it tells another node.  If n2 logs "n4 suspect, told by n1" at 12.0 on
its clock, and n1 logged this suspicion at 10.0 on its own, then n2's clock is at most 2.0 s ahead
of n1's.  Each such pair of lines gives a *bound*.  The smallest bound is kept for each pair of
nodes and each direction:

    later line                       earlier line
    X: a status, told by Y           Y: the same status of this member (or dead for suspect)
    X: a member refuted              the member: its refutation
    X: its refutation, told by Y     Y: the doubt
    X: joined through Y              Y: X is alive
    X: Y is alive, it has joined     Y: it began to join, ``took_s`` before it had
    X: its process has started       the runner: it starts the process
    the runner: the process ended    X: it has stopped

Entries come by the times in them.  If Y's clock is ahead, the earlier line comes after the later
one; so the later line waits for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf

from toystore.logs.entry import RUNNER, Entry
from toystore.logs.episode import TOLD_BY, teller_in

SAID_MAX = 200_000
"""The number of earlier lines that are remembered."""
WAITING_MAX = 100_000
"""The number of later lines that wait."""
WAITING_S = 600.0
"""The longest time that a later line waits; clocks are assumed to differ by less."""
_STATUSES = {f"member.{each}": each for each in ("alive", "suspect", "dead", "left")}

Key = tuple[str, str, float | None]
"""What a node logged, for example ("suspect", "n4", 0)."""
Place = tuple[str, Key]
"""The node that logged it, and what."""


class Hearsay:
    """Collects the bounds; see the module's docstring."""

    def __init__(self) -> None:
        self.bounds: dict[tuple[str, str], float] = {}
        """``bounds[x, y]``: the clock of x is ahead of that of y by at most this, in seconds."""
        self.is_new = False
        """Whether a bound has changed; the reader resets it."""
        self._said: OrderedDict[Place, tuple[int, float]] = OrderedDict()
        """The number of the node's life, and the first time in this life."""
        self._waiting: OrderedDict[Place, list[tuple[str, float, list[Place]]]] = OrderedDict()
        """The nodes that wait, with the times of their lines, and all places they wait for."""
        self._lives: dict[str, int] = {}
        """The number of the present life of each node."""
        self._pids: dict[str, float | None] = {}
        self._handlers: dict[str, Callable[[Entry], None]] = {
            **dict.fromkeys(_STATUSES, self._status),
            "member.refuted": self._refuted,
            "member.joined": self._joined,
            "node.started": self._started,
            "node.stopping": self._stopping,
            "node.stopped": self._stopped,
            "process.started": self._process,
            "process.signalled": self._process,
            "process.ended": self._process,
        }

    def learn(self, entry: Entry) -> None:
        """Take in an entry; they come in the order of the times that they show."""
        if handler := self._handlers.get(entry.event):
            handler(entry)

    # --- events -------------------------------------------------------------------------

    def _status(self, entry: Entry) -> None:
        """A node has a new status for a member."""
        status, member = _STATUSES[entry.event], entry.about
        incarnation = entry.number("incarnation")
        self._say(entry, (status, member, incarnation))
        cause = entry.text("cause")
        if teller := teller_in(cause):
            self._hear(entry, teller, *_at_least(status, member, incarnation))
        elif cause in ("refuted", "joined") and incarnation:
            self._hear(entry, member, ("refuted", member, incarnation))
        elif cause == "joined":
            self._hear(entry, member, ("began", member, None))

    def _refuted(self, entry: Entry) -> None:
        """The cause is like "dead, told by n1", about the incarnation before."""
        incarnation = entry.number("incarnation")
        self._say(entry, ("refuted", entry.node, incarnation))
        status, _, teller = entry.text("cause").partition(f", {TOLD_BY}")
        if teller and incarnation and f"member.{status}" in _STATUSES:
            self._hear(entry, teller, *_at_least(status, entry.node, incarnation - 1))

    def _joined(self, entry: Entry) -> None:
        """The node that let it join has logged it as alive; ``took_s`` ago it had said nothing."""
        began_at = entry.at - (entry.number("took_s") or 0.0)
        self._say(entry._replace(at=began_at), ("began", entry.node, None))
        self._hear(entry, entry.text("cause"), ("alive", entry.node, 0.0))

    def _started(self, entry: Entry) -> None:
        self._lives[entry.node] = self._lives.get(entry.node, 0) + 1
        self._pids[entry.node] = entry.number("pid")
        self._hear(entry, RUNNER, ("started", entry.node, self._pids[entry.node]))

    def _stopping(self, entry: Entry) -> None:
        pid = self._pids.get(entry.node)
        if pid is not None and entry.text("reason") == "SIGTERM":
            self._hear(entry, RUNNER, ("SIGTERM", entry.node, pid))

    def _stopped(self, entry: Entry) -> None:
        self._say(entry, ("stopped", entry.node, self._pids.get(entry.node)))

    def _process(self, entry: Entry) -> None:
        """The runner did or saw something."""
        what = entry.text("signal") or entry.event.partition(".")[2]
        pid = entry.number("pid")
        self._say(entry, (what, entry.about, pid))
        if entry.event == "process.ended" and entry.number("exit_code") == 0:
            self._hear(entry, entry.about, ("stopped", entry.about, pid))

    # --- bounds -------------------------------------------------------------------------

    def _say(self, entry: Entry, key: Key) -> None:
        """An earlier line; later lines may wait for it."""
        place = entry.node, key
        life = self._lives.get(entry.node, 0)
        before = self._said.get(place)
        if before is None or before[0] < life:
            self._said[place] = life, entry.at
            if len(self._said) > SAID_MAX:
                self._said.popitem(last=False)
        for who, at, places in self._waiting.pop(place, ()):
            said_at = self._first_said(places)
            if said_at is not None and said_at - at < WAITING_S:
                self._bound(who, entry.node, at - said_at)

    def _hear(self, entry: Entry, teller: str, *keys: Key) -> None:
        """A later line: ``teller`` logged one of ``keys`` before it."""
        if teller == entry.node:
            return
        places = [(teller, key) for key in keys]
        said_at = self._first_said(places)
        if said_at is not None:
            self._bound(entry.node, teller, entry.at - said_at)
            return
        for place in places:
            self._waiting.setdefault(place, []).append((entry.node, entry.at, places))
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)

    def _first_said(self, places: list[Place]) -> float | None:
        """The first time of any of these; None if there is none."""
        return min((self._said[place][1] for place in places if place in self._said), default=None)

    def _bound(self, ahead: str, of: str, seconds: float) -> None:
        pair = ahead, of
        if seconds < self.bounds.get(pair, inf):
            self.bounds[pair] = seconds
            self.is_new = True


def _at_least(status: str, member: str, incarnation: float | None) -> tuple[Key, ...]:
    """What a node may have logged before it told this status to another.

    A member that is dead to a node is told to others as suspect, so that it can refute.
    """
    key = status, member, incarnation
    return (key, ("dead", member, incarnation)) if status == "suspect" else (key,)
