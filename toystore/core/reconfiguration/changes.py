"""The changes that a plan is made of: `join n4`, `leave n1`, and the member list after them.

Every mistake of an operator is a `PlanError`, whose text says what was given and what would be
right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from toystore.core.ring.record import PORTS, Listed, RingRecord
from toystore.core.ring.rules import PORT_MAX, WEIGHT_MAX, is_weight
from toystore.hosts import HostError, reachable_host

FORMS = {
    "join": "join NEWCOMER",
    "leave": "leave NAME",
    "replace": "replace NAME NEWCOMER",
    "reweigh": "reweigh NAME WEIGHT",
    "rezone": "rezone NAME ZONE",
    "remove": "remove NAME",
    "readdress": "readdress NAME HOST:PORT",
}
"""How each change is written."""
ZONE_MAX = 64
_ATTRIBUTES = frozenset({"reweigh", "rezone", "readdress"})
_NAMED_MAX = 30


class PlanError(ValueError):
    """A plan that cannot be made; the text is for the operator."""


class Change(NamedTuple):
    """One change."""

    kind: str
    """A key of `FORMS`."""
    member: str
    value: Any = None
    """What else its form names: the newcomer, weight, zone or address."""

    def __str__(self) -> str:
        """As it is written."""
        return " ".join(str(part) or '""' for part in self if part is not None)

    @property
    def row(self) -> list[Any]:
        """As it is in JSON."""
        return [part for part in self if part is not None]


def read_changes(rows: object) -> tuple[Change, ...]:
    """The changes in what a client has sent, such as ``[["join", "n4"]]``.  Raises `PlanError`."""
    if not isinstance(rows, Sequence) or isinstance(rows, (str, bytes)) or not rows:
        raise PlanError("a plan has at least one change, such as: join n4")
    return tuple(map(_read, rows))


def members_after(
    changes: Sequence[Change], base: RingRecord, waiting: Mapping[str, Listed]
) -> tuple[Listed, ...]:
    """The members once all changes are made.

    Args:
        changes: each is about another member, or about another attribute of it.
        base: a stable record.
        waiting: the nodes that wait to join, by name.

    Raises:
        PlanError: a change is impossible, or nothing would change.
    """
    _check_once(changes)
    draft = _Draft(base, waiting)
    for change in sorted(changes, key=lambda change: change.kind in _ATTRIBUTES):
        draft.apply(change)
    after = tuple(sorted(draft.members.values()))
    if after == tuple(sorted(base.members)):
        raise PlanError(f"nothing would change by: {listed(map(str, changes))}")
    return after


def listed(names: Iterable[str]) -> str:
    """Names for the text of an error; a long list is shortened."""
    each = list(names)
    more = len(each) - _NAMED_MAX
    return ", ".join(each[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _read(row: object) -> Change:
    if not isinstance(row, Sequence) or isinstance(row, (str, bytes)) or not row:
        raise PlanError(f"a change is a list such as ['join', 'n4'], not {row!r:.80}")
    kind, *rest = row
    form = FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise PlanError(f"no change is called {kind!r:.80}; there are {', '.join(FORMS)}")
    names = rest if kind == "replace" else rest[:1]
    if len(row) != len(form.split()) or not all(isinstance(name, str) for name in names):
        given = " ".join(map(str, row))
        raise PlanError(f"{given!r:.80} given; it is written: {form}")
    return Change(kind, *rest)


def _check_once(changes: Sequence[Change]) -> None:
    """Raise `PlanError` if two changes are about the same thing."""
    names: Counter[str] = Counter()
    for kind, member, value in changes:
        if kind not in _ATTRIBUTES:
            names.update([member, value] if kind == "replace" else [member])
    attributes = Counter((kind, member) for kind, member, _ in changes if kind in _ATTRIBUTES)
    twice = [name for name, count in names.items() if count > 1]
    twice += [f"{kind} {member}" for (kind, member), count in attributes.items() if count > 1]
    if twice:
        raise PlanError(
            f"{twice[0]} is named twice; one plan changes a member once: commit the first change, "
            "and plan the other when the ring is stable"
        )


class _Draft:
    """The member list while changes are made to it."""

    def __init__(self, base: RingRecord, waiting: Mapping[str, Listed]) -> None:
        self.members = {one.name: one for one in base.members}
        self._base = base
        self._waiting = waiting

    def apply(self, change: Change) -> None:
        """Make one change."""
        kind, name, value = change
        match kind:
            case "join":
                newcomer = self._newcomer(name)
                self.members[name] = newcomer._replace(seat=self._free_seat(name))
            case "leave" | "remove":
                del self.members[self._member(name).name]
            case "replace":
                self._replace_member(self._member(name), value)
            case "reweigh":
                self.members[name] = self._member(name)._replace(weight=_weight(value))
            case "rezone":
                self.members[name] = self._member(name)._replace(zone=_zone(value))
            case "readdress":
                host, ports = _address(value)
                self.members[name] = self._member(name)._replace(host=host, ports=ports)

    def _replace_member(self, old: Listed, name: Any) -> None:
        """The newcomer owns exactly what the old member owns, so its weight and zone stay."""
        newcomer = self._newcomer(name)
        del self.members[old.name]
        self.members[newcomer.name] = newcomer._replace(
            seat=old.seat, weight=old.weight, zone=old.zone
        )

    def _member(self, name: str) -> Listed:
        if name in self.members:
            return self.members[name]
        if any(name == one.name for one in self._base.members):
            raise PlanError(
                f"{name} does not stay a member in this plan: leave out what else it is to be"
            )
        raise PlanError(
            f"no member is called {name!r:.80}; the members are {listed(sorted(self.members))}"
        )

    def _newcomer(self, name: Any) -> Listed:
        """A node that waits, and may join."""
        member = next((one for one in self._base.members if one.name == name), None)
        if member is not None:
            raise PlanError(f"{name} is a member already; a newcomer has a name of its own")
        newcomer = self._waiting.get(name) if isinstance(name, str) else None
        if newcomer is None:
            waits = (
                f"these wait: {listed(sorted(self._waiting))}" if self._waiting else "none waits"
            )
            raise PlanError(
                f"no node called {name!r:.80} waits to join; {waits}. "
                f"Start it with: toystore node --join ADDRESS --name {name!s:.80}"
            )
        self._check_disk(newcomer)
        _weight(newcomer.weight)
        return newcomer

    def _check_disk(self, newcomer: Listed) -> None:
        for gone in self._base.gone:
            if gone.disk and gone.disk == newcomer.disk:
                raise PlanError(
                    f"the data folder of {newcomer.name} was that of {gone.name}, which is no "
                    f"member since epoch {gone.epoch}; its data are never taken back: "
                    "start the node with an empty folder"
                )
        for member in self._base.members:
            if member.disk and member.disk == newcomer.disk:
                raise PlanError(
                    f"the data folder of {newcomer.name} is a copy of that of the member "
                    f"{member.name}: start the node with an empty folder"
                )

    def _free_seat(self, name: str) -> str:
        """A seat of its own: the name, unless another member sits there by a replacement."""
        seats = {one.seat for one in (*self._base.members, *self.members.values())}
        return name if name not in seats else f"{name}@{self._base.epoch + 1}"


def is_zone(value: object) -> bool:
    """Whether a member may join with this zone, or be given it."""
    return isinstance(value, str) and len(value) <= ZONE_MAX


def _weight(value: Any) -> int:
    if not is_weight(value):
        raise PlanError(f"a weight is a whole number from 1 to {WEIGHT_MAX}, not {value!r:.80}")
    return int(value)


def _zone(value: Any) -> str:
    if not is_zone(value):
        raise PlanError(f"a zone is a text of up to {ZONE_MAX} characters, not {value!r:.80}")
    return str(value)


def _address(value: object) -> tuple[str, tuple[int, ...]]:
    """The host and the ports of a member whose client port is given as HOST:PORT."""
    text = value.removeprefix("tcp://") if isinstance(value, str) else ""
    host, _, port = text.rpartition(":")
    is_form = re.fullmatch("[0-9]{1,5}", port) and (":" not in host or host.startswith("["))
    if not is_form or not 1 <= int(port) <= PORT_MAX - len(PORTS) + 1:
        raise PlanError(
            f"{value!r:.80} given; an address is HOST:PORT, where PORT is the client port and the "
            f"{len(PORTS) - 1} after it are the node's, too: at most {PORT_MAX - len(PORTS) + 1}"
        )
    try:
        return reachable_host(host), tuple(range(int(port), int(port) + len(PORTS)))
    except HostError as error:
        raise PlanError(f"{value!r:.80} given: {error}") from None
