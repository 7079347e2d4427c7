"""Logs what becomes of each member: joined, suspected, dead, alive again, left, flapping."""

from __future__ import annotations

from toystore.core.membership.flapping import FLAPS, FLAPS_WITHIN_S, Flapping
from toystore.core.membership.members import beats
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState

_EVENT_OF = {
    MemberStatus.ALIVE: "member.alive",
    MemberStatus.SUSPECT: "member.suspect",
    MemberStatus.DEAD: "member.dead",
    MemberStatus.LEFT: "member.left",
}


class MemberLog:
    """The log of the other members' states."""

    __slots__ = ("_flapping", "_outbox", "_suspected_at")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._suspected_at: dict[str, float] = {}
        """Since when each suspected or dead member has been suspected."""
        self._flapping = Flapping()

    def forget(self, name: str) -> None:
        """A member was removed."""
        self._suspected_at.pop(name, None)
        self._flapping.forget(name)

    def cause(self, state: MemberState, sender: str) -> str:
        """Why this node learns a row: the member itself has sent it, or another has."""
        if state.name != sender or state.status != MemberStatus.ALIVE:
            return f"told by {sender}"
        return "refuted" if sender in self._suspected_at else "joined"

    def record(
        self,
        before: MemberState | None,
        state: MemberState,
        cause: str,
        now: Now,
        took_s: float | None,
    ) -> None:
        """A row has changed.

        A suspicion of a higher incarnation is logged too, though the status is the same:
        no node sends another what is not in its own log.
        """
        not_alive = state.status != MemberStatus.ALIVE
        if before is None or before.status != state.status or (not_alive and beats(state, before)):
            self._log_status(state, cause, now, took_s)
        elif state.accusers != before.accusers:
            self._outbox.log(
                "suspicion.confirmed",
                member=state.name,
                incarnation=state.incarnation,
                accusers=list(state.accusers),
                cause=cause,
            )
        if before is not None and (before.status, state.status) == _RETURN:
            self._log_if_flapping(state.name, now)

    def _log_status(self, state: MemberState, cause: str, now: Now, took_s: float | None) -> None:
        """Log a status, and for how long the member was suspected before."""
        suspected_at = self._suspected_at.get(state.name)
        if took_s is None and suspected_at is not None:
            took_s = now.monotonic - suspected_at
        if state.status in (MemberStatus.SUSPECT, MemberStatus.DEAD):
            self._suspected_at.setdefault(state.name, now.monotonic)
        else:
            self._suspected_at.pop(state.name, None)
        self._outbox.log(
            _EVENT_OF[MemberStatus(state.status)],
            member=state.name,
            incarnation=state.incarnation,
            cause=cause,
            took_s=None if took_s is None else round(took_s, 3),
        )

    def _log_if_flapping(self, name: str, now: Now) -> None:
        if self._flapping.on_return(name, now.monotonic):
            self._outbox.log("member.flapping", member=name, times=FLAPS, within_s=FLAPS_WITHIN_S)


_RETURN = (MemberStatus.DEAD, MemberStatus.ALIVE)
