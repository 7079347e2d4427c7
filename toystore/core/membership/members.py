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

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import overload

from toystore.core.membership.updates import Updates
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState

INCARNATION_MAX = 2**48
"""No member refutes this often: a higher number is not accepted."""

ACCUSERS_MAX = 4
"""A suspicion with this many accusers is certain enough: more of them change nothing."""

LIVING = (MemberStatus.ALIVE, MemberStatus.SUSPECT)


def beats(received: MemberState, known: MemberState) -> bool:
    """Whether ``received`` replaces ``known`` as the state of a member (SWIM section 4.2)."""
    return (received.incarnation, received.status) > (known.incarnation, known.status)


def merge(known: MemberState, received: MemberState) -> MemberState:
    """What is known of a member after ``received`` was learned.

    The disk is that of the higher incarnation; a known one fills an unknown one.  Two
    disks at one incarnation come from two runs of the member: the known one stays, so
    that the member sees it and moves to a higher incarnation (see `OwnState`).

    The same suspicion has the accusers of both, up to `ACCUSERS_MAX`.
    """
    winner = received if beats(received, known) else known
    if received.incarnation > known.incarnation:
        disk = received.disk or known.disk
    else:
        disk = known.disk or received.disk
    accusers = winner.accusers
    if received[1:3] == known[1:3] and received.accusers != known.accusers:
        both = dict.fromkeys(known.accusers + received.accusers)
        accusers = tuple(both)[:ACCUSERS_MAX]
    if (winner.disk, winner.accusers) == (disk, accusers):
        return winner
    return winner._replace(disk=disk, accusers=accusers)


class MemberList(Sequence[str]):
    """The listed names; each has a number.  It never changes: machines can share it."""

    __slots__ = ("_names", "_numbers", "number")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self.number: Callable[[str], int | None] = self._numbers.get
        """The place of a name in the list; None if it is not on it."""

    def has_all(self, names: Collection[str]) -> bool:
        """Whether all these names are on the list."""
        return self._numbers.keys() >= set(names)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        return self._names[at]


class Members:
    """The rows of the listed members; each change of a row is queued as an update."""

    __slots__ = (
        "_changed",
        "_rows",
        "_updates",
        "gone",
        "known_count",
        "living_count",
        "names",
    )

    def __init__(self, names: MemberList, known: Sequence[MemberState | None] = ()) -> None:
        """``names``: a name that is not on the list is never accepted.

        ``known``: rows that are known from the beginning, in the order of the list.
        """
        self.gone: Collection[tuple[str, str]] = ()
        """Name and disk of each member that was removed: no row of it is accepted."""
        self._set_rows(names, list(known) or [None] * len(names))
        self._changed = {row.name: row for row in known if row is not None}
        self._updates = Updates()

    def _set_rows(self, names: MemberList, rows: list[MemberState | None]) -> None:
        self.names = names
        self._rows = rows
        known = [row for row in rows if row is not None]
        self.known_count = len(known)
        """Of how many members anything is known."""
        self.living_count = sum([row.status in LIVING for row in known])
        """SWIM's N: how many members are alive or suspected, this node included."""

    def relist(self, names: Iterable[str], dropped: Collection[str]) -> None:
        """The list is ``names`` from now on; nothing is known any more of those ``dropped``."""
        listed = MemberList(names)
        kept = {row.name: row for row in self.states() if row.name not in dropped}
        self._set_rows(listed, [kept.get(name) for name in listed])
        self._changed = {name: row for name, row in self._changed.items() if name in kept}
        self._updates.forget(dropped)

    def put(self, state: MemberState) -> None:
        """Set what is known of a member, and queue it as an update."""
        number = self.names.number(state.name)
        assert number is not None
        before = self._rows[number]
        self.known_count += before is None
        lived = before is not None and before.status in LIVING
        self.living_count += (state.status in LIVING) - lived
        self._rows[number] = state
        self._changed[state.name] = state
        self._updates.add(state)

    def spread(self, name: str) -> None:
        """Queue the row of a member again, as if it had never been sent."""
        state = self.get(name)
        assert state is not None
        self._updates.add(state)

    def discard_verdicts(self) -> None:
        """Do not send the queued updates that say of a member that it is suspected or dead."""
        self._updates.discard((MemberStatus.SUSPECT, MemberStatus.DEAD))

    def updates(self, updates_max: int, sends_max: int) -> tuple[MemberState, ...]:
        """The updates for one message, at most ``updates_max``; see `Updates`."""
        return tuple(self._updates.take(updates_max, sends_max))

    def take_changes(self) -> tuple[MemberState, ...]:
        """The rows that have changed since the last call."""
        if not self._changed:
            return ()
        changed, self._changed = self._changed, {}
        return tuple(changed.values())

    def accepts(self, state: MemberState) -> bool:
        """Whether this can be the state of a listed member at all."""
        return (
            state.name in self.names
            and MemberStatus.ALIVE <= state.status <= MemberStatus.LEFT
            and 0 <= state.incarnation <= INCARNATION_MAX
            and not (self.gone and (state.name, state.disk) in self.gone)
            and (not state.accusers or self._can_accuse(state))
        )

    def news(self, received: Iterable[MemberState]) -> list[MemberState]:
        """Those received rows that can be of listed members, and are not known already.

        Most of what arrives is known, so that is looked at first.  Another node may list a member
        that this one does not list yet, or not any more: a suspicion is accepted without that
        accuser.
        """
        number, rows = self.names.number, self._rows
        unknown = [
            state
            for state in received
            if (at := number(state.name)) is not None and state != rows[at]
        ]
        return [state for state in map(self._without_unlisted, unknown) if self.accepts(state)]

    def listed(self, name: str) -> bool:
        """Whether ``name`` is on the member list."""
        return name in self.names

    def get(self, name: str) -> MemberState | None:
        """What is known of a member; None if nothing is."""
        number = self.names.number(name)
        return None if number is None else self._rows[number]

    def touch_all(self) -> None:
        """Every row counts as changed."""
        self._changed = {row.name: row for row in self._rows if row is not None}

    def states(self, but: str = "") -> tuple[MemberState, ...]:
        """Everything that is known, except of ``but``."""
        return tuple([row for row in self._rows if row is not None and row.name != but])

    def is_alive(self, name: str) -> bool:
        """Whether the member is alive and not even suspected."""
        state = self.get(name)
        return state is not None and state.status == MemberStatus.ALIVE

    def is_suspect(self, name: str) -> bool:
        """Whether the member is suspected."""
        state = self.get(name)
        return state is not None and state.status == MemberStatus.SUSPECT

    def is_living(self, name: str) -> bool:
        """Whether the member is alive or suspect: neither dead, nor left, nor unknown."""
        state = self.get(name)
        return state is not None and state.status in LIVING

    def is_dead(self, name: str) -> bool:
        """Whether the member was declared dead."""
        state = self.get(name)
        return state is not None and state.status == MemberStatus.DEAD

    def has_left(self, name: str) -> bool:
        """Whether the member has announced that it leaves."""
        state = self.get(name)
        return state is not None and state.status == MemberStatus.LEFT

    def _without_unlisted(self, state: MemberState) -> MemberState:
        if not state.accusers or self.names.has_all(state.accusers):
            return state
        listed = tuple([name for name in state.accusers if name in self.names])
        return state._replace(accusers=listed)

    def _can_accuse(self, state: MemberState) -> bool:
        """Whether a suspicion has distinct accusers, and not too many; no other has any."""
        accusers = set(state.accusers)
        return (
            state.status == MemberStatus.SUSPECT
            and len(state.accusers) == len(accusers) <= ACCUSERS_MAX
            and state.name not in accusers
        )
