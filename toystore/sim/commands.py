"""Commands about the members of the ring, over a connection like a client's.

Operators and nodes that want to join send them (`operators.py`, `joining.py`), one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from toystore.core.protocol.address import COORDINATOR, Caller, Peer
from toystore.core.protocol.messages.client import Cluster, ClusterReply, ErrorReply
from toystore.core.requests.cluster_query import wait_s
from toystore.sim.network import Link
from toystore.sim.world import World
from toystore.wire import decode, encode

Reply = ClusterReply | ErrorReply | None
"""None: no answer has come in time."""
Arrives = Callable[[Peer, Caller, Link, bytes], None]
"""`SimCluster.arrive`."""
LATER_S = 1.0
"""How much longer an answer is waited for than the node waits for its own parts."""


class Line:
    """One connection to a node, for commands."""

    def __init__(self, world: World, arrive: Arrives, link: Callable[..., Link], to: str) -> None:
        """``link``: makes a link from the host of the caller, as `Network.link` does."""
        self._world = world
        self._arrive = arrive
        self._to = to
        self._request = 0
        self._waiting: Cluster | None = None
        self._then: Callable[[Reply], None] | None = None
        self._link = link(to, self._on_change, self._on_answer, wild=False)
        self._caller = Caller((f"commands/{self._link.source}".encode(),))

    @property
    def up(self) -> bool:
        """Whether the node is connected."""
        return self._link.up

    @property
    def link(self) -> Link:
        """The link, for closing it."""
        return self._link

    def ask(self, command: str, arguments: dict[str, Any], then: Callable[[Reply], None]) -> None:
        """Send a command as soon as the node is connected; ``then`` is called once."""
        self._request += 1
        self._then = then
        self._waiting = Cluster(self._request, command, arguments)
        self._send()
        limit_s = wait_s(command) + LATER_S
        self._world.after(limit_s, partial(self._end, self._request, None))

    def _send(self) -> None:
        if self._waiting is not None and self._link.up:
            frame, self._waiting = encode([self._waiting]), None
            self._link.send(
                frame, partial(self._arrive, Peer(self._to, COORDINATOR), self._caller, self._link)
            )

    def _on_change(self, _up: bool) -> None:
        self._send()

    def _on_answer(self, frame: bytes) -> None:
        for message in decode(frame).messages:
            if isinstance(message, ClusterReply | ErrorReply):
                self._end(message.request, message)

    def _end(self, request: int, reply: Reply) -> None:
        if request == self._request and self._then is not None:
            then, self._then, self._waiting = self._then, None, None
            then(reply)
