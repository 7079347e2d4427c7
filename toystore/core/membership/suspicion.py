"""Suspicions: until when each suspected member can refute (SWIM section 4.2, Lifeguard IV-B).

One member that suspects another may itself be slow.  So the time is long at first, and each
further *accuser*, which suspects the member by its own evidence, shortens it:

    min = suspicion_mult * max(1, log10(N)) * probe_period_s
    max = suspicion_max_mult * min
    timeout = max(min, max - (max - min) * log(C + 1) / log(K + 1))

C is the number of confirmations: the accusers after the first one; 0 if there is none.  K is how
many shorten the time to ``min``.  With ``suspicion_max_mult`` 1 this is SWIM's fixed timeout.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from toystore.core.membership.deadlines import Deadlines
from toystore.core.membership.members import ACCUSERS_MAX, Members
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.settings import SwimSettings

CONFIRMATIONS = ACCUSERS_MAX - 1
"""Lifeguard's K, in a group with that many members that can accuse another."""


class Suspicions:
    """The suspected members, and when each is declared dead, in monotonic seconds."""

    __slots__ = ("_due", "_gone", "_members", "_needed", "_settings", "_since")

    def __init__(self, members: Members, gone: Collection[str], settings: SwimSettings) -> None:
        """``gone``: members whose hosts say that their processes are gone; it changes."""
        self._members = members
        self._gone = gone
        self._needed = CONFIRMATIONS
        self._settings = settings
        self._since: dict[str, float] = {}
        """Since when each is suspected; stalls of this process do not count."""
        self._due: Deadlines[str] = Deadlines()

    def start(self, suspect: MemberState, now: float) -> None:
        """A member is suspected, from now on or in a higher incarnation than before."""
        self._since[suspect.name] = now
        self.confirm(suspect, now)

    def confirm(self, suspect: MemberState, now: float) -> None:
        """A suspicion has more accusers: set when it ends.

        If suspicions need fewer confirmations than before, the others are set again, too.
        """
        needed, self._needed = self._needed, self._confirmers()
        if needed != self._needed:
            others = map(self._members.get, self._since)
            for other in [row for row in others if row is not None and row != suspect]:
                self._set(other, now)
        self._set(suspect, now)

    def recount(self, now: float) -> None:
        """There are more or fewer members: set again when each suspicion ends."""
        self._needed = self._confirmers()
        for suspect in map(self._members.get, self._since):
            if suspect is not None:
                self._set(suspect, now)

    def stop(self, name: str) -> None:
        """A member is not suspected, or not any more."""
        if self._since.pop(name, None) is not None:
            self._due.stop(name)

    def extend(self, more_s: float) -> None:
        """Give each suspected member ``more_s`` seconds more."""
        self._since = {name: since + more_s for name, since in self._since.items()}
        self._due.extend(more_s)

    def take_overdue(self, now: float) -> list[str]:
        """The members that have not refuted in time; their suspicions have ended."""
        overdue = self._due.take_due(now)
        for name in overdue:
            del self._since[name]
        return overdue

    def first(self) -> float | None:
        """When the first suspicion ends; None if no member is suspected."""
        return self._due.first()

    def _set(self, suspect: MemberState, now: float) -> None:
        settings, living = self._settings, self._members.living_count
        min_s = suspicion_min_s(settings.suspicion_mult, living, settings.probe_period_s)
        given = max(0, len(suspect.accusers) - 1)
        timeout_s = suspicion_s(min_s, settings.suspicion_max_mult * min_s, given, self._needed)
        # A shorter time may have passed already.  A deadline in the past would look like a stall.
        self._due.set(suspect.name, max(now, self._since[suspect.name] + timeout_s))

    def _confirmers(self) -> int:
        """How many confirmations are needed: no more than there are members that can confirm.

        Neither this node nor the suspect can confirm what this node knows, nor can suspects
        whose processes are gone.
        """
        gone = sum(map(self._members.is_suspect, self._gone))
        return min(CONFIRMATIONS, self._members.living_count - 1 - max(1, gone))


def suspicion_min_s(suspicion_mult: float, members: int, probe_period_s: float) -> float:
    """SWIM's suspicion timeout in seconds: how long a suspect can refute at least."""
    return suspicion_mult * max(1.0, math.log10(max(1, members))) * probe_period_s


def suspicion_s(min_s: float, max_s: float, given: int, needed: int) -> float:
    """How long a member can refute that ``given`` of ``needed`` members confirm to be silent.

    In seconds, from ``max_s`` down to ``min_s`` (Lifeguard IV-B).
    """
    if given >= needed:
        return min_s
    share = math.log(given + 1) / math.log(needed + 1)
    return max(min_s, max_s - (max_s - min_s) * share)
