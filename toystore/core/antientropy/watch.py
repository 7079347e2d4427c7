"""The watch: this node's storage is asked to tell which ranges have changed.

Storage answers as soon as one has, so the question may stay open for hours, and an idle node sends
nothing.  After an answer there is a pause, in which changes gather.
"""

from __future__ import annotations

from collections.abc import Callable

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import WatchRanges, WatchRangesReply
from toystore.core.protocol.questions import Questions
from toystore.core.protocol.settings import AntientropySettings


class Watch:
    """Asks the own storage to be told of ranges that change; one question is always open."""

    def __init__(
        self,
        own: Peer,
        questions: Questions,
        settings: AntientropySettings,
        told: Callable[[WatchRangesReply, Now], None],
    ) -> None:
        """``told``: called with each answer."""
        self._own = own
        self._questions = questions
        self._settings = settings
        self._told = told
        self._every = True
        """Whether to ask for every range: storage or this machine is new."""
        self._asked_at: float | None = None
        self._ask_at = 0.0

    def go_on(self, now: Now, *, hurried: bool) -> None:
        """Ask, if that is due; ``hurried``: somebody waits for what has changed."""
        if hurried:
            self._ask_at = min(self._ask_at, now.monotonic + self._settings.visit_s)
        if self._asked_at is None and self._ask_at <= now.monotonic:
            self._asked_at = now.monotonic
            every = self._every
            self._questions.ask(
                self._own, lambda number: WatchRanges(number, every), self, now, for_ever=True
            )

    @property
    def is_open(self) -> bool:
        """Whether storage is asked, and will tell of the next change."""
        return self._asked_at is not None

    def next_deadline(self) -> float:
        """When storage is asked, in monotonic seconds; infinity while it is."""
        return float("inf") if self._asked_at is not None else self._ask_at

    def on_reply(self, reply: WatchRangesReply, now: Now) -> None:
        """Storage tells of ranges; it is asked again after a pause."""
        self._every = False
        began, self._asked_at = self._asked_at or now.monotonic, None
        took_s = min(now.monotonic - began, self._settings.rest_s)
        self._ask_at = now.monotonic + (took_s if reply.more else self._settings.rest_s)
        self._told(reply, now)

    def on_failed(self, _cause: str, now: Now) -> None:
        """Storage has failed over it, and has forgotten what it has told."""
        self._every, self._asked_at = True, None
        self._ask_at = now.monotonic + self._settings.visit_s
