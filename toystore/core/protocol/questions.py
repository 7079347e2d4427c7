"""The questions that a machine has asked storages, each with who asked and until when.

A question ends with its reply, or it fails: the reply does not come in time, the message cannot be
sent, the link is lost, the storage fails over it, or it answers with a reply of another type.  The
asker is called once in any case.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import QuestionFailedReply
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.routes import REPLY_TO


class Asker(Protocol):
    """Asks one question at a time."""

    def on_reply(self, reply: Any, now: Now) -> None:
        """The answer to its question: of the type in `REPLY_TO`."""

    def on_failed(self, cause: str, now: Now) -> None:
        """There will be no answer."""


class _Open(NamedTuple):
    """A question without an answer."""

    to: Peer
    asker: Asker
    reply: type[Any]
    """The type of its answer."""
    deadline: float


class Questions:
    """All open questions."""

    __slots__ = ("_number", "_open", "_outbox", "_timeout_s", "run")

    def __init__(self, timeout_s: float, outbox: Outbox, chance: random.Random) -> None:
        self._timeout_s = timeout_s
        self._outbox = outbox
        self.run = self._number = chance.getrandbits(62)
        """A number that no other machine has.  Questions are numbered from here on: a late reply
        to the machine before this one matches none of them."""
        self._open: dict[int, _Open] = {}

    @property
    def asked(self) -> int:
        """How many questions were asked."""
        return self._number - self.run

    def ask(
        self,
        to: Peer,
        question: Callable[[int], Message],
        asker: Asker,
        now: Now,
        *,
        for_ever: bool = False,
    ) -> None:
        """Send ``question``, made with its number; ``for_ever``: its answer may take any time."""
        self._number += 1
        deadline = float("inf") if for_ever else now.monotonic + self.patience_s(to)
        message = question(self._number)
        self._open[self._number] = _Open(to, asker, REPLY_TO[type(message)], deadline)
        self._outbox.send(to, message)

    def patience_s(self, to: Peer) -> float:  # noqa: ARG002 - a subclass asks some for longer
        """How long the answer of a storage may take."""
        return self._timeout_s

    def answered(self, reply: Any, now: Now) -> None:
        """A reply has come; one to a question that has ended is ignored."""
        question = self._open.pop(reply.request, None)
        if question is None:
            return
        if isinstance(reply, QuestionFailedReply):
            question.asker.on_failed(f"storage of {question.to.node}: {reply.text}", now)
        elif type(reply) is not question.reply:
            cause = f"storage of {question.to.node} answered with a {type(reply).__name__}"
            question.asker.on_failed(cause, now)
        else:
            question.asker.on_reply(reply, now)

    def send_failed(self, failed: SendFailed, now: Now) -> None:
        """A question did not leave."""
        cause = "overloaded" if failed.overloaded else "unreachable"
        self._fail(getattr(failed.message, "request", 0), f"{failed.node} is {cause}", now)

    def lost(self, node: str, cause: str, now: Now) -> None:
        """No answer of ``node`` will come."""
        for number in [n for n, question in self._open.items() if question.to.node == node]:
            self._fail(number, cause, now)

    def next_deadline(self) -> float:
        """When the first question fails; infinity if none may."""
        return min((question.deadline for question in self._open.values()), default=float("inf"))

    def expire(self, now: Now) -> None:
        """Fail the questions whose time is over."""
        for number, question in list(self._open.items()):
            if question.deadline <= now.monotonic:
                self._fail(number, f"storage of {question.to.node} did not answer in time", now)

    def extend(self, now: Now) -> None:
        """This process was stalled: give each question that is due the whole time again."""
        for number, question in self._open.items():
            if question.deadline <= now.monotonic:
                deadline = now.monotonic + self.patience_s(question.to)
                self._open[number] = question._replace(deadline=deadline)

    def _fail(self, number: int, cause: str, now: Now) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.asker.on_failed(cause, now)
