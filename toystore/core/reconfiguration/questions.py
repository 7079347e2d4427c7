"""The questions that the `ring` actor has asked storages, each with who waits for the answer.

It makes no difference to who asks why there is no reply (`toystore.core.protocol.questions`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from toystore.core.protocol import questions
from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message

NEVER = float("inf")
OWN_TIMES = 3
"""How many times as long as another storage the own one may take: it may wait for its disk."""

Then = Callable[[Any, Now], None]
"""Called once with the reply, or with None if there will be none."""


class _Waiting(NamedTuple):
    """Who waits for one answer."""

    then: Then

    def on_reply(self, reply: Any, now: Now) -> None:
        """The answer."""
        self.then(reply, now)

    def on_failed(self, _cause: str, now: Now) -> None:
        """There will be none."""
        self.then(None, now)


class Questions(questions.Questions):
    """All open questions of one machine."""

    __slots__ = ("node",)

    def __init__(self, node: str, timeout_s: float, outbox: Outbox, chance: random.Random) -> None:
        super().__init__(timeout_s, outbox, chance)
        self.node = node

    def patience_s(self, to: Peer) -> float:
        """The own storage may take longer: it cannot be cut off, and commands fail without it."""
        return super().patience_s(to) * (OWN_TIMES if to.node == self.node else 1)

    def ask_storage(
        self,
        node: str,
        question: Callable[[int], Message],
        then: Then,
        now: Now,
        *,
        for_ever: bool = False,
    ) -> None:
        """Ask the storage of ``node``: ``question`` makes the message with its number.

        ``for_ever``: the answer may take any time.
        """
        self.ask(Peer(node, STORAGE), question, _Waiting(then), now, for_ever=for_ever)


def ignore(_reply: Any, _now: Now) -> None:
    """Make no use of an answer: a node that does not receive an offer finds out what it lacks."""
