"""The member table: what is known of each member, and what is still to be told of it.

States of one member are totally ordered by (incarnation, status), with the statuses in
the order alive < suspect < dead < left.  That one comparison is SWIM's precedence
(section 4.2), in which the heard state replaces the held one where

    heard \\ held   alive(j)   suspect(j)   dead(j)   left(j)
    alive(i)         i > j      i > j        i > j     i > j
    suspect(i)       i >= j     i > j        i > j     i > j
    dead(i)          i >= j     i >= j       i > j     i > j
    left(i)          i >= j     i >= j       i >= j    i > j

so that only a member itself, by raising its incarnation, can contradict what is said of
it, and a goodbye is not overwritten by a later suspicion.  Because the order is total,
it does not matter in which order, or how often, news arrives.

Each change is an update, piggybacked on what is sent anyway: those sent least go first,
and after ceil(lambda * ln(N + 1)) sends an update has reached everyone with high
probability and is dropped (SWIM sections 4.1 and 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState

INCARNATION_MAX = 2**48
"""No member refutes this often: a higher number is not believed."""

LIVING = (MemberStatus.ALIVE, MemberStatus.SUSPECT)


def beats(heard: MemberState, held: MemberState) -> bool:
    """Whether ``heard`` replaces ``held`` as the state of a member (SWIM section 4.2)."""
    return (heard.incarnation, heard.status) > (held.incarnation, held.status)


def merge(held: MemberState, heard: MemberState) -> MemberState:
    """What is known of a member after ``heard`` was.

    The disk is that of the higher incarnation; a known one fills an unknown one.  Two
    disks at one incarnation are two lives of the member: the held one stays, for the
    member to see, until it moves to a higher incarnation (see `Swim`).
    """
    winner = heard if beats(heard, held) else held
    if heard.incarnation > held.incarnation:
        disk = heard.disk or held.disk
    else:
        disk = held.disk or heard.disk
    return winner if winner.disk == disk else winner._replace(disk=disk)


class Members:
    """The table and its queue of updates, of the listed members and nobody else."""

    __slots__ = ("_names", "_sends", "_states")

    def __init__(self, names: Iterable[str]) -> None:
        """``names``: the member list; a name that is not on it is never accepted."""
        self._names = tuple(names)
        self._states: dict[str, MemberState] = {}
        self._sends: dict[str, int] = {}

    def put(self, state: MemberState) -> None:
        """Set what is known of a member, and queue it as an update."""
        self._states[state.name] = state
        self.spread(state.name)

    def spread(self, name: str) -> None:
        """Queue the state of a member anew, as if nobody had been told of it."""
        self._sends.pop(name, None)
        self._sends[name] = 0

    def updates(self, updates_max: int, sends_max: int) -> tuple[MemberState, ...]:
        """The updates for one message: the least sent first, and of these the newest."""
        if not self._sends:
            return ()
        newest_first = list(reversed(self._sends))
        chosen = sorted(newest_first, key=self._sends.__getitem__)[:updates_max]
        for name in chosen:
            self._sends[name] += 1
            if self._sends[name] >= sends_max:
                del self._sends[name]
        return tuple(self._states[name] for name in chosen)

    def accepts(self, state: MemberState) -> bool:
        """Whether this can be the state of a listed member at all."""
        return (
            state.name in self._names
            and MemberStatus.ALIVE <= state.status <= MemberStatus.LEFT
            and 0 <= state.incarnation <= INCARNATION_MAX
        )

    def listed(self, name: str) -> bool:
        """Whether ``name`` is on the member list."""
        return name in self._names

    def get(self, name: str) -> MemberState | None:
        """What is known of a member; None if it was never heard of."""
        return self._states.get(name)

    def states(self, but: str = "") -> tuple[MemberState, ...]:
        """Everything that is known, except of ``but``."""
        return tuple(state for name, state in self._states.items() if name != but)

    def is_alive(self, name: str) -> bool:
        """Whether the member is alive and not even suspected."""
        state = self._states.get(name)
        return state is not None and state.status == MemberStatus.ALIVE

    def is_living(self, name: str) -> bool:
        """Whether the member is alive or suspect: neither dead, nor left, nor unheard of."""
        state = self._states.get(name)
        return state is not None and state.status in LIVING

    def alive(self, *but: str) -> list[str]:
        """Who is alive, except those named."""
        return [name for name in self._states if self.is_alive(name) and name not in but]

    def living(self, *but: str) -> list[str]:
        """Who is alive or suspect, except those named; its length is SWIM's N."""
        return [name for name in self._states if self.is_living(name) and name not in but]

    def not_left(self, *but: str) -> list[str]:
        """Listed members that never said goodbye, heard of or not, except those named."""
        left = {name for name, s in self._states.items() if s.status == MemberStatus.LEFT}
        return [name for name in self._names if name not in left and name not in but]


def sends_max(retransmit_mult: float, members: int) -> int:
    """How often an update is sent by each member: lambda * ln(N + 1) (SWIM section 4.1)."""
    return math.ceil(retransmit_mult * math.log(members + 1))


def suspicion_s(suspicion_mult: float, members: int, probe_period_s: float) -> float:
    """How long a suspect has to refute before it is dead, in seconds (SWIM section 4.2)."""
    return suspicion_mult * max(1.0, math.log10(max(1, members))) * probe_period_s
