"""From whom a coordinator expects no answer: who was silent to it lately.

    asked, and then not a word for `replica_timeout_s` ─┐
    suspected by the others, and no word for as long   ─┴─▶ DOUBTED ──▶ any word of it
                                                                        its link is made anew
                                                                        it refutes

An *actor* is doubted, because a disk that hangs takes only storage along: the coordinator
beside it does well.  Where neither of the two has said a word, both are doubted: most often
the whole process hangs.  An actor that is merely slow is never doubted for long, since it
goes on answering something.

To doubt is not to give up.  A doubted storage is asked whenever its node owns the key, and
only not waited for (sloppy_quorum.py), so that every request is a probe and the doubt needs
no end of its own.  A doubted coordinator is asked last, and once in `PROBE_S` beside the
one whose turn it is (forwarding.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer

PROBE_S = 1.0
"""How often a doubted coordinator is handed a write that somebody else is handed too."""

_NEVER = float("-inf")
_ROLES = (STORAGE, COORDINATOR)


class Doubts:
    """Who is doubted by the coordinator of one node."""

    __slots__ = ("_heard", "_me", "_probed")

    def __init__(self, node: str) -> None:
        self._me = Peer(node, COORDINATOR)
        self._heard: dict[Peer, float] = {}
        """When each was heard last."""
        self._probed: dict[Peer, float] = {}
        """The doubted, and when each was asked last although it is."""

    def __contains__(self, peer: object) -> bool:
        return peer in self._probed

    def __bool__(self) -> bool:
        return bool(self._probed)

    def hear(self, peer: Peer, now_s: float) -> bool:
        """``peer`` has said something.  Returns whether it was doubted until now."""
        self._heard[peer] = now_s
        return bool(self._probed) and self._probed.pop(peer, None) is not None

    def doubt(self, peer: Peer, since_s: float, now_s: float) -> list[Peer]:
        """``peer`` owes an answer since monotonic second ``since_s``.

        Returns who is doubted from now on: nobody if it has said anything since, and with
        it the other actor of its node if that has said nothing either.
        """
        if self._heard.get(peer, _NEVER) >= since_s:
            return []
        both = (Peer(peer.node, role) for role in _ROLES)
        fresh = [
            one
            for one in both
            if one not in self._probed
            and self._heard.get(one, _NEVER) < since_s
            and one != self._me
        ]
        self._probed.update(dict.fromkeys(fresh, now_s))
        return fresh

    def forget(self, nodes: Iterable[str]) -> None:
        """Whatever was thought of ``nodes`` holds no longer."""
        for node in nodes:
            for role in _ROLES:
                self._probed.pop(Peer(node, role), None)

    def clear(self) -> None:
        """Doubt nobody."""
        self._probed.clear()

    def to_probe(self, peers: Iterable[Peer], now_s: float) -> Peer | None:
        """The first doubted one of ``peers`` that it is time to ask nevertheless."""
        for peer in peers:
            if self._probed.get(peer, now_s) <= now_s - PROBE_S:
                self._probed[peer] = now_s
                return peer
        return None

    def trusted(self, nodes: Collection[str], role: str) -> frozenset[str]:
        """Those of ``nodes`` whose ``role`` is not doubted."""
        return frozenset(node for node in nodes if Peer(node, role) not in self._probed)
