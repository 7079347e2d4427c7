"""The interface of every state machine of the core, and how it sends messages.

A machine has four methods:

    receive(message, sender, now)     a message has arrived
    on_deadline(now)                  the time that next_deadline() named has come
    next_deadline()                   when to be called next, or None
    on_failure(now)                   the machine is about to be replaced: answer open requests

A machine does no I/O: it writes its messages and events into the `Outbox` that its shell
gave it.  The shell sends and logs them after each turn, and empties the outbox.
Lost links and failed sends come back to it as messages (`LinkLost`, `SendFailed`).
Time is an argument, and so is chance (a `random.Random` passed to the constructor),
so one seed replays everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from toystore.core.protocol.address import Address
from toystore.core.protocol.messages import Message


class Now(NamedTuple):
    """Both readings of the clock, because clocks jump.

    Deadlines are kept on ``monotonic``; stamps, ages and expiry on ``wall_us``.
    """

    monotonic: float
    """Seconds since some fixed moment; never runs backwards."""
    wall_us: int
    """Microseconds since 1970-01-01 UTC, as this node believes."""


class Event(NamedTuple):
    """One line of the log; its level and fields are in `EVENTS`."""

    name: str
    fields: dict[str, Any]


class Outbox:
    """The events and messages of a machine; the shell empties it after each turn."""

    __slots__ = ("events", "sends")

    def __init__(self) -> None:
        self.sends: dict[Address, list[Message]] = {}
        self.events: list[Event] = []

    def send(self, to: Address, message: Message) -> None:
        """Queue ``message``; messages to one address keep their order."""
        queue = self.sends.get(to)
        if queue is None:
            self.sends[to] = [message]
        else:
            queue.append(message)

    def log(self, event: str, **fields: Any) -> None:
        """Queue an event of the vocabulary in `toystore.core.protocol.events`."""
        self.events.append(Event(event, fields))

    def move_to(self, other: Outbox) -> None:
        """Append everything to ``other``."""
        other.events += self.events
        for address, messages in self.sends.items():
            for message in messages:
                other.send(address, message)
        self.clear()

    def clear(self) -> None:
        """Discard everything: it depended on a batch that was not committed."""
        self.sends.clear()
        self.events.clear()


class Machine(Protocol):
    """A deterministic state machine; see the module's docstring."""

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Receive one message."""

    def on_deadline(self, now: Now) -> None:
        """Do what was due at or before ``now.monotonic``."""

    def next_deadline(self) -> float | None:
        """The monotonic second at which to call `on_deadline`, or None."""

    def on_failure(self, now: Now) -> None:
        """Answer every open request with an error; a new machine replaces this one."""
