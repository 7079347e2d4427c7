"""Line charts as SVG, which look right on light and on dark pages.

A plotting library would be a hundred times the size of this file, and would write different
bytes in each of its versions.  These charts are made of rounded numbers alone, so the same
data give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 720
HEIGHT = 300
"""Of one chart, in pixels; charts of one picture are below each other."""
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 44, 48
"""The margins; the legend is in the right one."""
COLOURS = 6

_STYLE = """
svg { font: 12px system-ui, sans-serif }
.paper { fill: #ffffff } text { fill: #24292f } .title { font-weight: 600; font-size: 14px }
.grid { stroke: #d8dee4 } .axis { stroke: #57606a } .line { fill: none; stroke-width: 2 }
.dashed { stroke-dasharray: 6 4 }
.c0 { stroke: #0969da } .c1 { stroke: #cf222e } .c2 { stroke: #1a7f37 }
.c3 { stroke: #9a6700 } .c4 { stroke: #8250df } .c5 { stroke: #57606a }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 }
.grid { stroke: #30363d } .axis { stroke: #8b949e }
.c0 { stroke: #58a6ff } .c1 { stroke: #ff7b72 } .c2 { stroke: #56d364 }
.c3 { stroke: #e3b341 } .c4 { stroke: #d2a8ff } .c5 { stroke: #8b949e }
}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart; a model or a paper's figure is dashed."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart; its y axis begins at 0, its x axis at the first point."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log_x: bool = False


def picture(charts: Sequence[Chart]) -> str:
    """The charts as one SVG file."""
    height = HEIGHT * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
    ]
    for at, chart in enumerate(charts):
        parts += [f'<g transform="translate(0 {at * HEIGHT})">', *_chart(chart), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _chart(chart: Chart) -> Iterable[str]:
    xs = [x for line in chart.lines for x, _ in line.points] or [0.0, 1.0]
    ys = [y for line in chart.lines for _, y in line.points] or [1.0]
    x_ticks = _powers(min(xs), max(xs)) if chart.log_x else _ticks(min(xs), max(xs))
    y_ticks = _ticks(0.0, max(ys))
    x_low, x_high = min(*xs, x_ticks[0]), max(*xs, x_ticks[-1])
    y_high = max(*ys, y_ticks[-1])

    def across(x: float) -> float:
        scale = math.log if chart.log_x else float
        part = (scale(x) - scale(x_low)) / ((scale(x_high) - scale(x_low)) or 1)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - y / y_high * (HEIGHT - TOP - BOTTOM)

    floor = HEIGHT - BOTTOM
    yield _text(LEFT, 24, chart.title, "start", "title")
    for y in y_ticks:
        yield _segment("grid", LEFT, down(y), WIDTH - RIGHT, down(y))
        yield _text(LEFT - 8, down(y) + 4, _number(y), "end")
    for x in x_ticks:
        yield _segment("axis", across(x), floor, across(x), floor + 5)
        yield _text(across(x), floor + 19, _number(x), "middle")
    yield _segment("axis", LEFT, floor, WIDTH - RIGHT, floor)
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, chart.x_label, "middle")
    yield _text(LEFT, TOP - 6, chart.y_label, "start")
    for at, line in enumerate(chart.lines):
        look = f"line c{at % COLOURS}{' dashed' if line.dashed else ''}"
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line.points)
        yield f'<polyline class="{look}" points="{points}"/>'
        level = TOP + 8 + 20 * at
        yield _segment(look, WIDTH - RIGHT + 16, level, WIDTH - RIGHT + 40, level)
        yield _text(WIDTH - RIGHT + 46, level + 4, line.name, "start")


def _text(x: float, y: float, text: str, anchor: str, look: str = "") -> str:
    kind = f' class="{look}"' if look else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _segment(look: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{look}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers from ``low`` to ``high``, or just beyond it."""
    spread = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(spread / 4))
    step = next(unit * by for by in (1, 2, 5, 10) if spread / (unit * by) <= 7)
    first = math.floor(low / step)
    return [at * step for at in range(first, math.ceil(low / step + spread / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """The powers of ten between two numbers, or the numbers themselves."""
    exponents = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [10.0**exponent for exponent in exponents] or [low, high]


def _number(value: float) -> str:
    return f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"
