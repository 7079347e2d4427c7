"""Shows a cluster: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.node import Node, State

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

REFRESH_PER_S = 2
_GAP = 2
_SILENT = "no answer"
_COLOURS = {
    State.RUNNING.value: "green",
    State.STARTING.value: "cyan",
    State.PAUSED.value: "yellow",
    State.STOPPING.value: "yellow",
    State.STOPPED.value: "dim",
    State.KILLED.value: "red",
    State.DIED.value: "bold red",
    _SILENT: "yellow",
}


class PlainScreen:
    """Shows each line at once."""

    def tell(self, line: str) -> None:
        """Show a line at once."""
        print(line, flush=True)

    @contextlib.contextmanager
    def showing(self, _: LocalCluster) -> Iterator[None]:
        """Shows no table."""
        yield


class LiveScreen:
    """Shows lines that scroll above a table."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def tell(self, line: str) -> None:
        """Show a line at once, above the table if there is one."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def showing(self, cluster: LocalCluster) -> Iterator[None]:
        """Keep the table up to date while the block runs."""
        from rich.live import Live  # noqa: PLC0415 - only a terminal pays for it

        with Live(
            get_renderable=lambda: table(cluster, self._console.width),
            console=self._console,
            refresh_per_second=REFRESH_PER_S,
        ):
            yield


Screen = PlainScreen | LiveScreen


def make_screen() -> Screen:
    """A screen for wherever standard output goes."""
    if not sys.stdout.isatty():
        return PlainScreen()
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it

    return LiveScreen(Console())


def table(cluster: LocalCluster, width: int) -> Table:
    """The nodes, a row to each, with as many columns as a terminal of this width has room for."""
    from rich.table import Table  # noqa: PLC0415 - only a terminal pays for it
    from rich.text import Text  # noqa: PLC0415

    members = len(cluster.nodes)
    columns = {
        heading: [cell(node, members) for node in cluster.nodes.values()]
        for heading, cell in _CELLS.items()
    }
    if not any(columns["whole"]):
        del columns["whole"]
    for heading in _LEAST_WANTED_FIRST:
        if sum(max(map(len, (name, *cells))) + _GAP for name, cells in columns.items()) > width:
            columns.pop(heading, None)
    padding = (0, _GAP, 0, 0)
    grid = Table(title=cluster.config.cluster, title_justify="left", box=None, padding=padding)
    for heading in columns:
        justify: JustifyMethod = "right" if heading in _NUMBERS else "left"
        grid.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis")
    for row in zip(*columns.values(), strict=True):
        # A styled text, no markup: it is drawn with the table even without a new line.
        grid.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return grid


def _state(node: Node, _: int) -> str:
    """The state of a process: whether it runs or is paused, and whether it answers."""
    state: str = node.state.value
    if node.state not in (State.STARTING, State.RUNNING):
        return state
    if node.is_stopped:
        return str(State.PAUSED.value)
    return _SILENT if node.state is State.RUNNING and not node.status else state


def _sees_alive(node: Node, members: int) -> str:
    return f"{len(node.sees_alive)}/{members}" if node.status else ""


def _hints(node: Node, _: int) -> str:
    return f"{node.hints:,}" if node.status else ""


def _whole(node: Node, _: int) -> str:
    """How much of its ranges a node has that fetches them again; empty if it has all."""
    storage = node.status.get("storage") or {}
    ranges, behind = storage.get("ranges", 0), storage.get("ranges_behind", 0)
    return f"{100 * (ranges - behind) // ranges}%" if behind else ""


def _requests(node: Node, _: int) -> str:
    counted = node.status.get("requests", {})
    total: int = sum(counted.get(kind, 0) for kind in ("gets", "puts", "deletes"))
    return f"{total:,}" if node.status else ""


_CELLS: dict[str, Callable[[Node, int], str]] = {
    "node": lambda node, _: node.name,
    "client port": lambda node, _: str(node.member.client_port),
    "pid": lambda node, _: str(node.process.pid) if node.process else "",
    "state": _state,
    "sees alive": _sees_alive,
    "whole": _whole,
    "hints": _hints,
    "requests": _requests,
}
_NUMBERS = ("sees alive", "whole", "hints", "requests")
_LEAST_WANTED_FIRST = ("pid", "client port", "requests", "hints", "whole", "sees alive")
