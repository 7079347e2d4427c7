"""What the other members say of this process: that it is foreign, or not the member it says.

A process that is not believed to be the member whose name it has (`Identities`) waits, and
does not join alone in the meantime.  If another process is that member, this one has to stop,
even if it has joined: a seed joins alone when it reaches no other.  A node of another cluster
or member list has to stop unless it has joined.
"""

from __future__ import annotations

from toystore.core.membership.joining import Joining
from toystore.core.membership.lifecycle import Lifecycle
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.gossip import ClaimReply, Refused


class Admission:
    """Whether this process may run as its node; see the module's docstring."""

    __slots__ = (
        "_boot",
        "_joining",
        "_lifecycle",
        "_node",
        "_outbox",
        "_refusals",
        "_waited",
        "refused",
    )

    def __init__(
        self, *, node: str, boot: str, lifecycle: Lifecycle, joining: Joining, outbox: Outbox
    ) -> None:
        self._node = node
        self._boot = boot
        self._lifecycle = lifecycle
        self._joining = joining
        self._outbox = outbox
        self._refusals: dict[str, str] = {}
        """The last reason that was logged, by the member that refused this node."""
        self._waited = 0
        """How often this process was told that it is not confirmed."""
        self.refused: str | None = None
        """Why a member refused this process; then the node should stop."""

    def on_refused(self, message: Refused, peer: str) -> None:
        """A member says that this node does not belong there; logged once."""
        if self._refusals.get(peer) != message.text:
            self._refusals[peer] = message.text
            self._outbox.log("member.refused", member=peer, reason=message.text)
        if not self._lifecycle.has_joined:
            self.refused = message.text

    def on_claim(self, message: ClaimReply) -> None:
        """A member does not believe a process of this name, maybe this one, that it is this node.

        That this process waits is logged the second time: the first answer often follows at once.
        """
        if message.boot != self._boot:
            return
        if message.taken:
            self.refused = reason = message.text
            self._outbox.log("name.taken", member=self._node, process=self._boot, reason=reason)
        elif not self._lifecycle.has_joined:
            self._joining.wait_for_members()
            self._waited += 1
            if self._waited == 2:
                self._outbox.log(
                    "name.unconfirmed",
                    member=self._node,
                    process=self._boot,
                    reason=message.text,
                )
