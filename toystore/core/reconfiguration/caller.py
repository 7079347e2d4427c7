"""Who has sent a command, and is answered once.

A step of a command may raise `RefusedError` or `PlanError`: then the caller is answered why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import RingCommand, RingCommandReply
from toystore.core.reconfiguration.changes import PlanError

DISK_FAILED = "the storage of this node did not answer in time; its disk may be full or slow"


class RefusedError(Exception):
    """A command that is not carried out: nothing has happened, and nothing will."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class Caller:
    """A command that is open, and who is answered; the answer is sent once."""

    def __init__(self, command: RingCommand, sender: Address, outbox: Outbox) -> None:
        self.arguments = command.arguments
        self.open = True
        self.definite = True
        """Whether nothing has happened if this fails now."""
        self._request = command.request
        self._sender = sender
        self._out = outbox

    def answer(self, result: dict[str, Any]) -> None:
        """The command was carried out."""
        self._send(RingCommandReply(self._request, result, 0, "", True))

    def refuse(self, code: Code, text: str, *, definite: bool = True) -> None:
        """It was not; ``definite``: and will not be."""
        self._send(RingCommandReply(self._request, {}, code, text, definite))

    def _send(self, reply: RingCommandReply) -> None:
        if self.open:
            self.open = False
            self._out.send(self._sender, reply)

    def attempt(self, step: Callable[[], None]) -> None:
        """Take one step of the command, which may refuse it."""
        try:
            step()
        except RefusedError as refused:
            self.refuse(refused.code, str(refused))
        except PlanError as error:
            self.refuse(Code.BAD_REQUEST, str(error))
