"""The member table: what this node knows of each member.

States of one member are totally ordered by (incarnation, status), with the statuses in
the order alive < suspect < dead < left.  That one comparison is SWIM's precedence
(section 4.2), in which a received state replaces the known one where

    received \\ known   alive(j)   suspect(j)   dead(j)   left(j)
    alive(i)            i > j      i > j        i > j     i > j
    suspect(i)          i >= j     i > j        i > j     i > j
    dead(i)             i >= j     i >= j       i > j     i > j
    left(i)             i >= j     i >= j       i >= j    i > j

so that only a member itself, by raising its incarnation, can contradict what is said of
it, and a leave is not overwritten by a later suspicion.  Because the order is total, the
result does not depend on the order in which updates arrive, or on how often.
"""

from __future__ import annotations

from collections.abc import Iterable

from toystore.core.membership.updates import Updates
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState

INCARNATION_MAX = 2**48
"""No member refutes this often: a higher number is not accepted."""

LIVING = (MemberStatus.ALIVE, MemberStatus.SUSPECT)


def beats(received: MemberState, known: MemberState) -> bool:
    """Whether ``received`` replaces ``known`` as the state of a member (SWIM section 4.2)."""
    return (received.incarnation, received.status) > (known.incarnation, known.status)


def merge(known: MemberState, received: MemberState) -> MemberState:
    """What is known of a member after ``received`` was learned.

    The disk is that of the higher incarnation; a known one fills an unknown one.  Two
    disks at one incarnation come from two runs of the member: the known one stays, so
    that the member sees it and moves to a higher incarnation (see `OwnState`).
    """
    winner = received if beats(received, known) else known
    if received.incarnation > known.incarnation:
        disk = received.disk or known.disk
    else:
        disk = known.disk or received.disk
    return winner if winner.disk == disk else winner._replace(disk=disk)


class Members:
    """The rows of the listed members; each change of a row is queued as an update."""

    __slots__ = ("_names", "_states", "_updates", "changed", "living_count")

    def __init__(self, names: Iterable[str]) -> None:
        """``names``: the member list; a name that is not on it is never accepted."""
        self.changed = False
        """Whether this node's other actors have yet to be informed of the table."""
        self.living_count = 0
        """SWIM's N: how many members are alive or suspected, this node included."""
        self._names = dict.fromkeys(names)
        self._states: dict[str, MemberState] = {}
        self._updates = Updates()

    def put(self, state: MemberState) -> None:
        """Set what is known of a member, and queue it as an update."""
        self.changed = True
        self.living_count += (state.status in LIVING) - self.is_living(state.name)
        self._states[state.name] = state
        self._updates.add(state.name)

    def spread(self, name: str) -> None:
        """Queue the row of a member again, as if it had never been sent."""
        self._updates.add(name)

    def updates(self, updates_max: int, sends_max: int) -> tuple[MemberState, ...]:
        """The updates for one message, at most ``updates_max``; see `Updates`."""
        chosen = self._updates.take(updates_max, sends_max)
        return tuple([self._states[name] for name in chosen])

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
        """What is known of a member; None if nothing is."""
        return self._states.get(name)

    def states(self, but: str = "") -> tuple[MemberState, ...]:
        """Everything that is known, except of ``but``."""
        return tuple(state for name, state in self._states.items() if name != but)

    def is_alive(self, name: str) -> bool:
        """Whether the member is alive and not even suspected."""
        state = self._states.get(name)
        return state is not None and state.status == MemberStatus.ALIVE

    def is_living(self, name: str) -> bool:
        """Whether the member is alive or suspect: neither dead, nor left, nor unknown."""
        state = self._states.get(name)
        return state is not None and state.status in LIVING

    def alive(self, *but: str) -> list[str]:
        """The members that are alive, except those named."""
        return [name for name in self._states if self.is_alive(name) and name not in but]

    def living(self, *but: str) -> list[str]:
        """The members that are alive or suspect, except those named."""
        return [name for name in self._states if self.is_living(name) and name not in but]

    def not_left(self, *but: str) -> list[str]:
        """Listed members that have not left, known or unknown, except those named."""
        left = {name for name, s in self._states.items() if s.status == MemberStatus.LEFT}
        return [name for name in self._names if name not in left and name not in but]
