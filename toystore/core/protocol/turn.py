"""The turns of one actor, without I/O: what real and simulated actors have in common.

In each turn an actor does the same with the messages that have arrived:

    process    pass each message to the machine, and call it if its deadline has come
    flush      log what the machine wrote, then send it, until it has nothing more to send

A `Shell` supplies what differs: where messages are sent and events are logged, and which
links are up.  The shell of a real actor has sockets and a thread (``actors/actor.py``).  The
shell of a simulated actor has a mailbox and virtual time (``toystore/sim/actor.py``).

A machine that raises is replaced.  Its open requests are answered with an error, and so is the
message on which it failed; no machine receives that message again.  The new machine receives
what the old one knew of members and links.  An actor whose machines fail too often ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.failures import internal_reply
from toystore.core.protocol.machine import Event, Machine, Now, Outbox
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import Leave, LinkUp, MembersChanged
from toystore.core.protocol.messages.ring import RingChanged, RingForked

FLUSH_ROUNDS_MAX = 8
"""How many flushes a turn may have: after a failed send a machine sends to another node."""
RESTARTS_MAX = 8
"""How many new machines an actor gets within `RESTARTS_WINDOW_S`."""
RESTARTS_WINDOW_S = 60.0

_TOLD_AGAIN = frozenset((MembersChanged, Leave, RingChanged))
"""Messages that the old machine received and a new machine receives again."""

M = TypeVar("M", bound=Machine)


class Shell(Protocol):
    """What an actor supplies to its turns."""

    def deliver(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Send without blocking; return the messages about it that the machine must receive."""

    def write(self, events: list[Event], at: Now) -> None:
        """Log the events of a machine; they happened at ``at``."""

    def log_failure(self, error: Exception, over: Message | None, restarts: int) -> None:
        """Log that the machine raised: on the message ``over``, or at a deadline if that is None.

        ``restarts``: how many machines were replaced before, within `RESTARTS_WINDOW_S`.
        """

    def follow(self, changed: RingChanged) -> list[Delivery]:
        """The ring has changed: link to new members, and make new machines from the new record.

        Returns what the machine must receive before: `LinkLost` for each link that is closed.
        """

    def disown(self, forked: RingForked) -> None:
        """A record is of another ring: refuse the frames of nodes that have it."""

    def linked_nodes(self) -> Iterable[str]:
        """The nodes whose watched link is up (`ROLES`)."""


class Turn(Generic[M]):
    """The turns of one actor; see the module's docstring."""

    def __init__(self, me: Peer, make_machine: Callable[[Outbox], M], shell: Shell) -> None:
        """``make_machine``: makes a machine in its first state."""
        self.outbox = Outbox()
        self.machine = make_machine(self.outbox)
        self._joined: bool | None = None
        """What gossip last sent of this node; None before that."""
        self._members: dict[str, MemberState] = {}
        """What gossip last sent of each member."""
        self._leave: Leave | None = None
        self._ring: RingChanged | None = None
        self._me = me
        self._make_machine = make_machine
        self._shell = shell
        self._restarts: deque[float] = deque()

    def serve(self, inbox: list[Delivery], at: Now) -> None:
        """Take one turn with all messages that have arrived."""
        self.process(inbox, at)
        self.flush(at)

    def process(self, inbox: list[Delivery], at: Now) -> None:
        """Pass the messages to the machine, and call it if its deadline has come."""
        self.feed(inbox, at)
        deadline = self.machine.next_deadline()
        if deadline is not None and deadline <= at.monotonic:
            try:
                self.machine.on_deadline(at)
            except Exception as error:
                self.replace(error, None, at)

    def feed(self, inbox: list[Delivery], at: Now) -> None:
        """Pass each message to the machine once, even if the machine fails on it."""
        for message, sender in inbox:
            if type(message) is RingChanged:
                self.feed(self._shell.follow(message), at)
            elif type(message) is RingForked:
                self._shell.disown(message)
            try:
                self.machine.receive(message, sender, at)
            except Exception as error:
                self.replace(error, (message, sender), at)
            else:
                if type(message) in _TOLD_AGAIN:
                    self._remember(message)

    def flush(self, at: Now) -> None:
        """Log and send what the machine wrote, until it has nothing more to send.

        An event is logged before any message that may depend on it is sent.  So no node logs
        a consequence before the cause is in a log.
        """
        outbox, deliver = self.outbox, self._shell.deliver
        for _ in range(FLUSH_ROUNDS_MAX):
            if outbox.events:
                self._write(at)
            if not outbox.sends:
                return
            sends, outbox.sends = outbox.sends, {}
            for address, messages in sends.items():
                if news := deliver(address, messages):
                    self.feed(news, at)
        if outbox.events:
            self._write(at)

    @property
    def members(self) -> MembersChanged | None:
        """All that this actor has received from gossip, in one message; None if nothing."""
        if self._joined is None:
            return None
        return MembersChanged(self._joined, tuple(self._members.values()))

    @property
    def unfinished(self) -> bool:
        """Whether the last flush ended early, so that the next turn is due at once."""
        return bool(self.outbox.sends)

    def _write(self, at: Now) -> None:
        events, self.outbox.events = self.outbox.events, []
        self._shell.write(events, at)

    # --- a machine that fails -----------------------------------------------------------

    def replace(self, error: Exception, over: Delivery | None, at: Now) -> None:
        """Replace a machine that raised: on a message, which is answered, or at a deadline.

        Raises the error again if this happens too often, after open requests are answered.
        """
        self._shell.log_failure(error, over and over[0], len(self._restarts))
        try:
            self.machine.on_failure(at)
        except Exception as again:
            self._shell.log_failure(again, None, len(self._restarts))
        if over is not None:
            message, sender = over
            reply = internal_reply(message, f"{type(error).__name__} in {self._me.actor}")
            if reply is not None:
                self.outbox.send(sender, reply)
        if not self._may_restart(at):
            self._send_last(at)
            raise error
        self.machine = self._make_machine(self.outbox)
        self._remind(at)

    def _may_restart(self, at: Now) -> bool:
        """Count a restart; False if there were too many."""
        self._restarts.append(at.monotonic)
        while self._restarts[0] < at.monotonic - RESTARTS_WINDOW_S:
            self._restarts.popleft()
        return len(self._restarts) <= RESTARTS_MAX

    def _send_last(self, at: Now) -> None:
        """Log and send what is left; the machine does not receive `SendFailed` for it."""
        self._write(at)
        for address, messages in self.outbox.sends.items():
            self._shell.deliver(address, messages)

    def _remember(self, message: Message) -> None:
        if type(message) is MembersChanged:
            self._joined = message.joined
            for name in message.removed:
                self._members.pop(name, None)
            self._members.update((state.name, state) for state in message.members)
        elif type(message) is RingChanged:
            self._ring = message
        elif type(message) is Leave:
            self._leave = message

    def _remind(self, at: Now) -> None:
        """Pass to a new machine what only the old one has received."""
        for node in sorted(self._shell.linked_nodes()):
            self.machine.receive(LinkUp(node), Peer(node, self._me.actor), at)
        for message in (self._ring, self.members, self._leave):
            if message is not None:
                self.machine.receive(message, self._me, at)
