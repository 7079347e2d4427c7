"""Nodes that wait to be members: each announces itself to all members every few seconds.

The answer tells it whether it is a member, and all that it needs to know to start as one.

Of two newcomers with one name, a member knows the one that announced itself to it first, until
that one has been silent for `WAITING_S`, and tells the other that the name is taken.  Members do
not compare notes: if each of the two came first at another member, both are told so, and both end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import Code
from toystore.core.reconfiguration.caller import RefusedError
from toystore.core.reconfiguration.changes import ZONE_MAX, is_zone
from toystore.core.reconfiguration.roster import Roster
from toystore.core.ring.record import Listed, RingRecord, endpoint_of
from toystore.core.ring.rules import member_fault

WAITING_S = 10.0
"""For how long an announcement counts."""
WAITING_MAX = 1000
"""How many are remembered; others are told to wait, and announce themselves again."""


class _Waiting(NamedTuple):
    listed: Listed
    until: float


class Newcomers:
    """Who waits."""

    def __init__(self, roster: Roster, outbox: Outbox) -> None:
        self._roster = roster
        self._out = outbox
        self._waiting: dict[str, _Waiting] = {}

    def waiting(self, now: Now) -> dict[str, Listed]:
        """Those that have announced themselves lately, by name."""
        for name in [n for n, one in self._waiting.items() if one.until <= now.monotonic]:
            del self._waiting[name]
        return {name: one.listed for name, one in self._waiting.items()}

    def announce(self, who: Listed, record: RingRecord, now: Now) -> tuple[str, str]:
        """Its state, "waiting", "member", "gone" or "taken", and a text for its operator."""
        state, text = self._state(who, record, now)
        if state == "waiting":
            if who.name not in self.waiting(now):
                self._out.log("ring.newcomer", member=who.name, disk=who.disk, host=who.host)
            if len(self._waiting) < WAITING_MAX or who.name in self._waiting:
                self._waiting[who.name] = _Waiting(who, now.monotonic + WAITING_S)
        elif self._waits(who, now):
            del self._waiting[who.name]
        return state, text

    def _waits(self, who: Listed, now: Now) -> bool:
        """Whether this very node is the one that waits under its name."""
        known = self.waiting(now).get(who.name)
        return known is not None and known.disk == who.disk

    def _state(self, who: Listed, record: RingRecord, now: Now) -> tuple[str, str]:
        for gone in record.gone:
            if gone.disk == who.disk:
                return "gone", (
                    f"this data folder was that of {gone.name}, which is no member since epoch "
                    f"{gone.epoch}; start {who.name} with an empty folder"
                )
        listed = record.all.get(who.name)
        if listed is not None:
            if listed.disk == who.disk or not self._roster.is_alive(who.name):
                return "member", f"{who.name} is a member since epoch {record.epoch} or before"
            return "taken", f"a member is called {who.name}, and is alive: choose another name"
        other = self.waiting(now).get(who.name)
        if other is not None and other.disk != who.disk:
            return "taken", (
                f"another node waits that is called {who.name} ({endpoint_of(other)}): "
                "choose another name"
            )
        return "waiting", f"to take it in: toystore cluster plan join {who.name}"


def read_newcomer(arguments: dict[str, Any]) -> Listed:
    """A newcomer as it describes itself.

    Raises:
        RefusedError: it could be no member; the text says what is wrong.
    """
    name, disk, host, zone = (arguments.get(field) for field in ("name", "disk", "host", "zone"))
    weight, ports = arguments.get("weight", 0), arguments.get("ports")
    if not isinstance(ports, (list, tuple)):
        raise _refused(f"{ports!r:.80} are no ports")
    fault = member_fault(name, name, disk, weight, zone, host, ports)
    if fault is not None:
        raise _refused(fault)
    if not disk:
        raise _refused("the disk has no id")
    if not is_zone(zone):
        raise _refused(f"a zone is a text of up to {ZONE_MAX} characters, not {zone!r:.80}")
    return Listed(str(name), str(name), str(disk), int(weight), str(zone), str(host), tuple(ports))


def _refused(fault: str) -> RefusedError:
    return RefusedError(
        Code.BAD_REQUEST,
        f"join needs name, disk, host, ports, weight, zone and after; {fault}",
    )
