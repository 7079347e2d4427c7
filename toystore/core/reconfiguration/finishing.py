"""Finishing: while ranges move, every member is asked how far it is; when all are done, it is over.

A member is done when its storage has adopted the newest record, lacks no records of its ranges, has
released those that it gives away, and keeps no hints for others if it leaves.  A member that cannot
be asked is waited for, unless it is lost.
"""

from __future__ import annotations

from functools import partial

from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.ring import DescribeMoves, DescribeMovesReply
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.automatic import Wish
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.questions import NEVER, Questions
from toystore.core.reconfiguration.successors import finished

AFTER = "after "
"""Begins the reason of a record in which nothing moves any more."""
FIRST_POLL_S = 0.5
"""How soon after a change the members are asked."""
FRESH_POLLS = 2
"""A report counts for this many polls."""


class Finishing:
    """Polls the members of a moving ring."""

    def __init__(
        self, following: Following, questions: Questions, settings: RingSettings, outbox: Outbox
    ) -> None:
        self._following = following
        self._questions = questions
        self._poll_s = settings.poll_s
        self._out = outbox
        self._poll_at = 0.0
        self._done_at: dict[str, float] = {}
        """When each member last reported that it is done."""
        self._answered = set(following.record.all)
        """The members that have answered the last poll."""
        self._silent: set[str] = set()
        """The members that did not answer the poll before that."""
        self._logged: set[str] = set()

    def on_changed(self, now: Now) -> None:
        """There is a newer record: what was reported is about an older one.

        The first poll waits a little: all members are busy with the record at this moment.
        """
        self._poll_at = now.monotonic + min(FIRST_POLL_S, self._poll_s)
        self._done_at.clear()
        self._answered.update(self._following.record.all)
        self._logged.clear()

    def go_on(self, now: Now) -> None:
        """Ask every member, if that is due."""
        record = self._following.record
        if not record.moving or self._poll_at > now.monotonic:
            return
        self._poll_at = now.monotonic + self._poll_s
        self._log_silent()
        for name in record.all:
            self._questions.ask_storage(
                name,
                lambda number: DescribeMoves(number, record.epoch),
                partial(self._on_described, name, record.epoch),
                now,
            )

    def next_deadline(self) -> float:
        """When the members are asked."""
        return self._poll_at if self._following.record.moving else NEVER

    def wish(self, now: Now) -> Wish | None:
        """The end of the move, once every member has reported that it is done."""
        record = self._following.record
        if not record.moving:
            return None
        since = now.monotonic - FRESH_POLLS * self._poll_s
        if any(self._done_at.get(name, -NEVER) <= since for name in record.all):
            return None
        return Wish(_why_finished(record.why), finished(record))

    def _on_described(
        self, name: str, epoch: int, reply: DescribeMovesReply | None, now: Now
    ) -> None:
        if reply is None or epoch != self._following.record.epoch:
            return
        self._answered.add(name)
        if reply.epoch == epoch and not (reply.behind or reply.unreleased or reply.hints):
            self._done_at[name] = now.monotonic
        else:
            self._done_at.pop(name, None)

    def _log_silent(self) -> None:
        """Before a poll: log the members that did not answer the last two, once for each of them.

        One poll is not enough: at a start no link is up yet.
        """
        record = self._following.record
        silent = set(record.all) - self._answered
        waits = silent & self._silent
        if waits - self._logged:
            self._logged |= waits
            self._out.log("ring.waits", epoch=record.epoch, members=sorted(waits))
        self._silent = silent
        self._answered.clear()


def _why_finished(why: str) -> str:
    """What is finished stays readable, however many records it took."""
    return AFTER + why.removeprefix(AFTER)
