"""What the node proposes by itself, each after a random delay, so that seldom two nodes do.

takeover    a record that its storage has accepted is still undecided: finish that proposal
absence     members have been dead for `remove_after_s`: remove them           (absence.py)
finishing   all ranges of a moving ring have moved: end the move               (finishing.py)
reseating   this node's disk was replaced and has been rebuilt: list it        (seat.py)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from toystore.core.protocol.machine import Now
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.proposal import Result
from toystore.core.reconfiguration.proposer import Proposer
from toystore.core.reconfiguration.questions import NEVER


class Wish(NamedTuple):
    """A record that should come next, as far as one part of the machine can see."""

    why: str
    fields: dict[str, Any] | None
    """The fields that differ from the newest record's; None: only finish what was begun."""


WishOf = Callable[[Now], Wish | None]


class Delay:
    """The time between the cause of a proposal and the proposal."""

    def __init__(self, least_s: float, most_s: float, chance: random.Random) -> None:
        self._range_s = least_s, most_s
        self._chance = chance
        self._key: Hashable = None
        self.at = NEVER
        """When it ends, in monotonic seconds; `NEVER` without a cause."""

    def is_over(self, key: Hashable, now: Now) -> bool:
        """Whether the cause ``key`` has lasted for the delay; None: there is no cause."""
        if key != self._key:
            self._key = key
            self.restart(now)
        return self.at <= now.monotonic

    def restart(self, now: Now) -> None:
        """Begin it again."""
        wait_s = self._chance.uniform(*self._range_s)
        self.at = NEVER if self._key is None else now.monotonic + wait_s


class Automatic:
    """Proposes what the parts wish."""

    def __init__(
        self,
        *,
        following: Following,
        proposer: Proposer,
        wishes: list[WishOf],
        settings: RingSettings,
        chance: random.Random,
    ) -> None:
        """``wishes``: each says what is wished now; the first is the most urgent."""
        self._following = following
        self._proposer = proposer
        takeover_s, poll_s = settings.takeover_s, settings.poll_s
        takeover = Delay(takeover_s, 2 * takeover_s, chance)
        self._wishes: list[tuple[WishOf, Delay]] = [(self._takeover, takeover)]
        self._wishes += [(wish, Delay(0.0, poll_s, chance)) for wish in wishes]

    def go_on(self, now: Now) -> None:
        """Propose the first wish whose delay is over, unless a proposal is under way."""
        for wish_of, delay in self._wishes:
            wish = wish_of(now)
            key = None if wish is None else (self._following.record.epoch, wish.why)
            if delay.is_over(key, now) and self._proposer.idle:
                assert wish is not None
                self._propose(wish, delay, now)

    def next_deadline(self) -> float:
        """When the first delay is over; a proposal that is under way ends first."""
        if not self._proposer.idle:
            return NEVER
        return min(delay.at for _, delay in self._wishes)

    def _propose(self, wish: Wish, delay: Delay, now: Now) -> None:
        def ended(_result: Result, _text: str, now: Now) -> None:
            delay.restart(now)

        record = None
        if wish.fields is not None:
            record = self._following.next_record(now, wish.why, **wish.fields)
        self._proposer.propose(record, ended, now)

    def _takeover(self, _now: Now) -> Wish | None:
        """A vote of this node's storage is undecided: who proposed the record may have died."""
        if self._following.undecided != self._following.record.epoch + 1:
            return None
        return Wish("take over", None)
