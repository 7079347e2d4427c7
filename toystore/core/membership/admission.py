"""What the other members say of this process: that it is foreign, or not the member it says.

A process that is not believed to be the member whose name it has (`Identities`) waits, and
does not join alone in the meantime.  If another process is that member, this one has to stop,
even if it has joined: a seed joins alone when it reaches no other.  A node of another cluster
or member list has to stop unless it has joined.
"""

from __future__ import annotations

from toystore.core.membership.identities import WAITS_S
from toystore.core.membership.joining import Joining
from toystore.core.membership.lifecycle import Lifecycle
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.gossip import ClaimReply, Refused


class Admission:
    """Whether this process may run as its node; see the module's docstring."""

    __slots__ = (
        "_boot",
        "_joining",
        "_lifecycle",
        "_logged",
        "_node",
        "_outbox",
        "_refusals",
        "_waits_since",
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
        self._waits_since: float | None = None
        """When this process was first told that it is not confirmed, in monotonic seconds."""
        self._logged = False
        """Whether that was logged."""
        self.refused: str | None = None
        """Why a member refused this process; then the node should stop."""

    def on_refused(self, message: Refused, peer: str) -> None:
        """A member says that this node does not belong there; logged once."""
        if self._refusals.get(peer) != message.text:
            self._refusals[peer] = message.text
            self._outbox.log("member.refused", member=peer, reason=message.text)
        if not self._lifecycle.has_joined:
            self.refused = message.text

    def forget(self, name: str) -> None:
        """A member was removed."""
        self._refusals.pop(name, None)

    def on_claim(self, message: ClaimReply, now: Now) -> None:
        """A member does not believe a process of this name, maybe this one, that it is this node.

        That this process waits is logged after `WAITS_S`: it is often believed at once.
        """
        if message.boot != self._boot:
            return
        if message.taken:
            self.refused = reason = message.text
            self._outbox.log("name.taken", member=self._node, process=self._boot, reason=reason)
        elif not self._lifecycle.has_joined:
            self._joining.wait_for_members()
            if self._waits_since is None:
                self._waits_since = now.monotonic
            if now.monotonic - self._waits_since >= WAITS_S and not self._logged:
                self._logged = True
                self._outbox.log(
                    "name.unconfirmed",
                    member=self._node,
                    process=self._boot,
                    reason=message.text,
                )
