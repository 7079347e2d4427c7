"""Tables of text: a heading, then rows; numbers are aligned on the right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

Cell = str | int | float | None


def table(heading: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The lines of a table; the first column is aligned on the left, the others on the right.

    A column's heading may have several lines; the last lines are level.
    """
    stacks = [reversed(cell.split("\n")) for cell in heading]
    above = [list(line) for line in zip_longest(*stacks, fillvalue="")]
    lines = above[::-1] + [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heading))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def shown(cell: Cell) -> str:
    """A value as a table shows it: None is a dash; numbers have separators for thousands."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.2f}" if abs(cell) < 1000 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
