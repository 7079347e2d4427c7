"""How far a node is that fetches its ranges again: `toystore status`, and `status --watch`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from toystore import AsyncClient, Timeout
from toystore.cli.follow import Nothing, Step, Told, follow, make_view
from toystore.cli.output import duration, print_json, size
from toystore.cli.pace import Pace


class Extent(NamedTuple):
    """How much of its ranges a node has."""

    ranges: int
    behind: int
    bytes_in: int
    waits_for: tuple[str, ...]
    votes: bool

    @property
    def done(self) -> int:
        """How many ranges it has whole."""
        return self.ranges - self.behind

    @property
    def whole(self) -> bool:
        """Whether the node has all that it should have, and votes."""
        return not self.behind and self.votes

    @property
    def percent(self) -> int:
        """The share of its whole ranges, rounded down."""
        return 100 * self.done // self.ranges if self.ranges else 100


def extent_of(status: Mapping[str, Any]) -> Extent | None:
    """What a status says of it; None if storage was too busy to answer, or the node is older."""
    storage, antientropy = status.get("storage") or {}, status.get("antientropy") or {}
    if "ranges_behind" not in storage:
        return None
    return Extent(
        storage["ranges"],
        storage["ranges_behind"],
        antientropy.get("bytes_in", 0),
        tuple(antientropy.get("waits_for", ())),
        storage["votes"] and status["joined"],
    )


class Progress:
    """How fast a node is, from what it has reported."""

    def __init__(self) -> None:
        self._received, self._whole = Pace(), Pace()

    def note(self, extent: Extent, now_s: float) -> None:
        """It has reported this."""
        self._last = extent
        self._received.note(extent.bytes_in, now_s)
        self._whole.note(extent.done, now_s)

    @property
    def bytes_per_s(self) -> float:
        """How much it receives; 0 if that is not known."""
        return self._received.per_s

    @property
    def left_s(self) -> float | None:
        """How long it will take, if it goes on like this; None if that is not known."""
        per_s = self._whole.per_s
        return self._last.behind / per_s if per_s else None

    def text(self) -> str:
        """Both for people, and what the node waits for."""
        last = self._last
        return ", ".join(
            part
            for part, known in (
                (f"{size(self.bytes_per_s)}/s", self.bytes_per_s),
                (f"about {duration(self.left_s or 0.0)} left", self.left_s),
                (f"waits for {', '.join(last.waits_for)}", last.waits_for),
                ("does not vote yet", not last.behind and not last.votes),
            )
            if known
        )


class Watch:
    """Follows nodes until each of them is whole."""

    def __init__(
        self, endpoints: Iterable[str], wait_s: float | None, view: Nothing, *, as_json: bool
    ) -> None:
        """``wait_s``: how long at most; None: without a limit."""
        self._view = view
        self._as_json = as_json
        self._give_up = None if wait_s is None else time.monotonic() + wait_s
        self._steps = {at: Step(at, 0, 0, "does not answer", False) for at in endpoints}
        self._progress = {at: Progress() for at in self._steps}
        self._noted: dict[str, Told] = {}

    def look(self, answers: Mapping[str, Told]) -> bool:
        """Take in the last answer at each endpoint; whether every node is whole.

        Raises:
            Timeout: they are not, and the time is over.
        """
        for at, told in answers.items():
            if told is not self._noted.get(at):
                self._noted[at] = told
                self._note(at, told)
        self._view.show(self._steps)
        missing = [step for step in self._steps.values() if not step.ended]
        if missing and self._give_up is not None and time.monotonic() >= self._give_up:
            raise Timeout(f"not every node has all its ranges: {'; '.join(map(str, missing))}")
        return not missing

    def _note(self, at: str, told: Told) -> None:
        """A node has answered, or has not."""
        extent = extent_of(told) if isinstance(told, dict) else None
        if extent is None:
            why = "too busy to say" if isinstance(told, dict) else f"does not answer: {told}"
            self._steps[at] = self._steps[at]._replace(text=why, ended=False)
            return
        assert isinstance(told, dict)
        progress = self._progress[at]
        progress.note(extent, time.monotonic())
        text = "whole" if extent.whole else progress.text()
        step = Step(told["node"], extent.done, extent.ranges, text, extent.whole)
        if self._as_json and step != self._steps[at]:
            _print_step(step, extent, progress)
        self._steps[at] = step


def _print_step(step: Step, extent: Extent, progress: Progress) -> None:
    """How far a node is, for programs."""
    print_json(
        {
            "node": step.name,
            "whole": extent.whole,
            "ranges": extent.ranges,
            "ranges_behind": extent.behind,
            "bytes_per_s": round(progress.bytes_per_s),
            "left_s": None if progress.left_s is None else round(progress.left_s, 1),
            "waits_for": extent.waits_for,
        }
    )


def watch(
    endpoints: Iterable[str], timeout_s: float, wait_s: float | None, *, as_json: bool
) -> None:
    """Show how far the nodes at ``endpoints`` are until all have all their ranges.

    Raises:
        Timeout: they have not within ``wait_s``.
    """

    async def ask(store: AsyncClient, endpoint: str) -> dict[str, Any]:
        return await store.status(endpoint)

    with Nothing() if as_json else make_view() as view:
        watch = Watch(endpoints, wait_s, view, as_json=as_json)
        follow({at: at for at in endpoints}, timeout_s, ask, watch.look)
