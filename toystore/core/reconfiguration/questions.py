"""The questions that the `ring` actor has asked storages, each with who waits for the answer.

A question ends with its reply, or there will be none: it could not be sent, it was not answered in
time, or the storage failed over it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import QuestionFailedReply
from toystore.core.protocol.messages.local import SendFailed

NEVER = float("inf")
_NUMBER_BITS = 48

Then = Callable[[Any, Now], None]
"""Called once with the reply, or with None if there will be none."""


class _Open(NamedTuple):
    """A question without an answer."""

    then: Then
    deadline: float


class Questions:
    """All open questions of one machine."""

    def __init__(self, node: str, timeout_s: float, outbox: Outbox, chance: random.Random) -> None:
        self.node = node
        self.run = chance.getrandbits(_NUMBER_BITS)
        """A number that no other machine has.  Questions are numbered from here on: a late reply
        to the machine before this one matches none of them."""
        self._number = self.run
        self._timeout_s = timeout_s
        self._out = outbox
        self._open: dict[int, _Open] = {}

    def ask(
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
        self._number += 1
        deadline = NEVER if for_ever else now.monotonic + self._timeout_s
        self._open[self._number] = _Open(then, deadline)
        self._out.send(Peer(node, STORAGE), question(self._number))

    def answered(self, reply: Any, now: Now) -> None:
        """A reply has come; one to a question that has ended is ignored."""
        question = self._open.pop(reply.request, None)
        if question is not None:
            question.then(None if isinstance(reply, QuestionFailedReply) else reply, now)

    def send_failed(self, failed: SendFailed, now: Now) -> None:
        """A question did not leave."""
        self._fail(getattr(failed.message, "request", 0), now)

    def expire(self, now: Now) -> None:
        """End the questions whose time is over."""
        for number in [n for n, one in self._open.items() if one.deadline <= now.monotonic]:
            self._fail(number, now)

    def next_deadline(self) -> float:
        """When the first question ends without an answer."""
        return min((one.deadline for one in self._open.values()), default=NEVER)

    def _fail(self, number: int, now: Now) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.then(None, now)
