"""Nodes with a newer ring record, as the frames of an actor show them.

The actor `ring` of the node fetches the record.  It is told of a node once for each epoch, and
again after `AGAIN_S` while its node lags, because a question may be lost.  Real and simulated
actors share this.
"""

from __future__ import annotations

AGAIN_S = 1.0
"""How soon the actor `ring` is told again of a node with a newer ring record."""


class NewerRecords:
    """See the module's docstring."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, float]] = {}
        """For each node its epoch, and when `ring` was told, in seconds."""

    def is_news(self, node: str, epoch: int, now_s: float) -> bool:
        """Whether `ring` is to be told now that ``node`` has the record of ``epoch``."""
        last, at = self._told.get(node, (0, 0.0))
        if epoch <= last and now_s < at + AGAIN_S:
            return False
        self._told[node] = epoch, now_s
        return True

    def clear(self) -> None:
        """This node has a newer record, too."""
        self._told.clear()
