"""A socket to one endpoint, kept connected, and what it tells of the connection.

What keeps it is `toystore.net`: names are found in threads of their own, a session that is
dead is replaced.  The client's machine hears of it when the connection is there, when it is
lost, and, while a request waits for it, why it does not come.
"""

from __future__ import annotations

from toystore.client.dial import Dial
from toystore.client.machine import ClientMachine
from toystore.client.sockets import Socket, open_socket, resolver
from toystore.net.connection import Connection, Monitor
from toystore.net.endpoint import parse
from toystore.net.names import Found

_DIAL_S = 0.01
"""So long a connection may take before somebody asks why."""
_DIAL_AGAIN_S = 0.1
_LOOK_S_MIN = 0.002
_LOOK_S_MAX = 0.05


class Line:
    """One socket of a client, to the endpoint at this place of its list."""

    def __init__(self, kind: int, at: int, endpoint: str, now: float) -> None:
        """``kind``: REQ or DEALER.  Raises `zmq.ZMQError`."""
        self.at = at
        self.asked = False
        """Of a REQ: whether it awaits a reply, and can ask nothing else."""
        self._up = False
        self._began = now
        self._endpoint = parse(endpoint)
        self._names = resolver()
        self._dial: Dial | None = None
        self._dial_at = now + _DIAL_S
        self._refused: set[str] = set()
        """Those of its addresses where the last attempt failed."""
        self.socket: Socket = open_socket(kind)
        try:
            self._monitor = Monitor(self.socket)
        except BaseException:
            self.socket.close()
            raise
        self.monitor: Socket = self._monitor.socket
        """To poll for reading; `tend` takes in what it says."""
        self._connection = Connection(self.socket, self._endpoint, self._names, now)

    def due(self, machine: ClientMachine) -> float | None:
        """When `tend` is wanted at the latest; None while the connection is up."""
        due = self._connection.watch.due
        if due is None or not machine.waiting[self.at]:
            return due
        return min(due, self._dial_at)

    def tend(self, machine: ClientMachine, now: float) -> None:
        """Make and keep the connection, and tell the machine how it is.  Never blocks."""
        for _, sign, descriptor in self._monitor.signs():
            self._connection.hear(sign, descriptor, now)
            self._tell(machine, now)
        self._connection.tend(now)
        self._tell(machine, now)
        if not self._up and machine.waiting[self.at]:
            self._diagnose(machine, now)
        elif self._dial is not None:
            self._hang_up()

    def close(self, machine: ClientMachine) -> None:
        """What was known of the connection is not known for long."""
        self._hang_up()
        self._monitor.close()
        self.socket.close()
        machine.on_closed(self.at)

    def _tell(self, machine: ClientMachine, now: float) -> None:
        """The machine hears what has changed."""
        if self._connection.up == self._up:
            return
        self._up = self._connection.up
        if self._up:
            self._refused.clear()
            machine.on_connected(self.at)
        else:
            self._began, self._dial_at = now, now + _DIAL_S
            machine.on_disconnected(self.at, "the connection was lost", now, certain=False)

    def _diagnose(self, machine: ClientMachine, now: float) -> None:
        """A request waits, and there is no connection: why?"""
        found = self._names.find(self._endpoint.host)
        if not found.addresses:
            self._look_up_soon(now)
            machine.on_disconnected(self.at, self._name_reason(found), now, certain=found.certain)
        elif now >= self._dial_at:
            self._ask_why(found.addresses, machine, now)

    def _look_up_soon(self, now: float) -> None:
        """A lookup that is quick should not be waited for long, nor a slow one asked for often."""
        look_s = min(max((now - self._began) / 4, _LOOK_S_MIN), _LOOK_S_MAX)
        self._connection.watch.due = self._dial_at = now + look_s

    def _name_reason(self, found: Found) -> str:
        host = self._endpoint.host
        if found.certain:
            return f"there is no host {host!r}: {found.reason}"
        if found.reason is None:
            return f"the name {host!r} is still looked up"
        return f"the name {host!r} cannot be looked up: {found.reason}"

    def _ask_why(self, hosts: tuple[str, ...], machine: ClientMachine, now: float) -> None:
        """Dial the address that the socket tries, or look what has come of that."""
        host = self._connection.host or hosts[0]
        dial = self._dial or Dial(host, self._endpoint.port)
        if not dial.look():
            self._dial, self._dial_at = dial, now + _DIAL_S
            machine.on_unconnected(self.at, f"no answer from {host}")
            return
        self._dial, self._dial_at = None, now + _DIAL_AGAIN_S
        if dial.reason is None:
            machine.on_unconnected(self.at, self._connection.watch.reason or "not connected yet")
        else:
            self._refused.add(host)
        if dial.reason is not None and self._refused.issuperset(hosts):
            self._refused.clear()
            machine.on_disconnected(self.at, dial.reason, now, certain=True)
        else:  # Somebody is there now, or may be at its next address: no time to lose.
            self._connection.watch.due = now
            self._connection.tend(now)

    def _hang_up(self) -> None:
        if self._dial is not None:
            self._dial.close()
            self._dial = None
