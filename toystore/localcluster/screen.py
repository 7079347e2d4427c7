"""What is seen of a cluster: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from toystore.localcluster.cluster import LocalCluster, Node, State

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

REFRESH_PER_S = 2
_COLOURS = {
    State.RUNNING: "green",
    State.STARTING: "cyan",
    State.PAUSED: "yellow",
    State.STOPPING: "yellow",
    State.STOPPED: "dim",
    State.KILLED: "red",
    State.DIED: "bold red",
}


class PlainScreen:
    """Lines, each as it happens."""

    def tell(self, line: str) -> None:
        """Show a line at once."""
        print(line, flush=True)

    @contextlib.contextmanager
    def showing(self, _: LocalCluster) -> Iterator[None]:
        """Nothing but lines: a table is for terminals."""
        yield


class LiveScreen:
    """Lines that scroll by above a table that stays."""

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
            get_renderable=lambda: table(cluster),
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


def table(cluster: LocalCluster) -> Table:
    """The nodes, a row to each."""
    from rich.table import Table  # noqa: PLC0415 - only a terminal pays for it

    grid = Table(title=cluster.config.cluster, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("node", "client port", "pid", "state"):
        grid.add_column(heading)
    for heading in ("sees alive", "hints", "requests"):
        grid.add_column(heading, justify="right")
    for node in cluster.nodes.values():
        grid.add_row(*_row(node, len(cluster.nodes)))
    return grid


def _row(node: Node, members: int) -> tuple[str, ...]:
    colour = _COLOURS[node.state]
    counted = node.status.get("requests", {})
    requests = sum(counted.get(kind, 0) for kind in ("gets", "puts", "deletes"))
    known = (f"{len(node.sees_alive)}/{members}", f"{node.hints:,}", f"{requests:,}")
    return (
        node.name,
        str(node.member.client_port),
        str(node.process.pid) if node.process else "",
        f"[{colour}]{node.state.value}[/]",
        *(known if node.status else ("", "", "")),
    )
