"""The scrub: each record is read and its checksum checked, before a client needs it.

The ranges are read in turn, evenly over ``scrub_s``, and those of a repair at once.  Storage finds
the corrupt records, takes them out of the sums, and so the next comparison brings sound copies.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable

from toystore.core.antientropy.pace import Pace
from toystore.core.antientropy.replicas import Replicas
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import ScrubLeaf, ScrubLeafReply
from toystore.core.protocol.questions import Questions
from toystore.core.ring.ranges import Leaf, Range, Ranges


class Scrub:
    """Which range is read, and which is next."""

    def __init__(
        self,
        replicas: Replicas,
        *,
        own: Peer,
        every_s: float,
        pace: Pace,
        questions: Questions,
        outbox: Outbox,
        chance: random.Random,
        read: Callable[[Range, int, Now], None],
    ) -> None:
        """``every_s``: the time of a round.  ``read``: called with a range and its rotten count."""
        self.rotten = 0
        """The corrupt records that were found."""
        self._replicas = replicas
        self._chance = chance
        self._every_s = every_s
        self._own = own
        self._pace = pace
        self._questions = questions
        self._out = outbox
        self._read = read
        self._round = sorted(replicas.ranges.owned)
        chance.shuffle(self._round)
        self._at = 0
        self._step_s = every_s / max(1, len(self._round))
        self._next_at: float | None = None
        """When the next range of the round is due; known from the first turn on."""
        self._round_began = 0.0
        self._counts = {"records": 0, "bytes": 0, "rotten": 0, "drifted": 0}
        self._urgent: deque[Range] = deque()
        self._reading: Range | None = None
        self._leaves: list[Leaf] = []
        self._rotten = 0
        self._asked_at: float | None = None

    @property
    def share(self) -> float:
        """How much of this round is done, from 0 to 1."""
        return self._at / len(self._round) if self._round else 1.0

    def hurry(self, ranges: Iterable[Range]) -> None:
        """Read these ranges now."""
        self._urgent.extend(ranges)

    def follow(self) -> None:
        """The ring has changed: new ranges are read in this round, those of others are not."""
        owned = self._replicas.ranges.owned
        read, left = self._round[: self._at], self._round[self._at :]
        fresh = sorted(owned.difference(self._round))
        self._chance.shuffle(fresh)
        read = [of for of in read if of in owned]
        self._round = [*read, *(of for of in left if of in owned), *fresh]
        self._at = len(read) % max(1, len(self._round))
        self._step_s = self._every_s / max(1, len(self._round))

    def go_on(self, now: Now) -> None:
        """Read the next leaf, if that is due."""
        if self._next_at is None:
            self._next_at = now.monotonic + self._step_s
            self._round_began = now.monotonic
        if self._asked_at is not None or self._pace.ready_at > now.monotonic:
            return
        if self._reading is None:
            self._choose(now)
        if self._reading is not None:
            leaf = self._leaves[-1]
            self._asked_at = now.monotonic
            self._questions.ask(self._own, lambda number: ScrubLeaf(number, *leaf), self, now)

    def next_deadline(self) -> float:
        """When the next leaf is due, in monotonic seconds; infinity if an answer is awaited."""
        if self._asked_at is not None:
            return float("inf")
        if self._reading is not None or self._urgent:
            return self._pace.ready_at
        if not self._round:
            return float("inf")
        return max(self._next_at or 0.0, self._pace.ready_at)

    def on_reply(self, reply: ScrubLeafReply, now: Now) -> None:
        """A leaf was read."""
        began, self._asked_at = self._asked_at or now.monotonic, None
        self._pace.spend(reply.bytes, now.monotonic - began, now.monotonic)
        self.rotten += reply.rotten
        self._rotten += reply.rotten
        for name in self._counts:
            self._counts[name] += getattr(reply, name)
        self._leaves.pop()
        if not self._leaves and self._reading is not None:
            of, self._reading = self._reading, None
            self._read(of, self._rotten, now)

    def on_failed(self, _cause: str, now: Now) -> None:
        """Storage has failed over it: the range is left out, until the next round."""
        self._asked_at = None
        if self._reading is not None:
            of, self._reading = self._reading, None
            self._read(of, self._rotten, now)

    def _choose(self, now: Now) -> None:
        """The next range: an urgent one, or that of the round if its time has come."""
        if self._urgent:
            self._start(self._urgent.popleft())
        elif self._next_at is not None and self._next_at <= now.monotonic and self._round:
            self._next_at += self._step_s
            self._start(self._round[self._at])
            self._at += 1
            if self._at == len(self._round):
                self._end_round(now)

    def _start(self, of: Range) -> None:
        self._reading, self._rotten = of, 0
        self._leaves = list(reversed(Ranges.leaves(of)))

    def _end_round(self, now: Now) -> None:
        took_s = round(now.monotonic - self._round_began, 3)
        counts = self._counts
        self._out.log(
            "scrub.finished",
            records=counts["records"],
            bytes=counts["bytes"],
            rotten=counts["rotten"],
            drifted=counts["drifted"],
            took_s=took_s,
        )
        self._counts = dict.fromkeys(counts, 0)
        self._at, self._round_began = 0, now.monotonic
