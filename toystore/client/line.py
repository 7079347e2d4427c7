"""A socket to one endpoint that is kept connected, and reports on its connection.

`toystore.net` keeps the connection: it looks up names in separate threads and replaces dead
sessions.  The line reports to the client's machine when the connection is made or lost and,
while a request waits for it, why it is not made.
"""

from __future__ import annotations

from toystore.client.attempts import CONNECTION_LOST, Attempts
from toystore.client.dial import Dial
from toystore.client.sockets import Socket, open_socket, resolver
from toystore.net.connection import Connection, Monitor
from toystore.net.endpoint import parse
from toystore.net.names import Found

_DIAL_S = 0.01
"""How long a connection may take before the line looks for the reason."""
_DIAL_AGAIN_S = 0.1
_LOOK_S_MIN = 0.002
_LOOK_S_MAX = 0.05


class Line:
    """One socket of a client, to the endpoint with this index in its list."""

    def __init__(self, kind: int, at: int, endpoint: str, now: float) -> None:
        """``kind``: REQ or DEALER.  Raises `zmq.ZMQError`."""
        self.at = at
        self.asked = False
        """For a REQ: whether it awaits a reply; then it cannot send."""
        self._up = False
        self._began = now
        self._endpoint = parse(endpoint)
        self._names = resolver()
        self._dial: Dial | None = None
        self._dial_at = now + _DIAL_S
        self._refused: set[str] = set()
        """The addresses at which the last attempt failed."""
        self.socket: Socket = open_socket(kind)
        try:
            self._monitor = Monitor(self.socket)
        except BaseException:
            self.socket.close()
            raise
        self.monitor: Socket = self._monitor.socket
        """The socket to poll for reading; `tend` reads it."""
        self._connection = Connection(self.socket, self._endpoint, self._names, now)

    def due(self, machine: Attempts) -> float | None:
        """When `tend` is due at the latest; None while the connection is up."""
        due = self._connection.watch.due
        if due is None or not machine.waiting[self.at]:
            return due
        return min(due, self._dial_at)

    def tend(self, machine: Attempts, now: float) -> None:
        """Make and keep the connection, and report its state to the machine.  Never blocks."""
        for _, sign, descriptor in self._monitor.signs():
            self._connection.hear(sign, descriptor, now)
            self._report(machine, now)
        self._connection.tend(now)
        self._report(machine, now)
        if not self._up and machine.waiting[self.at]:
            self._diagnose(machine, now)
        elif self._dial is not None:
            self._close_dial()

    def close(self, machine: Attempts) -> None:
        """Close the socket; the connection's state is unknown from then on."""
        self._close_dial()
        self._monitor.close()
        self.socket.close()
        machine.on_closed(self.at)

    def _report(self, machine: Attempts, now: float) -> None:
        """Report a change to the machine."""
        if self._connection.up == self._up:
            return
        self._up = self._connection.up
        if self._up:
            self._refused.clear()
            machine.on_connected(self.at)
        else:
            self._began, self._dial_at = now, now + _DIAL_S
            machine.on_disconnected(self.at, CONNECTION_LOST, now, certain=False)

    def _diagnose(self, machine: Attempts, now: float) -> None:
        """Report why there is no connection while a request waits."""
        found = self._names.find(self._endpoint.host)
        if not found.addresses:
            self._look_up_soon(now)
            machine.on_disconnected(self.at, self._name_reason(found), now, certain=found.certain)
        elif now >= self._dial_at:
            self._ask_why(found.addresses, machine, now)

    def _look_up_soon(self, now: float) -> None:
        """Set the next look at the lookup: soon at first, later if it takes long."""
        look_s = min(max((now - self._began) / 4, _LOOK_S_MIN), _LOOK_S_MAX)
        self._connection.watch.due = self._dial_at = now + look_s

    def _name_reason(self, found: Found) -> str:
        host = self._endpoint.host
        if found.certain:
            return f"there is no host {host!r}: {found.reason}"
        if found.reason is None:
            return f"the name {host!r} is still looked up"
        return f"the name {host!r} cannot be looked up: {found.reason}"

    def _ask_why(self, hosts: tuple[str, ...], machine: Attempts, now: float) -> None:
        """Dial the address that the socket tries, or look at the result of that."""
        host = self._connection.host or hosts[0]
        dial = self._dial or Dial(host, self._endpoint.port)
        if not dial.look():
            self._dial, self._dial_at = dial, now + _DIAL_S
            machine.on_unconnected(self.at, f"no answer from {host}")
            return
        self._dial, self._dial_at = None, now + _DIAL_AGAIN_S
        if dial.reason is None:
            machine.on_unconnected(self.at, self._connection.watch.reason or "not connected yet")
            # The socket is about to be connected, with a request perhaps, unless its session is
            # dead: leave it some time.
            self._connection.watch.hurry(now)
            return
        self._refused.add(host)
        if self._refused.issuperset(hosts):
            self._refused.clear()
            machine.on_disconnected(self.at, dial.reason, now, certain=True)
        else:  # Try its next address at once.
            self._connection.watch.due = now
            self._connection.tend(now)

    def _close_dial(self) -> None:
        if self._dial is not None:
            self._dial.close()
            self._dial = None
