"""What the runner did to links, from its ``link.fault`` and ``link.restored``, and the splits.

A fault covers *blocks*: all ways from some senders to some receivers.  Two members can reach each
other if no way between them is cut, in either direction, or through other members for which this
is true: SWIM asks them to ping.  So the *sides* of a split are the connected parts of the graph of
members whose edges are the links that work both ways.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from toystore.logs.entry import Entry, printable
from toystore.logs.names import in_order, in_order_of

CUT, DELAY, LOSS, RESET = "cut", "delay", "loss", "reset"
ADJECTIVES = {CUT: "cut", DELAY: "slow", LOSS: "lossy", RESET: "reset"}
FAULTS_MAX = 1000
SPLITS_MAX = 100
EFFECT_S = 3.0
"""Accusations up to this long after a fault may be its effect."""
HEALING_S = 10.0
"""How long after a split the members may learn what was believed on the other side."""


class Split(NamedTuple):
    """The sides of a split, the largest first."""

    sides: tuple[tuple[str, ...], ...]

    @property
    def main(self) -> tuple[str, ...]:
        """The largest side; the others are cut off from it."""
        return self.sides[0]

    def side_of(self, member: str) -> tuple[str, ...]:
        """The side of a member; a member that is on none was on the largest."""
        return next((side for side in self.sides if member in side), self.main)

    def sides_from(self, member: str) -> tuple[tuple[str, ...], ...]:
        """All sides, the member's own first."""
        own = self.side_of(member)
        return own, *(side for side in self.sides if side != own)


def make_split(sides: Iterable[tuple[str, ...]]) -> Split:
    """A split with its sides in order."""
    return Split(tuple(sorted(sides, key=lambda side: (-len(side), in_order_of(side[0])))))


class Block(NamedTuple):
    """All ways from some members to some members."""

    senders: tuple[str, ...]
    receivers: tuple[str, ...]


@dataclass(slots=True)
class LinkFault:
    """A fault of links, from the runner's log."""

    kind: str
    """cut, delay, loss, reset, or a later version's word."""
    at: float
    until: float | None
    """None: it did not end."""
    blocks: tuple[Block, ...]
    share: float | None
    delay_s: float | None
    jitter_s: float | None
    resets: bool

    def concerns(self, one: str, other: str) -> bool:
        """Whether it impairs a way between two members, in either direction."""
        return any(
            (one in senders and other in receivers) or (other in senders and one in receivers)
            for senders, receivers in self.blocks
        )

    @property
    def members(self) -> set[str]:
        """All members that it names."""
        return {name for block in self.blocks for side in block for name in side}


class Links:
    """The faults of links, by time, and the splits that they made."""

    def __init__(self) -> None:
        self.faults: deque[LinkFault] = deque(maxlen=FAULTS_MAX)
        self.splits: deque[tuple[float, float, Split]] = deque(maxlen=SPLITS_MAX)
        """From when until when (infinity: still) the members were split, and how."""

    @property
    def split(self) -> Split | None:
        """The present split."""
        return self.splits[-1][2] if self.splits and self.splits[-1][1] == inf else None

    def learn(self, entry: Entry, members: Collection[str]) -> None:
        """A fault begins or ends; ``members``: of the cluster, as far as they are known."""
        if entry.event == "link.fault":
            self._begin(entry)
        else:
            self._end(entry)
        self._divide(entry.at, members)

    def _begin(self, entry: Entry) -> None:
        kind = entry.text("kind")
        ends_at = entry.at if kind == RESET else None
        self.faults.append(
            LinkFault(
                kind=kind,
                at=entry.at,
                until=ends_at,
                blocks=tuple(_blocks(entry)),
                share=entry.number("share"),
                delay_s=entry.number("delay_s"),
                jitter_s=entry.number("jitter_s"),
                resets=entry.fields.get("reset") is True,
            )
        )

    def _end(self, entry: Entry) -> None:
        blocks = tuple(_blocks(entry))
        for fault in self.faults:
            if fault.until is None and (fault.kind, fault.blocks) == (entry.text("kind"), blocks):
                fault.until = entry.at
                break

    def end_all(self, at: float) -> None:
        """The runner has ended, and with it all faults."""
        for fault in self.faults:
            fault.until = at if fault.until is None else fault.until
        self._divide(at, ())

    @property
    def how(self) -> str:
        """How members are cut off at present."""
        cuts = [fault for fault in self.faults if fault.kind == CUT and fault.until is None]
        if all(map(_is_two_way, cuts)):
            return "links cut"
        return f"links cut: {'; '.join(places(fault, ()) for fault in cuts)}"

    def split_between(self, by: str, member: str, at: float) -> tuple[float, Split] | None:
        """The last split between two members up to a time: when it ended, and its sides."""
        for since, until, split in reversed(self.splits):
            if since <= at and member not in split.side_of(by):
                return until, split
        return None

    def split_since(self, at: float) -> Split | None:
        """The split that began at a time."""
        return next((split for since, _, split in self.splits if since == at), None)

    def healed_at(self, at: float) -> float | None:
        """The end of the last split before a time; None if there was none."""
        return max((until for _, until, _ in self.splits if until <= at), default=None)

    def fault_between(self, pairs: Iterable[tuple[str, str]], at: float) -> LinkFault | None:
        """The last fault at a time, or shortly before, for the first pair that has one."""
        for one, other in pairs:
            for fault in reversed(self.faults):
                ended = inf if fault.until is None else fault.until
                if fault.at <= at <= ended + EFFECT_S and fault.concerns(one, other):
                    return fault
        return None

    def _divide(self, at: float, members: Collection[str]) -> None:
        """Begin or end a split, as the present cuts make it."""
        cuts = [fault for fault in self.faults if fault.kind == CUT and fault.until is None]
        sides = _sides(cuts, members) if cuts else []
        present = make_split(sides) if len(sides) > 1 else None
        if present != self.split:
            if self.split is not None:
                since, _, split = self.splits.pop()
                self.splits.append((since, at, split))
            if present is not None:
                self.splits.append((at, inf, present))


def _sides(cuts: Collection[LinkFault], members: Collection[str]) -> list[tuple[str, ...]]:
    """The connected parts of the members, and of those that the cuts name."""
    named = {name for cut in cuts for name in cut.members}.union(members)
    return find_sides(named, lambda one, other: not any(cut.concerns(one, other) for cut in cuts))


def find_sides(
    members: Collection[str], together: Callable[[str, str], bool]
) -> list[tuple[str, ...]]:
    """The groups of members that are ``together``, directly or through other members."""
    left = set(members)
    sides = []
    while left:
        side: set[str] = set()
        fresh = {min(left)}
        while fresh:
            side |= fresh
            left -= fresh
            fresh = {other for other in left if any(together(name, other) for name in fresh)}
        sides.append(tuple(in_order(side)))
    return sides


def _blocks(entry: Entry) -> Iterator[Block]:
    """The blocks of an entry, as far as they are well-formed."""
    links = entry.fields.get("links")
    for block in links if isinstance(links, list) else ():
        if isinstance(block, dict):
            yield Block(_names(block.get("from")), _names(block.get("to")))


def _names(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else ()
    return tuple(printable(name) for name in listed if isinstance(name, str))


# --- words ------------------------------------------------------------------------------


def words(fault: LinkFault, members: Collection[str]) -> str:
    """A fault in words; ``members``: of the cluster."""
    return f"{places(fault, members)}: {figures(fault)}"


def reason(fault: LinkFault) -> str:
    """A fault as the reason of a false accusation: ``slow link``."""
    return f"{ADJECTIVES.get(fault.kind, fault.kind)} link"


def note(fault: LinkFault, members: Collection[str]) -> str:
    """The same with its links and figures."""
    how_much = f", {figures(fault)}" if fault.kind in (LOSS, DELAY) else ""
    return f"{reason(fault)}: {places(fault, members)}{how_much}"


def places(fault: LinkFault, members: Collection[str]) -> str:
    """The links of a fault: ``n1 → n4``, ``n4 ↔ all``."""
    everyone = {*members, *fault.members}
    if _is_two_way(fault):
        sides = [block.senders for block in fault.blocks]
        if len(sides) == 2 and len(sides[0]) == 1:
            return f"{_join(sides[0])} ↔ {_side(sides[1], everyone - {*sides[0]})}"
        return " ↔ ".join(map(_join, sides))
    return ", ".join(
        f"{_side(block.senders, everyone - {*block.receivers})} → "
        f"{_side(block.receivers, everyone - {*block.senders})}"
        for block in fault.blocks
    )


def _is_two_way(fault: LinkFault) -> bool:
    """Whether a fault impairs each of its links both ways."""
    sides = [block.senders for block in fault.blocks]
    named = {name for side in sides for name in side}
    return len(sides) > 1 and all({*b.receivers} == named - {*b.senders} for b in fault.blocks)


def _side(names: Collection[str], others: Collection[str]) -> str:
    """Some members, or that they are all the others."""
    return "all" if len(names) > 1 and {*names} == {*others} else _join(names)


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)


def figures(fault: LinkFault) -> str:
    """What a fault does, and how much."""
    match fault.kind:
        case "cut":
            return "cut, by resets" if fault.resets else "cut"
        case "reset":
            return "connections reset"
        case "loss":
            return f"{fault.share or 0:.0%} lost"
        case "delay":
            least = (fault.delay_s or 0.0) * 1000
            most = least + (fault.jitter_s or 0.0) * 1000
            return f"{least:g} ms later" if most == least else f"{least:g} to {most:g} ms later"
    return fault.kind
