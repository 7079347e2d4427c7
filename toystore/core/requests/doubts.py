"""The actors from which a coordinator expects no answer, because they were silent.

    asked, and silent for `replica_timeout_s`         ─┐
    suspected by other nodes, and silent for as long  ─┴─▶ doubted ─▶ until any message comes,
                                                                      its link is made again,
                                                                      or it refutes

The *actor* is doubted, because a disk that hangs stops storage alone, and the coordinator of
the same node goes on.  If neither of the two has sent a message, both are doubted, because
most often the whole process hangs.  A slow actor is not doubted for long, because it still
answers some questions.

A doubted storage is still asked whenever its node owns the key, but not waited for
(sloppy_quorum.py), except by a read that has found nothing (reading.py).  So each request is a
probe, and a doubt needs no timer.  A doubted coordinator is asked last, and every `PROBE_S`
together with another (forwarding.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer

PROBE_S = 1.0
"""How often a write is forwarded to a doubted coordinator as well."""

_NEVER = float("-inf")
_ROLES = (STORAGE, COORDINATOR)


class Doubts:
    """The actors that one coordinator doubts."""

    __slots__ = ("_me", "_probed", "_received")

    def __init__(self, node: str) -> None:
        self._me = Peer(node, COORDINATOR)
        self._received: dict[Peer, float] = {}
        """When each actor has answered last."""
        self._probed: dict[Peer, float] = {}
        """The doubted actors, and when each was probed last."""

    def __contains__(self, peer: object) -> bool:
        return peer in self._probed

    def __bool__(self) -> bool:
        return bool(self._probed)

    def note_message(self, peer: Peer, now_s: float) -> bool:
        """``peer`` has answered.  Returns whether it was doubted."""
        self._received[peer] = now_s
        return bool(self._probed) and self._probed.pop(peer, None) is not None

    def doubt(self, peer: Peer, since_s: float, now_s: float) -> list[Peer]:
        """``peer`` owes an answer since monotonic second ``since_s``.

        Returns the actors that are doubted from now on: ``peer`` if it has not answered
        since, and with it the other actor of its node if that has not answered either.
        """
        if self._received.get(peer, _NEVER) >= since_s:
            return []
        both = (Peer(peer.node, role) for role in _ROLES)
        fresh = [
            one
            for one in both
            if one not in self._probed
            and self._received.get(one, _NEVER) < since_s
            and one != self._me
        ]
        self._probed.update(dict.fromkeys(fresh, now_s))
        return fresh

    def forget(self, nodes: Iterable[str]) -> None:
        """Doubt no actor of ``nodes``."""
        for node in nodes:
            for role in _ROLES:
                self._probed.pop(Peer(node, role), None)

    def clear(self) -> None:
        """Doubt no actor."""
        self._probed.clear()

    def to_probe(self, peers: Iterable[Peer], now_s: float) -> Peer | None:
        """The first doubted actor of ``peers`` that was not asked for `PROBE_S`, or None."""
        for peer in peers:
            if self._probed.get(peer, now_s) <= now_s - PROBE_S:
                self._probed[peer] = now_s
                return peer
        return None

    def trusted(self, nodes: Collection[str], role: str) -> frozenset[str]:
        """Those of ``nodes`` whose ``role`` is not doubted."""
        return frozenset(node for node in nodes if Peer(node, role) not in self._probed)
