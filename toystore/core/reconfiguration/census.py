"""A census: every member is asked how far it is; what is answered in time is passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.ring import DescribeMoves, DescribeMovesReply
from toystore.core.reconfiguration.questions import Questions

Counted = Callable[[Mapping[str, DescribeMovesReply], Now], None]
"""Called once, with the answer of each member that has answered."""


def take_census(
    questions: Questions, names: Iterable[str], epoch: int, counted: Counted, now: Now
) -> None:
    """Ask the storages of these nodes; ``names`` is not empty."""
    reports: dict[str, DescribeMovesReply] = {}
    waiting = set(names)

    def on_described(name: str, reply: DescribeMovesReply | None, now: Now) -> None:
        waiting.discard(name)
        if reply is not None:
            reports[name] = reply
        if not waiting:
            counted(reports, now)

    for name in sorted(waiting):
        questions.ask_storage(
            name, lambda number: DescribeMoves(number, epoch), partial(on_described, name), now
        )
