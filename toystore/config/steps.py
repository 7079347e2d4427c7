"""The steps of a scenario, and the keys that each kind of step needs.

A step acts on a node's process (kill, stop, restart, pause, resume, wipe), on links between nodes
(loss, delay, cut, reset), splits the whole network (split, heal), or changes the ring (join, leave,
replace, remove).  The links of a step are named in one of three ways:

    node: n4              every link of n4, both ways
    between: [n1, n4]     the links between these nodes, both ways
    from: n1, to: n4      one way; a name or a list, and all other nodes if one of the two is absent
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from toystore.config.errors import FaultsError
from toystore.config.sections import Section
from toystore.config.values import KnownMember, Name, Names, ScenarioNode, Seconds, Weight


class _Keys(NamedTuple):
    """The keys of one kind of step, besides `at` and `do`."""

    needed: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    on_links: bool = False
    """Whether it names links as well."""


_KEYS = {
    "kill": _Keys(("node",)),
    "stop": _Keys(("node",)),
    "restart": _Keys(("node",)),
    "pause": _Keys(("node", "for")),
    "resume": _Keys(("node",)),
    "loss": _Keys(("share", "for"), on_links=True),
    "delay": _Keys(("delay_s", "for"), ("jitter_s",), on_links=True),
    "cut": _Keys(("for",), ("reset",), on_links=True),
    "reset": _Keys(on_links=True),
    "split": _Keys(("groups",), ("for", "reset")),
    "heal": _Keys(),
    "wipe": _Keys(("node",)),
    "join": _Keys(("node",), ("weight", "zone")),
    "leave": _Keys(("node",)),
    "replace": _Keys(("node", "by")),
    "remove": _Keys(("node",)),
}
RING_CHANGES = ("join", "leave", "replace", "remove")
"""The steps that change the ring: one after another, each when the one before has ended."""
_LINKS = ("node", "between", "from", "to")
_MEANINGS = {
    "for": "the seconds that it lasts",
    "node": "the name of a node",
    "share": "the fraction that is lost",
    "delay_s": "the seconds by which it is later",
    "groups": "the sides, each a list of nodes",
    "by": "the name of the node that takes its place",
}


def _as_list(value: object) -> object:
    """A single name as a list of one."""
    return [value] if isinstance(value, str) else value


Members = Annotated[tuple[KnownMember, ...], Field(strict=False, min_length=1)]
OneOrMore = Annotated[Members, BeforeValidator(_as_list)]


class Step(Section):
    """One step of a scenario; see the module's docstring.  Times are seconds after ready."""

    at: Annotated[float, Field(ge=0)]
    do: Literal[
        "kill",
        "stop",
        "restart",
        "pause",
        "resume",
        "wipe",
        "loss",
        "delay",
        "cut",
        "reset",
        "split",
        "heal",
        "join",
        "leave",
        "replace",
        "remove",
    ]
    node: ScenarioNode | None = None
    by: Name | None = None
    """Of a replace: the new node."""
    weight: Weight = 1
    """Of a join: as of a member."""
    zone: str = ""
    from_: OneOrMore | None = Field(None, alias="from")
    to: OneOrMore | None = None
    between: Members | None = None
    groups: Annotated[tuple[OneOrMore, ...], Field(strict=False)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    delay_s: Seconds | None = None
    jitter_s: Seconds | None = None
    reset: bool = False
    """Whether a cut or a split resets connections.  Otherwise TCP notices nothing of it."""
    for_s: Seconds | None = Field(None, alias="for")
    """How long it lasts; None: until the next heal, if it is a split."""

    @model_validator(mode="after")
    def _has_its_keys(self, info: ValidationInfo) -> Self:
        faults = [*_wrong_keys(self.do, self._given())]
        if not faults:
            names = info.context or Names()
            faults = [
                *self._wrong_links(names.newcomers),
                *self._wrong_groups(names.members),
                *self._wrong_newcomers(names.members),
            ]
        if faults:
            raise FaultsError(faults)
        return self

    @property
    def ends_at(self) -> float:
        """Seconds after ready at which the step is over."""
        return self.at + (self.for_s or 0.0)

    @property
    def on_links(self) -> bool:
        """Whether it acts on links, and not on a process."""
        return _KEYS[self.do].on_links or self.do in ("split", "heal")

    @property
    def changes_ring(self) -> bool:
        """Whether it changes the ring."""
        return self.do in RING_CHANGES

    def _given(self) -> list[str]:
        """The keys that it has, besides `at` and `do`."""
        fields = type(self).model_fields
        return [fields[name].alias or name for name in self.model_fields_set - {"at", "do"}]

    def _wrong_links(self, newcomers: Sequence[str]) -> Iterator[str]:
        """An error if the named nodes have no link between them that can be impaired."""
        if self.on_links and self.node in newcomers:
            yield f"{self.node} joins in the scenario: its links do not lead through the proxy"
        if self.between and len(set(self.between)) < 2:
            yield f"'between' names {', '.join(self.between)} alone; should name two nodes or more"
        if self.from_ and self.to and len({*self.from_, *self.to}) < 2:
            yield f"from {self.from_[0]} to {self.to[0]} is no link; should be two nodes"

    def _wrong_newcomers(self, members: Sequence[str]) -> Iterator[str]:
        """An error if a node that joins is a member already."""
        comer = self.node if self.do == "join" else self.by
        if comer in members:
            yield f"{comer} is a member; should be a new name"

    def _wrong_groups(self, members: Sequence[str]) -> Iterator[str]:
        """An error if the groups are not the sides of a split."""
        if self.groups is None:
            return
        names = [name for group in self.groups for name in group]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"'groups' names {name} twice; should name a node once"
        if len(self.groups) + (not set(members) <= set(names)) < 2:
            yield "'groups' makes one side only; should list two groups, or leave nodes out"


def _wrong_keys(do: str, given: list[str]) -> Iterator[str]:
    """An error for each key that a kind of step lacks, or cannot have."""
    needed, allowed, on_links = _KEYS[do]
    for key in needed:
        if key not in given:
            yield f"'{do}' needs '{key}', {_MEANINGS[key]}"
    takes = (*needed, *allowed, *(_LINKS if on_links else ()))
    for key in sorted({*given} - {*takes}):
        yield f"'{do}' takes no '{key}'; its keys are {', '.join(('at', 'do', *takes))}"
    if on_links:
        ways = {"from, to" if key in ("from", "to") else key for key in given if key in _LINKS}
        if len(ways) != 1:
            yield (
                f"'{do}' needs its links in one way: 'node' (every link of a node), "
                "'between' (both ways) or 'from' and 'to' (one way)"
            )
