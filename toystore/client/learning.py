"""When a client asks which members the cluster has, and which answer it believes.

Each frame for a client names the epoch of the sender's ring record.  A higher one than the client
knows is the reason to ask the sender for the members, at most every `ASK_S`.  The client also asks
every `REFRESH_S`: in epoch 0 members may get other addresses, and behind the same addresses there
may be another cluster some day.  An idle client does so, too, if its shell has a timer: otherwise
all members that it knows may have left when it sends its next request.

The answer of a node that is behind is not believed, unless the higher epoch was not named for
`REFRESH_S`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from toystore.core.protocol.messages.client import DescribeMembersReply
from toystore.net.endpoint import EndpointError, parse

ASK_S = 1.0
REFRESH_S = 30.0

_NEVER = float("-inf")


class Learning:
    """What one client knows of the ring.  ``now`` is monotonic seconds."""

    __slots__ = ("_asked_at", "_chance", "_confirmed_at", "_epoch", "_on")

    def __init__(self, chance: random.Random, *, on: bool) -> None:
        """``on``: whether to learn at all."""
        self._on = on
        self._chance = chance
        self._epoch = -1
        """Of the ring whose members are known."""
        self._confirmed_at = _NEVER
        """When this epoch was named last."""
        self._asked_at = _NEVER

    @property
    def due(self) -> float:
        """When the members are to be asked for at the latest; never, before any is known."""
        return self._asked_at + REFRESH_S if self._epoch >= 0 else float("inf")

    def hear(self, epoch: int | None, now: float) -> bool:
        """A node has named its epoch.  Returns whether it is to be asked for the members."""
        if epoch is None or not self._on:
            return False
        if epoch == self._epoch:
            self._confirmed_at = now
        since_s = now - self._asked_at
        return since_s >= REFRESH_S or (epoch > self._epoch and since_s >= ASK_S)

    def ask(self, now: float) -> None:
        """A node is asked now."""
        self._asked_at = now

    def learn(self, reply: DescribeMembersReply, now: float) -> list[str]:
        """The endpoints of the members, in random order; none if the answer is not believed.

        The order is random so that clients whose nodes have left spread over the others.
        """
        if reply.epoch < self._epoch and now - self._confirmed_at < REFRESH_S:
            return []
        names = _normal(reply.endpoints)
        if names:
            self._epoch, self._confirmed_at = reply.epoch, now
        return self._chance.sample(names, len(names))


def _normal(endpoints: Iterable[str]) -> list[str]:
    """The endpoints that are well-formed, each once, in the form in which callers' ones are."""
    names: dict[str, None] = {}
    for endpoint in endpoints:
        try:
            names[str(parse(endpoint))] = None
        except EndpointError:
            continue
    return list(names)
