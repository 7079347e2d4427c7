"""Operators of a simulated cluster: each plans a change of the ring and commits it, or aborts one.

An operator asks one node after another until the change is decided, refused for a reason that will
not pass, or not needed any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from toystore.core.protocol.messages.client import ClusterReply, ErrorReply
from toystore.sim.commands import Line, Reply

if TYPE_CHECKING:
    from toystore.sim.cluster import SimCluster

AGAIN_S = 1.0
"""How soon an operator tries again."""
TRIES_MAX = 12

Change = list[Any]
"""One change, as the command `plan` has it: ["join", "n4"]."""


def read_changes(text: str) -> list[Change]:
    """The changes in a text such as ``join n4, leave n1``."""
    return [
        [int(word) if word.isdigit() else word for word in change.split()]
        for change in text.split(", ")
    ]


class Operator:
    """One operator, and what it wants."""

    def __init__(
        self,
        cluster: SimCluster,
        name: str,
        via: Sequence[str],
        changes: list[Change] | None,
        tries_max: int = TRIES_MAX,
    ) -> None:
        """``via``: the nodes that it asks.  ``changes``: None to abort what is under way."""
        self.name = name
        self.changes = changes
        self.ended = False
        self._cluster = cluster
        self._tries_left = tries_max
        self._turn = 0
        link = partial(cluster.network.link, name)
        self._lines = [Line(cluster.world, cluster.arrive, link, to) for to in via]
        self._try()

    def _try(self) -> None:
        """Begin from the start at the next node."""
        if self.ended:
            return
        if self._tries_left <= 0:
            self.end("gives up")
            return
        self._tries_left -= 1
        self._line = self._lines[self._turn % len(self._lines)]
        self._turn += 1
        if self.changes is None:
            self._line.ask("abort", {}, self._on_decided)
        else:
            self._line.ask("plan", {"changes": self.changes}, self._on_plan)

    def _again(self) -> None:
        self._cluster.world.after(AGAIN_S, self._try)

    def _on_plan(self, reply: Reply) -> None:
        if self.ended:
            return
        self._note(reply)
        if isinstance(reply, ClusterReply):
            self._line.ask("commit", {"plan": reply.result["plan"]}, self._on_decided)
        else:
            self._again()

    def _on_decided(self, reply: Reply) -> None:
        if self.ended:
            return
        self._note(reply)
        if isinstance(reply, ClusterReply):
            self.end("is done")
        elif self.changes is None and isinstance(reply, ErrorReply) and reply.definite:
            self.end("has nothing to abort")
        else:
            self._again()

    def _note(self, reply: Reply) -> None:
        text = "no answer"
        if isinstance(reply, ErrorReply):
            text = reply.text
        elif reply is not None:
            text = f"{reply.result.get('changes') or reply.result}"
        self._cluster.world.note(self.name, text)

    def end(self, why: str) -> None:
        """Ask nothing more."""
        if not self.ended:
            self.ended = True
            self._cluster.world.note(self.name, why)
            for line in self._lines:
                self._cluster.network.close(line.link)
