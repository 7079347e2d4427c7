"""How a node joins: it fetches the known disks from its storage, then asks the seeds.

One seed is asked each ``join_retry_s`` for all it knows (push-pull); its `ExchangeReply`
makes this node a member.  A seed that is no longer listed is not asked; if none is listed, every
member is a seed.  A seed whose fellow seeds have all been asked without an answer
joins alone, because one node has to be the first.  It goes on asking them, so that seeds
which started apart find each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toystore.core.membership.disks import Disks
from toystore.core.membership.exchanges import Exchanges
from toystore.core.membership.lifecycle import Input, Lifecycle
from toystore.core.membership.members import Members
from toystore.core.membership.timers import Timer, Timers
from toystore.core.protocol.machine import Now


class Joining:
    """Serves the timers FETCH_DISKS and ASK_SEED; see the module's docstring."""

    def __init__(
        self,
        *,
        node: str,
        seeds: Sequence[str],
        retry_s: float,
        lifecycle: Lifecycle,
        timers: Timers,
        members: Members,
        disks: Disks,
        exchanges: Exchanges,
        joined: Callable[[str, Now], None],
    ) -> None:
        """``joined``: called with ``node`` when this node has joined alone."""
        self._node = node
        self._configured = tuple(seeds)
        self._waits = False
        """Whether there are members, so that this node does not join alone."""
        self._retry_s = retry_s
        self._lifecycle = lifecycle
        self._timers = timers
        self._members = members
        self._disks = disks
        self._exchanges = exchanges
        self._joined = joined
        self._asked = 0
        """How often a seed was asked."""
        self._started_at: float | None = None
        timers.set(Timer.FETCH_DISKS, 0.0)

    def fetch_disks(self, now: Now) -> None:
        """Ask storage for the disks, until it answers."""
        self._start(now)
        self._disks.fetch()
        self._timers.set(Timer.FETCH_DISKS, now.monotonic + self._retry_s)

    def begin(self, now: Now) -> None:
        """The disks are known: ask the first seed.

        They are known before they were asked for if storage has answered an earlier
        machine, which has failed.
        """
        self._start(now)
        self._timers.stop(Timer.FETCH_DISKS)
        self.ask_seed(now)

    def ask_seed(self, now: Now) -> None:
        """Exchange with the next seed that has not answered, one each ``join_retry_s``."""
        seeds = self._seeds()
        others = [seed for seed in seeds if seed != self._node]
        unanswered = [seed for seed in others if not self._has_answered(seed)]
        may_be_first = (self._node in seeds or not others) and not self._waits
        all_asked = self._asked >= len(unanswered)
        if may_be_first and all_asked and self._lifecycle.move(Input.ALONE):
            self._joined(self._node, now)
        if not unanswered:
            self._timers.stop(Timer.ASK_SEED)
            return
        self._exchanges.start(unanswered[self._asked % len(unanswered)])
        self._asked += 1
        self._timers.set(Timer.ASK_SEED, now.monotonic + self._retry_s)

    def wait_for_members(self) -> None:
        """Do not join alone: there are members, which do not know yet whether this is the node."""
        self._waits = True

    def is_seed(self, name: str) -> bool:
        """Whether a member is a seed that this node asks."""
        return name in self._seeds()

    def _seeds(self) -> Sequence[str]:
        """The configured seeds that are members; every member if none is."""
        listed = [seed for seed in self._configured if self._members.listed(seed)]
        return listed or self._members.names

    def took_s(self, now: Now) -> float:
        """How long this node has run, in seconds."""
        assert self._started_at is not None
        return now.monotonic - self._started_at

    def _start(self, now: Now) -> None:
        if self._started_at is None:
            self._started_at = now.monotonic

    def _has_answered(self, seed: str) -> bool:
        return self._lifecycle.has_joined and self._members.is_alive(seed)
