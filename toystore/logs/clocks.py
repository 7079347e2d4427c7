"""Estimates how far each node's clock is ahead of the others, from the bounds of hearsay.py.

A bound says that x is ahead of y by at most some seconds.  Bounds add up along a path.  So the
shortest paths from and to one clock, the *reference*, give an interval for each other clock (a
system of difference constraints, solved with the algorithm of Bellman and Ford).  A clock whose
interval contains zero is taken to agree with the reference.  For the others the middle of the
interval is used, after the agreeing clocks are fixed.  The result keeps all bounds: in corrected
times no message arrives before it was sent.  Half of the interval is the error.

Bounds contradict each other if a clock was set while the logs were written, or if lines are
missing and two different events were taken for one.  The smallest bound is then relaxed, and the
contradiction is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, isfinite
from operator import attrgetter
from typing import NamedTuple

from toystore.logs.entry import RUNNER

Bounds = Mapping[tuple[str, str], float]
"""``bounds[x, y]``: x is ahead of y by at most this, in seconds."""
CANDIDATES_MAX = 50
"""The number of clocks that are tried as the middle one."""
_AHEAD = attrgetter("ahead_s")
_EPSILON_S = 1e-6
"""The resolution of times in logs."""


class Offset(NamedTuple):
    """The clock of one node."""

    node: str
    ahead_s: float
    """How far it is ahead of the reference; negative: behind."""
    error_s: float
    """The error, relative to the middle clock; infinite if nothing is known."""


class Clocks:
    """The offsets of all clocks."""

    def __init__(self, offsets: Iterable[Offset], reference: str, contradiction_s: float) -> None:
        self.offsets = list(offsets)
        self.reference = reference
        """The clock that all times are converted to: the runner's, or the middle one."""
        self.contradiction_s = contradiction_s
        """A clock was set by at least this while the logs were written; 0: none was."""
        self._ahead_s = {each.node: each.ahead_s for each in self.offsets if each.ahead_s}
        self._error_s = {each.node: each.error_s for each in self.offsets}

    def ahead_s(self, node: str, _at: float = 0.0) -> float:
        """How far the times in a node's log are ahead."""
        return self._ahead_s.get(node, 0.0)

    def error_s(self, node: str) -> float:
        """The error of a node's corrected times."""
        return self._error_s.get(node, inf)


def estimate(bounds: Bounds, nodes: Iterable[str]) -> Clocks:
    """Estimate the clocks of ``nodes``."""
    nodes = sorted(nodes)
    edges, contradiction_s = _consistent(bounds, nodes)
    middle = _middle(edges, nodes)
    offsets = _offsets(edges, nodes, middle)
    reference = RUNNER if RUNNER in nodes else middle
    shown_s = sum(each.ahead_s for each in offsets if each.node == reference)
    offsets = [each._replace(ahead_s=each.ahead_s - shown_s) for each in offsets]
    return Clocks(offsets, reference, contradiction_s)


def _middle(edges: Bounds, nodes: list[str]) -> str:
    """The member with which most clocks may agree; of several such members the middle one.

    So a single wrong clock does not become the reference.
    """
    members = [name for name in nodes if name != RUNNER]
    if not members:
        return ""
    offsets = {name: _offsets(edges, nodes, name) for name in members[:CANDIDATES_MAX]}
    agree = {name: sum(not each.ahead_s for each in found) for name, found in offsets.items()}
    most = [name for name in offsets if agree[name] == max(agree.values())]
    ranked = [each.node for each in sorted(offsets[most[0]], key=_AHEAD) if each.node in most]
    return ranked[len(ranked) // 2]


def _offsets(edges: Bounds, nodes: list[str], reference: str) -> list[Offset]:
    """Each node's clock relative to ``reference``."""
    most, least = _interval(edges, nodes, {reference})
    agreeing = {name for name in nodes if least[name] <= 0 <= most[name]}
    up, down = _interval(edges, nodes, agreeing)
    if any(up[name] < 0 for name in agreeing):  # they cannot all agree
        up, down = most, least
    offsets = []
    for name in nodes:
        ahead_s = _choice(down[name], up[name])
        offsets.append(Offset(name, ahead_s, max(most[name] - ahead_s, ahead_s - least[name])))
    return offsets


def _choice(least: float, most: float) -> float:
    """The middle of an interval; of an open one the value next to 0."""
    if isfinite(least) and isfinite(most):
        return (least + most) / 2
    return max(least, min(most, 0.0))


def _interval(
    edges: Bounds, nodes: Iterable[str], fixed: Iterable[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """How far each clock is ahead of the ``fixed`` ones, at most and at least."""
    most = _shortest(edges, nodes, fixed)
    back = _shortest({(y, x): seconds for (x, y), seconds in edges.items()}, nodes, fixed)
    return most, {name: 0.0 - seconds for name, seconds in back.items()}


def _shortest(edges: Bounds, nodes: Iterable[str], fixed: Iterable[str]) -> dict[str, float]:
    """The length of the shortest path to each node from a fixed one."""
    distance = dict.fromkeys(nodes, inf) | dict.fromkeys(fixed, 0.0)
    changed = True
    while changed:
        changed = False
        for (x, y), seconds in edges.items():
            if distance[y] + seconds < distance[x] - _EPSILON_S:
                distance[x] = distance[y] + seconds
                changed = True
    return distance


def _consistent(bounds: Bounds, nodes: list[str]) -> tuple[dict[tuple[str, str], float], float]:
    """The bounds, relaxed until they are consistent, and the largest contradiction in seconds."""
    edges = {pair: seconds for pair, seconds in bounds.items() if set(pair) <= set(nodes)}
    worst_s = 0.0
    while circle := _contradiction(edges, nodes):
        missing_s = -sum(edges[pair] for pair in circle)
        edges[min(circle, key=edges.__getitem__)] += missing_s
        worst_s = max(worst_s, missing_s)
    return edges, worst_s


def _contradiction(edges: Bounds, nodes: list[str]) -> list[tuple[str, str]]:
    """A circle of bounds with a negative sum; empty if there is none."""
    distance = dict.fromkeys(nodes, 0.0)
    last: dict[str, tuple[str, str]] = {}
    changed = ""
    for _ in nodes:
        changed = ""
        for (x, y), seconds in edges.items():
            if distance[y] + seconds < distance[x] - _EPSILON_S:
                distance[x], last[x], changed = distance[y] + seconds, (x, y), x
        if not changed:
            return []
    if not changed:
        return []
    for _ in nodes:
        changed = last[changed][1]
    circle = [last[changed]]
    while circle[-1][1] != changed:
        circle.append(last[circle[-1][1]])
    return circle
