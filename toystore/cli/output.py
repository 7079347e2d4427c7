"""Output: one line of JSON for programs, tables for people."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import click

from toystore.logs.names import in_order_of

Row = TypeVar("Row", bound=Mapping[str, Any])

WIDTH_PIPED = 1000
COLOURS = {"dead": "red", "no answer": "red", "suspect": "yellow", "left": "dim", "alive": "green"}


def print_json(value: Any) -> None:
    """Print one line of JSON; bytes in it are shown as hexadecimal digits."""
    click.echo(json.dumps(value, default=lambda odd: odd.hex()))


def base64_of(data: bytes) -> str:
    """Bytes as text that JSON can carry."""
    return base64.b64encode(data).decode()


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table for people, at its full width if there is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - only a printed table waits for it
    from rich.table import Table  # noqa: PLC0415

    table = Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        cells = [str(cell) for cell in row]
        table.add_row(*cells, style=_style(cells))
    width = None if sys.stdout.isatty() else WIDTH_PIPED
    console = Console(markup=False, highlight=False, width=width)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        click.echo(line.rstrip())


def by_name(rows: Iterable[Row], *keys: str) -> list[Row]:
    """Rows in the order of the names under these keys, n2 before n10; an empty name is first."""
    return sorted(rows, key=lambda row: [in_order_of(row[key] or "") for key in keys or ("name",)])


def _style(cells: list[str]) -> str | None:
    """The colour of a row: that of the worst status in it."""
    said = [cell.rstrip("*") for cell in cells]
    return next((colour for word, colour in COLOURS.items() if word in said), None)


def duration(seconds: float) -> str:
    """Seconds, for people."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
