"""A group that loses 10% of its datagrams (SWIM section 5.3).

Seventeen members, with the settings of the paper: K=1, a period of 2 s, and suspicions of
3 * ceil(ln(N + 1)) periods.  Three protocols:

    basic       no suspicion; the member that finds a failure sends it to all (multicast)
    infection   no suspicion; the failure is attached to pings and acks
    suspicion   infection, and a member has the time of its suspicion to refute

A failure is final in the paper: a member that is declared failed does not come back.  `Swim`
lets it come back; so the network of the first three carries nothing between two members of which
one has removed the other.  Without suspicion, a member is removed once it is suspected.  The
multicast is done here, and `Swim` attaches nothing; each message of it can be lost.

The *group* at a time is the largest set of members that have not removed each other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from enum import Enum

from toystore.core.protocol.machine import Event
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Gossip, MemberState
from toystore.core.protocol.settings import SwimSettings
from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.group import Group, Host, Observer
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.plan import Plan, without_lifeguard
from toystore.sim.membership.tables import Cell

MEMBERS = 17
LOSS = 0.1
NEVER_S = 1e9


class Removal(Enum):
    """When a member is removed from the group of another."""

    SUSPECTED = "once it is suspected, for ever"
    DEAD = "once it is dead, for ever"
    RETURNS = "while it is dead"


@dataclasses.dataclass(frozen=True, slots=True)
class Protocol:
    """One of the protocols that are compared."""

    name: str
    paper: int | None
    settings: SwimSettings
    removal: Removal
    multicast: bool = False


def loss(own: SwimSettings, *, seconds: float, trials: int, seed: int) -> Finding:
    """Run each protocol in ``trials`` groups; ``own``: the settings of this project."""
    rows: list[Sequence[Cell]] = []
    lines = []
    for protocol in protocols(own):
        runs = [_sizes(protocol, int(seconds), seed * trials + trial) for trial in range(trials)]
        means = [sum(sizes) / trials for sizes in zip(*runs, strict=True)]
        rows.append((protocol.name, protocol.paper, *(means[at - 1] for at in _marks(seconds))))
        points = [(float(second), mean) for second, mean in enumerate(means, 1)]
        lines.append(Line(protocol.name, points))
    return Finding(
        "Ten percent of the datagrams are lost",
        f"{trials} groups of {MEMBERS} members; the mean size of a group after some time; "
        f"seed {seed}",
        ("", "paper", *(f"{mark} s" for mark in _marks(seconds))),
        rows,
        charts=[Chart("10% of the datagrams are lost", "seconds", "members in the group", lines)],
    )


def _marks(seconds: float) -> list[int]:
    """The times, in seconds, at which the table shows the size of a group."""
    return [int(seconds * part) for part in (1 / 8, 1 / 4, 1 / 2, 1)]


def protocols(own: SwimSettings) -> list[Protocol]:
    """The three of the paper, and this project's."""
    plain = dataclasses.replace(
        without_lifeguard(own),
        probe_period_s=2.0,
        probe_timeout_s=0.5,
        indirect_probes=1,
        suspicion_mult=3 * math.ceil(math.log(MEMBERS + 1)) / math.log10(MEMBERS),
        exchange_period_s=NEVER_S,
    )
    at_once = dataclasses.replace(plain, suspicion_mult=0.0)
    silent = dataclasses.replace(at_once, updates_per_message_max=0)
    return [
        Protocol("basic SWIM", 2, silent, Removal.SUSPECTED, multicast=True),
        Protocol("infection", 4, at_once, Removal.SUSPECTED),
        Protocol("infection, suspicion", 12, plain, Removal.DEAD),
        Protocol("toystore, no way back", None, own, Removal.DEAD),
        Protocol("toystore", None, own, Removal.RETURNS),
    ]


class _Removed(Observer):
    """Who has removed whom; also the multicast of basic SWIM."""

    def __init__(self, group: Group, protocol: Protocol) -> None:
        self._group = group
        self._protocol = protocol
        self._by: dict[str, set[str]] = {name: set() for name in group.hosts}
        self._verdicts = {"member.dead"}
        if protocol.removal is Removal.SUSPECTED:
            self._verdicts.add("member.suspect")

    def logged(self, at: float, host: Host, event: Event) -> None:  # noqa: ARG002
        member = event.fields.get("member", "")
        if event.name == "member.alive" and self._protocol.removal is Removal.RETURNS:
            self._by[host.name].discard(member)
        elif event.name in self._verdicts and member not in self._by[host.name]:
            self._by[host.name].add(member)
            if self._protocol.multicast and event.fields["cause"] == "missed ping":
                self._multicast(host, MemberState(member, MemberStatus.DEAD, 0, ""))

    def together(self, one: Host, other: Host) -> bool:
        """Whether neither of two members has removed the other."""
        return other.name not in self._by[one.name] and one.name not in self._by[other.name]

    def group_size(self) -> int:
        """The size of the largest set of members that have not removed each other."""
        hosts = list(self._group.hosts.values())
        return _largest_clique(
            [
                [at for at, b in enumerate(hosts) if b is not a and self.together(a, b)]
                for a in hosts
            ]
        )

    def _multicast(self, host: Host, state: MemberState) -> None:
        for other in self._group.hosts:
            if other not in (host.name, state.name):
                self._group.send(host, other, [Gossip((state,))])


def _sizes(protocol: Protocol, seconds: int, seed: int) -> list[int]:
    """The size of the group at each full second."""
    group = Group(Plan(MEMBERS, seconds, seed, protocol.settings, loss=LOSS))
    removed = _Removed(group, protocol)
    group.watch(removed)
    if protocol.removal is not Removal.RETURNS:
        group.passes = removed.together
    sizes = []
    for _ in range(seconds):
        group.run(1.0)
        sizes.append(removed.group_size())
    return sizes


def _largest_clique(neighbours: Sequence[Iterable[int]]) -> int:
    """The size of the largest set of vertices that are all neighbours of each other."""
    masks = [sum(1 << other for other in others) for others in neighbours]

    def grow(size: int, candidates: int, best: int) -> int:
        while candidates and size + candidates.bit_count() > best:
            vertex = candidates.bit_length() - 1
            candidates ^= 1 << vertex
            best = grow(size + 1, candidates & masks[vertex], best)
        return max(best, size)

    return grow(0, (1 << len(masks)) - 1, 0)
