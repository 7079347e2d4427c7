"""Figure 8 of the Dynamo paper, and toystore's own placement, as tables, JSON and a picture."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.tables import table
from toystore.sim.placement.changes import Placed, place, ring_efficiency
from toystore.sim.placement.strategies import STRATEGIES, efficiency

NODES, N = 30, 3
"""As of the paper's figure 8."""
ENTRIES = tuple(270 * 2**step for step in range(8))
"""The sizes of the metadata: for the smallest, strategy 2 has one token per node."""
PARTITIONS_MAX = 8192
"""toystore's ring is measured with as many partitions as there are entries, up to this."""
PLACEMENTS = ((10, 1024), (30, 4096))
"""Nodes and partitions for which toystore's placement is measured."""
RUNS = 5
"""Each figure is of so many runs, with other random numbers."""
NAMES = ("strategy 1", "strategy 2", "strategy 3", "toystore")
MEANINGS = (
    "T random tokens per node",
    "T random tokens, equal partitions",
    "Q/S tokens, equal partitions",
    "Q partitions, bounded loads",
)


class Point(NamedTuple):
    """The efficiencies at one size of metadata."""

    entries: int
    efficiencies: tuple[float | None, ...]
    """The mean of the runs, in the order of `NAMES`; None if it was not measured."""


class Placement(NamedTuple):
    """toystore's figures for one cluster."""

    nodes: int
    partitions: int
    runs: tuple[Placed, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured."""

    seed: int
    points: tuple[Point, ...]
    placements: tuple[Placement, ...]


def compare(seed: int, sizes: Sequence[int] = ENTRIES, runs: int = RUNS) -> Comparison:
    """Measure everything; the same seed gives the same figures."""
    placements = tuple(
        Placement(*cluster, tuple(place(*cluster, N, chance) for chance in _chances(seed, runs)))
        for cluster in PLACEMENTS
    )
    return Comparison(seed, tuple(_point(size, seed, runs) for size in sizes), placements)


def _point(entries: int, seed: int, runs: int) -> Point:
    means: list[float | None] = [
        _mean(efficiency(place_on(NODES, N, entries, chance)) for chance in _chances(seed, runs))
        for place_on in STRATEGIES
    ]
    partitions = 1 << (entries.bit_length() - 1)
    own = partitions <= PARTITIONS_MAX
    means.append(
        _mean(ring_efficiency(NODES, partitions, N, chance) for chance in _chances(seed, runs))
        if own
        else None
    )
    return Point(entries, tuple(means))


def _chances(seed: int, runs: int) -> list[random.Random]:
    return [random.Random(f"{seed}:{run}") for run in range(runs)]


def _mean(figures: Iterable[float]) -> float:
    each = list(figures)
    return sum(each) / len(each)


# --- showing ----------------------------------------------------------------------------


def text(found: Comparison) -> str:
    """For people."""
    heading = [f"load-balancing efficiency, S={NODES}, N={N}, mean of runs; seed {found.seed}", ""]
    names = [f"{name}: {meaning}" for name, meaning in zip(NAMES, MEANINGS, strict=True)]
    points = table(
        ("entries per node", *NAMES),
        [(point.entries, *point.efficiencies) for point in found.points],
    )
    placements = table(
        (
            "toystore",
            "mean share\nover largest",
            "join moves,\nover least",
            "leave moves,\nover least",
        ),
        [_placement_row(placement) for placement in found.placements],
    )
    worst = "the worst run is in brackets"
    return "\n".join([*heading, *names, "", points, "", placements, worst])


def _placement_row(placement: Placement) -> tuple[str, str, str, str]:
    shares, joins, leaves = zip(*placement.runs, strict=True)
    return (
        f"{placement.nodes} nodes, Q={placement.partitions:,}",
        f"{_mean(shares):.3f} ({min(shares):.3f})",
        f"{_mean(joins):.3f} ({max(joins):.3f})",
        f"{_mean(leaves):.3f} ({max(leaves):.3f})",
    )


def summary(found: Comparison) -> dict[str, Any]:
    """For programs."""
    return {
        "seed": found.seed,
        "nodes": NODES,
        "n": N,
        "points": [
            {"entries": point.entries, **dict(zip(NAMES, point.efficiencies, strict=True))}
            for point in found.points
        ],
        "placements": [
            {
                "nodes": placement.nodes,
                "partitions": placement.partitions,
                "runs": [run._asdict() for run in placement.runs],
            }
            for placement in found.placements
        ],
    }


def charts(found: Comparison) -> list[Chart]:
    """The figure."""
    lines = [
        Line(
            name,
            [
                (float(point.entries), value)
                for point in found.points
                if (value := point.efficiencies[at]) is not None
            ],
            dashed=name == "toystore",
        )
        for at, name in enumerate(NAMES)
    ]
    return [
        Chart(
            f"Partitioning strategies, S={NODES}, N={N}",
            "entries of metadata per node",
            "load-balancing efficiency: mean load / largest load",
            lines,
            log_x=True,
        )
    ]
