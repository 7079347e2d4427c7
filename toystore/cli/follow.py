"""Asks several nodes the same question again and again, and shows how far each is.

A view is a context manager whose `show` is called after each answer: `Bars` on a terminal,
`Lines` elsewhere, `Nothing` if a program reads the outcome alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import click

import toystore
from toystore import AsyncClient, BadRequest, Internal, ToystoreError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

POLL_S = 0.25
"""How often each node is asked."""
LINE_EVERY_S = 5.0
"""How often a line is printed for a node, without a terminal."""

Told = dict[str, Any] | ToystoreError
Ask = Callable[[AsyncClient, str], Awaitable[dict[str, Any]]]
"""Asks the node at an endpoint."""
Look = Callable[[Mapping[str, Told]], bool]
"""Looks at the last answer of each node, by name; returns whether that is enough."""


def follow(nodes: Mapping[str, str], timeout_s: float, ask: Ask, look: Look) -> None:
    """Ask each node until `look` finds the answers enough.  ``nodes``: endpoints by name.

    Raises:
        BadRequest, Internal: a node has answered so.
    """
    asyncio.run(_follow(nodes, timeout_s, ask, look))


async def _follow(nodes: Mapping[str, str], timeout_s: float, ask: Ask, look: Look) -> None:
    answers: dict[str, Told] = {}
    news = asyncio.Event()

    async def keep_asking(node: str, endpoint: str) -> None:
        while True:
            try:
                answers[node] = await ask(store, endpoint)
            except (BadRequest, Internal):
                raise
            except ToystoreError as error:
                answers[node] = error
            finally:
                news.set()
            await asyncio.sleep(POLL_S)

    async with toystore.AsyncClient(
        list(nodes.values()), timeout=timeout_s, learn_members=False
    ) as store:
        asking = [asyncio.create_task(keep_asking(*each)) for each in nodes.items()]
        try:
            while not look(answers):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), POLL_S)
                news.clear()
                for task in asking:
                    if task.done():
                        task.result()  # only an error ends it
        finally:
            for task in asking:
                task.cancel()


class Step(NamedTuple):
    """How far a node is."""

    name: str
    done: int
    ranges: int
    text: str
    """What else there is to say."""
    ended: bool
    unit: str = "ranges"
    """What is counted."""

    def __str__(self) -> str:
        """A line for people."""
        counted = f"{self.done:,} of {self.ranges:,} {self.unit}" if self.ranges else ""
        return f"{self.name}: {', '.join(part for part in (counted, self.text) if part)}"


_NO_STEP = Step("", 0, 0, "", ended=False)


class Nothing:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Nothing is to be undone."""

    def show(self, steps: Mapping[str, Step]) -> None:
        """Show how far each node is."""

    def note(self, text: str) -> None:
        """Say something that is about no single node."""


class Lines(Nothing):
    """Prints a line for a node now and then, and when it has ended."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[Step, float]] = {}

    def show(self, steps: Mapping[str, Step]) -> None:
        """Print the lines that are due."""
        now_s = time.monotonic()
        for node, step in steps.items():
            before, at_s = self._shown.get(node, (_NO_STEP, -LINE_EVERY_S))
            due = step.ended or step.unit != before.unit or now_s >= at_s + LINE_EVERY_S
            if due and str(step) != str(before) and (step.ranges or step.text):
                self._shown[node] = step, now_s
                click.echo(str(step))

    def note(self, text: str) -> None:
        """Print a line."""
        click.echo(text)


class Bars(Nothing):
    """Draws a bar for each node."""

    _progress: Progress

    def __enter__(self) -> Self:
        from rich.progress import (  # noqa: PLC0415 - only a drawn bar waits for it
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
        )

        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}{task.fields[text]}", markup=False),
            auto_refresh=False,  # a lost output must be noticed here, not in another thread
        )
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Leave the bars as they are."""
        self._progress.stop()

    def show(self, steps: Mapping[str, Step]) -> None:
        """Draw the bars."""
        for node, step in steps.items():
            if node not in self._bars:
                self._bars[node] = self._progress.add_task(node, unit="", text="")
            self._progress.update(
                self._bars[node],
                description=step.name,
                completed=step.done,
                total=step.ranges or None,
                unit=step.unit,
                text=_after(step.text),
            )
        self._progress.refresh()

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)


def make_view() -> Nothing:
    """A view for wherever standard output goes."""
    return Bars() if sys.stdout.isatty() else Lines()


def _after(text: str) -> str:
    return f", {text}" if text else ""
