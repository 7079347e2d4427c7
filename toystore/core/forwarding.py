"""A write for somebody else's key: handed to an owner, and its answer handed back.

A put is coordinated by an owner of its key (Dynamo section 4.5), because an owner's own
vote costs no journey.  It is forwarded once, stamped, so that whoever runs it runs the
same write, and running it twice does no harm:

    the reachable owners, in order  ─▶  this node itself

or, with no owner reachable, the first reachable fallback and then this node.  The next
is tried when one is silent for ``replica_timeout_s``, is lost, or will not serve; any
other answer is the caller's.  The late word of a node that was given up counts if it is
a success: it is the same write.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.desk import Held
from toystore.core.machine import Now
from toystore.core.messages import Code, ErrorReply, SupersededReply, WriteReply
from toystore.core.stamp import STAMP_BYTES
from toystore.core.writing import Write

_ASK_ANOTHER = (Code.NOT_SERVING, Code.OVERLOADED)


class Forward(Held):
    """A write on its way through another coordinator."""

    __slots__ = ("_asked", "_target", "_write")

    def __init__(self, write: Write) -> None:
        """``write`` is what this node runs itself if nobody else will."""
        Held.__init__(
            self,
            write.desk,
            write.caller,
            write.request,
            write.began,
            write.deadline,
            write.bytes,
            write.latencies,
        )
        self._write = write
        self._asked: list[str] = []
        self._target = ""

    def start(self, now: Now) -> None:
        """Lie on the desk and hand the write over."""
        self.desk.open(self)
        self._next(now)

    def on_reply(
        self, reply: WriteReply | SupersededReply | ErrorReply, node: str, now: Now
    ) -> None:
        """Another coordinator has answered."""
        if node not in self._asked:
            return
        if type(reply) is WriteReply:
            self.answer(reply._replace(request=self.request), now)
            self.end()
        elif type(reply) is SupersededReply:
            self._superseded(reply, now)
        elif type(reply) is ErrorReply and node == self._target:
            self._failed(reply, now)

    def on_deadline(self, now: Now) -> None:
        """It may still happen, but not in time."""
        self._write.indefinite = True
        self.fail(Code.TIMEOUT, f"{self._target} did not answer in time", now)

    def on_silence(self, nodes: Sequence[str], now: Now) -> None:
        """It may be at work on it; try the next."""
        if self._target in nodes:
            self._write.indefinite = True
            self._next(now)

    def on_lost(self, node: str, now: Now) -> None:
        """It may have done it and died; try the next."""
        if node == self._target:
            self._write.indefinite = True
            self._next(now)

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:  # noqa: ARG002 - as every Held has it
        """It never heard of it; try the next."""
        if node == self._target:
            self._next(now)

    def on_failure(self, now: Now) -> None:
        """Whoever has it goes on with it."""
        self._write.indefinite = True
        super().on_failure(now)

    @property
    def definite(self) -> bool:
        """Definite while everyone that was asked has certainly done nothing."""
        return not self._write.indefinite

    def _next(self, now: Now) -> None:
        target = self._candidate()
        if target is None:
            self.end()
            self._write.start(now)
            return
        self._asked.append(target)
        self._target = target
        message = self._write.message._replace(
            request=self.number,
            stamp=self._write.stamp,
            timeout_ms=max(1, int((self.deadline - now.monotonic) * 1000)),
            forwarded=True,
        )
        self.desk.outbox.send(self.desk.coordinators[target], message)
        self.desk.watch(self.number, (target,), now)

    def _candidate(self) -> str | None:
        """Who is to be asked next; None means this node itself."""
        desk = self.desk
        for owner in self._write.owners:
            if owner in desk.reachable and owner not in self._asked:
                return owner
        if self._asked:
            return None
        first = next(node for node in self._write.order if node in desk.reachable)
        return None if first == desk.node else first

    def _superseded(self, reply: SupersededReply, now: Now) -> None:
        """Whoever minted the stamp mints a higher one."""
        if not self._write.minted or len(reply.stamp) != STAMP_BYTES:
            self.answer(reply._replace(request=self.request), now)
            self.end()
            return
        self._write.remint(reply.stamp, now)
        self.desk.renumber(self)
        self._asked.clear()
        self._next(now)

    def _failed(self, reply: ErrorReply, now: Now) -> None:
        if not reply.definite:
            self._write.indefinite = True
        if reply.code in _ASK_ANOTHER:
            self._next(now)
        else:
            self.fail(reply.code, reply.text, now)
