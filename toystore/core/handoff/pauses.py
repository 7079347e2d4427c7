"""When an owner is tried again after a delivery to it has failed.

While an owner takes nothing at all, each pause is twice as long as the one before, up to
`PAUSES_MAX` times ``retry_s``, and the same cause is logged once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

PAUSES_MAX = 16
"""The longest pause, in ``retry_s``, before it is jittered."""
UNREACHED = "unreached"
"""The kind of the cause that may end when any node can be reached again."""
LINK_LOST = "link lost"
"""The kind of the cause that ends when the link is up again."""


@dataclass(slots=True)
class _Pause:
    """What is known of an owner's last deliveries."""

    failures: int
    """How many in a row have failed; one that delivered some hints begins a new row."""
    until: float
    """When it can be tried again, in monotonic seconds."""
    kind: str
    """What the last one failed for; "" once the owner has taken hints again."""


class Pauses:
    """The owners to which the last delivery has failed."""

    __slots__ = ("_chance", "_pauses", "_retry_s")

    def __init__(self, retry_s: float, chance: random.Random) -> None:
        self._retry_s = retry_s
        self._chance = chance
        self._pauses: dict[str, _Pause] = {}

    def is_over(self, owner: str, now: float) -> bool:
        """Whether an owner can be tried at ``now``."""
        pause = self._pauses.get(owner)
        return pause is None or pause.until <= now

    def fails(self, owner: str) -> bool:
        """Whether the last delivery has failed, and the owner has taken no hint since."""
        pause = self._pauses.get(owner)
        return pause is not None and bool(pause.kind)

    def begin(self, owner: str, kind: str, now: float, *, delivered: bool) -> bool:
        """A delivery has failed; returns whether that is to be logged.

        ``kind``: what the causes have in common that are logged once.  ``delivered``:
        whether the owner has taken any hint of this delivery.
        """
        before = self._pauses.get(owner)
        failures = 0 if delivered or before is None else before.failures
        self._pauses[owner] = _Pause(failures + 1, now + self._length_s(failures), kind)
        return before is None or before.kind != kind

    def on_taken(self, owner: str) -> None:
        """An owner has taken hints: the next failure is logged, even if it is the same."""
        pause = self._pauses.get(owner)
        if pause is not None:
            pause.kind = ""

    def on_link_up(self, owner: str) -> bool:
        """The link to an owner is up: end its pause, and return whether it has ended.

        A link that is lost over each batch comes up each time: its pause is waited for.
        """
        pause = self._pauses.get(owner)
        if pause is None or pause.kind != LINK_LOST:
            self.end(owner)
        elif pause.failures == 1:
            pause.until = 0.0
        else:
            return False
        return True

    def end_unreached(self) -> None:
        """A node can be reached again, for which deliveries to other owners may have waited."""
        self._pauses = {
            owner: pause for owner, pause in self._pauses.items() if pause.kind != UNREACHED
        }

    def end_all(self) -> None:
        """The ring has changed: whatever has failed may succeed now."""
        self._pauses.clear()

    def end(self, owner: str) -> None:
        """What has failed before does not matter any more."""
        self._pauses.pop(owner, None)

    def _length_s(self, failures: int) -> float:
        """How long a pause is after ``failures`` others, in seconds.

        Each node that keeps hints for an owner sends it a batch: they must not fall into step.
        """
        times = float(min(2**failures, PAUSES_MAX))
        return self._retry_s * (times * self._chance.uniform(0.8, 1.2) if failures else 1)
