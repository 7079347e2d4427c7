"""Which nodes can be reached: what gossip says, and which links are up.

A node is *reachable* if gossip calls it alive or suspect and the link to its storage is up.
Gossip alone notices late that a node is dead; the link to a node that hangs stays up.  A node
always reaches itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import MembersChanged

_LIVING = (MemberStatus.ALIVE, MemberStatus.SUSPECT)


class Reachability:
    """The members of the ring as one node sees them."""

    def __init__(self, node: str, members: Mapping[str, str]) -> None:
        """``members``: their endpoints for clients."""
        self.joined = False
        self._links: set[str] = set()
        self._node = node
        self._endpoints = members
        self._states: dict[str, MemberState] = {}
        """What gossip has said last; also of nodes that may become members soon."""

    def learn(self, news: MembersChanged) -> list[MemberState]:
        """Receive the states of members; returns those that are new.

        Members that it does not name stay as they were: a gossip machine that was replaced
        does not know all members yet.
        """
        self.joined = news.joined
        known = self._states
        fresh = [state for state in news.members if known.get(state.name) != state]
        known.update((state.name, state) for state in fresh)
        return [state for state in fresh if state.name in self._endpoints]

    def follow(self, members: Mapping[str, str]) -> None:
        """From now on these are the members; forget what is known of those that no longer are."""
        for name in self._endpoints.keys() - members.keys():
            self._states.pop(name, None)
        self._endpoints = members

    def link_up(self, node: str) -> bool:
        """The link to ``node`` is up.  Returns whether it was down before."""
        was_down = node not in self._links
        self._links.add(node)
        return was_down

    def link_lost(self, node: str) -> bool:
        """The link to ``node`` is lost.  Returns whether it was up before."""
        was_up = node in self._links
        self._links.discard(node)
        return was_up

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where clients reach the members."""
        return tuple(self._endpoints.values())

    def reachable(self) -> frozenset[str]:
        """The nodes that can be asked now."""
        return frozenset((self._node, *self._named(_LIVING))) & (self._links | {self._node})

    def all_linked(self) -> bool:
        """Whether the links to all living members are up."""
        return self._links.issuperset(set(self._named((MemberStatus.ALIVE,))) - {self._node})

    def picture(self) -> list[dict[str, Any]]:
        """Every member, for a status."""
        reachable = self.reachable()
        return [
            self._row(name, endpoint, name in reachable)
            for name, endpoint in self._endpoints.items()
        ]

    def _row(self, name: str, endpoint: str, reachable: bool) -> dict[str, Any]:
        state = self._states.get(name)
        return {
            "name": name,
            "status": MemberStatus(state.status).name.lower() if state else "unknown",
            "incarnation": state.incarnation if state else 0,
            "disk": state.disk if state else "",
            "reachable": reachable,
            "endpoint": endpoint,
        }

    def _named(self, statuses: Sequence[int]) -> Iterable[str]:
        """The members with one of these statuses."""
        known = self._states.items()
        return (name for name, s in known if s.status in statuses and name in self._endpoints)
