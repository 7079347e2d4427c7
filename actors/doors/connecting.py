"""The part that every connecting door shares: its connections, and their state."""

from __future__ import annotations

import time
from collections.abc import Iterator

import zmq

from actors import log
from actors.doors.door import Door
from actors.surroundings import Surroundings
from toystore.net.connection import Connection, Monitor


class ConnectingDoor(Door):
    """A door whose socket connects to nodes, and reconnects when that is due."""

    def __init__(self, port: str, surroundings: Surroundings, actor: str) -> None:
        super().__init__(port, surroundings, actor)
        self._monitor: Monitor | None = None
        self.connections: dict[str, Connection] = {}
        """The connections of this door, each with its node."""

    def watch(self, socket: zmq.Socket[bytes]) -> Monitor:
        """The monitor of the socket that connects."""
        self._monitor = Monitor(socket)
        return self._monitor

    def tend(self, now: float) -> None:
        """Make and replace the connections that are due; log their changes.

        The signs that wait come first.  They may say that a connection is up by now; taken after
        it was replaced, they would be those of the new one, and its end would be a lost link.
        """
        if self._monitor is not None and self._monitor.has_signs:
            return
        for node, connection in self.connections.items():
            connection.tend(now)
            self.tell(node, connection)

    def changes(self, monitor: Monitor) -> Iterator[tuple[str, bool]]:
        """The nodes whose connection came up (True) or was lost (False) since the last call."""
        for address, sign, descriptor in monitor.signs():
            for node, connection in self.connections.items():
                if connection.address != address:
                    continue
                was_up = connection.up
                connection.hear(sign, descriptor, time.monotonic())
                self.tell(node, connection)
                if connection.up != was_up:
                    yield node, connection.up

    def tell(self, node: str, connection: Connection) -> None:
        """Log the change of a connection, if it is an event of the vocabulary."""
        cause = connection.news()
        if cause is not None:
            log.event(self.actor, "link.replaced", member=node, port=self.port, cause=cause)
